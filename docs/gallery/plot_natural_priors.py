"""
Natural images under each prior
===============================

The same patches of a photograph, four priors and two ways to combine. What a component looks like
depends on what the model lets its strength be; which description is best, the score says.
"""

# %%
# Whitened patches; a fifth of them is kept to score on.

import matplotlib.pyplot as plt

from skprosper import SparseCoding
from skprosper.datasets import load_image_patches
from skprosper.plotting import ComponentsDisplay

X = load_image_patches(5000, image="camera", patch_size=10, random_state=0)
models = {
    "binary, sum": dict(prior="binary"),
    "ternary, sum": dict(prior="ternary"),
    "0, 1, 2, sum": dict(prior="discrete"),
    "spike and slab, sum": dict(prior="spike-slab"),
    "binary, largest magnitude": dict(prior="binary", superposition="magnitude-maximum"),
    "ternary, largest magnitude": dict(prior="ternary", superposition="magnitude-maximum"),
}
fits = {}
for name, kind in models.items():
    model = SparseCoding(64, tol=0.05, max_iter=40, n_jobs=2, random_state=0, **kind)
    fits[name] = model.fit(X[:4000])
    active = model.prior_.activity(64).sum()
    print(f"{name:27} {model.score(X[4000:]):8.2f} nats per patch, {active:4.1f} active")

# %%
# The 36 most used components of each.

figure, axes = plt.subplots(2, 3, figsize=(11, 7.6), layout="constrained")
for ax, (name, model) in zip(axes.flat, fits.items(), strict=True):
    ComponentsDisplay.from_estimator(model, order=(-model.usage_).argsort()[:36], ax=ax)
    ax.set_title(f"{name}: {model.score(X[4000:]):.1f} nats")
plt.show()
