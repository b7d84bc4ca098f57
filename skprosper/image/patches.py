"""Patches of an image, and images from patches."""

from itertools import product
from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

# Weights of patches that are further below the largest count as this share of it.
_LEAST_WEIGHT = 1e-100


@validate_params(
    {
        "image": ["array-like"],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "channel_axis": [Integral, None],
        "max_patches": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def extract_patches(image, patch_size, *, channel_axis=None, max_patches=None, random_state=None):
    """Cut an image into overlapping patches, one per row.

    Parameters
    ----------
    image : array-like of any number of dimensions
        A gray image or volume, or one with channels.
    patch_size : int or tuple of ints
        Sides of a patch in pixels, (height, width) of an image; an int stands for all.
    channel_axis : int, default=None
        The axis of the channels. None: there is none, all axes are of space.
    max_patches : int, default=None
        Draw this many patches at random places, with replacement. With None take all,
        row by row from the top left.
    random_state : int, RandomState instance or None, default=None
        Determines the random places.

    Returns
    -------
    patches : ndarray of shape (n_patches, patch_height * patch_width * n_channels)
        The patches, of the dtype of the image; the channels of a pixel lie side by side.

    Raises
    ------
    ValueError
        If the image is smaller than a patch or has no such axis.

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
    image = channels_last(image, channel_axis)
    space = space_of(image.shape, channel_axis)
    patch_size = check_patch_size(patch_size, space, channel_axis)
    n_places = _n_places(patch_size, space)
    windows = windows_of(image, patch_size)
    if max_patches is None:
        return windows.reshape(np.prod(n_places), -1)
    if max_patches > np.prod(n_places):
        raise ValueError(
            f"max_patches={max_patches} is more than the {np.prod(n_places)} patches of the "
            "image. Lower max_patches, or use None for all."
        )
    random_state = check_random_state(random_state)
    places = tuple(random_state.randint(0, n, size=max_patches) for n in n_places)
    return windows[places].reshape(max_patches, -1)


@validate_params(
    {
        "patches": ["array-like"],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "image_shape": [tuple],
        "channel_axis": [Integral, None],
        "weights": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def reconstruct_from_patches(patches, patch_size, image_shape, *, channel_axis=None, weights=None):
    """Put an image together from all its patches: a pixel is the mean over them.

    Parameters
    ----------
    patches : array-like of shape (n_patches, patch_height * patch_width * n_channels)
        All patches of the image, in the order of :func:`extract_patches`.
    patch_size : int or tuple of ints
        Sides of a patch in pixels; an int stands for all.
    image_shape : tuple of ints
        Shape of the image.
    channel_axis : int, default=None
        Which of them is that of the channels; None: there is none.
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
    n_dimensions, image_shape = len(image_shape), tuple(image_shape)
    axis = check_channel_axis(channel_axis, n_dimensions)
    channels = () if axis is None else (image_shape[axis],)
    space = image_shape if axis is None else image_shape[:axis] + image_shape[axis + 1 :]
    patch_size = check_patch_size(patch_size, space, channel_axis)
    n_places = _n_places(patch_size, space)
    expected = int(np.prod(n_places)), int(np.prod(patch_size + channels))
    if patches.shape != expected:
        raise ValueError(
            f"An image of shape {image_shape} with channel_axis={channel_axis} has patches of "
            f"shape {expected} for patch_size={patch_size}, got {patches.shape}. Give all patches "
            "of the image, in the order of extract_patches."
        )
    if weights is None:
        weights = np.ones(len(patches))
    weights = check_array(weights, dtype=np.float64, ensure_2d=False, input_name="weights")
    if weights.shape != (len(patches),) or weights.min() <= 0:
        raise ValueError(
            f"weights must hold one number above zero for each of the {len(patches)} "
            f"patches, got shape {weights.shape} and a smallest of {weights.min():g}."
        )
    # only ratios count
    weights = np.maximum(weights / weights.max(), _LEAST_WEIGHT).reshape(n_places)
    patches = patches.reshape(n_places + patch_size + channels)
    places = [
        (where, tuple(slice(start, start + n) for start, n in zip(where, n_places)))
        for where in product(*(range(side) for side in patch_size))
    ]
    weight_sum = np.zeros(space)
    for _, pixels in places:
        weight_sum[pixels] += weights
    # in float64, and shares that sum to one: no sum is too large
    image = np.zeros(space + channels)
    every = (slice(None),) * len(space)
    for where, pixels in places:
        share = (weights / weight_sum[pixels]).reshape(n_places + (1,) * len(channels))
        image[pixels] += share * patches[every + where]
    if axis is not None:
        image = np.moveaxis(image, -1, axis)
    return image.astype(patches.dtype, copy=False)


def check_channel_axis(channel_axis, n_dimensions):
    """Return the axis of the channels from the front, None where there is none."""
    if channel_axis is None:
        return None
    if not -n_dimensions <= channel_axis < n_dimensions or n_dimensions < 2:
        raise ValueError(
            f"channel_axis={channel_axis} is no axis of an image of {n_dimensions} dimensions; "
            "give None for a gray image or volume."
        )
    return channel_axis % n_dimensions


def channels_last(image, channel_axis):
    """Return the image with the axis of the channels, where there is one, as the last."""
    axis = check_channel_axis(channel_axis, image.ndim)
    return image if axis is None else np.moveaxis(image, axis, -1)


def space_of(shape, channel_axis):
    """Return the shape in space of an image whose channels, where there are some, come last."""
    return shape if channel_axis is None else shape[:-1]


def check_patch_size(patch_size, space, channel_axis):
    """Return the sides of a patch, a tuple of ints that fit into the image."""
    sides = (patch_size,) * len(space) if isinstance(patch_size, Integral) else tuple(patch_size)
    if len(sides) != len(space) or not all(
        isinstance(side, Integral) and side >= 1 for side in sides
    ):
        raise ValueError(
            f"patch_size must be an int or {len(space)} ints >= 1, one for each axis of an image "
            f"of shape {tuple(space)} in space, got {patch_size!r}.{_hint(space, channel_axis)}"
        )
    if any(side > length for side, length in zip(sides, space)):
        raise ValueError(
            f"patch_size={sides} does not fit into an image of shape {tuple(space)}. "
            f"Use smaller patches.{_hint(space, channel_axis)}"
        )
    return sides


def windows_of(image, patch_size):
    """Return a view of the patches, (places along each axis) + patch_size + channels."""
    n_space = len(patch_size)
    windows = np.lib.stride_tricks.sliding_window_view(
        image, patch_size, axis=tuple(range(n_space))
    )
    return windows if image.ndim == n_space else np.moveaxis(windows, n_space, -1)


def mean_over_space(patches, patch_size):
    """Return the mean of each patch and channel, one axis for each of space and the channels."""
    return patches.mean(axis=tuple(range(1, 1 + len(patch_size))), keepdims=True)


def at_places(filtered, side):
    """Return what a filter of the size of a patch says of each patch."""
    # the window of a filter begins half its size before the pixel
    middle = (slice(n // 2, length - (n - 1) // 2) for n, length in zip(side, filtered.shape))
    return filtered[tuple(middle)]


def sides_like(side, n_space):
    """Return the sides of a patch with about as many pixels as a square one of this side."""
    return (max(2, round(side ** (2 / n_space))),) * n_space


def fitting(sides, space):
    """Return the sides of a patch, cut to those of the image."""
    return tuple(min(side, length) for side, length in zip(sides, space))


def wider(sides, patch_size, space):
    """Return the sides of a larger patch cut to the image, or else of one that has more places."""
    sides = fitting(sides, space)
    return tuple(patch_size) if sides == tuple(space) else sides


def check_several(patch_size, space):
    """Check that an image has more patches than one, for a model to learn from."""
    if tuple(patch_size) == tuple(space):
        raise ValueError(
            f"An image of shape {tuple(space)} holds a single patch of {tuple(patch_size)}, of "
            "which no model can be learned. Use smaller patches: patch_size."
        )


def _hint(space, channel_axis):
    """Return what to say where a colour image may have been taken for a volume."""
    if channel_axis is None and len(space) == 3 and min(space) <= 4:
        return (
            f" Or give channel_axis={-1 if space[-1] <= 4 else int(np.argmin(space))} for colour."
        )
    return ""


def _n_places(patch_size, space):
    """Return the number of places that a patch can have along each axis."""
    return tuple(length - side + 1 for side, length in zip(patch_size, space))
