"""Natural image patches: how much the lower bound depends on the seed, with and without annealing.

Whitened patches of 12 x 12 pixels, 288 components, defaults, and the same with
``annealing=None``. Prints the lower bound that the worst and the best seed reach, the
spread (best less worst, over the magnitude of the best), the least gain by annealing of
a seed, and the seconds of a fit on one core, median over the seeds.

    python benchmarks/spread.py --models TSC --seeds 10
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from recovery import MODELS

import skprosper
from skprosper.datasets import load_image_patches


def bounds(model, X, n_components, seeds, verbose, **params):
    """Return the lower bound that each seed reaches, nats per patch, and its seconds."""
    reached = []
    for seed in range(seeds):
        estimator = getattr(skprosper, MODELS[model][0])(
            n_components, n_jobs=1, random_state=seed, **params
        )
        start = perf_counter()
        estimator.fit(X)
        reached.append((estimator.lower_bound_, perf_counter() - start))
        if verbose:
            print(
                f"  seed {seed}: {reached[-1][0]:.3f} nats, {estimator.n_iter_} iterations, "
                f"{reached[-1][1]:.0f} s",
                flush=True,
            )
    return np.transpose(reached)


def study(model, X, options):
    """Print the rows of a model: with its defaults, and without annealing."""
    fits = options.components, options.seeds, options.verbose
    default = bounds(model, X, *fits, center=options.center)
    plain = bounds(model, X, *fits, center=options.center, annealing=None)
    for name, (reached, seconds) in {"defaults": default, "annealing=None": plain}.items():
        best, worst = reached.max(), reached.min()
        gain = f"{np.min(default[0] - plain[0]):12.2f}" if name == "defaults" else 12 * " "
        print(
            f"{model:5} {name:14} {worst:9.2f} {best:9.2f} {(best - worst) / abs(best):8.2%}"
            f"{gain} {np.median(seconds):9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--components", type=int, default=288)
    parser.add_argument("--center", choices=["best", "zero"], default="best")
    parser.add_argument("--verbose", action="store_true", help="print every run")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    patches = load_image_patches(options.samples, patch_size=12, random_state=0)
    print("model                    worst      best   spread  least gain   seconds")
    for name in options.models:
        study(name, patches, options)
