"""The images on which `skprosper.image` is developed, and those on which it is reported.

They ship with scikit-image and scikit-learn. Start values and constants of `inpaint` come
from the development images alone. Those of `denoise` are older: they were chosen on eight
images of scikit-image, brick, page and gravel among them.
"""

import numpy as np
from skimage import color, data
from sklearn.datasets import load_sample_image

DEVELOPMENT = (
    "camera",
    "coins",
    "moon",
    "grass",
    "text",
    "astronaut",
    "cat",
    "coffee",
    "china",
    "flower",
)
TEST = (
    "brick",
    "page",
    "gravel",
    "rocket",
    "retina",
    "immunohistochemistry",
    "clock",
)
# On which the constants of `denoise` were chosen.
EIGHT = ("camera", "coins", "brick", "moon", "page", "text", "grass", "gravel")


def of_eight(name):
    """Return one of the eight images, of at most 256 x 256, as float64 in 0..255."""
    image = full_size(name)
    return image[::2, ::2] if name == "camera" else image[:256, :256]


def full_size(name, colour=False):
    """Return an image as float64 in 0..255, gray unless it has colour and that is asked for."""
    if name in ("china", "flower"):
        image = load_sample_image(f"{name}.jpg")
    else:
        image = getattr(data, name)()
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3:
        image = image[:, :, :3]
        if not colour:
            image = 255 * color.rgb2gray(image / 255)
    return image


def photograph(name, colour=False):
    """Return the middle of an image, 256 x 256 or what is there of it.

    Large images are made smaller by whole strides first.
    """
    image = full_size(name, colour)
    stride = max(1, min(image.shape[:2]) // 256)
    image = image[::stride, ::stride]
    top, left = (max(0, (length - 256) // 2) for length in image.shape[:2])
    return image[top : top + 256, left : left + 256]
