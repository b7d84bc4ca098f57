"""One EM iteration in units of the product X @ W.T that it cannot avoid.

D = 256, H = 400, H' = 8, gamma = 5, 20,000 whitened image patches, one thread; the
iteration is timed at the parameters that some iterations from the default start have
reached, in turn with the product. Prints the table, then the gain of a second thread,
the times of the first fit and of the import.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from os import environ
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from skprosper.datasets import load_image_patches
from skprosper.inference.base import Truncation
from skprosper.learning.em import m_step
from skprosper.learning.initialisation import mean_and_deviations
from skprosper.learning.problem import Parameters, Problem, data_moments
from skprosper.noise import IsotropicNoise
from skprosper.parallel.workers import Workers
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior
from skprosper.superpositions import SUPERPOSITIONS

N_COMPONENTS, LEARN = 400, ("components", "prior", "noise")
MODELS = {
    "BSC": (BinaryPrior(), "linear"),
    "TSC": (TernaryPrior(), "linear"),
    "DSC 0, 1, 2": (DiscretePrior((0, 1, 2)), "linear"),
    "GSC": (SpikeSlabPrior(), "linear"),
    "MCA": (BinaryPrior(), "maximum"),
    "MMCA": (BinaryPrior(), "magnitude-maximum"),
}


def learned_problem(X, model, workers, n_iter):
    """Return a problem and the parameters after ``n_iter`` iterations of EM."""
    moments = data_moments(X, None)
    prior, superposition = MODELS[model]
    prior, superposition = prior.start(N_COMPONENTS), SUPERPOSITIONS[superposition]
    problem = Problem(X, None, workers, superposition, Truncation(8, 5), moments)
    start = mean_and_deviations(None, problem, N_COMPONENTS, np.random.RandomState(0))
    W = superposition.initial_components(*start, prior, centred=False)
    parameters = Parameters(W, prior, IsotropicNoise(float(X.var())), None)
    for _ in range(n_iter):
        parameters = iterate(problem, parameters)
    return problem, parameters


def iterate(problem, parameters):
    """Return the parameters after one iteration of EM."""
    statistics, _ = problem.expectations(problem.e_step(parameters))
    return m_step(parameters, statistics, problem.superposition, LEARN, 1e-6)


def seconds(function):
    start = perf_counter()
    function()
    return perf_counter() - start


def paired(X, W, problem, parameters):
    """Return the seconds of the product and of an iteration, one after the other."""
    return seconds(lambda: X @ W.T), seconds(lambda: iterate(problem, parameters))


def table(patches, n_iter, repeats):
    print("model        dtype    product  iteration  ratio   (us per data point, medians)")
    for dtype in (np.float64, np.float32):
        X = patches.astype(dtype)
        for name in options.models:
            with threadpool_limits(1), Workers(1) as workers:
                problem, parameters = learned_problem(X, name, workers, n_iter)
                W = parameters.components.astype(dtype)
                times = np.array([paired(X, W, problem, parameters) for _ in range(repeats)])
            product, iteration = np.median(times, axis=0) / len(X) * 1e6
            ratio = np.median(times[:, 1] / times[:, 0])
            print(
                f"{name:12} {X.dtype.name}  {product:7.2f} {iteration:10.2f} {ratio:6.2f}",
                flush=True,
            )


def two_threads(X, n_iter, repeats):
    """Print the gain of two threads over one, BLAS being held to one in both."""
    with Workers(1) as one, Workers(2) as two:
        problem, parameters = learned_problem(X, "BSC", two, n_iter)
        alone = replace(problem, workers=one)
        gains = [
            seconds(lambda: iterate(alone, parameters))
            / seconds(lambda: iterate(problem, parameters))
            for _ in range(repeats)
        ]
    print(f"two threads: {np.median(gains):.2f} times one (BSC, float64)")


def first_fits():
    program = (
        "import time, numpy as np; from skprosper import BinarySparseCoding as B\n"
        "X = np.random.default_rng(0).standard_normal((500, 16))\n"
        "def fit():\n"
        "    t = time.perf_counter(); B(8, max_iter=5, tol=0, random_state=0).fit(X)\n"
        "    return time.perf_counter() - t\n"
        "first, second = fit(), fit(); print(f'{first - second:.2f}')"
    )
    with tempfile.TemporaryDirectory() as folder:
        for state in ("cold", "warm"):
            run = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program],
                env={**environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"first fit, {state} cache: {run.stdout.strip()} s over the computing")


def imports(repeats):
    def time_of(statement):
        return seconds(lambda: subprocess.run([sys.executable, "-c", statement], check=True))

    ours, theirs = "import skprosper", "import sklearn.decomposition, numba"
    ratios = [time_of(ours) / time_of(theirs) for _ in range(repeats)]
    print(f"import skprosper: {np.median(ratios):.2f} times {theirs}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--iterations", type=int, default=20, help="before the timed one")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    options = parser.parse_args()
    patches = load_image_patches(options.samples, patch_size=16, random_state=0)
    table(patches, options.iterations, options.repeats)
    two_threads(patches, options.iterations, options.repeats)
    first_fits()
    imports(5)
