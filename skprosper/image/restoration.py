"""Pictures with holes, and models of their patches."""

import warnings
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods, Interval

from ..priors import SpikeSlabPrior
from ..sparse_coding import SparseCoding
from ..validation import check_magnitude
from .natural import SHIFT, natural_start
from .patches import channels_last, mean_over_space, space_of, windows_of

# Of the parameters that `denoise` and `inpaint` share, for `validate_params`.
CONSTRAINTS = {
    "image": ["array-like"],
    "estimator": [HasMethods(["fit", "reconstruct"]), None],
    "patch_size": [Interval(Integral, 2, None, closed="left"), tuple, None],
    "fast": ["boolean"],
    "channel_axis": [Integral, None],
    "callbacks": [list, tuple, None],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
    "return_estimator": ["boolean"],
}
# Patches to learn from, of larger images drawn at random places.
MOST_PATCHES = 65_536
# The most times of the iterations that a smaller image gets.
_MOST_TIMES = 4
# Components and EM iterations of volumes and signals, for which nothing was learned before.
_UNKNOWN_COMPONENTS, _UNKNOWN_ITERATIONS = 256, 30
# Norm of a component less its mean, in units of the median one, that explains something.
_LEAST_NORM = 0.2
# Variance of a signal, at least, in units of the image's.
_LEAST_SIGNAL = 1e-3


class Picture:
    """The pixels of an image at a level of their own, channels last, and the way back.

    Parameters
    ----------
    image : array-like
        As the user gives it.
    channel_axis : int or None
        The axis of its channels.
    mask : array-like of bool or None
        True where a value is unknown, as NaN is, of the shape of the image or of its space.
    holes : bool
        Whether values may be unknown.
    """

    def __init__(self, image, channel_axis, mask=None, holes=True):
        hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
        image, pixels = _checked(image, "allow-nan" if holes else True)
        self.dtype, self.channel_axis = image.dtype, channel_axis
        pixels = channels_last(pixels, channel_axis)
        self.space = space_of(pixels.shape, channel_axis)
        self.n_space = len(self.space)
        for unknown in (mask, hidden):
            if unknown is not None:
                unknown = self._checked(unknown, image.shape)
                pixels = np.where(unknown, pixels.dtype.type("nan"), pixels)
        self.pixels, self.shift = pixels, 0.0

    def _checked(self, mask, shape):
        """Return a mask as one of the pixels, channels last."""
        mask = np.asarray(mask)
        if mask.dtype != bool:
            raise ValueError(
                f"mask has dtype {mask.dtype}; give booleans, True where a value is missing."
            )
        if mask.shape == shape:
            return channels_last(mask, self.channel_axis)
        if self.channel_axis is not None and mask.shape == self.space:
            return mask[..., None]
        raise ValueError(
            f"mask has shape {mask.shape}, but the image {shape}; give a mask of that shape"
            + (f", or of {self.space} for all channels." if self.channel_axis is not None else ".")
        )

    def check_values(self):
        """Check the values: finite squares, and not all the same."""
        pixels = self.pixels
        if np.isnan(pixels).all():
            raise ValueError("image has no known value: there is nothing to learn.")
        self.least, self.most = np.nanmin(pixels), np.nanmax(pixels)
        if self.least == self.most:
            raise ValueError(f"image is constant, {self.least:g}: there is nothing to learn.")
        if self.channel_axis is not None:
            empty = np.isnan(pixels).reshape(-1, pixels.shape[-1]).all(axis=0)
            if empty.any():
                raise ValueError(
                    f"image has no known value in channel {empty.argmax()}: there is nothing to "
                    "learn of it. Leave the channel out."
                )
        check_magnitude(pixels[~np.isnan(pixels)], "image")

    def measure(self, noise_variance):
        """Find the covariance of the channels and its mean variance without the noise."""
        values = self.pixels.reshape(int(np.prod(self.space)), -1)
        variances, axes = np.linalg.eigh(_covariance(values))
        # the covariance of the channels without the noise, positive definite
        kept = np.maximum(variances - noise_variance, _LEAST_SIGNAL * variances[-1])
        self.signal = (axes * kept) @ axes.T
        self.signal_variance = kept.mean()

    def at_level(self):
        """Shift the pixels such that they are mostly above 0, whatever their unit is.

        A component that is active is then brightness, not darkness, as in images from 0
        to 255. In float64: the noise may be too little for the digits of float32.
        """
        level = np.nanmean(self.pixels, dtype=np.float64)
        self.shift = SHIFT * self.signal_variance**0.5 - level
        self.pixels = self.pixels.astype(np.float64) + self.shift

    def image_of(self, estimate):
        """Return an estimate of the pixels as an image like the one given."""
        image = np.clip(estimate - self.shift, self.least, self.most)
        if self.dtype.kind != "f":
            image = np.rint(image)
        image = image.astype(self.dtype)
        return image if self.channel_axis is None else np.moveaxis(image, -1, self.channel_axis)


