"""Patches of an image, and images from patches."""

from numbers import Integral

import numpy as np
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params


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
    patch_size = check_patch_size(patch_size, image.shape)
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
    height, width = check_patch_size(patch_size, image_shape)
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


def check_patch_size(patch_size, image_shape):
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
