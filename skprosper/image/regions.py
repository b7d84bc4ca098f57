"""Pictures from estimates of their patches, region by region."""

from copy import copy
from itertools import pairwise, product

import numpy as np
from joblib import Parallel, delayed
from sklearn import config_context

from ..parallel.chunks import one_blas_thread
from ..priors import SpikeSlabPrior
from .patches import mean_over_space, windows_of

# Places of patches in a region, and the patches that the whole image counts as in it.
_REGION, _GLOBAL = 400, 10
_LEAST_PROBABILITY, _MOST_PROBABILITY = 1e-6, 0.999
# Weight of a patch in the mean: 1 / (this + components active).
_NONE_ACTIVE = 0.5


def from_patches(
    estimate, pixels, patch_size, steps, name, *, smooth=None, share=None, n_jobs=None
):
    """Return the mean over all patches of what ``estimate`` makes of each.

    The patches of a region, a square of places, are restored together; no more than those
    of a region are held. The regions follow from the shape of the image alone.

    Parameters
    ----------
    estimate : callable
        Takes patches (n_patches, n_features), returns as many and the weight of each.
    pixels : ndarray of shape space + channels
    patch_size : tuple of ints
    steps : steps of `as_one_task`
        Of which this is one.
    name : str
        Its name.
    smooth : ndarray of the shape of ``pixels``, default=None
        An image the means of whose patches, of every channel, are taken from the patches
        and given back to the estimates. None: nothing is.
    share : ndarray over the places of patches, default=None
        Another factor of the weights; patches of 0 are left out. None: 1 for all.
    n_jobs : int, default=None
        Regions worked on at a time.

    Returns
    -------
    estimates : ndarray of the shape of ``pixels``, float64
        NaN where there is no patch.
    """
    n_space = len(patch_size)
    windows = windows_of(pixels, patch_size)
    levels = None if smooth is None else windows_of(smooth, patch_size)

    def restored(region):
        used = np.ones([part.stop - part.start for part in region], dtype=bool)
        if share is not None:
            used = share[region] > 0.0
        shape = used.shape + windows.shape[n_space:]
        weight = np.zeros([n + side - 1 for n, side in zip(used.shape, patch_size)])
        total = np.zeros(weight.shape + pixels.shape[n_space:])
        if not used.any():
            return region, total, weight
        patches = windows[region][used]
        means = None
        if levels is not None:
            means = mean_over_space(levels[region][used], patch_size)
            patches = patches - means
        with config_context(transform_output="default"):
            estimates, weights = estimate(patches.reshape(len(patches), -1))
        estimates = np.asarray(estimates, dtype=np.float64).reshape(patches.shape)
        if means is not None:
            estimates = estimates + means
        if share is not None:
            weights = weights * share[region][used]
        shares, values = np.zeros(used.shape), np.zeros(shape)
        shares[used] = weights
        values[used] = estimates * weights.reshape((-1,) + (1,) * (estimates.ndim - 1))
        for where in np.ndindex(*patch_size):
            there = tuple(slice(i, i + n) for i, n in zip(where, used.shape))
            total[there] += values[(slice(None),) * n_space + where]
            weight[there] += shares
        return region, total, weight

    total, weight = np.zeros(pixels.shape), np.zeros(pixels.shape[:n_space])
    # in threads, whatever the backend: what the regions share is not sent
    workers = Parallel(n_jobs=n_jobs, require="sharedmem", return_as="generator")
    regions = _regions(windows.shape[:n_space])
    # products of matrices on one thread each: with more their last bits depend on what else runs
    with one_blas_thread():
        parts = workers(delayed(restored)(region) for region in regions)
        for region, part, shares in steps.parts(parts, len(regions), name):
            there = tuple(
                slice(places.start, places.start + n) for places, n in zip(region, shares.shape)
            )
            total[there] += part
            weight[there] += shares
    weight = weight.reshape(weight.shape + (1,) * (pixels.ndim - n_space))
    return np.divide(total, weight, out=np.full(pixels.shape, np.nan), where=weight > 0.0)


def by_region(model, shrinkage, n_rounds):
    """Return an estimate of patches by a model whose prior follows the region they are of.

    A component's probability is its mean use in the region and in some patches of the
    whole image: an EM step of the prior for each region. The weights are those of patches
    whose estimates vary as the number of components active in them.

    Parameters
    ----------
    model : SparseCoding
        Fitted, with a spike-and-slab prior.
    shrinkage : float
        Share of the noise variance at which the posterior means are taken.
    n_rounds : int
        How often the probabilities are adapted.
    """
    prior = model.prior_
    plain = copy(model).set_params(code="probability", n_jobs=1)

    def estimate(patches):
        local = copy(plain)
        probability = local.transform(patches)
        for remaining in reversed(range(n_rounds)):
            uses = probability.sum(axis=0, dtype=np.float64) + _GLOBAL * prior.probability
            uses = np.clip(uses / (len(patches) + _GLOBAL), _LEAST_PROBABILITY, _MOST_PROBABILITY)
            local.prior_ = SpikeSlabPrior(uses, prior.mean, prior.covariance, prior.learn_mean)
            if remaining:
                probability = local.transform(patches)
        local.noise_variance_ = shrinkage * model.noise_variance_
        return local.reconstruct(patches), 1.0 / (_NONE_ACTIVE + probability.sum(axis=1))

    return estimate


def alike(model):
    """Return the estimate of patches by any model, of equal weights."""

    def estimate(patches):
        return model.reconstruct(patches), np.ones(len(patches))

    return estimate


def _regions(places):
    """Return squares of places, as tuples of slices, that cover all of them."""
    side = _REGION ** (1 / len(places))
    parts = []
    for length in places:
        edges = np.linspace(0, length, max(1, round(length / side)) + 1).astype(int)
        parts.append([slice(*edge) for edge in pairwise(edges)])
    return list(product(*parts))
