"""One epoch of stepwise EM against full EM, from the same start.

The data are patches of a photograph, in random order. Full EM passes over all of them
in every iteration; a pass of the stream sees each once, in batches. Prints the lower
bound per data point of both, on all data, after so many passes; the stream's up to a
tenth of full EM's.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skprosper import SparseCoding
from skprosper.datasets import load_image_patches


def compare(model, X, options):
    """Print the bounds of full EM and of the stream."""
    n_iter = options.iterations
    full = clone(model).set_params(max_iter=n_iter, tol=0)
    start = perf_counter()
    full.fit(X)
    of_full = perf_counter() - start
    best = full.score(X)
    print(f"{model.superposition} {model.prior}, {len(X)} rows in batches of {options.batch}")
    for passes in sorted({1, 2, 5, n_iter // 10, n_iter // 2, n_iter}):
        if 0 < passes < n_iter:
            bound = full.lower_bounds_[passes]
            print(f"  full EM, {passes:4} passes: {bound:10.3f} nats per data point")
    print(f"  full EM, {n_iter:4} passes: {best:10.3f}   {of_full:6.1f} s")
    stream, of_stream = clone(model), 0.0
    for epoch in range(1, n_iter // 10 + 1):
        start = perf_counter()
        for first in range(0, len(X), options.batch):
            stream.partial_fit(X[first : first + options.batch])
        of_stream += perf_counter() - start
        if epoch in (1, 2, n_iter // 10):
            reached = stream.score(X)
            short = 100 * (best - reached) / abs(best)
            print(f"  stream,  {epoch:4} passes: {reached:10.3f}   {of_stream:6.1f} s", end="")
            print(f"   short of full EM by {short:.2f} %", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--priors", nargs="+", default=["binary", "ternary", "spike-slab"])
    parser.add_argument("--superposition", default="linear")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=50, help="passes of full EM")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    patches = load_image_patches(options.samples, patch_size=options.patch, random_state=0)
    patches = np.random.default_rng(0).permutation(patches)
    for prior in options.priors:
        estimator = SparseCoding(
            options.components,
            prior=prior,
            superposition=options.superposition,
            annealing=None,
            n_jobs=options.jobs,
            random_state=0,
        )
        compare(estimator, patches, options)