def drawn_patches(
    pixels, patch_size, random_state, *, smooth=None, accepted=None, most=MOST_PATCHES
):
    """Return patches to learn from, as many as learning needs.

    Less the means of the patches of ``smooth``, where it is given; of those that
    ``accepted``, an array over the places, allows.
    """
    windows = windows_of(pixels, patch_size)
    places = windows.shape[: len(patch_size)]
    chosen = np.arange(np.prod(places)) if accepted is None else np.flatnonzero(accepted)
    if len(chosen) > most:
        chosen = np.sort(random_state.choice(chosen, most, replace=False))
    chosen = np.unravel_index(chosen, places)
    patches = windows[chosen]
    if smooth is not None:
        patches = patches - mean_over_space(windows_of(smooth, patch_size)[chosen], patch_size)
    return patches.reshape(len(patches), -1)


def times_more(patches):
    """Return by how much more iterations a small image gets.

    Of few patches they are cheap, and components have more to adapt.
    """
    return int(np.clip(MOST_PATCHES // len(patches), 1, _MOST_TIMES))


def learned(
    patches,
    picture,
    patch_size,
    noise_variance,
    *,
    n_components,
    max_iter,
    least_patches,
    steps,
    name,
    centred=False,
    **settings,
):
    """Return a model of patches, fitted from what natural images have in common.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, n_features)
    picture : Picture
        What they are of.
    patch_size : tuple of ints
    noise_variance : float
        Of the start.
    n_components, max_iter : int
        The most components, and EM iterations. Of patches other than of two dimensions
        there is no start, and the numbers are of their own.
    least_patches : int
        Patches for each component.
    steps : steps of `as_one_task`
        Of which the fit is one.
    name : str
        Its name.
    centred : bool
        Whether the patches are less their means: components are too, and slabs have mean 0.
    settings : dict
        Other parameters of the model.
    """
    n_components = max(1, min(n_components, len(patches) // least_patches))
    max_iter *= times_more(patches)
    if len(patch_size) == 2:
        components, prior = natural_start(patch_size, picture.signal / picture.signal_variance)
        components = picture.signal_variance**0.5 * components
        if centred:
            components, prior = _without_means(components, prior, patch_size)
        first = np.argsort(-prior.probability, kind="stable")[:n_components]
        model = SparseCoding(
            len(first),
            prior=SpikeSlabPrior(
                prior.probability[first],
                prior.mean[first],
                prior.covariance[first],
                learn_mean=not centred,
            ),
            components_init=components[first].astype(patches.dtype),
            annealing=None,
        )
    else:
        model = SparseCoding(
            min(n_components, _UNKNOWN_COMPONENTS), prior=SpikeSlabPrior(learn_mean=not centred)
        )
        max_iter = _UNKNOWN_ITERATIONS
    model.set_params(noise_init=noise_variance, max_iter=max_iter, tol=1e-3, **settings)
    with on_a_budget():
        return steps.fit(model, patches, name)


def _without_means(components, prior, patch_size):
    """Return components less their means and slabs as wide, of mean 0."""
    shaped = components.reshape(len(components), *patch_size, -1)
    means = mean_over_space(shaped, patch_size)
    shaped = (shaped - means).reshape(components.shape)
    norms = np.linalg.norm(shaped, axis=1)
    kept = norms > _LEAST_NORM * np.median(norms)
    second = prior.covariance + prior.mean**2
    return shaped[kept], SpikeSlabPrior(prior.probability[kept], np.zeros(kept.sum()), second[kept])


@contextmanager
def on_a_budget():
    """Silence warnings that the iterations and states of a fit are few: they are chosen so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for message in ("A wider truncation would add", "What was learned is at a limit"):
            warnings.filterwarnings("ignore", message=message)
        yield


def _checked(image, finite):
    """Return an image as an array, and its pixels as one of floats."""
    image = np.asarray(image)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"image has dtype {image.dtype}; give an image of integers or floats.")
    dtype = np.float32 if image.dtype == np.float32 else np.float64
    pixels = check_array(
        image,
        dtype=dtype,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=finite,
        input_name="image",
    )
    return image, pixels


def _covariance(values):
    """Return the covariance of columns, by the rows in which both are known."""
    values = values - np.nanmean(values, axis=0, dtype=np.float64)
    seen = ~np.isnan(values)
    values = np.where(seen, values, 0.0)
    pairs = seen.T.astype(np.float64) @ seen
    return (values.T @ values) / np.maximum(pairs, 1.0)
