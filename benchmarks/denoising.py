"""Denoising of photographs: skprosper.image.denoise beside BM3D and dictionary learners.

Images of 256 x 256 under Gaussian noise of standard deviation 15, 25 and 50: the test set
of benchmarks/photographs.py, or with ``--development`` the images that start values and
constants come from. BM3D and the dictionary learners (K-SVD of dictlearn,
MiniBatchDictionaryLearning of scikit-learn, both with orthogonal matching pursuit up to the
error of the noise) are told the noise; skprosper infers it. With ``--colour`` images that
have it, and BM3D for colour. Prints PSNR in dB (after clipping to 0..255), mean and spread
over the seeds of the noise, the seconds and the inferred noise, then means over the images.
With ``--noise`` the inferred noise alone, in units of the true one.
"""

import argparse
from time import perf_counter

import bm3d
import dictlearn
import numpy as np
from photographs import ASIDE, DEVELOPMENT, TEST, full_size, photograph
from sklearn.decomposition import MiniBatchDictionaryLearning

from skprosper.image import denoise, extract_patches, reconstruct_from_patches
from skprosper.image.noise_level import noise_of_patches
from skprosper.metrics import psnr

# Of patches of 8 x 8; the gain is that of K-SVD denoising (Elad, Aharon 2006).
PATCH_SIZE, N_ATOMS, ERROR_GAIN = 8, 256, 1.15


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


def ksvd(noisy, sigma, jobs):
    learner = dictlearn.DictionaryLearning(
        N_ATOMS, fit_algorithm="aksvd", n_nonzero_coefs=4, max_iter=15, random_state=0
    )
    return pursued(noisy, sigma, learner), None


def mini_batch(noisy, sigma, jobs):
    # the penalty of the scikit-learn example, in units of the noise
    learner = MiniBatchDictionaryLearning(
        N_ATOMS, alpha=ERROR_GAIN * sigma, batch_size=256, max_iter=10, random_state=0
    )
    return pursued(noisy, sigma, learner), None


def skprosper(noisy, jobs, fast):
    axis = -1 if noisy.ndim == 3 else None
    result, model = denoise(
        noisy,
        fast=fast,
        channel_axis=axis,
        n_jobs=jobs,
        random_state=0,
        return_estimator=True,
    )
    return result, model.noise_variance_**0.5


def told(noisy, sigma, jobs):
    result = bm3d.bm3d_rgb(noisy, sigma) if noisy.ndim == 3 else bm3d.bm3d(noisy, sigma)
    return result, None


# each returns the image and the noise that it inferred, None where it was told
METHODS = {
    "full": lambda noisy, sigma, jobs: skprosper(noisy, jobs, fast=False),
    "fast": lambda noisy, sigma, jobs: skprosper(noisy, jobs, fast=True),
    "BM3D": told,
    "K-SVD": ksvd,
    "MiniBatch": mini_batch,
}


def table(sigma, names, methods, seeds, jobs, colour=False):
    """Print the rows of one noise level and their mean."""
    print(f"\nnoise {sigma}{'':14}" + "".join(f"{method:>20}" for method in methods), flush=True)
    rows = []
    for name in names:
        image = photograph(name, colour)
        scores, seconds = np.empty((2, len(methods), seeds))
        inferred = []
        for seed in range(seeds):
            noisy = image + sigma * np.random.default_rng(seed).standard_normal(image.shape)
            for k, method in enumerate(methods):
                start = perf_counter()
                result, found = METHODS[method](noisy, float(sigma), jobs)
                seconds[k, seed] = perf_counter() - start
                if found is not None:
                    inferred.append(found)
                scores[k, seed] = psnr(np.clip(result, 0, 255), image, data_range=255)
        text = f"{name:22}"
        for score, second in zip(scores, seconds):
            text += f"{score.mean():7.2f} ± {score.std():.2f} ({second.mean():2.0f} s)"
        noises = f"   inferred {min(inferred):.1f} to {max(inferred):.1f}" if inferred else ""
        print(text + noises, flush=True)
        rows.append(scores.mean(axis=1))
    print(f"{'mean':22}" + "".join(f"{value:7.2f}{'':13}" for value in np.mean(rows, axis=0)))


def noise_table(names, sigmas, seeds, colour):
    """Print the inferred noise in units of the true one."""
    print(f"\n{'noise':22}" + "".join(f"{sigma:>14}" for sigma in sigmas))
    errors = []
    for name in names:
        image = photograph(name, colour)
        ratios = np.empty((len(sigmas), seeds))
        for k, sigma in enumerate(sigmas):
            for seed in range(seeds):
                noisy = image + sigma * np.random.default_rng(seed).standard_normal(image.shape)
                variance = noise_of_patches(noisy, 2, np.random.RandomState(0))
                ratios[k, seed] = variance**0.5 / sigma
        print(f"{name:22}" + "".join(f"{r.min():8.3f} {r.max():5.3f}" for r in ratios), flush=True)
        errors.append(np.abs(np.log(ratios)).mean(axis=1))
    print(f"{'mean error of the log':22}" + "".join(f"{e:14.3f}" for e in np.mean(errors, axis=0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", default=None, choices=TEST + DEVELOPMENT + ASIDE)
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--sigmas", nargs="+", type=int, default=[15, 25, 50])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=["full", "fast", "BM3D"], choices=METHODS)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = options.images or (DEVELOPMENT + ASIDE if options.development else TEST)
    if options.colour:
        chosen = [name for name in chosen if full_size(name, colour=True).ndim == 3]
    if options.noise:
        noise_table(chosen, options.sigmas, options.seeds, options.colour)
    else:
        for level in options.sigmas:
            table(level, chosen, options.methods, options.seeds, options.jobs, options.colour)
