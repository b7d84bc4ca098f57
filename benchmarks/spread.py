"""Natural image patches: how much the lower bound depends on the seed, with and without annealing.

Whitened patches of 12 x 12 pixels, 288 components. Prints the bound that each seed
reaches, and the spread (best less worst, over the magnitude of the best).

    python benchmarks/spread.py --model TSC --seeds 10
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from recovery import MODELS

import skprosper
from skprosper.datasets import load_image_patches


def bounds(model, X, n_components, seeds, **params):
    """Return the lower bound that each seed reaches, nats per patch."""
    reached = []
    for seed in range(seeds):
        estimator = getattr(skprosper, MODELS[model][0])(
            n_components, n_jobs=1, random_state=seed, **params
        )
        start = perf_counter()
        estimator.fit(X)
        seconds = perf_counter() - start
        reached.append(estimator.lower_bound_)
        print(
            f"  seed {seed}: {reached[-1]:.3f} nats, {estimator.n_iter_} iterations, "
            f"{seconds:.0f} s",
            flush=True,
        )
    return np.array(reached)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="TSC")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--components", type=int, default=288)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    X = load_image_patches(options.samples, patch_size=12, random_state=0)
    results = {}
    for name, params in {"defaults": {}, "annealing=None": {"annealing": None}}.items():
        print(f"{options.model}, {name}")
        results[name] = bounds(options.model, X, options.components, options.seeds, **params)
        best, worst = results[name].max(), results[name].min()
        print(f"  spread {(best - worst) / abs(best):.2%} between {worst:.2f} and {best:.2f}")
    gain = results["defaults"] - results["annealing=None"]
    print(f"gain by annealing: {gain.min():.2f} to {gain.max():.2f} nats per patch")
