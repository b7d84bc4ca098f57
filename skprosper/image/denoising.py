"""Denoising of images whose noise is unknown."""

from numbers import Real

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ..models import GaussianSparseCoding
from ..priors import SpikeSlabPrior
from ..validation import ROUNDING_FLOOR
from .noise_level import noise_of_patches
from .patches import check_patch_size, check_several, sides_like, wider
from .progress import as_one_task
from .regions import alike, by_region, from_patches
from .restoration import (
    CONSTRAINTS,
    MOST_PATCHES,
    Picture,
    drawn_patches,
    learned,
    on_a_budget,
)

# Side of a patch in pixels, and where noise prevails.
_PATCH, _WIDE_PATCH = 8, 10
# What `denoise` learns: components and EM iterations of the coarse and the fine model, EM
# iterations after pruning; and how often the prior is adapted to a region.
_FULL = {"coarse": (128, 10), "fine": (1600, 6), "pruned": 4, "rounds": 2}
_FAST = {"coarse": (128, 5), "fine": (1024, 2), "pruned": 2, "rounds": 1}
# The coarse model, of patches twice as wide, learns from a share of the patches of the fine one.
_COARSE_SHARE = 3
# Patches overlap: averaging them reduces noise but not what shrinking took away, so a patch is
# shrunk less than would be best for it alone: as under this share of the noise variance, where
# noise is little and where it prevails. Half-way between, the noise is this share of the signal.
_SHRINKAGES, _HALF_WAY = (0.9, 0.6), 0.25
# The largest number of components is one per so many patches.
_LEAST_PATCHES = 32
# A component used by no more patches than this fits their noise.
_LEAST_USES = 16
# Noise of a smaller share of the variance needs the digits of float64.
_FLOAT32_NOISE = 1e-3
# Deviations of images that float32 serves; the slabs of weak components are far narrower.
_FLOAT32_DEVIATIONS = 1e-6, 1e12


