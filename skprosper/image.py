"""Images as data: patches, images from patches, whitening, denoising."""

import warnings
from contextlib import contextmanager
from copy import copy
from numbers import Integral, Real

import numpy as np
from scipy.ndimage import gaussian_gradient_magnitude
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params
from sklearn.utils.validation import check_is_fitted, validate_data

from .models import GaussianSparseCoding
from .priors import SpikeSlabPrior

__all__ = ["ZCAWhitening", "denoise", "extract_patches", "reconstruct_from_patches"]

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
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "max_patches": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def extract_patches(image, patch_size, *, max_patches=None, random_state=None):
    """Cut an image into overlapping patches, one per row.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
        The image.
    patch_size : int or tuple of two ints
        Height and width of a patch in pixels; an int stands for both.
    max_patches : int, default=None
        Draw this many patches at random places, with replacement. With None take all,
        row by row from the top left.
    random_state : int, RandomState instance or None, default=None
        Determines the random places.

    Returns
    -------
    patches : ndarray of shape (n_patches, patch_height * patch_width * n_channels)
        The patches, of the dtype of the image.

    Raises
    ------
    ValueError
        If the image has neither two nor three dimensions or is smaller than a patch.

    See Also
    --------
    reconstruct_from_patches : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.image import extract_patches
    >>> extract_patches(np.arange(6).reshape(2, 3), 2)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5]])
    """
    image = check_array(image, ensure_2d=False, allow_nd=True, input_name="image")
    patch_size = _check_patch_size(patch_size, image.shape)
    n_places = np.prod(_n_places(patch_size, image.shape))
    if max_patches is not None and max_patches > n_places:
        raise ValueError(
            f"max_patches={max_patches} is more than the {n_places} patches of the "
            "image. Lower max_patches, or use None for all."
        )
    patches = extract_patches_2d(
        image, patch_size, max_patches=max_patches, random_state=random_state
    )
    return patches.reshape(len(patches), -1)


