"""What truncating around the best state brings: exactness, and fits of natural patches.

First, nats per data point by which the lower bound falls short of the likelihood, for each
model with half of its latents active: 300 data points of 64 features, for the centres "best"
and "zero" at the defaults of 8 candidates and 5 changes, of --draws data sets; they differ
much. A picture of it for other truncations against the number of states kept is saved with
--plot.

Then default fits of 144 components on 6,000 natural patches of 12 x 12 around both centres,
what they reach on 2,000 held-out ones, and when they pass the bound that the published
truncation reaches with 13 candidates and 13 active latents.

    python benchmarks/truncation.py --seeds 3 --plot truncation.png
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from time_to_quality import Clock

from skprosper import SparseCoding
from skprosper.datasets import load_image_patches
from skprosper.kernels.states import count_states
from skprosper.priors import BinaryPrior, SpikeSlabPrior, TernaryPrior

# prior, superposition, latents, noise variance
EXACTNESS = {
    "binary": (BinaryPrior(0.5), "linear", 14, 4.0),
    "ternary": (TernaryPrior(0.5), "linear", 9, 4.0),
    "spike-slab": (SpikeSlabPrior(0.5, 3.0, 9.0), "linear", 12, 1.0),
    "maximum": (BinaryPrior(0.5), "maximum", 13, 0.6),
    "magnitude-maximum": (BinaryPrior(0.5), "magnitude-maximum", 13, 4.0),
}
SIZES = [(1, 1), (4, 2), (6, 3), (8, 5), (10, 6), (12, 8)]
FITS = ["binary", "ternary", "discrete", "spike-slab"]
# Those compared with the published truncation at its widest that takes less than a minute.
WIDE = ["binary", "spike-slab"]


def problem(name, seed):
    """Return parameters of an estimator and data drawn from it."""
    prior, superposition, H, variance = EXACTNESS[name]
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((H, 64))
    if superposition == "maximum":
        W = np.abs(W)
    if name == "spike-slab":
        W /= np.linalg.norm(W, axis=1, keepdims=True)
    params = dict(
        n_components=H,
        prior=prior,
        superposition=superposition,
        components_init=W,
        noise_init=variance,
        max_iter=0,
        random_state=seed,
    )
    X, _ = SparseCoding(**params).fit(rng.standard_normal((20, 64))).sample(300)
    return params, X


def shortfalls(name, seed, sizes):
    """Return {(center, n_candidates, max_changes): nats short of the likelihood}."""
    params, X = problem(name, seed)
    exact = SparseCoding(**params, n_candidates=None, max_changes=None).fit(X).score_samples(X)
    found = {}
    for center in ("best", "zero"):
        for size in sizes:
            H = params["n_components"]
            n_candidates, max_changes = (min(n, H) for n in size)
            model = SparseCoding(
                **params, center=center, n_candidates=n_candidates, max_changes=max_changes
            )
            bound = model.fit(X).score_samples(X)
            assert np.all(bound <= exact + 1e-8 * np.abs(exact)), "above the likelihood"
            found[center, *size] = np.mean(exact - bound)
    return found


def exactness(draws):
    """Print the table at the defaults."""
    print("nats short of the likelihood, 8 candidates and 5 changes (mean, standard error, median)")
    for name in EXACTNESS:
        runs = [shortfalls(name, seed, [(8, 5)]) for seed in range(draws)]
        text = f"{name:18}"
        for center in ("best", "zero"):
            short = np.array([run[center, 8, 5] for run in runs])
            error = short.std(ddof=1) / np.sqrt(draws)
            text += f" {center} {short.mean():7.4f} {error:7.4f} {np.median(short):7.4f}  "
        print(text, flush=True)


def against_states(seeds):
    """Return what `shortfalls` finds of each model for truncations of all sizes, on the mean."""
    results = {}
    for name in EXACTNESS:
        runs = [shortfalls(name, seed, SIZES) for seed in range(seeds)]
        results[name] = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
    return results


def plot(results, path):
    """Save the picture: nats short of the likelihood against the number of states."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(13, 3), sharey=True, layout="constrained")
    for ax, (name, found) in zip(axes, results.items()):
        prior, _, H, _ = EXACTNESS[name]
        for center, label in (("zero", "published: around 0"), ("best", "around the best state")):
            states = [
                count_states(min(n, H), min(k, H), prior.n_values)
                + prior.n_values * (H - min(n, H))
                for n, k in SIZES
            ]
            short = [max(found[center, *size], 1e-6) for size in SIZES]
            ax.plot(states, short, marker="o", label=label)
        ax.set(xscale="log", yscale="log", title=f"{name}, {H} latents", xlabel="states kept")
    axes[0].set_ylabel("nats short of the likelihood")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def wide_bound(prior, X):
    """Print and return the bound that a wide truncation around 0 comes to."""
    start = perf_counter()
    model = SparseCoding(
        144, prior=prior, center="zero", n_candidates=13, max_changes=13, max_iter=60, n_jobs=2,
        random_state=0,
    ).fit(X)  # fmt: skip
    seconds = perf_counter() - start
    print(f"{prior:11} zero, 13 candidates and changes: {model.lower_bound_:.2f}, {seconds:.1f} s")
    return model.lower_bound_


def patches(seeds):
    """Print what default fits of natural patches reach."""
    X = load_image_patches(6000, patch_size=12, random_state=0)
    held_out = load_image_patches(2000, patch_size=12, random_state=99)
    print(
        "prior       center   train  held out   noise  active    gap  seconds  as wide as published"
    )
    for prior in FITS:
        aim = wide_bound(prior, X) if prior in WIDE else None
        for center in ("best", "zero"):
            for seed in range(seeds):
                model = SparseCoding(
                    144, prior=prior, center=center, max_iter=60, n_jobs=2, random_state=seed
                )
                clock = Clock()
                model.set_callbacks(clock)
                start = perf_counter()
                model.fit(X)
                seconds = perf_counter() - start
                passed = None
                if aim is not None:
                    times = (t for t, fitted in clock.history if fitted.score(X) >= aim)
                    passed = next(times, None)
                print(
                    f"{prior:11} {center:5} {model.lower_bound_:8.2f} {model.score(held_out):8.2f} "
                    f"{model.noise_variance_:8.3f} {model.usage_.sum():7.2f} "
                    f"{model.truncation_gap_:6.3f} {seconds:8.1f}  "
                    + ("" if passed is None else f"after {passed:.1f} s"),
                    flush=True,
                )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--plot", help="where to save the picture")
    options = parser.parse_args()
    exactness(options.draws)
    if options.plot:
        plot(against_states(options.seeds), options.plot)
    patches(min(options.seeds, 2))
