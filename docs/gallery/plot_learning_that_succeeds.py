"""
Learning that succeeds by itself
================================

Most optima that EM can end in are poor. The defaults anneal, then move out of the faults
that are left. What that changes, and how to see on a fitted model how things went: its
lower bounds, its posteriors, and the usage of its components.
"""

# %%
# Ten bars in images of 5 x 5 pixels under noise, two in an image on average. Every model
# learns from data of its own kind, once by plain EM and once by default, from the same start.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from skprosper import (
    BinarySparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from skprosper.datasets import make_bars
from skprosper.metrics import distinct_components, recovered_components
from skprosper.plotting import BoundDisplay, ComponentsDisplay

warnings.simplefilter("ignore")  # those of plain EM, which ends in poor optima
kinds = {
    BinarySparseCoding: dict(prior="binary"),
    TernarySparseCoding: dict(prior="ternary"),
    GaussianSparseCoding: dict(prior="spike-slab", noise=1.0),
    MaximumMagnitudeCausesAnalysis: dict(superposition="magnitude-maximum", signed=True),
}
print("                                  plain EM          default")
for model, kind in kinds.items():
    X, codes, bars = make_bars(1000, random_state=0, **kind)
    line = f"{model.__name__:31}"
    for annealing in (None, "auto"):
        fit = model(10, annealing=annealing, random_state=0).fit(X)
        found = recovered_components(fit.components_, bars, ignore_sign=True)
        line += f"{found:4} bars {fit.lower_bound_:8.2f}"
    print(line)

# %%
# The lower bound tells the two apart, in nats per data point; nothing is known of the bars.
# At first annealing keeps the posteriors flat, which costs: the bound at temperature 1 is
# what counts. Where it has come to rest, moves that raise it further are kept. The dashed
# line is the bound of the parameters that made the data.

X, codes, bars = make_bars(1000, prior="ternary", random_state=0)
fits = {
    "plain EM": TernarySparseCoding(10, annealing=None, random_state=0).fit(X),
    "default": TernarySparseCoding(10, random_state=0).fit(X),
}
true = TernarySparseCoding(10, components_init=bars, noise_init=4.0, max_iter=0).fit(X)

figure = plt.figure(figsize=(10, 3.4), layout="constrained")
axes = figure.subplot_mosaic("AAAABB;AAAACC")
for (name, model), place in zip(fits.items(), "BC", strict=True):
    BoundDisplay.from_estimator(model, ax=axes["A"], label=name)
    ComponentsDisplay.from_estimator(model, image_shape=(5, 5), ax=axes[place])
    axes[place].set_title(name)
axes["A"].axhline(true.lower_bound_, color="0.5", linestyle="--", linewidth=1)
axes["A"].legend(loc="lower right", frameon=False)
plt.show()

# %%
# A posterior may have several modes. Under more noise most images still have one state that
# is all but certain; in others a bar is as likely there as not, or two sets of bars explain
# the image about equally well. Where the best state has as many active components as it may,
# five by default, the posterior is found anew with more of them.

X, codes, bars = make_bars(1000, noise=6.0, random_state=0)
model = BinarySparseCoding(10, random_state=0).fit(X)
posterior = model.posterior(X, n_states=4)
few = np.flatnonzero(posterior.n_active[:, 0] <= 3)
shown = {
    "certain": few[np.argmin(posterior.entropy[few])],
    "uncertain": few[np.argmax(posterior.entropy[few])],
    "many bars": np.argmax(posterior.n_active[:, 0]),
}
figure, axes = plt.subplots(3, 2, figsize=(8, 7), layout="constrained", width_ratios=(1, 2))
for (name, n), row in zip(shown.items(), axes, strict=True):
    row[0].imshow(X[n].reshape(5, 5), cmap="RdBu_r", vmin=-20, vmax=20)
    row[0].axis("off")
    posterior.plot(n, ax=row[1])
    row[1].set_title(
        f"{name}: entropy {posterior.entropy[n]:.2f} nats, up to {posterior.max_changes[n]} active",
        fontsize="medium",
    )

# %%
# Twenty components for ten bars: those to spare double a bar, stand for bars that come
# together, or are faint. Usage, the share of the images in which a component is active, does
# not tell alone; `skprosper.metrics.distinct_components` also looks at what a component is made of.

X, codes, bars = make_bars(1000, random_state=0)
model = BinarySparseCoding(20, random_state=0).fit(X)
kept = distinct_components(model.components_, model.usage_)
spare = [h for h in np.argsort(-model.usage_) if h not in kept]
figure, axes = plt.subplot_mosaic("AAB;AAC", figsize=(10, 3.4), layout="constrained")
for place, rows, title in (("B", kept, "distinct"), ("C", spare, "to spare")):
    x = np.arange(len(rows)) + (title == "to spare") * len(kept)
    axes["A"].bar(x, model.usage_[rows], label=title)
    ComponentsDisplay.from_estimator(model, image_shape=(5, 5), order=rows, ax=axes[place])
    axes[place].set_title(title)
axes["A"].set(xlabel="Component", ylabel="Usage", xticks=[])
axes["A"].legend(frameon=False)
plt.show()
