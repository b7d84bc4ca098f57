"""Denoising of images whose noise is unknown."""

from copy import copy
from numbers import Integral, Real

import numpy as np
from scipy.ndimage import (
    gaussian_gradient_magnitude,
    maximum_filter,
    minimum_filter,
    uniform_filter,
)
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from ..models import GaussianSparseCoding
from ..priors import SpikeSlabPrior
from ..validation import check_magnitude
from .patches import (
    channels_last,
    check_patch_size,
    extract_patches,
    fitting,
    reconstruct_from_patches,
    sides_like,
    space_of,
)
from .restoration import checked_image, on_a_budget

# Side of a patch in pixels, and where noise prevails.
_PATCH, _WIDE_PATCH = 8, 10
# What `denoise` learns: components and EM iterations of the coarse and the fine model.
_FULL = {"coarse": (256, 20), "fine": (1024, 30)}
_FAST = {"coarse": (128, 10), "fine": (768, 12)}
_PRUNED_ITERATIONS = 8
# The coarse model, of patches twice as wide, learns from one patch in so many.
_COARSE_STEP = 3
# Patches overlap: averaging them reduces noise but not what shrinking took away, so a
# patch is shrunk less than would be best for it alone.
_SHRINKAGE = 0.65
# The largest number of components is one per so many patches.
_LEAST_PATCHES = 32
# A component used by no more patches than this fits their noise.
_LEAST_USES = 16
# Share of the patches' variances, the smallest ones, that hold nothing but noise.
_NOISE_SHARE = 1 / 8
_NOISE_PATCH = 8
# Side of regions that are exactly flat or crowded with saturated pixels, share of an image's
# pixels at its least or largest value above which they are saturated, and of a region's.
_SILENT_SIDE, _SATURATED, _CROWDED = 5, 1e-3, 0.1
# Patches for each pixel of a patch that have to be left to estimate the noise from.
_LEAST_EVIDENCE = 4
# Scale in pixels at which patches are judged flat, and what that choice takes from the
# variance of pure noise.
_FLAT_SCALE = 2.0
_FLAT_GAIN = 1 / 0.95**2
# Noise below this share of the patches' mean square has no effect.
_LEAST_NOISE = 1e-5


