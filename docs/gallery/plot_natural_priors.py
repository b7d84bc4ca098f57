"""
Natural images under each prior
===============================

The same patches of a photograph, four priors, and two ways to combine. What a component looks like
depends on what the model lets its strength be; which description is best, the score says.
"""

# %%
# Whitened patches; a thousand of them are kept to score on.

import matplotlib.pyplot as plt

from skprosper import SparseCoding
from skprosper.datasets import load_image_patches
from skprosper.plotting import ComponentsDisplay

X = load_image_patches(7000, image="astronaut", patch_size=8, random_state=0)
models = {
    "binary, sum": dict(prior="binary"),
    "ternary, sum": dict(prior="ternary"),
    "0, 1, 2, sum": dict(prior="discrete"),
    "spike and slab, sum": dict(prior="spike-slab"),
    "binary, largest magnitude": dict(prior="binary", superposition="magnitude-maximum"),
}
fits = {}
for name, kind in models.items():
    model = SparseCoding(49, tol=0.3, max_iter=60, random_state=0, **kind)
    fits[name] = model.fit(X[:6000])
    active = model.prior_.activity(49).sum()
    print(f"{name:27} {model.score(X[6000:]):8.2f} nats per patch, {active:4.1f} active")

# %%
# What they learned, the most used components first, and some of the data.

figure, axes = plt.subplots(2, 3, figsize=(11, 7.8), layout="constrained")
ComponentsDisplay.from_components(X[:49], ax=axes[0, 0])
axes[0, 0].set_title("patches")
for ax, (name, model) in zip(axes.flat[1:], fits.items(), strict=True):
    ComponentsDisplay.from_estimator(model, ax=ax)
    ax.set_title(f"{name}: {model.score(X[6000:]):.1f} nats")
plt.show()
