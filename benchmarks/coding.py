"""Coding new patches with a learned model, beside matching pursuit with as many components.

``transform`` of each model, 256 components learned from natural patches of 12 x 12 pixels
(absolute values for MCA) by a short default fit, on 8,000 patches of another seed, and
SPAMS's orthogonal matching pursuit with five and with ten elements of BSC's components on
the same patches, with as many threads, float64. They take turns; the smallest of several
times counts. A code of a model is the mean of a posterior over many states, one of pursuit
is one choice. Prints microseconds per data point, times in units of the pursuit with five
elements and how many latents are active.

    python benchmarks/coding.py --models BSC TSC
"""

import argparse
import warnings

import numpy as np
import spams
from iteration import MODELS, seconds
from learners import unit_rows
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skprosper.datasets import load_image_patches

N_COMPONENTS, N_CODED = 256, 8_000


def patches(model, n_samples, seed):
    X = load_image_patches(n_samples, patch_size=12, random_state=seed)
    return np.abs(X) if model == "MCA" else X


def pursuit(D, Y, n_elements, n_jobs):
    """Return a function that codes the columns of Y."""
    return lambda: spams.omp(Y, D=D, L=n_elements, numThreads=n_jobs)


def learned(model, n_samples, max_iter, n_jobs):
    estimator = MODELS[model](N_COMPONENTS, max_iter=max_iter, random_state=0, n_jobs=n_jobs)
    return estimator.fit(patches(model, n_samples, 0))


def microseconds(coders, repeats):
    """Return the smallest time of each, in turns, per data point."""
    times = {name: [] for name in coders}
    for _ in range(repeats):
        for name, code in coders.items():
            times[name].append(seconds(code)[0])
    return {name: 1e6 * min(spent) / N_CODED for name, spent in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--samples", type=int, default=5_000, help="that are learned from")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    dictionary = learned("BSC", options.samples, options.iterations, options.jobs).components_
    D = np.asfortranarray(unit_rows(dictionary).T)
    print("model      us  x pursuit  active   (pursuit with five elements beside each)")
    for model in options.models:
        fit = learned(model, options.samples, options.iterations, options.jobs)
        X = patches(model, N_CODED, 1)
        Y = np.asfortranarray(X.T)
        with threadpool_limits(options.jobs):
            times = microseconds(
                {
                    "model": lambda: fit.transform(X),
                    "five": pursuit(D, Y, 5, options.jobs),
                    "ten": pursuit(D, Y, 10, options.jobs),
                },
                options.repeats,
            )
        active = fit.set_params(code="probability").transform(X).sum(axis=1).mean()
        print(
            f"{model:5} {times['model']:7.2f} {times['model'] / times['five']:10.2f} {active:7.1f}"
            f"   (five {times['five']:.2f} us, ten {times['ten']:.2f} us)",
            flush=True,
        )
