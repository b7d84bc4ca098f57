"""Bars that occlude each other: how often are all of them found?

5 x 5 images of ten bars, 1,000 of them, two bars on average, noise of a fifth of a bar. A
run has found all bars where each has a component of its own with a cosine above 0.95
(up to sign for ICA). Our models run with their defaults, NMF and FastICA, which add
components up, on the same data; NMF sees the data with negative pixels set to 0.

Maximum: all bars are equally bright. Magnitude-maximum: they are bright or dark. Unequal:
the same, and each bar has a strength of its own, within 30 % of the mean.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from sklearn.decomposition import NMF, FastICA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skprosper import MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis
from skprosper.datasets import make_bars, make_bars_components, make_sparse_coding
from skprosper.metrics import recovered_components

N_BARS = 10


def maximum(seed):
    """Return images of bars under the maximum, and the bars."""
    X, _, bars = make_bars(superposition="maximum", random_state=seed)
    return X, bars


def magnitude_maximum(seed):
    """Return images of bars of either sign under the magnitude-maximum, and the bars."""
    X, _, bars = make_bars(superposition="magnitude-maximum", signed=True, random_state=seed)
    return X, bars


def unequal(seed):
    """Return the same with bars of different strength."""
    bars = make_bars_components(5, signed=True, random_state=seed)
    bars *= np.random.default_rng(seed).uniform(0.7, 1.3, (N_BARS, 1))
    kind = dict(superposition="magnitude-maximum", noise=2.0, random_state=seed)
    return make_sparse_coding(bars, **kind)[0], bars


def nmf(X, seed):
    """Return the components of NMF; negative pixels are noise to it."""
    return NMF(N_BARS, init="nndsvda", max_iter=1000, random_state=seed).fit(np.maximum(X, 0))


def ica(X, seed):
    """Return FastICA on the N_BARS directions of most variance."""
    model = FastICA(N_BARS, whiten="unit-variance", max_iter=1000, random_state=seed).fit(X)
    model.components_ = model.mixing_.T
    return model


def mca(X, seed):
    """Return Maximal Causes Analysis with its defaults."""
    return MaximalCausesAnalysis(N_BARS, random_state=seed).fit(X)


def mmca(X, seed):
    """Return Maximum Magnitude Causes Analysis with its defaults."""
    return MaximumMagnitudeCausesAnalysis(N_BARS, random_state=seed).fit(X)


TASKS = {
    "maximum": (maximum, {"MCA": mca, "NMF": nmf, "FastICA": ica}),
    "magnitude-maximum": (magnitude_maximum, {"MMCA": mmca, "NMF": nmf, "FastICA": ica}),
    "unequal": (unequal, {"MMCA": mmca, "NMF": nmf, "FastICA": ica}),
}


def study(task, n_seeds):
    """Print the rows of a task: for each method the runs that found all bars."""
    make, methods = TASKS[task]
    for name, learn in methods.items():
        found, start = [], perf_counter()
        for seed in range(n_seeds):
            X, bars = make(seed)
            components = learn(X, seed).components_
            ignore_sign = name == "FastICA"
            found.append(recovered_components(components, bars, ignore_sign=ignore_sign))
        seconds = (perf_counter() - start) / n_seeds
        print(
            f"{task:18} {name:8} {np.sum(np.array(found) == N_BARS):3} of {n_seeds}  "
            f"{np.mean(found):5.1f} {min(found):4}  {seconds:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("bars               method  all found   mean least  seconds per run")
    with threadpool_limits(1):
        for task in TASKS:
            study(task, options.seeds)
