"""Denoising of images whose noise is unknown."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from .noise_level import estimated_noise
from .patches import sides_of
from .restoration import (
    Picture,
    at_noise,
    drawn_patches,
    from_patches,
    learned,
    without_idle,
)

# Side of a square patch: components, and EM iterations with all of them and with those that
# pay, where the noise is weak, where it is strong, and of both if it is to be fast.
_WEAK = {8: (2048, 8, 8)}
_STRONG = {8: (1024, 8, 8), 12: (1024, 8, 8)}
_FAST = {8: (1024, 3, 2)}
# Patches for each component.
_LEAST_PATCHES = 32
# Strong noise has more than this share of the variance of the image without it.
_STRONG_SHARE = 0.25
# Patches overlap: averaging them reduces noise but not what shrinking took away, so where
# noise is weak a patch is shrunk less than would be best for it alone.
_WEAK_SHRINKAGE = 0.8


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

    Overlapping patches of the image are sparse superpositions under noise [1]_. EM starts
    from components and prior of patches of natural images, which ship with the package,
    and goes on to fit those of the noisy image. Components that gain less log-likelihood
    than their parameters cost fit noise and are left out. Every patch is replaced by its
    posterior mean, and a pixel is the mean over the patches that hold it. Where noise is weak,
    patches have 8 x 8 pixels and many components; since averaging removes noise too,
    posterior means are then taken at 0.8 of the noise variance. Where it exceeds a quarter
    of the variance of the image without it, the image is the mean of what patches of 8 x 8
    and of 12 x 12 give.

    The noise need not be known. Its variance is the mean of the smallest eigenvalues of
    the covariance of patches, of all or of flat ones, whichever is less: along these
    directions natural images vary least [2]_. Patches with exactly flat or saturated
    regions, such as black borders, hold no evidence of it. In EM it stays as it is, or
    texture that no component explains would count as noise.

    Memory beyond the model is some hundred bytes a pixel: larger images are learned from
    patches at random places, and put together strip by strip.

    Parameters
    ----------
    image : array-like of any number of dimensions
        The noisy image, gray or with channels, or volume, of integers or floats in any
        range. The noise is of one variance and independent over pixels and channels: an
        alpha channel, which has no noise, is to be taken off.
    estimator : estimator instance, default=None
        The model, to be fitted to patches of the image at a mean above 0; it has ``fit`` and
        ``reconstruct``. None: a `SparseCoding` with a spike-and-slab prior, as described.
    noise_variance : float, default=None
        Variance of the noise, in squared units of the image. None: it is inferred.
    patch_size : int or tuple of ints, default=None
        Sides of a patch in pixels, (height, width) of an image. None: as described; of a
        volume sides for about as many pixels.
    fast : bool, default=False
        Whether to learn fewer components in fewer iterations.
    channel_axis : int, default=None
        The axis of the channels. None: there is none, the image is a gray one or a volume.
    callbacks : list of callbacks, default=None
        Callbacks of scikit-learn, for instance ``sklearn.callback.ProgressBar``, for each
        fit of the default models.
    n_jobs : int, default=None
        Chunks of patches worked on at a time, as in `SparseCoding`.
    random_state : int, RandomState instance or None, default=None
        Seeds the patches that are drawn, and the moves of EM.
    return_estimator : bool, default=False
        Whether to return the fitted model too, of two that of the smaller patches. Its
        ``noise_variance_`` is the variance of the noise, in squared units of the image.

    Returns
    -------
    denoised : ndarray of the shape and dtype of `image`
        The denoised image, inside the range of values of `image`.
    estimator : estimator instance
        The fitted model; only with ``return_estimator=True``.

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
    random_state = check_random_state(random_state)
    picture = Picture(image, channel_axis, patch_size)
    if patch_size is None:
        picture.of_smallest(sides_of(min(_WEAK), (2**62,) * picture.n_space))
    picture.check_values()
    variance = noise_variance
    if variance is None:
        variance = estimated_noise(picture.pixels, picture.n_space)
    picture.at_level(variance, fixed=True)
    strong = variance > _STRONG_SHARE * picture.signal_variance
    budgets = _FAST if fast else _STRONG if strong else _WEAK
    if patch_size is None:
        budgets = {sides_of(side, picture.space): budget for side, budget in budgets.items()}
    else:
        budgets = {picture.patch_size: budgets[min(budgets)]}
    if estimator is not None:
        size = min(budgets)
        model = clone(estimator).fit(drawn_patches(picture.pixels, size, random_state))
        estimate = from_patches(model.reconstruct, picture.pixels, size)
    else:
        models = {}
        for size, (n_components, first, then) in budgets.items():
            patches = drawn_patches(picture.pixels, size, random_state)
            model = learned(
                patches,
                picture,
                size,
                variance,
                n_components=n_components,
                max_iter=first,
                least_patches=_LEAST_PATCHES,
                learn=("components", "prior"),
                callbacks=callbacks,
                n_jobs=n_jobs,
                random_state=random_state,
            )
            models[size] = without_idle(model, patches, then)
        factor = 1.0 if strong else _WEAK_SHRINKAGE
        estimates = [
            from_patches(at_noise(model, factor).reconstruct, picture.pixels, size)
            for size, model in models.items()
        ]
        estimate, model = np.mean(estimates, axis=0), models[min(models)]
    denoised = picture.image_of(estimate)
    return (denoised, model) if return_estimator else denoised
