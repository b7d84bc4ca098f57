"""One probability for all latents, or one for each: what is learned with either.

Bars: of how many seeds all are found, at the defaults (see recovery.py), 10 components and 15.
Natural patches: the bound in training and the score of held-out ones. Denoising: PSNR of
photographs under noise of standard deviation 50, from binary codes of raw patches of 8 x 8.

    python benchmarks/tied.py --seeds 20
"""

import argparse
import warnings

import numpy as np
from recovery import study
from skimage import data as pictures
from skimage.metrics import peak_signal_noise_ratio
from threadpoolctl import threadpool_limits

from skprosper import BinarySparseCoding, DiscreteSparseCoding, TernarySparseCoding
from skprosper.datasets import load_image_patches
from skprosper.image import extract_patches, reconstruct_from_patches

MODELS = {"BSC": BinarySparseCoding, "TSC": TernarySparseCoding, "DSC": DiscreteSparseCoding}
PICTURES = ("camera", "coins", "moon")


def bars(seeds):
    print("model  size     H  all found   pi: median, worst   sigma: median, worst   s")
    with threadpool_limits(1):
        for n_components in (10, 15):
            for name in ("BSC", "TSC", "DSC", "MCA", "MMCA"):
                for tied in (True, False):
                    print("tied" if tied else "own ", end=" ")
                    study(name, 5, range(seeds), n_components, tied=tied)


def patches(seeds):
    X = load_image_patches(6000, patch_size=12, random_state=0)
    held_out = load_image_patches(2000, patch_size=12, random_state=99)
    print("model  probability   train  held out  active   (144 components, nats)")
    for name, model in MODELS.items():
        for tied in (True, False):
            for seed in range(seeds):
                fit = model(144, tied=tied, max_iter=60, n_jobs=2, random_state=seed).fit(X)
                print(
                    f"{name:6} {'tied' if tied else 'own':11} {fit.lower_bound_:7.2f} "
                    f"{fit.score(held_out):8.2f} {fit.usage_.sum():7.2f}",
                    flush=True,
                )


def denoised(clean, tied, seed):
    """Return the PSNR of posterior means of the patches, averaged where they overlap."""
    rng = np.random.default_rng(seed)
    noisy = clean + 50.0 * rng.standard_normal(clean.shape)
    Y = extract_patches(noisy, 8)
    mean = Y.mean(axis=1, keepdims=True)
    model = BinarySparseCoding(256, tied=tied, max_iter=50, n_jobs=2, random_state=seed)
    rows = rng.choice(len(Y), 20_000, replace=False)
    estimate = model.fit((Y - mean)[rows]).reconstruct(Y - mean) + mean
    return peak_signal_noise_ratio(
        clean, reconstruct_from_patches(estimate, 8, clean.shape), data_range=255
    )


def denoising(seeds):
    print("picture  tied  own   (dB, 256 x 256, sigma 50, 256 binary components)")
    for name in PICTURES:
        clean = getattr(pictures, name)()[:256, :256].astype(np.float64)
        found = [
            np.mean([denoised(clean, tied, s) for s in range(seeds)]) for tied in (True, False)
        ]
        print(f"{name:8} {found[0]:.2f} {found[1]:.2f}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of the bars")
    parser.add_argument("--parts", nargs="+", default=["bars", "patches", "denoising"])
    options = parser.parse_args()
    for part in options.parts:
        {"bars": bars, "patches": patches, "denoising": denoising}[part](
            options.seeds if part == "bars" else 2
        )