@validate_params(
    {
        "patches": ["array-like"],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "image_shape": [tuple],
        "weights": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def reconstruct_from_patches(patches, patch_size, image_shape, *, weights=None):
    """Put an image together from all its patches: a pixel is the mean over them.

    Parameters
    ----------
    patches : array-like of shape (n_patches, patch_height * patch_width * n_channels)
        All patches of the image, in the order of :func:`extract_patches`.
    patch_size : int or tuple of two ints
        Height and width of a patch in pixels; an int stands for both.
    image_shape : tuple of two or three ints
        Height, width and, of a colour image, number of channels.
    weights : array-like of shape (n_patches,), default=None
        Weight of each patch in the mean, above zero: for instance one over the
        variance of its estimate. None: all alike.

    Returns
    -------
    image : ndarray of shape `image_shape`, dtype float64 or float32
        The image; float32 where the patches are.

    Raises
    ------
    ValueError
        If the shapes do not fit together or a weight is not above zero.

    Examples
    --------
    >>> from skprosper.image import reconstruct_from_patches
    >>> reconstruct_from_patches([[0, 1], [3, 2]], (1, 2), (1, 3))
    array([[0., 2., 2.]])
    >>> reconstruct_from_patches([[0, 1], [3, 2]], (1, 2), (1, 3), weights=[3, 1])
    array([[0. , 1.5, 2. ]])
    """
    patches = check_array(patches, dtype=[np.float64, np.float32], input_name="patches")
    height, width = _check_patch_size(patch_size, image_shape)
    n_rows, n_columns = _n_places((height, width), image_shape)
    channels = tuple(image_shape[2:])
    expected = (n_rows * n_columns, height * width * int(np.prod(channels)))
    if patches.shape != expected:
        raise ValueError(
            f"An image of shape {tuple(image_shape)} has patches of shape {expected} "
            f"for patch_size={(height, width)}, got {patches.shape}. Give all patches "
            "of the image, in the order of extract_patches."
        )
    if weights is None:
        weights = np.ones(len(patches))
    weights = check_array(weights, dtype=patches.dtype, ensure_2d=False, input_name="weights")
    if weights.shape != (len(patches),) or weights.min() <= 0:
        raise ValueError(
            f"weights must hold one number above zero for each of the {len(patches)} "
            f"patches, got shape {weights.shape} and a smallest of {weights.min():g}."
        )
    # Only ratios count: scaled like this no sum can overflow.
    weights = weights / weights.max()
    weights = weights.reshape(n_rows, n_columns, *(1 for _ in channels))
    patches = patches.reshape(n_rows, n_columns, height, width, *channels)
    total = np.zeros(image_shape, dtype=patches.dtype)
    weight_sum = np.zeros(image_shape, dtype=patches.dtype)
    for row in range(height):
        for column in range(width):
            where = np.s_[row : row + n_rows, column : column + n_columns]
            total[where] += weights * patches[:, :, row, column]
            weight_sum[where] += weights
    return total / weight_sum


def _check_patch_size(patch_size, image_shape):
    """The patch size as a pair of ints that fit into the image."""
    if isinstance(patch_size, Integral):
        patch_size = (patch_size, patch_size)
    if len(patch_size) != 2 or not all(
        isinstance(side, Integral) and side >= 1 for side in patch_size
    ):
        raise ValueError(f"patch_size must be an int or two ints >= 1, got {patch_size!r}.")
    if len(image_shape) not in (2, 3):
        raise ValueError(
            "An image has shape (height, width) or (height, width, n_channels), got "
            f"{tuple(image_shape)}."
        )
    if patch_size[0] > image_shape[0] or patch_size[1] > image_shape[1]:
        raise ValueError(
            f"patch_size={patch_size} does not fit into an image of shape "
            f"{tuple(image_shape)}. Use smaller patches."
        )
    return patch_size


def _n_places(patch_size, image_shape):
    """Number of rows and columns of places a patch can have."""
    return image_shape[0] - patch_size[0] + 1, image_shape[1] - patch_size[1] + 1


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
    adaptive = patch_size is None
    patch_size = _check_patch_size(_PATCH if adaptive else patch_size, pixels.shape)
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
        warnings.filterwarnings("ignore", message=".*the truncation may bias the fit")
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


class ZCAWhitening(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Zero-phase whitening: decorrelated features that stay close to the original.

    With the mean m of the data and its covariance :math:`C = U \Lambda U^T`,

    .. math::

        y = U (\Lambda + \epsilon \bar\lambda)^{-1/2} U^T (x - m),

    where :math:`\bar\lambda` is the mean eigenvalue, that is the mean variance of a
    feature. Of all whitening transforms it changes the data least, so that whitened
    patches are still images [1]_; ``PCA(whiten=True)`` rotates them.

    Parameters
    ----------
    epsilon : float, default=0.01
        Directions whose variance is well below `epsilon` times the mean variance are
        noise and are not blown up to variance one.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of the data.
    whitening_ : ndarray of shape (n_features, n_features)
        The symmetric matrix that whitens.
    dewhitening_ : ndarray of shape (n_features, n_features)
        Its inverse.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, where X has names that are all strings.

    References
    ----------
    .. [1] A. J. Bell and T. J. Sejnowski. The "independent components" of natural
       scenes are edge filters. Vision Research 37, 3327-3338, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.image import ZCAWhitening
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    >>> np.cov(ZCAWhitening(epsilon=1e-9).fit_transform(X).T).round(2) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    _parameter_constraints = {"epsilon": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, epsilon=0.01):
        self.epsilon = epsilon

    def fit(self, X, y=None):
        """Learn the mean and the whitening matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data, of at least two samples.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        self._validate_params()
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        # The covariance is in float64 for float32 data too: small eigenvalues count.
        variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(X, rowvar=False, bias=True)))
        variances = np.maximum(variances, 0)
        scales = np.sqrt(variances + self.epsilon * variances.mean())
        if not scales.any():
            scales[:] = 1  # constant data: nothing to whiten
        self.mean_ = X.mean(axis=0)
        self.whitening_ = ((directions / scales) @ directions.T).astype(X.dtype)
        self.dewhitening_ = ((directions * scales) @ directions.T).astype(X.dtype)
        return self

    def transform(self, X):
        """Whiten data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.

        Returns
        -------
        X_white : ndarray of shape (n_samples, n_features)
            Whitened data.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return ((X - self.mean_) @ self.whitening_).astype(X.dtype, copy=False)

    def inverse_transform(self, X):
        """Take whitened data back to where it came from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Whitened data.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Data in the units of the data before whitening.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but ZCAWhitening was fitted with "
                f"{self.n_features_in_}."
            )
        return (X @ self.dewhitening_ + self.mean_).astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
