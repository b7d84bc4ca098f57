"""Pictures with holes, models of their patches, and pictures from the models' estimates."""

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from ..models import GaussianSparseCoding
from ..priors import SpikeSlabPrior
from ..sparse_coding import SparseCoding
from ..validation import check_magnitude
from .natural import SHIFT, natural_start
from .patches import channels_last, space_of, windows_of

# Patches to learn from, of larger images drawn at random places.
_MOST_PATCHES = 65_536
# The most times of the iterations that a smaller image gets.
_MOST_TIMES = 4
# Components and EM iterations of volumes and signals, for which nothing was learned before.
_UNKNOWN_COMPONENTS, _UNKNOWN_ITERATIONS = 256, 30
# Numbers in the patches of a strip of an image.
_STRIP = 2_000_000
# Variance of a signal, at least, in units of the image's.
_LEAST_SIGNAL = 1e-3


def checked_image(image, **options):
    """Return an image as an array and its pixels as one of floats; options of `check_array`."""
    image = np.asarray(image)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"image has dtype {image.dtype}; give an image of integers or floats.")
    dtype = np.float32 if image.dtype == np.float32 else np.float64
    options |= dict(dtype=dtype, ensure_2d=False, allow_nd=True, input_name="image")
    return image, check_array(image, **options)


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
    """

    def __init__(self, image, channel_axis, mask):
        hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
        image, pixels = checked_image(image, ensure_all_finite="allow-nan")
        self.dtype, self.channel_axis = image.dtype, channel_axis
        pixels = channels_last(pixels, channel_axis)
        self.space = space_of(pixels.shape, channel_axis)
        self.n_space = len(self.space)
        for unknown in (mask, hidden):
            if unknown is not None:
                unknown = self._checked(unknown, image.shape)
                pixels = np.where(unknown, pixels.dtype.type("nan"), pixels)
        self.pixels = pixels

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
        check_magnitude(pixels[~np.isnan(pixels)], "image")

    def at_level(self, noise_variance):
        """Shift the pixels such that they are mostly above 0, whatever their unit is.

        A component that is active is then brightness, not darkness, as in images from 0
        to 255. In float64: the noise may be too little for the digits of float32.
        """
        values = self.pixels.reshape(int(np.prod(self.space)), -1)
        variances, axes = np.linalg.eigh(_covariance(values))
        # the covariance of the channels without the noise, positive definite
        kept = np.maximum(variances - noise_variance, _LEAST_SIGNAL * variances[-1])
        self.signal = (axes * kept) @ axes.T
        self.signal_variance = kept.mean()
        level = np.nanmean(values, dtype=np.float64)
        self.shift = SHIFT * self.signal_variance**0.5 - level
        self.pixels = self.pixels.astype(np.float64) + self.shift

    def image_of(self, estimate):
        """Return an estimate of the pixels as an image like the one given."""
        image = np.clip(estimate - self.shift, self.least, self.most)
        if self.dtype.kind != "f":
            image = np.rint(image)
        image = image.astype(self.dtype)
        return image if self.channel_axis is None else np.moveaxis(image, -1, self.channel_axis)


def drawn_patches(pixels, patch_size, random_state, accepted):
    """Return patches to learn from, as many as learning needs.

    Of those that ``accepted``, an array over the places, allows.
    """
    windows = windows_of(pixels, patch_size)
    chosen = np.flatnonzero(accepted)
    if len(chosen) > _MOST_PATCHES:
        chosen = np.sort(random_state.choice(chosen, _MOST_PATCHES, replace=False))
    patches = windows[np.unravel_index(chosen, accepted.shape)]
    return patches.reshape(len(chosen), -1)


def times_more(patches):
    """Return by how much more iterations a small image gets.

    Of few patches they are cheap, and components have more to adapt.
    """
    return int(np.clip(_MOST_PATCHES // len(patches), 1, _MOST_TIMES))


def learned(
    patches,
    picture,
    patch_size,
    noise_variance,
    *,
    n_components,
    max_iter,
    least_patches,
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
    settings : dict
        Other parameters of the model, and "callbacks".
    """
    n_components = max(1, min(n_components, len(patches) // least_patches))
    max_iter *= times_more(patches)
    callbacks = settings.pop("callbacks") or ()
    if len(patch_size) == 2:
        components, prior = natural_start(patch_size, picture.signal / picture.signal_variance)
        components = picture.signal_variance**0.5 * components
        first = np.argsort(-prior.probability, kind="stable")[:n_components]
        model = SparseCoding(
            len(first),
            prior=SpikeSlabPrior(
                prior.probability[first], prior.mean[first], prior.covariance[first]
            ),
            components_init=components[first].astype(patches.dtype),
            annealing=None,
        )
    else:
        model = GaussianSparseCoding(min(n_components, _UNKNOWN_COMPONENTS))
        max_iter = _UNKNOWN_ITERATIONS
    model.set_params(noise_init=noise_variance, max_iter=max_iter, tol=1e-3, **settings)
    with on_a_budget():
        return model.set_callbacks(*callbacks).fit(patches)


@contextmanager
def on_a_budget():
    """Silence warnings that the iterations and states of a fit are few: they are chosen so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for message in ("A wider truncation would add", "What was learned is at a limit"):
            warnings.filterwarnings("ignore", message=message)
        yield


def from_patches(estimate, pixels, patch_size, weights):
    """Return the mean over all patches of what ``estimate`` makes of each, strip by strip.

    Parameters
    ----------
    estimate : callable
        Takes patches (n_patches, n_features), returns as many.
    pixels : ndarray of shape space + channels
    patch_size : tuple of ints
    weights : ndarray over the places of patches
        Of a patch in the mean; 0 leaves it out.

    Returns
    -------
    estimates : ndarray of the shape of ``pixels``, float64
        NaN where there is no patch.
    """
    windows = windows_of(pixels, patch_size)
    n_space = len(patch_size)
    places = windows.shape[:n_space]
    n_features = int(np.prod(windows.shape[n_space:]))
    over_channels = (slice(None),) * n_space + (None,) * (pixels.ndim - n_space)
    total, weight = np.zeros(pixels.shape), np.zeros(pixels.shape[:n_space])
    height = max(1, _STRIP // int(np.prod(places[1:]) * n_features))
    for top in range(0, places[0], height):
        strip, share = windows[top : top + height], weights[top : top + height]
        used = share > 0
        estimates = np.zeros(strip.shape)
        if used.any():
            with config_context(transform_output="default"):
                restored = np.asarray(estimate(strip[used].reshape(-1, n_features)))
            estimates[used] = restored.reshape(-1, *strip.shape[n_space:])
            estimates *= share.reshape(share.shape + (1,) * (strip.ndim - n_space))
        # rows of patches from the top down: strips of any height add up alike
        for where in np.ndindex(*patch_size):
            where = (patch_size[0] - 1 - where[0],) + where[1:]
            part = estimates[(slice(None),) * n_space + where]
            start = (where[0] + top,) + where[1:]
            there = tuple(slice(i, i + n) for i, n in zip(start, part.shape))
            total[there] += part
            weight[there] += share
    weight = weight[over_channels]
    return np.divide(total, weight, out=np.full(pixels.shape, np.nan), where=weight > 0)


def _covariance(values):
    """Return the covariance of columns, by the rows in which both are known."""
    values = values - np.nanmean(values, axis=0, dtype=np.float64)
    seen = ~np.isnan(values)
    values = np.where(seen, values, 0.0)
    pairs = seen.T.astype(np.float64) @ seen
    return (values.T @ values) / np.maximum(pairs, 1.0)
