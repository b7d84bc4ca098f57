"""
Choosing prior and size with GridSearchCV
=========================================

The score is a log-likelihood with every constant in it. So scikit-learn's search chooses the prior
and the number of components, and says by how many nats.
"""

# %%
# Twelve bars that come in either sign, under strong noise. The search knows neither.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from skprosper import SparseCoding
from skprosper.datasets import make_bars
from skprosper.metrics import recovered_components
from skprosper.plotting import ComponentsDisplay

X, codes, bars = make_bars(2000, size=6, prior="ternary", noise=3.0, random_state=0)
grid = {
    "prior": ["binary", "ternary", "spike-slab"],
    "n_components": [6, 9, 12, 15, 18],
}
warnings.simplefilter("ignore")  # a prior that is wrong for the data says so
search = GridSearchCV(SparseCoding(tol=0.01, random_state=0), grid, cv=2).fit(X)
print(search.best_params_)
found = recovered_components(search.best_estimator_.components_, bars, ignore_sign=True)
print(f"bars found by the best model {found} of 12")

# %%
# Too few components cost much, too many little: those to spare fade.

results, figure = search.cv_results_, plt.figure(figsize=(10, 3.8), layout="constrained")
axes = figure.subplots(1, 2, width_ratios=(3, 2))
for prior in grid["prior"]:
    rows = np.flatnonzero(results["param_prior"] == prior)
    mean, deviation = results["mean_test_score"][rows], results["std_test_score"][rows]
    axes[0].errorbar(grid["n_components"], mean, deviation, marker="o", capsize=3, label=prior)
axes[0].axvline(12, color="0.7", linestyle="--", zorder=0)
axes[0].set(xlabel="components", ylabel="nats per new image (two folds)")
axes[0].legend(frameon=False)
ComponentsDisplay.from_estimator(search.best_estimator_, ax=axes[1])
axes[1].set_title("components of the best model")
plt.show()
