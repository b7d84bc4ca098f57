"""Denoising of photographs: skprosper.image.denoise beside BM3D and dictionary learners.

Gray images of scikit-image, 256 x 256 or what is there of it, under Gaussian noise of
standard deviation 15, 25 and 50. BM3D and the dictionary learners (K-SVD of dictlearn,
MiniBatchDictionaryLearning of scikit-learn, both with orthogonal matching pursuit up to
the error of the noise) are told the noise; skprosper infers it. Prints PSNR in dB (after
clipping to 0..255), the inferred noise and the seconds, then means over the images.
"""

import argparse
from time import perf_counter

import bm3d
import dictlearn
import numpy as np
from skimage import data
from sklearn.decomposition import MiniBatchDictionaryLearning

from skprosper.image import denoise, extract_patches, reconstruct_from_patches
from skprosper.metrics import psnr

IMAGES = ("camera", "coins", "brick", "moon", "page", "text", "grass", "gravel")
# Of patches of 8 x 8; the gain is that of K-SVD denoising (Elad, Aharon 2006).
PATCH_SIZE, N_ATOMS, ERROR_GAIN = 8, 256, 1.15


def photograph(name):
    """Return an image of at most 256 x 256 as float64 in 0..255."""
    image = getattr(data, name)().astype(np.float64)
    return image[::2, ::2] if name == "camera" else image[:256, :256]


def pursued(noisy, sigma, learner):
    """Denoise by error-constrained pursuit over the atoms that a learner finds."""
    patches = extract_patches(noisy, PATCH_SIZE)
    means = patches.mean(axis=1, keepdims=True)
    centred = patches - means
    chosen = np.random.default_rng(0).permutation(len(centred))[:20_000]
    atoms = learner.fit(centred[chosen]).components_
    atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    error = PATCH_SIZE**2 * (ERROR_GAIN * sigma) ** 2
    codes = dictlearn.sparse_encode(
        centred, atoms, algorithm="batch_omp", tol=error, n_nonzero_coefs=PATCH_SIZE**2 // 2
    )
    return reconstruct_from_patches(codes @ atoms + means, PATCH_SIZE, noisy.shape)


def ksvd(noisy, sigma):
    learner = dictlearn.DictionaryLearning(
        N_ATOMS, fit_algorithm="aksvd", n_nonzero_coefs=4, max_iter=15, random_state=0
    )
    return pursued(noisy, sigma, learner)


def mini_batch(noisy, sigma):
    # the penalty of the scikit-learn example, in units of the noise
    learner = MiniBatchDictionaryLearning(
        N_ATOMS, alpha=ERROR_GAIN * sigma, batch_size=256, max_iter=10, random_state=0
    )
    return pursued(noisy, sigma, learner)


def skprosper(noisy, fast):
    result, model = denoise(
        noisy, fast=fast, n_jobs=options.jobs, random_state=0, return_estimator=True
    )
    inferred.append(model.noise_variance_**0.5)
    return result


METHODS = {
    "full": lambda noisy, sigma: skprosper(noisy, False),
    "fast": lambda noisy, sigma: skprosper(noisy, True),
    "BM3D": bm3d.bm3d,
    "K-SVD": ksvd,
    "MiniBatch": mini_batch,
}


def table(sigma, methods):
    """Print the rows of one noise level and their mean."""
    print(f"\nnoise {sigma}{'':8}" + "".join(f"{method:>18}" for method in methods), flush=True)
    rows = []
    for name in options.images:
        image = photograph(name)
        noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
        text, row = f"{name:16}", []
        inferred.clear()
        for method in methods:
            start = perf_counter()
            result = METHODS[method](noisy, float(sigma))
            seconds = perf_counter() - start
            row.append(psnr(np.clip(result, 0, 255), image, data_range=255))
            text += f"{row[-1]:9.2f} ({seconds:4.0f} s)"
        print(text + "".join(f"   inferred {value:.2f}" for value in inferred[:1]), flush=True)
        rows.append(row)
    print(f"{'mean':16}" + "".join(f"{value:9.2f}         " for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=IMAGES, choices=IMAGES)
    parser.add_argument("--sigmas", nargs="+", type=int, default=[15, 25, 50])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    inferred = []
    for sigma in options.sigmas:
        table(sigma, options.methods)
