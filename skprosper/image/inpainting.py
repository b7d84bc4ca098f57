"""Inpainting: values of an image that are missing, and noise on those that are not."""

from numbers import Real

import numpy as np
from scipy.ndimage import uniform_filter
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from .noise_level import noise_beside_holes
from .patches import at_places, check_patch_size, check_several, sides_like, wider
from .progress import as_one_task
from .regions import alike, by_region, from_patches
from .restoration import CONSTRAINTS, Picture, drawn_patches, learned

# Side of a square patch: components and EM iterations. The start values know more of what
# is missing than many iterations on what is there.
_FULL = {8: (1024, 4), 12: (1024, 4)}
_FAST = {8: (768, 2)}
# Patches for each component, without noise to speak of and with noise.
_LEAST_PATCHES, _LEAST_NOISY = 8, 32
# Share of the variance that EM takes for noise at the start.
_START_NOISE = 0.02
# Patches of which a smaller share is known tell nothing; to learn from are those with at
# least this share of what the median patch has.
_LEAST_KNOWN, _LEAST_OF_MEDIAN = 0.1, 0.7
# A patch of which more is known has no holes, but for rounding.
_ALL_KNOWN = 1.0 - 1e-9


@validate_params(
    CONSTRAINTS
    | {
        "mask": ["array-like", None],
        "noise_variance": [Interval(Real, 0, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def inpaint(
    image,
    mask=None,
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
    r"""Fill in the missing values of an image, and remove the noise of the others.

    The model is learned from the known values of the image's overlapping patches: what
    is missing does not enter its likelihood. EM starts from components and prior of patches
    of natural images, which ship with the package. A missing value is the mean of its
    posterior mean over the patches that hold it, those in which more is known weighing more,
    and over patches of 8 x 8 and 12 x 12 pixels; how probable a component is follows the region,
    as in `denoise`. Holes in which whole patches are missing
    are filled from the edge inwards.

    Of a known value y with posterior mean x, the variance about x that the model has
    learned is noise, and texture that no component explains. What noise does not account
    for stays:

    .. math::

        x + \frac{\sigma^2 - v}{\sigma^2} (y - x)

    with the learned variance :math:`\sigma^2` and the noise v, of at most
    :math:`\sigma^2`. With
    ``noise_variance=0`` known values stay as they are.

    Parameters
    ----------
    image : array-like of any number of dimensions
        The image, gray or with channels, or volume, of integers or floats in any range;
        NaN is missing.
    mask : array-like of bool of the shape of `image`, or of its shape in space, default=None
        True where a value, or all channels of a pixel, is missing, as in scikit-image.
        None: NaN alone.
    estimator : estimator instance, default=None
        The model, to be fitted to patches of the image less its mean; it has ``fit`` and
        ``reconstruct``, and takes NaN. None: a `~skprosper.SparseCoding` with a spike-and-slab
        prior that starts from what patches of natural images have in common.
    noise_variance : float, default=None
        Variance of the noise, in squared units of the image; 0 keeps known values. None: it
        is inferred, from where the image is flattest, or, where texture is all over it, from
        what neighbours differ by more than their distance accounts for.
    patch_size : int or tuple of ints, default=None
        Sides of a patch in pixels, (height, width) of an image. None: both 8 and 12, of a
        volume sides for about as many pixels.
    fast : bool, default=False
        Whether to learn patches of 8 x 8 alone, fewer components in fewer iterations.
    channel_axis : int, default=None
        The axis of the channels. None: there is none, the image is a gray one or a volume.
    callbacks : list of callbacks, default=None
        Callbacks of scikit-learn. Those that go down into fits, as
        ``sklearn.callback.ProgressBar``, hear of the whole call, the others of each fit of
        a default model.
    n_jobs : int, default=None
        Chunks of patches and regions worked on at a time, as in `~skprosper.SparseCoding`.
    random_state : int, RandomState instance or None, default=None
        Seeds the patches that are drawn and the initial components.
    return_estimator : bool, default=False
        Whether to return the fitted model too.

    Returns
    -------
    inpainted : ndarray of the shape and dtype of `image`
        The image without holes, inside the range of the known values.
    estimator : estimator instance
        The fitted model; only with ``return_estimator=True``.

    Raises
    ------
    ValueError
        If the image holds infinite values, no known values or but one, in a channel none, is
        no larger than a patch, or does not fit to ``mask`` or ``channel_axis``.

    See Also
    --------
    denoise : For images without holes.
    skprosper.SparseCoding.impute : The same for any data.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.image import inpaint
    >>> from skprosper.metrics import psnr
    >>> stripes = np.tile(np.where(np.arange(48) % 8 < 4, 50.0, 200.0), (48, 1))
    >>> missing = np.random.default_rng(0).random((48, 48)) < 0.5
    >>> inpainted = inpaint(stripes, missing, fast=True, random_state=0)
    >>> empty = np.where(missing, stripes[~missing].mean(), stripes)
    >>> bool(psnr(inpainted, stripes, 255) > psnr(empty, stripes, 255) + 5)
    True
    """
    random_state = check_random_state(random_state)
    picture = Picture(image, channel_axis, mask)
    budgets = _FAST if fast else _FULL
    smallest = sides_like(min(budgets), picture.n_space) if patch_size is None else patch_size
    smallest = check_patch_size(smallest, picture.space, channel_axis)
    check_several(smallest, picture.space)
    if patch_size is None:
        budgets = {
            wider(sides_like(side, picture.n_space), smallest, picture.space): budget
            for side, budget in budgets.items()
        }
    else:
        budgets = {smallest: budgets[min(budgets)]}
    if estimator is not None:
        budgets = {smallest: None}
    picture.check_values()
    variance = noise_variance
    if variance is None:
        variance = noise_beside_holes(picture.pixels, picture.n_space, random_state)
    picture.measure(variance)
    picture.at_level()
    pixels = picture.pixels
    start_noise = _START_NOISE * picture.signal_variance
    noisy = variance > start_noise

    def work(steps):
        estimates, models = [], {}
        for size, budget in budgets.items():
            share = _known_share(pixels, size)
            enough = share >= _LEAST_OF_MEDIAN * np.median(share[share > 0.0])
            patches = drawn_patches(pixels, size, random_state, accepted=enough)
            if estimator is not None:
                models[size] = steps.fit_given(clone(estimator), patches)
                estimate = alike(models[size])
            else:
                n_components, max_iter = budget
                models[size] = learned(
                    patches,
                    picture,
                    size,
                    max(variance, start_noise),
                    n_components=n_components,
                    max_iter=max_iter,
                    least_patches=_LEAST_NOISY if noisy else _LEAST_PATCHES,
                    steps=steps,
                    name=f"model of patches {size}",
                    n_jobs=n_jobs,
                    random_state=random_state,
                )
                estimate = by_region(models[size], 1.0, 1)
            estimates.append(
                _estimate(models[size], estimate, pixels, size, variance, steps, n_jobs)
            )
        return np.mean(estimates, axis=0), models[smallest]

    estimate, model = as_one_task(work, "inpaint", None, callbacks)
    inpainted = picture.image_of(estimate)
    return (inpainted, model) if return_estimator else inpainted


def _estimate(model, estimate, pixels, patch_size, variance, steps, n_jobs):
    """Return the pixels that a model tells, missing ones and, less their noise, known ones."""
    kept = _kept_share(model, variance)
    share = _known_share(pixels, patch_size)
    told = share >= min(_LEAST_KNOWN, share.max())
    if kept == 1.0:
        told &= share < 1.0
    share = np.where(told, share, 0.0)
    restored = from_patches(
        estimate, pixels, patch_size, steps, "picture", share=share, n_jobs=n_jobs
    )
    cleaned = pixels + (1.0 - kept) * (restored - pixels) if kept < 1.0 else pixels
    restored = np.where(np.isnan(cleaned), restored, cleaned)
    while np.isnan(restored).any():
        restored = _filled_inwards(model, restored, patch_size, steps, n_jobs)
    return restored


def _known_share(pixels, patch_size):
    """Return the share of the values of each patch that is known, an array over the places."""
    known = np.isfinite(pixels).astype(np.float64)
    known = known.reshape(*known.shape[: len(patch_size)], -1).mean(axis=-1)
    share = at_places(uniform_filter(known, patch_size), patch_size)
    # sums of the filter are rounded: none, some or all of a patch is known
    return np.where(share > _ALL_KNOWN, 1.0, np.where(share < 1.0 - _ALL_KNOWN, 0.0, share))


def _kept_share(model, variance):
    """Return the share of what a model leaves of known values that is no noise."""
    learned = getattr(model, "noise_variance_", None)
    if learned is None:
        return 1.0
    learned = np.mean(np.diag(learned) if np.ndim(learned) == 2 else learned)
    return float(1.0 - min(variance / learned, 1.0))


def _filled_inwards(model, pixels, patch_size, steps, n_jobs):
    """Return pixels with those filled that patches at the edge of a hole reach."""
    share = _known_share(pixels, patch_size)
    share[share == 1.0] = 0.0
    share[share < min(_LEAST_KNOWN, share.max())] = 0.0
    restored = from_patches(
        alike(model), pixels, patch_size, steps, "hole", share=share, n_jobs=n_jobs
    )
    filled = np.where(np.isnan(pixels), restored, pixels)
    if np.isnan(filled).sum() == np.isnan(pixels).sum():
        raise ValueError("estimator.reconstruct returned NaN; give one that fills missing values.")
    return filled
