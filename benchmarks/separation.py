"""Blind separation of spike-and-slab sources: GaussianSparseCoding beside FastICA.

2 to 5 sources, each active with probability 0.3 and then N(0, 1), mixed by a random
matrix, under noise; benchmarks/peers.py has other sources and learners. Prints the Amari
distance of the learned mixing from the true one (0: equal up to order and scale), mean over
the seeds, in how many of them GaussianSparseCoding comes closer, and how far its noise is off.
"""

import argparse
import warnings

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from skprosper import GaussianSparseCoding
from skprosper.metrics import amari_distance

# what a source is where it is active
DRAWN = {
    "spike-and-slab": lambda rng, shape: rng.standard_normal(shape),
    "binary": lambda rng, shape: np.ones(shape),
    "ternary": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
}


def mixture(n_sources, n_samples, noise, rng, kind="spike-and-slab"):
    """Return data, (n_samples, n_sources), and the mixing, a row per source."""
    sources = DRAWN[kind](rng, (n_samples, n_sources))
    if kind != "Laplace":  # those are never 0
        sources *= rng.uniform(size=sources.shape) < 0.3
    mixing = rng.standard_normal((n_sources, n_sources))
    return sources @ mixing + noise * rng.standard_normal(sources.shape), mixing


def main(options):
    print("sources  noise  Amari distance of GSC, FastICA   GSC closer   learned noise / true")
    for n_sources in (2, 3, 4, 5):
        for noise in options.noise:
            distances, ratios = [], []
            for seed in range(options.seeds):
                rng = np.random.default_rng(seed)
                X, mixing = mixture(n_sources, options.samples, noise, rng)
                gsc = GaussianSparseCoding(
                    n_sources,
                    learn_mean=False,
                    n_init=5,
                    max_iter=500,
                    tol=1e-5,
                    random_state=seed,
                ).fit(X)
                ica = FastICA(n_sources, whiten="unit-variance", random_state=seed).fit(X)
                found = gsc.components_, ica.mixing_.T
                distances.append([amari_distance(W, mixing) for W in found])
                ratios.append(gsc.noise_variance_**0.5 / noise)
            ours, theirs = np.mean(distances, axis=0)
            closer = np.sum(np.less(*np.transpose(distances)))
            print(
                f"{n_sources:7} {noise:6} {ours:20.4f} {theirs:8.4f} "
                f"{closer:9} of {options.seeds} {np.median(ratios):18.2f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.05, 0.2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        main(parser.parse_args())
