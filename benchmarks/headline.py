"""The published size on two cores: H = 800 binary components on 100,000 patches of 16 x 16.

25.6 million numbers and 205,000 parameters learned in 100 iterations of EM from the
default start, annealing and moves included; then spike-and-slab components, H = 400. Prints the
time of an iteration, the time per data point and that of the whole run; with fewer
iterations what the whole run would take.
"""

import argparse
from time import perf_counter

import numpy as np

from skprosper import BinarySparseCoding, GaussianSparseCoding
from skprosper.datasets import load_image_patches

RUNS = {"bsc": (BinarySparseCoding, 800), "gsc": (GaussianSparseCoding, 400)}


class Clock:
    """Callback that notes when each iteration ends, by wall clock or by ``now``."""

    def __init__(self, now=perf_counter):
        self.now = now

    def setup(self, estimator, context):
        self.times = []

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.times.append(self.now())


def run(name, X, options):
    model_class, n_components = RUNS[name]
    n_components = options.components or n_components
    clock = Clock()
    model = model_class(
        n_components, max_iter=options.iterations, tol=0, n_jobs=options.jobs, random_state=0
    ).set_callbacks(clock)
    start = perf_counter()
    model.fit(X)
    total = perf_counter() - start
    each = np.diff(clock.times)
    n_parameters = model.components_.size
    print(
        f"{name}: {X.size / 1e6:.1f} million numbers, H = {n_components}, "
        f"{n_parameters:,} parameters, {X.dtype.name}, {options.jobs} jobs"
    )
    print(
        f"  iteration: median {np.median(each):.2f} s, {np.median(each) / len(X) * 1e6:.1f} us per "
        f"data point (first {each[0]:.2f} s, last {each[-1]:.2f} s)"
    )
    print(f"  {options.iterations} iterations: {total / 60:.2f} minutes")
    if options.iterations < 100:
        whole = total + (100 - options.iterations) * np.median(each)
        print(f"  100 iterations would take {whole / 60:.2f} minutes")
    bounds = model.lower_bounds_
    print(f"  lower bound {bounds[0]:.2f} -> {bounds[-1]:.2f} nats per data point", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--components", type=int, help="instead of 800 and 400")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    options = parser.parse_args()
    patches = load_image_patches(options.samples, patch_size=16, random_state=0)
    for name in options.models:
        run(name, patches.astype(options.dtype), options)