@validate_params(
    {
        "image": ["array-like"],
        "estimator": [HasMethods(["fit", "reconstruct"]), None],
        "noise_variance": [Interval(Real, 0, None, closed="neither"), None],
        "patch_size": [Interval(Integral, 2, None, closed="left"), tuple, None],
        "fast": ["boolean"],
        "channel_axis": [Integral, None],
        "callbacks": [list, tuple, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "return_estimator": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def denoise(
    image,
    estimator=None,
    *,
    noise_variance=None,
    patch_size=None,
    fast=False,
    channel_axis=None,
    callbacks=None,
    n_jobs=None,
    random_state=None,
    return_estimator=False,
):
    r"""Remove Gaussian noise of unknown strength from an image.

    The model is learned from the noisy image itself. Its overlapping patches are sparse
    superpositions under noise [1]_; every patch is replaced by its posterior mean, and
    a pixel is the mean over the patches that hold it, those with few active components
    weighing more. This is done twice: a coarse model of patches twice as wide first
    gives the means of the patches, which the fine model takes for granted.

    The noise need not be known. Its variance is the mean of the smallest eigenvalues of
    the covariance of patches, of all or of flat ones, whichever is less: along these
    directions natural images vary least [2]_. Patches with exactly flat or saturated
    regions, such as black borders, hold no evidence of it. In EM it stays as it is, or
    texture that no component explains would count as noise. The fine
    model starts with many components and keeps those whose gain in log-likelihood
    exceeds what their parameters cost: a component used by n patches of D pixels has to
    gain more than D / (2 n) nats in each, and to be used by more than 16.

    Parameters
    ----------
    image : array-like of any number of dimensions
        The noisy image, gray or with channels, or volume, of integers or floats in any
        range. The noise is of one variance and independent over pixels and channels: an
        alpha channel, which has no noise, is to be taken off.
    estimator : estimator instance, default=None
        The fine model, to be fitted to the patches less their means; it has ``fit`` and
        ``reconstruct``. None: `GaussianSparseCoding` as described.
    noise_variance : float, default=None
        Variance of the noise, in squared units of the image. None: it is inferred.
    patch_size : int or tuple of ints, default=None
        Sides of a patch of the fine model in pixels, (height, width) of an image. None: 8,
        or 10 where noise makes up more than half of the image's variance; of a volume
        sides for about as many pixels.
    fast : bool, default=False
        Whether to learn fewer components in fewer iterations.
    channel_axis : int, default=None
        The axis of the channels. None: there is none, the image is a gray one or a volume.
    callbacks : list of callbacks, default=None
        Callbacks of scikit-learn, for instance ``sklearn.callback.ProgressBar``, for the
        fits of the default models.
    n_jobs : int, default=None
        Chunks of patches worked on at a time, as in `SparseCoding`.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial components.
    return_estimator : bool, default=False
        Whether to return the fitted fine model too. Its ``noise_variance_`` is the
        variance of the noise, in squared units of the image.

    Returns
    -------
    denoised : ndarray of the shape and dtype of `image`
        The denoised image, inside the range of values of `image`.
    estimator : estimator instance
        The fitted fine model; only with ``return_estimator=True``.

    Raises
    ------
    ValueError
        If the image holds what is no finite number or is smaller than a patch, or has no
        such ``channel_axis``.

    See Also
    --------
    inpaint : For images with missing values.

    References
    ----------
    .. [1] M. Elad and M. Aharon. Image denoising via sparse and redundant
       representations over learned dictionaries. IEEE Transactions on Image Processing
       15, 3736-3745, 2006.
    .. [2] G. Chen, F. Zhu and P. A. Heng. An efficient statistical method for image
       noise level estimation. International Conference on Computer Vision, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.image import denoise
    >>> from skprosper.metrics import psnr
    >>> stripes = np.tile(np.where(np.arange(48) % 8 < 4, 50.0, 200.0), (48, 1))
    >>> noisy = stripes + 20 * np.random.default_rng(0).standard_normal((48, 48))
    >>> denoised, model = denoise(noisy, fast=True, random_state=0, return_estimator=True)
    >>> bool(psnr(denoised, stripes, 255) > psnr(noisy, stripes, 255) + 8)
    True
    """
    if np.ma.is_masked(image):
        raise ValueError("image is a masked array with hidden values; use inpaint.")
    image, pixels = checked_image(image)
    estimator = None if estimator is None else clone(estimator)
    pixels = channels_last(pixels, channel_axis)
    space = space_of(pixels.shape, channel_axis)
    adaptive = patch_size is None
    if adaptive:
        patch_size = sides_like(_PATCH, len(space))
    patch_size = check_patch_size(patch_size, space, channel_axis)
    random_state = check_random_state(random_state)
    settings = _FAST if fast else _FULL
    if pixels.min() == pixels.max():
        raise ValueError(f"image is constant, {pixels.flat[0]:g}: there is nothing to learn.")
    check_magnitude(pixels, "image")
    variance = noise_variance
    if variance is None:
        variance = _noise_variance(pixels, len(space))
    if adaptive and variance > 0.5 * pixels.var(dtype=np.float64):
        patch_size = fitting(sides_like(_WIDE_PATCH, len(space)), space)

    def fitted(patches, n_components, max_iter):
        model = GaussianSparseCoding(
            min(n_components, max(1, len(patches) // _LEAST_PATCHES)),
            learn_mean=False,
            learn=("components", "prior"),
            # what is inferred at, and which components pay, was chosen around the state 0
            center="zero",
            noise_init=variance,
            annealing=None,
            max_iter=max_iter,
            tol=1e-3,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        return model.set_callbacks(*(callbacks or ())).fit(patches)

    axis = None if channel_axis is None else -1
    wide = fitting((2 * side for side in patch_size), space)
    patches, means = _centred(pixels, pixels, wide, axis)
    with on_a_budget():
        coarse = fitted(patches[::_COARSE_STEP], *settings["coarse"])
    smooth = _assembled(coarse, patches, means, wide, pixels.shape, axis)
    patches, means = _centred(pixels, smooth, patch_size, axis)
    if estimator is None:
        with on_a_budget():
            estimator = _pruned(fitted(patches, *settings["fine"]), patches)
        denoised = _assembled(estimator, patches, means, patch_size, pixels.shape, axis)
    else:
        patches = estimator.fit(patches).reconstruct(patches) + means
        denoised = reconstruct_from_patches(patches, patch_size, pixels.shape, channel_axis=axis)
    denoised = np.clip(denoised, pixels.min(), pixels.max())
    if image.dtype.kind != "f":
        denoised = np.rint(denoised)
    denoised = denoised.astype(image.dtype)
    if channel_axis is not None:
        denoised = np.moveaxis(denoised, -1, channel_axis)
    return (denoised, estimator) if return_estimator else denoised


def _noise_variance(pixels, n_space):
    """Estimate the noise variance from directions in which patches vary least.

    The smaller of two estimates: from all patches, and from those where the image is
    flat at a larger scale, which have less texture. Not from patches that touch what is
    exactly flat, or much of which is saturated, unless there are few others.
    """
    space = pixels.shape[:n_space]
    side = fitting(sides_like(_NOISE_PATCH, n_space), space)
    channels = np.moveaxis(pixels.reshape(*space, -1).astype(np.float64), -1, 0)
    patches = np.concatenate([extract_patches(channel, side) for channel in channels])
    slopes = [gaussian_gradient_magnitude(channel, _FLAT_SCALE) for channel in channels]
    slopes = np.concatenate([extract_patches(slope, side).mean(axis=1) for slope in slopes])
    silent = np.concatenate(
        [
            extract_patches(_silent(channel).astype(np.int8), side).max(axis=1)
            for channel in channels
        ]
    )
    for level in (0, 1):
        heard = silent <= level
        if heard.sum() > _LEAST_EVIDENCE * patches.shape[1]:
            patches, slopes = patches[heard], slopes[heard]
            break
    flat = patches[slopes <= np.median(slopes)]
    estimate = min(
        _least_variance(patches, _NOISE_SHARE), _FLAT_GAIN * _least_variance(flat, 2 * _NOISE_SHARE)
    )
    return max(estimate, _LEAST_NOISE * patches.var())


def _silent(channel):
    """Return where the noise does not show: 2 in exactly flat regions, 1 where saturated."""
    flat = maximum_filter(channel, _SILENT_SIDE) == minimum_filter(channel, _SILENT_SIDE)
    result = 2 * maximum_filter(flat, _SILENT_SIDE).astype(np.int8)
    for extreme in (channel.min(), channel.max()):
        saturated = channel == extreme
        if saturated.mean() > _SATURATED:
            # alone it may be what the image holds there; among others it is clipped
            crowded = uniform_filter(saturated.astype(np.float64), _SILENT_SIDE) > _CROWDED
            result = np.maximum(result, crowded)
    return result


def _least_variance(patches, share):
    """Return the mean of a share of the eigenvalues of the patches' covariance."""
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(patches, rowvar=False)))
    return variances[: max(1, int(share * len(variances)))].mean()


def _centred(pixels, smooth, patch_size, channel_axis):
    """Return patches of an image less the means of those of another, and the means.

    Every channel has a mean of its own.
    """
    patches = extract_patches(pixels, patch_size, channel_axis=channel_axis)
    means = extract_patches(smooth, patch_size, channel_axis=channel_axis)
    n_pixels = int(np.prod(patch_size))
    means = means.reshape(len(means), n_pixels, -1).mean(axis=1)
    means = np.tile(means, n_pixels)
    return patches - means, means


def _assembled(model, patches, means, patch_size, shape, channel_axis):
    """Return the image of the patches' posterior means."""
    sharper = copy(model).set_params(code="probability")
    with config_context(transform_output="default"):
        n_active = sharper.transform(patches).sum(axis=1)
    sharper.noise_variance_ = _SHRINKAGE * model.noise_variance_
    # the variance of a patch's posterior mean rises with what is active, from that of its mean
    return reconstruct_from_patches(
        sharper.reconstruct(patches) + means,
        patch_size,
        shape,
        channel_axis=channel_axis,
        weights=1.0 / (0.5 + n_active),
    )


def _pruned(model, patches):
    """Fit a model again without the components that gain less than they cost."""
    prior, n_features = model.prior_, patches.shape[1]
    n_patches = prior.probability * len(patches)
    # a slab's mean square in units of the noise, of which one is noise
    signal = (prior.covariance + prior.mean**2) / model.noise_variance_
    odds = np.log(prior.probability) - np.log1p(-prior.probability)
    gain = 0.5 * (signal - 1.0) - 0.5 * np.log(np.maximum(signal, 1.0)) + odds
    excess = gain * n_patches - 0.5 * n_features
    kept = np.flatnonzero((excess > 0.0) & (n_patches > _LEAST_USES))
    if len(kept) == 0:
        kept = np.argsort(excess)[-1:]
    if len(kept) == len(excess):
        return model
    model.components_ = model.components_[kept]
    model.prior_ = SpikeSlabPrior(
        prior.probability[kept], prior.mean[kept], prior.covariance[kept], prior.learn_mean
    )
    model.set_params(n_components=len(kept), max_iter=_PRUNED_ITERATIONS, warm_start=True)
    return model.fit(patches).set_params(warm_start=False)
