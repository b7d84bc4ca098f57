"""One EM iteration of ``fit`` in units of the product X @ W.T that it cannot avoid.

D = 256, H = 400, defaults, one thread. The data are whitened image patches, for the maxima
two of 400 of them laid over each other by the model's own rule (of absolute values for MCA)
under noise, and every model starts from data points (``components_init``), so that it is
alive: the table has the number of latents active on average. An iteration is the
difference of two whole fits, without annealing, over the iterations that one has more; the
product is timed beside it. Prints the table, then the time against the number of active
latents, the gain of a second thread, the times of the first fit and of the import.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from os import environ
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from skprosper.datasets import load_image_patches

N_COMPONENTS = 400
MODELS = {
    "BSC": BinarySparseCoding,
    "TSC": TernarySparseCoding,
    "DSC": DiscreteSparseCoding,
    "GSC": GaussianSparseCoding,
    "MCA": MaximalCausesAnalysis,
    "MMCA": MaximumMagnitudeCausesAnalysis,
}
PLAIN = dict(annealing=None, tol=0, random_state=0, components_init="random_from_data")


def seconds(function):
    start = perf_counter()
    result = function()
    return perf_counter() - start, result


def iteration_time(X, model, first, more, n_jobs=1):
    """Return the seconds of an iteration of fit, and the fitted model."""

    def fitted(max_iter):
        return MODELS[model](N_COMPONENTS, max_iter=max_iter, n_jobs=n_jobs, **PLAIN).fit(X)

    short, _ = seconds(lambda: fitted(first))
    long, fit = seconds(lambda: fitted(first + more))
    return (long - short) / more, fit


def data_of(model, patches):
    """Return data of as many rows on which the model is alive."""
    if model not in ("MCA", "MMCA"):
        return patches
    rng = np.random.default_rng(0)
    sources = np.abs(patches[:N_COMPONENTS]) if model == "MCA" else patches[:N_COMPONENTS]
    one, other = (sources[rng.integers(N_COMPONENTS, size=len(patches))] for _ in range(2))
    X = np.where(np.abs(one) > np.abs(other), one, other)
    return X + 0.3 * X.std() * rng.standard_normal(X.shape)


def product_time(X):
    W = np.ascontiguousarray(X[:N_COMPONENTS])
    return min(seconds(lambda: X @ W.T)[0] for _ in range(5))


def table(patches, repeats):
    print("model  dtype    active  product  iteration  ratio   (us per data point, medians)")
    for dtype in (np.float64, np.float32):
        for name in options.models:
            X = data_of(name, patches).astype(dtype)
            with threadpool_limits(1):
                iteration_time(X[:600], name, 1, 1)  # compiles
                runs = [
                    (iteration_time(X, name, 10, options.iterations), product_time(X))
                    for _ in range(repeats)
                ]
            times = np.array([(product, time) for (time, _), product in runs])
            product, iteration = np.median(times, axis=0) / len(X) * 1e6
            ratio = np.median(times[:, 1] / times[:, 0])
            active = runs[0][0][1].usage_.sum()
            print(
                f"{name:6} {X.dtype.name}  {active:6.2f} {product:8.2f} {iteration:10.2f} "
                f"{ratio:6.2f}",
                flush=True,
            )


def against_active(n_samples):
    """Print the time of scoring a data point against the number of active latents."""
    print("active  BSC us  GSC us   (scoring one data point, D = 256, H = 400)")
    rng = np.random.default_rng(0)
    W = rng.standard_normal((N_COMPONENTS, 256))
    params = dict(components_init=W, noise_init=25.0, max_iter=0)
    for n_active in (1, 2, 5, 10, 20, 40):
        order = rng.uniform(size=(n_samples, N_COMPONENTS)).argpartition(n_active, axis=1)
        codes = np.zeros((n_samples, N_COMPONENTS))
        np.put_along_axis(codes, order[:, :n_active], 1.0, axis=1)
        X = 3.0 * codes @ W + 5.0 * rng.standard_normal((n_samples, 256))
        times = []
        for name in ("BSC", "GSC"):
            scale = 3.0 if name == "BSC" else 3.0 * np.sqrt(256)
            model = MODELS[name](N_COMPONENTS, **(params | dict(components_init=scale * W)))
            if name == "BSC":
                model.set_params(n_jobs=1)
            model.fit(X[:500])
            model.prior_ = type(model.prior_)(
                **(model.prior_.get_params() | dict(probability=n_active / N_COMPONENTS))
            ).start(N_COMPONENTS)
            with threadpool_limits(1):
                times.append(min(seconds(lambda: model.score_samples(X))[0] for _ in range(3)))
        print(f"{n_active:6} {times[0] / n_samples * 1e6:7.2f} {times[1] / n_samples * 1e6:7.2f}")


def two_threads(X, repeats):
    """Print the gain of two threads over one, BLAS being held to one in both."""
    gains = [
        iteration_time(X, "BSC", 10, options.iterations, 1)[0]
        / iteration_time(X, "BSC", 10, options.iterations, 2)[0]
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
        run = [sys.executable, "-c", statement]
        return seconds(lambda: subprocess.run(run, check=True))[0]

    ours, theirs = "import skprosper", "import sklearn.decomposition, numba"
    ratios = [time_of(ours) / time_of(theirs) for _ in range(repeats)]
    print(f"import skprosper: {np.median(ratios):.2f} times {theirs}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--iterations", type=int, default=10, help="that one fit has more")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    patches = load_image_patches(options.samples, patch_size=16, random_state=0)
    table(patches, options.repeats)
    if not options.table_only:
        against_active(2_000)
        two_threads(patches, options.repeats)
        first_fits()
        imports(5)
