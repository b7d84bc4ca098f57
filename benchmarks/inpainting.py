"""Values missing from images: skprosper.image.inpaint beside biharmonic inpainting.

Images of 256 x 256 from which 50 or 80 % of the values are missing, drawn for each pixel
and channel, without noise and with noise of standard deviation 25: those of the test set,
or with ``--development`` those on which everything was chosen. scikit-image's
inpaint_biharmonic is followed by BM3D, told the noise, where there is some; skprosper
infers it. Prints PSNR in dB (after clipping to 0..255) and the seconds, then means.
"""

import argparse
from time import perf_counter

import bm3d
import numpy as np
from photographs import ASIDE, DEVELOPMENT, TEST, full_size, photograph
from skimage.restoration import inpaint_biharmonic

from skprosper.image import inpaint
from skprosper.metrics import psnr


def biharmonic(image, missing, sigma):
    known = np.where(missing, 0.0, image) / 255
    channels = np.moveaxis(np.atleast_3d(known), -1, 0), np.moveaxis(np.atleast_3d(missing), -1, 0)
    # its mask is of pixels, ours of values: a channel at a time
    filled = [inpaint_biharmonic(channel.copy(), mask.copy()) for channel, mask in zip(*channels)]
    filled = 255 * np.moveaxis(filled, 0, -1).reshape(image.shape)
    if not sigma:
        return filled
    return bm3d.bm3d_rgb(filled, sigma) if image.ndim == 3 else bm3d.bm3d(filled, sigma)


def skprosper(image, missing, fast):
    axis = -1 if image.ndim == 3 else None
    return inpaint(
        image, missing, fast=fast, channel_axis=axis, n_jobs=options.jobs, random_state=0
    )


METHODS = {
    "full": lambda image, missing, sigma: skprosper(image, missing, False),
    "fast": lambda image, missing, sigma: skprosper(image, missing, True),
    "biharmonic": biharmonic,
}


def table(share, sigma, names):
    """Print the rows of one share of missing values and their mean."""
    noise = f", noise {sigma}" if sigma else ""
    print(
        f"\n{share:.0%} missing{noise:14}" + "".join(f"{method:>18}" for method in options.methods)
    )
    rows = []
    for name in names:
        image = photograph(name, options.colour)
        rng = np.random.default_rng(0)
        missing = rng.random(image.shape) < share
        observed = image + sigma * rng.standard_normal(image.shape)
        text, row = f"{name:26}", []
        for method in (METHODS[name] for name in options.methods):
            start = perf_counter()
            result = method(observed, missing, float(sigma))
            seconds = perf_counter() - start
            row.append(psnr(np.clip(result, 0, 255), image, data_range=255))
            text += f"{row[-1]:9.2f} ({seconds:4.0f} s)"
        print(text, flush=True)
        rows.append(row)
    print(f"{'mean':26}" + "".join(f"{value:9.2f}{'':9}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=None, choices=TEST + DEVELOPMENT + ASIDE)
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.5, 0.8])
    parser.add_argument("--sigmas", nargs="+", type=int, default=[0, 25])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = options.images or (DEVELOPMENT + ASIDE if options.development else TEST)
    if options.colour:
        chosen = [name for name in chosen if full_size(name, colour=True).ndim == 3]
    for level in options.sigmas:
        for part in options.shares:
            table(part, level, chosen)
