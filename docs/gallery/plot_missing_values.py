"""
Holes in a table
================

A table with missing entries: models of the rows fill them, and say how sure they are. Here
thirty measurements of cell nuclei in 569 images of breast tumours, a fifth of them taken
out at random, and filled again by scikit-learn's imputers and by sparse causes on top of
correlated noise.
"""

# %%
# The entries that are taken out are known, so that errors can be measured.

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.preprocessing import StandardScaler

from skprosper import GaussianSparseCoding
from skprosper.impute import BootstrapImputer

X = StandardScaler().fit_transform(load_breast_cancer().data)
missing = np.random.default_rng(0).uniform(size=X.shape) < 0.2
holes = np.where(missing, np.nan, X)

# %%
# Correlated noise (``noise="full"``) takes what a linear Gaussian model of the measurements
# can, as `IterativeImputer` does; a few spike-and-slab causes take what some tumours have and
# others have not. Every model has ``impute``. One alone takes what it has learned of 569 rows
# for certain; `BootstrapImputer` fits ten, each with random weights for the rows.

model = GaussianSparseCoding(
    8, noise="full", fit_offset=True, annealing=None, tol=0.05, random_state=0
)
ours = {"one model": model, "ten models": BootstrapImputer(model, random_state=0)}
results, std = {}, {}
for name, imputer in ours.items():
    start = perf_counter()
    filled, std[name] = imputer.fit(holes).impute(holes, return_std=True)
    results[name] = filled, perf_counter() - start
for name, imputer in {
    "IterativeImputer": IterativeImputer(max_iter=20, tol=1e-2, random_state=0),
    "KNNImputer": KNNImputer(n_neighbors=10),
}.items():
    start = perf_counter()
    results[name] = imputer.fit_transform(holes), perf_counter() - start

errors = {name: (found - X)[missing] for name, (found, _) in results.items()}
for name, error in errors.items():
    print(
        f"{name:17} root mean square error {np.sqrt(np.mean(error**2)):.3f} "
        f"standard deviations, {results[name][1]:5.1f} s"
    )

# %%
# On the left what was filled in against what had been there. On the right whether the
# standard deviations are right: the share of the entries inside the central interval of each
# level, which should be that level. Wide ones of a single model hold too little. Measurements
# are more often extreme than a Gaussian allows, and more often ordinary: intervals that hold
# 95 % as they should hold more than half at the level of a half.

from scipy.stats import norm  # noqa: E402

figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
shown = {"KNNImputer": "0.75", "IterativeImputer": "tab:blue", "ten models": "tab:red"}
for name, color in shown.items():
    error = errors[name]
    axes[0].plot(X[missing], X[missing] + error, ".", ms=3, color=color, alpha=0.5)
    rms = np.sqrt(np.mean(error**2))
    axes[0].plot([], [], "o", color=color, label=f"{name}, error {rms:.2f}")
axes[0].plot([-3, 6], [-3, 6], "k", lw=0.8)
axes[0].set(
    xlim=(-3, 6), ylim=(-3, 6), aspect="equal", xlabel="taken out", ylabel="filled in",
    title="in units of a measurement's deviation",
)  # fmt: skip
axes[0].legend(loc="upper left", frameon=False)
levels = np.linspace(0.02, 0.98, 49)
for name, color in {"one model": "tab:orange", "ten models": "tab:red"}.items():
    inside = np.abs(errors[name]) / std[name][missing]
    share = [np.mean(inside < norm.ppf(0.5 + p / 2)) for p in levels]
    axes[1].plot(levels, share, color=color, label=name)
    print(f"{name}: {np.mean(inside < norm.ppf(0.975)):.1%} inside intervals of 95 %")
axes[1].plot([0, 1], [0, 1], "k", lw=0.8)
axes[1].set(aspect="equal", xlabel="level of the interval", ylabel="share of entries inside")
axes[1].set_title("intervals of the standard deviations")
axes[1].legend(loc="upper left", frameon=False)
plt.show()
