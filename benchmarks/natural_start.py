"""The start values of `skprosper.image`: dictionaries of patches of natural images.

Learns `GaussianSparseCoding` on patches of the development images of
benchmarks/photographs.py, at their size and at half of it, each image in units of its
standard deviation, its mean at 2, under a little noise, and writes what it learned to
skprosper/image/natural.npz. ``--leave-out`` keeps images aside, to judge choices on them;
give another ``--output`` with it.
"""

import argparse
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from photographs import DEVELOPMENT, full_size
from sklearn.exceptions import ConvergenceWarning

from skprosper import GaussianSparseCoding
from skprosper.image import extract_patches
from skprosper.image.natural import SHIFT

OUTPUT = Path(__file__).resolve().parents[1] / "skprosper" / "image" / "natural.npz"
# side of a patch: number of components
SIZES = {8: 2048, 12: 1024}
N_PATCHES, NOISE, MAX_ITER = 200_000, 0.15, 40


def training_patches(side, names, random_state):
    """Return patches, the same number of each image and size."""
    each = N_PATCHES // (2 * len(names))
    patches = []
    for name in names:
        whole = full_size(name)
        for image in (whole, whole[::2, ::2]):
            image = (image - image.mean()) / image.std() + SHIFT
            n_places = np.prod([length - side + 1 for length in image.shape])
            patches.append(
                extract_patches(
                    image,
                    side,
                    max_patches=min(each, n_places),
                    random_state=random_state,
                )
            )
    patches = np.concatenate(patches)
    patches += NOISE * random_state.standard_normal(patches.shape)
    return patches.astype(np.float32)


def learned(side, n_components, names):
    """Return the arrays of one size of patches."""
    patches = training_patches(side, names, np.random.RandomState(0))
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianSparseCoding(
            n_components,
            learn=("components", "prior"),
            noise_init=NOISE**2,
            annealing=None,
            max_iter=MAX_ITER,
            tol=1e-4,
            n_jobs=2,
            random_state=0,
        ).fit(patches)
    prior = model.prior_
    print(
        f"{side} x {side}: {n_components} components, {len(patches)} patches, "
        f"{model.lower_bound_:.2f} nats, {prior.probability.sum():.2f} active, "
        f"{perf_counter() - start:.0f} s",
        flush=True,
    )
    order = np.argsort(-prior.probability)
    return {
        f"components_{side}": model.components_[order].astype(np.float16),
        f"probability_{side}": prior.probability[order].astype(np.float32),
        f"mean_{side}": prior.mean[order].astype(np.float32),
        f"variance_{side}": prior.covariance[order].astype(np.float32),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leave-out", nargs="*", default=[], choices=DEVELOPMENT)
    parser.add_argument("--output", default=OUTPUT)
    options = parser.parse_args()
    names = [name for name in DEVELOPMENT if name not in options.leave_out]
    arrays = {}
    for side, n_components in SIZES.items():
        arrays |= learned(side, n_components, names)
    np.savez(options.output, **arrays)
    print(f"wrote {options.output}")
