"""
A dictionary of image patches
=============================

Ternary sparse coding learns a dictionary from patches of a photograph: the components,
how often they are used, and the noise, without a penalty to tune.
"""

# %%
# Whitened patches of a photograph that scikit-image ships.

from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.callback import ProgressBar

from skprosper import TernarySparseCoding
from skprosper.datasets import load_image_patches
from skprosper.plotting import BoundDisplay, ComponentsDisplay

X = load_image_patches(20_000, image="astronaut", patch_size=10, random_state=0)
print(f"{len(X)} patches of {X.shape[1]} pixels")

# %%
# A latent is -1, 0 or 1: an edge may come with either contrast. The progress bar is
# scikit-learn's own callback.

model = TernarySparseCoding(n_components=120, tol=0.01, n_jobs=2, random_state=0)
start = perf_counter()
model.set_callbacks(ProgressBar()).fit(X)
probability = model.prior_.probability
print(f"learned in {perf_counter() - start:.1f} s, {model.n_iter_} iterations")
print(
    f"probability of a component being active  {probability.min():.4f} to {probability.max():.4f}"
)
print(f"components active in a patch on average  {probability.sum():.2f}")
print(f"standard deviation of the noise          {model.noise_variance_**0.5:.3f}")
print(f"score                                    {model.score(X):.2f} nats per patch")

# %%
# The components are oriented, localised edges, as the receptive fields of simple cells.

figure, axes = plt.subplots(1, 2, figsize=(11, 6), width_ratios=(3, 2), layout="constrained")
ComponentsDisplay.from_estimator(model, image_shape=(10, 10), ax=axes[0])
axes[0].set_title("120 components")
BoundDisplay.from_estimator(model, ax=axes[1])
axes[1].set_title("Lower bound of the log-likelihood")
plt.show()
