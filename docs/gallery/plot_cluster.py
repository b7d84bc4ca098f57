"""
The same bits from a cluster
============================

A dask cluster of processes, here two on this machine, takes the chunks of the data. What is learned
is the same to the last bit as from one thread.
"""

# %%
# Patches of a photograph, once as an array and once as a dask array.

from time import perf_counter

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask.distributed import Client, LocalCluster

from skprosper import BinarySparseCoding
from skprosper.datasets import load_image_patches
from skprosper.plotting import BoundDisplay, ComponentsDisplay

X = load_image_patches(12_000, image="astronaut", patch_size=8, random_state=0)
settings = dict(n_components=64, batch_size=3000, max_iter=40, tol=0.2, random_state=0)


def fitted(X):
    start = perf_counter()
    model = BinarySparseCoding(**settings).fit(X)
    return model, perf_counter() - start


def learned():
    one, seconds = fitted(X)
    print(f"one thread  {seconds:5.1f} s")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster):
            blocks = da.from_array(X, chunks=(3000, -1)).persist()
            many, seconds = fitted(blocks)
            print(f"two workers {seconds:5.1f} s, first compilation on the workers included")
    return one, many


# %%
# Worker processes import the program they belong to, so a script starts its cluster under
# ``if __name__ == "__main__":``.

if __name__ == "__main__":
    one, many = learned()
    print("the same bits:", np.array_equal(one.components_, many.components_))
    print("and bounds:", np.array_equal(one.lower_bounds_, many.lower_bounds_))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    ComponentsDisplay.from_estimator(many, ax=axes[0])
    axes[0].set_title("learned on the cluster")
    BoundDisplay.from_estimator(one, ax=axes[1], label="one thread", linewidth=6, alpha=0.3)
    BoundDisplay.from_estimator(many, ax=axes[1], label="two workers")
    plt.show()
