"""How strong the noise of an image with holes is, told from where the image is flattest."""

import numpy as np
from scipy.ndimage import uniform_filter

from .patches import at_places, fitting, sides_like

# Side of a square window, and the share of them that are flattest.
_WINDOW, _FLATTEST = 7, 0.05
# Median size of a standard normal number.
_MEDIAN = 0.6745
# Noise below this share of the image's variance has no effect.
_LEAST_NOISE = 1e-5


def noise_beside_holes(pixels, n_space, random_state):
    """Estimate the noise variance of an image in which NaN is unknown.

    The smaller of two estimates. A plane is fitted to one half of the known pixels of every
    small window, and to the other half; where the first half is flattest, what is left of
    the second is noise. And so is the median difference of known neighbours, where edges
    are everywhere but few.
    """
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:n_space], -1), -1, 0)
    told, left = [], []
    for channel in channels:
        half = random_state.random_sample(channel.shape) < 0.5
        rest = [_beside_planes(np.where(part, channel, np.nan)) for part in (half, ~half)]
        valid = np.isfinite(rest[0]) & np.isfinite(rest[1])
        told.append(rest[0][valid])
        left.append(rest[1][valid])
    estimates = []
    told, left = np.concatenate(told), np.concatenate(left)
    if told.size:
        estimates.append(left[told <= np.quantile(told, _FLATTEST)].mean())
    steps = [np.abs(np.diff(channels, axis=axis)).ravel() for axis in range(1, channels.ndim)]
    steps = np.concatenate(steps)
    if np.isfinite(steps).any():
        estimates.append(0.5 * (np.nanmedian(steps) / _MEDIAN) ** 2)
    least = _LEAST_NOISE * np.nanvar(pixels, dtype=np.float64)
    return max(float(min(estimates, default=0.0)), least)


def _beside_planes(channel):
    """Return the variance about the plane fitted to each window, NaN where none is told."""
    seen = np.isfinite(channel)
    n_terms = channel.ndim + 1
    side = fitting(sides_like(_WINDOW, channel.ndim), channel.shape)

    def summed(values):
        return at_places(uniform_filter(np.where(seen, values, 0.0), side), side) * np.prod(side)

    values = np.where(seen, channel, 0.0).astype(np.float64)
    # coordinates within a window are small: those of the image, less the window's
    axes = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in channel.shape), indexing="ij")
    terms = [np.ones(channel.shape)] + [axis - axis.mean() for axis in axes]
    count = summed(1.0)
    gram = np.empty(count.shape + (n_terms, n_terms))
    product = np.empty(count.shape + (n_terms,))
    for i, term in enumerate(terms):
        product[..., i] = summed(term * values)
        for k, other in enumerate(terms[: i + 1]):
            gram[..., i, k] = gram[..., k, i] = summed(term * other)
    square = summed(values**2)
    # about the mean of the window: sums over a whole image would cancel
    mean = gram[..., 0] / np.maximum(count, 1.0)[..., None]
    level = product[..., 0] / np.maximum(count, 1.0)
    gram = gram[..., 1:, 1:] - count[..., None, None] * mean[..., 1:, None] * mean[..., None, 1:]
    product = product[..., 1:] - count[..., None] * mean[..., 1:] * level[..., None]
    square = square - count * level**2
    freedom = np.round(count) - n_terms
    # enough pixels, not on a line
    sound = (freedom >= 2) & (np.linalg.det(gram) > 1e-3 * np.prod(side))
    result = np.full(count.shape, np.nan)
    slope = np.linalg.solve(gram[sound], product[sound][..., None])[..., 0]
    rest = square[sound] - np.sum(slope * product[sound], axis=-1)
    result[sound] = np.maximum(rest, 0.0) / freedom[sound]
    return result
