"""How soon a model is good: score of held-out data against the time of a default fit.

Natural image patches of 12 x 12 pixels (absolute values for MCA), 256 components, 20,000 of
them to learn from and 5,000 others held out, two threads, what is compiled compiled before.
Prints for each model the held-out score (nats per data point) of the whole fit, its seconds,
also in units of 100 products X @ W.T of one thread, and when it came within a nat of its
best score. ``--peers`` adds the dictionaries of others and how much of the variance of
held-out patches ten elements of each dictionary explain, all coded by the same orthogonal
matching pursuit; MCA and MMCA do not add, and are left out there. ``--picture`` draws
scores against time. ``--image`` names another photograph of `load_image_patches`.

    python benchmarks/time_to_quality.py --models BSC GSC --peers
    python benchmarks/time_to_quality.py --image gravel
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from iteration import MODELS
from learners import N_ELEMENTS, PEERS, dictionary, explained
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skprosper.datasets import load_image_patches

N_COMPONENTS = 256
# peer, components, passes over the data; no more sources than dimensions, of which the mean
# of a patch, 0, is none
RIVALS = (
    ("SPAMS", N_COMPONENTS, 1),
    ("SPAMS", N_COMPONENTS, 10),
    ("dictlearn K-SVD", N_COMPONENTS, None),
    ("DictionaryLearning", N_COMPONENTS, None),
    ("MiniBatchDictionaryLearning", N_COMPONENTS, None),
    ("FastICA", 143, None),
)


class Clock:
    """A callback that notes when each iteration has ended, and what was learned by then."""

    def __init__(self):
        self.history = []

    def setup(self, estimator, context):
        self.start = perf_counter()

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "iteration":
            self.history.append((perf_counter() - self.start, fitted_estimator))


def data(model, image):
    learned = load_image_patches(20_000, image=image, patch_size=12, random_state=0)
    held_out = load_image_patches(5_000, image=image, patch_size=12, random_state=1)
    return [np.abs(X) if model == "MCA" else X for X in (learned, held_out)]


def product_time(X):
    W = np.ascontiguousarray(X[:N_COMPONENTS])
    times = []
    with threadpool_limits(1):
        for _ in range(20):
            start = perf_counter()
            X @ W.T
            times.append(perf_counter() - start)
    return min(times)


def curve(model, X, held_out, n_scores=15):
    """Return seconds and held-out scores of a default fit, its seconds, and the fit."""
    estimator = MODELS[model](N_COMPONENTS, random_state=0, n_jobs=2)
    estimator.set_params(max_iter=3).fit(X[:3000])  # compiles
    clock = Clock()
    estimator.set_params(max_iter=MODELS[model]().max_iter).set_callbacks(clock)
    start = perf_counter()
    estimator.fit(X)
    whole = perf_counter() - start
    history = clock.history
    chosen = np.unique(np.geomspace(1, len(history), n_scores).round().astype(int)) - 1
    seconds = np.array([history[i][0] for i in chosen])
    scores = np.array([history[i][1].score(held_out) for i in chosen])
    return seconds, scores, whole, estimator


def draw(curves, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for model, (seconds, scores, *_) in curves.items():
        label = f"{model}, {scores.max():.1f}"
        axes.plot(seconds, scores - scores.max(), marker="o", markersize=3, label=label)
    axes.set(
        xscale="log",
        xlabel="seconds of a default fit, two threads",
        ylabel="held-out score less its best\n(nats per patch)",
    )
    axes.legend(title="best score", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--image", default="china")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--picture", metavar="PATH")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    print(
        "model   score  iterations  seconds  x 100 products  within a nat of the best", flush=True
    )
    curves = {}
    for model in options.models:
        X, held_out = data(model, options.image)
        curves[model] = seconds, scores, whole, fit = curve(model, X, held_out)
        near = seconds[np.argmax(scores >= scores.max() - 1.0)]
        print(
            f"{model:5} {scores[-1]:8.2f} {fit.n_iter_:10d} {whole:8.1f} "
            f"{whole / (100 * product_time(X)):12.2f} {near:18.1f} s",
            flush=True,
        )
        if options.peers and model in ("BSC", "TSC", "DSC", "GSC"):
            share, _ = explained(fit.components_, held_out)
            print(f"      {N_ELEMENTS} elements explain {share:.1%} of held-out patches")
        print(
            "      " + "  ".join(f"{t:.1f} s {s:.1f}" for t, s in zip(seconds, scores)), flush=True
        )
    if options.peers:
        X, held_out = data("BSC", options.image)
        for name, n_components, n_passes in RIVALS:
            learner = PEERS[name](n_components, n_passes, n_jobs=2, seed=0)
            start = perf_counter()
            learner.fit(X)
            spent = perf_counter() - start
            share, _ = explained(dictionary(learner), held_out)
            passes = f", passes: {n_passes}" if n_passes else ""
            print(
                f"{name + passes:38} {spent:7.1f} s  {N_ELEMENTS} elements explain {share:.1%}",
                flush=True,
            )
    if options.picture:
        draw(curves, options.picture)
