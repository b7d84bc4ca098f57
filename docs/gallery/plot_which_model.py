"""
Six models, six kinds of data: the score settles it
===================================================

Data of each of six kinds are given to each of six models. The score, in nats per data point on
data that were not learned from, holds every constant, and is highest for the model whose
assumptions the data meet.
"""

# %%
# Bars of the same size under the same noise; what differs is which values a bar may take,
# and what happens where bars cross.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from skprosper.datasets import make_bars

kinds = {
    "0, 1, added": dict(prior="binary"),
    "-1, 0, 1, added": dict(prior="ternary"),
    "0, 1, 2, added": dict(prior="discrete"),
    "spike and slab, added": dict(prior="spike-slab"),
    "0, 1, the largest seen": dict(superposition="maximum"),
    "0, 1, either sign, the largest seen": dict(superposition="magnitude-maximum", signed=True),
}
models = {
    "BSC": BinarySparseCoding,
    "TSC": TernarySparseCoding,
    "DSC": DiscreteSparseCoding,
    "GSC": GaussianSparseCoding,
    "MCA": MaximalCausesAnalysis,
    "MMCA": MaximumMagnitudeCausesAnalysis,
}
warnings.simplefilter("ignore")  # a model that is wrong for its data says so
scores = np.empty((len(kinds), len(models)))
for row, kind in enumerate(kinds.values()):
    X, _, _ = make_bars(1400, n_active=2.5, random_state=0, **kind)
    for column, model in enumerate(models.values()):
        scores[row, column] = model(10, tol=0.03, random_state=0).fit(X[:700]).score(X[700:])

# %%
# How many nats per data point each model is behind the best one, row by row. Some models hold
# others within them, discrete values and narrow slabs the binary ones, the magnitude maximum the
# maximum: these tie within a tenth of a nat, and the simplest of them is the one to take.

behind = scores.max(axis=1, keepdims=True) - scores
figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
ax.imshow(np.log10(behind + 0.1), cmap="Blues_r", vmin=-1.2, vmax=2.2)
for (row, column), value in np.ndenumerate(behind):
    ax.text(
        column,
        row,
        "best" if value == 0 else f"{value:.2f}" if value < 1 else f"{value:.2g}",
        ha="center",
        va="center",
        color="white" if value < 3 else "black",
    )
ax.set_xticks(range(len(models)), models)
ax.set_yticks(range(len(kinds)), kinds)
ax.set_title("Nats per data point behind the best model, on new data")
ax.spines[:].set_visible(False)
plt.show()
