"""The images on which `skprosper.image` is developed, and those on which it is reported.

They ship with scikit-image, scikit-learn, PyWavelets and matplotlib. The start values are
learned from the development images; constants were chosen on those and on images aside,
which the start values have not seen. One rule of `denoise` is older: what a component has to
gain was chosen on eight images of scikit-image, brick, page and gravel of the test set
among them.
"""

import numpy as np
import pywt
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
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
ASIDE = ("ascent", "aero", "hopper", "hubble_deep_field")


def full_size(name, colour=False):
    """Return an image as float64 in 0..255, gray unless it has colour and that is asked for."""
    if name in ("china", "flower"):
        image = load_sample_image(f"{name}.jpg")
    elif name in ("ascent", "aero"):
        image = getattr(pywt.data, name)()
    elif name == "hopper":
        image = imread(get_sample_data("grace_hopper.jpg", asfileobj=False))
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
