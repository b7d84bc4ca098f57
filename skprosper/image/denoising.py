"""Denoising of images whose noise is unknown."""

import warnings
from contextlib import contextmanager
from copy import copy
from numbers import Integral

import numpy as np
from scipy.ndimage import gaussian_gradient_magnitude
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from ..models import GaussianSparseCoding
from ..priors import SpikeSlabPrior
from .patches import check_patch_size, extract_patches, reconstruct_from_patches

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
        "patch_size": [Interval(Integral, 2, None, closed="left"), tuple, None],
        "fast": ["boolean"],
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
    patch_size=None,
    fast=False,
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

    The noise is not asked for. Its variance is the mean of the smallest eigenvalues of
    the covariance of patches, of all or of flat ones, whichever is less: along these
    directions natural images vary least [2]_. In EM it
    stays as it is, or texture that no component explains would count as noise. The fine
    model starts with many components and keeps those whose gain in log-likelihood
    exceeds what their parameters cost: a component used by n patches of D pixels has to
    gain more than D / (2 n) nats in each, and to be used by more than 16.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
        The noisy image, of integers or floats in any range. The noise is of one variance
        and independent over pixels and channels.
    estimator : estimator instance, default=None
        The fine model, to be fitted to the patches less their means; it has ``fit`` and
        ``reconstruct``. None: `GaussianSparseCoding` as described.
    patch_size : int or tuple of two ints, default=None
        Height and width of a patch of the fine model in pixels. None: 8, or 10 where
        noise makes up more than half of the image's variance.
    fast : bool, default=False
        Whether to learn fewer components in fewer iterations.
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
        If the image has neither two nor three dimensions, holds no finite numbers or is
        smaller than a patch.

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
    image = np.asarray(image)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"image has dtype {image.dtype}; give an image of integers or floats.")
    pixels = check_array(
        image,
        dtype=np.float32 if image.dtype == np.float32 else np.float64,
        ensure_2d=False,
        allow_nd=True,
        input_name="image",
    )
    estimator = None if estimator is None else clone(estimator)
    adaptive = patch_size is None
    patch_size = check_patch_size(_PATCH if adaptive else patch_size, pixels.shape)
    random_state = check_random_state(random_state)
    settings = _FAST if fast else _FULL
    if pixels.min() == pixels.max():
        raise ValueError(f"image is constant, {pixels.flat[0]:g}: there is nothing to learn.")
    variance = _noise_variance(pixels)
    if adaptive and variance > 0.5 * pixels.var():
        patch_size = tuple(min(_WIDE_PATCH, length) for length in pixels.shape[:2])

    def fitted(patches, n_components, max_iter):
        model = GaussianSparseCoding(
            min(n_components, max(1, len(patches) // _LEAST_PATCHES)),
            learn_mean=False,
            learn=("components", "prior"),
            noise_init=variance,
            annealing=None,
            max_iter=max_iter,
            tol=1e-3,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        return model.set_callbacks(*(callbacks or ())).fit(patches)

    wide = tuple(min(2 * side, length) for side, length in zip(patch_size, pixels.shape))
    patches, means = _centred(pixels, pixels, wide)
    with _on_a_budget():
        coarse = fitted(patches[::_COARSE_STEP], *settings["coarse"])
    smooth = _assembled(coarse, patches, means, wide, pixels.shape)
    patches, means = _centred(pixels, smooth, patch_size)
    if estimator is None:
        with _on_a_budget():
            estimator = _pruned(fitted(patches, *settings["fine"]), patches)
        denoised = _assembled(estimator, patches, means, patch_size, pixels.shape)
    else:
        patches = estimator.fit(patches).reconstruct(patches) + means
        denoised = reconstruct_from_patches(patches, patch_size, pixels.shape)
    denoised = np.clip(denoised, pixels.min(), pixels.max())
    if image.dtype.kind != "f":
        denoised = np.rint(denoised)
    denoised = denoised.astype(image.dtype)
    return (denoised, estimator) if return_estimator else denoised


@contextmanager
def _on_a_budget():
    """Silence warnings that the iterations and states of a fit are few: they are chosen so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="A wider truncation would add")
        yield


def _noise_variance(pixels):
    """Estimate the noise variance from directions in which patches vary least.

    The smaller of two estimates: from all patches, and from those where the image is
    flat at a larger scale, which have less texture.
    """
    side = tuple(min(_NOISE_PATCH, length) for length in pixels.shape[:2])
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1).astype(np.float64), 2, 0)
    patches = np.concatenate([extract_patches(channel, side) for channel in channels])
    slopes = [gaussian_gradient_magnitude(channel, _FLAT_SCALE) for channel in channels]
    slopes = np.concatenate([extract_patches(slope, side).mean(axis=1) for slope in slopes])
    flat = patches[slopes <= np.median(slopes)]
    estimate = min(
        _least_variance(patches, _NOISE_SHARE), _FLAT_GAIN * _least_variance(flat, 2 * _NOISE_SHARE)
    )
    return max(estimate, _LEAST_NOISE * patches.var())


def _least_variance(patches, share):
    """Return the mean of a share of the eigenvalues of the patches' covariance."""
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(patches, rowvar=False)))
    return variances[: max(1, int(share * len(variances)))].mean()


def _centred(pixels, smooth, patch_size):
    """Return patches of an image less the means of those of another, and the means.

    Every channel has a mean of its own.
    """
    patches, means = extract_patches(pixels, patch_size), extract_patches(smooth, patch_size)
    n_pixels = patch_size[0] * patch_size[1]
    means = means.reshape(len(means), n_pixels, -1).mean(axis=1)
    means = np.tile(means, n_pixels)
    return patches - means, means


def _assembled(model, patches, means, patch_size, shape):
    """Return the image of the patches' posterior means."""
    sharper = copy(model).set_params(code="probability")
    with config_context(transform_output="default"):
        n_active = sharper.transform(patches).sum(axis=1)
    sharper.noise_variance_ = _SHRINKAGE * model.noise_variance_
    # the variance of a patch's posterior mean rises with what is active, from that of its mean
    return reconstruct_from_patches(
        sharper.reconstruct(patches) + means, patch_size, shape, weights=1.0 / (0.5 + n_active)
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
