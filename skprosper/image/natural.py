"""Start values for patches of natural images, of any size of patch and number of channels.

natural.npz holds what benchmarks/natural_start.py learned: components and prior of
`GaussianSparseCoding` for square gray patches, of images of mean 0 and variance 1.
"""

from functools import cache
from importlib.resources import files

import numpy as np

from ..priors import SpikeSlabPrior

SIDES = (8, 12)
# The mean of these images, and of those the start values are for, in standard deviations.
SHIFT = 2.0
# Share of the components of a colour image that vary along its first colour axis.
_FIRST_COLOUR = 0.6


@cache
def _learned(side):
    """Return components (H, side, side), probability, mean and variance (H,) of patches."""
    with files(__package__).joinpath("natural.npz").open("rb") as file:
        arrays = np.load(file)
        names = ("components", "probability", "mean", "variance")
        components, *prior = [arrays[f"{name}_{side}"].astype(np.float64) for name in names]
    return components.reshape(-1, side, side), *prior


def natural_start(patch_size, colours):
    """Return components and prior to start EM from, for patches of images in two dimensions.

    Parameters
    ----------
    patch_size : tuple of 2 ints
        Sides of a patch. Other sides than those learned take components of larger
        patches where they overlap: a part of the features has the same model.
    colours : ndarray of shape (n_channels, n_channels)
        Covariance of the channels, of a mean variance of 1. Components are those of gray
        patches along its axes, most along the first.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
    prior : SpikeSlabPrior
    """
    side = next((side for side in SIDES if side >= max(patch_size)), SIDES[-1])
    components, probability, mean, variance = _learned(side)
    components = _resized(components, patch_size)
    components, chosen = _in_colour(components, colours)
    probability, mean, variance = probability[chosen], mean[chosen], variance[chosen]
    components = components.reshape(len(components), -1)
    # a component that hardly reaches into a smaller patch explains nothing of it
    norms = np.linalg.norm(components, axis=1)
    kept = norms > 0.1 * np.median(norms)
    prior = SpikeSlabPrior(probability[kept], mean[kept], variance[kept])
    return components[kept], prior


def _resized(components, patch_size):
    """Return the middle of components, or components amid a border that continues them."""
    for axis, size in enumerate(patch_size, start=1):
        side = components.shape[axis]
        if size <= side:
            first = (side - size) // 2
            components = np.take(components, range(first, first + size), axis=axis)
        else:
            widths = [(0, 0)] * 3
            widths[axis] = ((size - side) // 2, size - side - (size - side) // 2)
            components = np.pad(components, widths, mode="edge")
    return components


def _in_colour(components, colours):
    """Return components along the axes of the colours, and which of the gray ones they are.

    The amplitude of an axis is in the components.
    """
    variances, axes = np.linalg.eigh(colours)
    # an axis has a sign: brightness is above 0
    axes = axes[:, ::-1] * np.where(axes.sum(axis=0)[::-1] < 0.0, -1.0, 1.0)
    amplitudes = np.sqrt(np.maximum(variances[::-1], 0.0))
    n_components, n_channels = len(components), len(colours)
    shares = np.full(n_channels, (1.0 - _FIRST_COLOUR) / max(1, n_channels - 1))
    shares[0] = _FIRST_COLOUR if n_channels > 1 else 1.0
    counts = np.maximum(1, np.round(shares * n_components).astype(int))
    counts[amplitudes < 1e-3 * amplitudes[0]] = 0
    parts = [
        components[:count, :, :, None] * (amplitude * axis)
        for count, amplitude, axis in zip(counts, amplitudes, axes.T)
    ]
    return np.concatenate(parts), np.concatenate([np.arange(count) for count in counts])