@validate_params(
    CONSTRAINTS
    | {
        "noise_variance": [Interval(Real, 0, None, closed="neither"), None],
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
    gives the means of the patches, which the fine model takes for granted. How often a
    component is active differs from place to place: its probability is adapted to each
    region of about 20 x 20 patches before their posterior means are taken.

    The noise need not be known. Along the directions in which patches of natural images vary
    least [2]_ there is noise, of the same variance everywhere, and texture, of a variance that
    differs from patch to patch: maximum likelihood tells one from the other. Patches with
    exactly flat or saturated regions, such as black borders, hold no evidence of the noise.
    In EM it stays as it is, or texture that no component explains would count as noise.
    The fine model starts from many components of patches of natural images, which ship
    with the package, and keeps those whose gain in log-likelihood exceeds what their
    parameters cost: a component used by n patches of D pixels has to gain more than
    D / (2 n) nats in each, and to be used by more than 16. No more patches are learned
    from than learning needs, and no more than those of a region are held: memory grows
    with the image alone.

    Parameters
    ----------
    image : array-like of any number of dimensions
        The noisy image, gray or with channels, or volume, of integers or floats in any
        range. The noise is of one variance and independent over pixels and channels: an
        alpha channel, which has no noise, is to be taken off.
    estimator : estimator instance, default=None
        The fine model, to be fitted to the patches less their means; it has ``fit`` and
        ``reconstruct``. None: a `~skprosper.SparseCoding` with a spike-and-slab prior, as
        described.
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
        Callbacks of scikit-learn. Those that go down into fits, as
        ``sklearn.callback.ProgressBar``, hear of the whole call, the others of each fit of
        a default model.
    n_jobs : int, default=None
        Chunks of patches and regions worked on at a time, as in `~skprosper.SparseCoding`.
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
        If the image holds what is no finite number, is no larger than a patch, or has no
        such ``channel_axis``, or if ``noise_variance`` is less than rounding errors are.

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
    picture = Picture(image, channel_axis, holes=False)
    space, n_space = picture.space, picture.n_space
    adaptive = patch_size is None
    if adaptive:
        patch_size = sides_like(_PATCH, n_space)
    patch_size = check_patch_size(patch_size, space, channel_axis)
    check_several(patch_size, space)
    picture.check_values()
    random_state = check_random_state(random_state)
    variance = noise_variance
    if variance is None:
        variance = noise_of_patches(picture.pixels, n_space, random_state)
    picture.measure(variance)
    least = ROUNDING_FLOOR["float64"] * picture.signal_variance
    if variance < least:
        raise ValueError(
            f"noise_variance={variance:g} is too small for an image with a variance of "
            f"{picture.signal_variance:.3g}: rounding errors would outweigh it. Give {least:.3g} "
            "or more; an image with less noise needs no denoising."
        )
    if adaptive and variance > picture.signal_variance:
        patch_size = wider(sides_like(_WIDE_PATCH, n_space), patch_size, space)
    little, much = _SHRINKAGES
    shrinkage = much + (little - much) / (1.0 + variance / (_HALF_WAY * picture.signal_variance))
    # about 0: in float32 the digits are those of the signal
    picture.shift = -picture.pixels.mean(dtype=np.float64)
    pixels = picture.pixels.astype(np.float64) + picture.shift
    deviation, (low, high) = picture.signal_variance**0.5, _FLOAT32_DEVIATIONS
    if variance > _FLOAT32_NOISE * picture.signal_variance and low < deviation < high:
        pixels = pixels.astype(np.float32)
    budget = _FAST if fast else _FULL

    def work(steps):
        smooth = _smooth(
            pixels, patch_size, variance, budget["coarse"], shrinkage, steps, n_jobs, random_state
        )
        patches = drawn_patches(pixels, patch_size, random_state, smooth=smooth)
        if estimator is None:
            n_components, max_iter = budget["fine"]
            model = learned(
                patches,
                picture,
                patch_size,
                variance,
                n_components=n_components,
                max_iter=max_iter,
                least_patches=_LEAST_PATCHES,
                steps=steps,
                name="fine model",
                centred=True,
                learn=("components", "prior"),
                n_jobs=n_jobs,
                random_state=random_state,
            )
            with on_a_budget():
                model = _pruned(model, patches, budget["pruned"], steps)
            estimate = by_region(model, shrinkage, budget["rounds"])
        else:
            model = steps.fit_given(clone(estimator), patches)
            estimate = alike(model)
        denoised = from_patches(
            estimate, pixels, patch_size, steps, "picture", smooth=smooth, n_jobs=n_jobs
        )
        return denoised, model

    n_steps = 5 if estimator is None else 4
    denoised, model = as_one_task(work, "denoise", n_steps, callbacks)
    denoised = picture.image_of(denoised)
    return (denoised, model) if return_estimator else denoised


def _smooth(pixels, patch_size, variance, budget, shrinkage, steps, n_jobs, random_state):
    """Return an image of posterior means under a coarse model, of patches twice as wide."""
    n_components, max_iter = budget
    space = pixels.shape[: len(patch_size)]
    wide = wider((2 * side for side in patch_size), patch_size, space)
    patches = drawn_patches(
        pixels, wide, random_state, smooth=pixels, most=MOST_PATCHES // _COARSE_SHARE
    )
    model = GaussianSparseCoding(
        min(n_components, max(1, len(patches) // _LEAST_PATCHES)),
        learn=("components", "prior"),
        learn_mean=False,
        noise_init=variance,
        annealing=None,
        max_iter=max_iter,
        tol=1e-3,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    with on_a_budget():
        steps.fit(model, patches, "coarse model")
    estimate = by_region(model, shrinkage, 0)
    smooth = from_patches(
        estimate, pixels, wide, steps, "coarse picture", smooth=pixels, n_jobs=n_jobs
    )
    return smooth.astype(pixels.dtype)


def _pruned(model, patches, max_iter, steps):
    """Fit a model again without the components that gain less than they cost."""
    prior, n_features = model.prior_, patches.shape[1]
    n_patches = prior.probability * len(patches)
    # a slab's mean square in units of the noise, of which one is noise
    signal = (prior.covariance + prior.mean**2) / model.noise_variance_
    odds = np.log(prior.probability) - np.log1p(-prior.probability)
    gain = 0.5 * (signal - 1.0) - 0.5 * np.log(np.maximum(signal, 1.0)) + odds
    excess = gain * n_patches - 0.5 * n_features
    kept = np.flatnonzero((excess > 0.0) & (n_patches > _LEAST_USES))
    # none pays where there is more noise than image: the slabs are narrow then, and harmless
    if len(kept) in (0, len(excess)):
        return model
    model.set_params(
        n_components=len(kept),
        components_init=model.components_[kept],
        prior=SpikeSlabPrior(
            prior.probability[kept], prior.mean[kept], prior.covariance[kept], prior.learn_mean
        ),
        max_iter=max_iter,
    )
    return steps.fit(model, patches, "pruned model")
