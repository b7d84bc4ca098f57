"""skprosper.image.inpaint: missing values filled, known ones kept or denoised."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_denoising import stripes, with_noise

from skprosper import BinarySparseCoding
from skprosper.image import inpaint
from skprosper.image.noise_level import noise_beside_holes
from skprosper.metrics import psnr

SETTINGS = dict(fast=True, random_state=0)


def holes(shape, share=0.5, seed=1):
    return np.random.default_rng(seed).random(shape) < share


@pytest.mark.parametrize("n_channels", [None, 3])
def test_missing_values_are_found_and_known_ones_stay(n_channels):
    clean = stripes(64 if n_channels is None else 40, n_channels=n_channels)
    missing = holes(clean.shape)
    axis = None if n_channels is None else -1
    inpainted = inpaint(np.where(missing, -1.0, clean), missing, channel_axis=axis, **SETTINGS)
    assert psnr(inpainted, clean, 255) > 22
    assert_allclose(inpainted[~missing], clean[~missing], atol=0.5)
    unknown = np.where(missing, np.nan, clean)
    assert_array_equal(inpaint(unknown, channel_axis=axis, **SETTINGS), inpainted)


def test_without_noise_known_values_stay():
    image = with_noise(stripes(40), 3.0).astype(np.float32).astype(np.float64)
    missing = holes(image.shape, 0.2)
    inpainted = inpaint(image, missing, noise_variance=0, **SETTINGS)
    assert_allclose(inpainted[~missing], image[~missing], rtol=1e-6)


def test_a_photograph_beats_smooth_interpolation():
    image = pytest.importorskip("skimage.data").camera()[100:196, 200:296].astype(float)
    restoration = pytest.importorskip("skimage.restoration")
    missing = holes(image.shape)
    smooth = restoration.inpaint_biharmonic(np.where(missing, 0.0, image), missing)
    inpainted = inpaint(image, missing, n_jobs=2, random_state=0)
    assert psnr(inpainted, image, 255) > psnr(smooth, image, 255)


@pytest.mark.parametrize("noise_variance", [None, 400.0])
def test_noise_and_holes_together(noise_variance):
    clean = stripes(96)
    noisy = with_noise(clean)
    missing = holes(clean.shape)
    inpainted = inpaint(noisy, missing, noise_variance=noise_variance, **SETTINGS)
    assert psnr(inpainted, clean, 255) > psnr(noisy, clean, 255) + 3


def test_the_noise_beside_holes():
    flat = 100.0 + np.indices((96, 96)).sum(axis=0)
    noisy = with_noise(flat)
    for share in (0.0, 0.5, 0.8):
        unknown = np.where(holes(flat.shape, share), np.nan, noisy)
        estimate = noise_beside_holes(unknown, 2, np.random.RandomState(0))
        assert_allclose(estimate**0.5, 20.0, rtol=0.1)
    clean = np.where(holes(flat.shape), np.nan, flat)
    assert noise_beside_holes(clean, 2, np.random.RandomState(0)) < 0.02


def test_a_texture_all_over_the_image_is_no_noise():
    # a spectrum of 1/f, down to the pixel
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(96)))
    frequency[0, 0] = np.inf
    texture = np.fft.ifft2(np.fft.fft2(rng.normal(size=(96, 96))) / frequency).real
    texture *= 40.0 / texture.std()
    for sigma, most in ((0.0, 14.0), (20.0, 26.0)):
        noisy = np.where(holes(texture.shape), np.nan, texture + sigma * rng.normal(size=(96, 96)))
        estimate = noise_beside_holes(noisy, 2, np.random.RandomState(0)) ** 0.5
        assert 0.9 * sigma < estimate < most


def test_the_noise_of_pixels_without_neighbours_is_none():
    pixels = np.full((16, 16), np.nan)
    pixels[::3, ::3] = np.random.default_rng(0).normal(size=(6, 6))
    estimate = noise_beside_holes(pixels, 2, np.random.RandomState(0))
    assert 0.0 <= estimate <= 1e-4


def test_holes_larger_than_a_patch_are_filled():
    clean = stripes()
    missing = np.zeros(clean.shape, bool)
    missing[20:40, 22:36] = True
    inpainted = inpaint(clean, missing, **SETTINGS)
    assert np.isfinite(inpainted).all()
    assert_allclose(inpainted[~missing], clean[~missing], atol=0.5)
    assert psnr(inpainted[missing], clean[missing], 255) > 7


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_dtype_and_range_stay(dtype):
    image = stripes(40).astype(dtype)
    missing = holes(image.shape)
    inpainted = inpaint(image, missing, **SETTINGS)
    assert inpainted.dtype == dtype
    assert image.min() <= inpainted.min() < inpainted.max() <= image.max()


def test_hardly_anything_known():
    image = stripes(40)
    inpainted = inpaint(image, holes(image.shape, 0.97), **SETTINGS)
    assert np.isfinite(inpainted).all()


def test_a_mask_of_pixels_is_one_of_all_channels():
    image = stripes(24, n_channels=3)
    missing = holes(image.shape[:2], 0.3)
    every = np.repeat(missing[:, :, None], 3, axis=2)
    expected = inpaint(image, every, channel_axis=-1, **SETTINGS)
    assert_array_equal(inpaint(image, missing, channel_axis=-1, **SETTINGS), expected)
    first = inpaint(np.moveaxis(image, -1, 0), missing, channel_axis=0, **SETTINGS)
    assert_array_equal(np.moveaxis(first, 0, -1), expected)
    hidden = np.ma.array(image, mask=every)
    assert_array_equal(inpaint(hidden, channel_axis=-1, **SETTINGS), expected)


def test_volumes():
    clean = np.where(np.indices((16, 16, 16)).sum(axis=0) % 10 < 5, 50.0, 200.0)
    missing = holes(clean.shape, 0.3)
    inpainted = inpaint(clean, missing, **SETTINGS)
    filled = np.where(missing, clean[~missing].mean(), clean)
    assert psnr(inpainted, clean, 255) > psnr(filled, clean, 255) + 3


def test_workers_do_not_matter():
    image, missing = stripes(40), holes((40, 40))
    whole = inpaint(image, missing, **SETTINGS)
    assert_array_equal(inpaint(image, missing, n_jobs=2, **SETTINGS), whole)


def test_the_model_may_be_given():
    image, missing = stripes(48), holes((48, 48), 0.3)
    given = BinarySparseCoding(20, max_iter=10, random_state=0)
    inpainted, model = inpaint(
        image, missing, given, patch_size=(6, 5), return_estimator=True, **SETTINGS
    )
    assert model.components_.shape == (20, 30)
    assert not hasattr(given, "components_")
    assert np.isfinite(inpainted).all()


@pytest.mark.parametrize(
    "image, mask, message",
    [
        (np.full((20, 20), np.nan), None, "no known value"),
        (stripes(20), np.ones((20, 20), bool), "no known value"),
        (stripes(20), np.ones((20, 19), bool), r"shape \(20, 19\)"),
        (stripes(20), np.ones((20, 20)), "dtype float64"),
        (np.where(holes((20, 20)), np.nan, 7.0), None, "image is constant, 7"),
        (np.where(holes((20, 20)), np.inf, 7.0), None, "infinity"),
        (stripes(6), np.zeros((6, 6), bool), "does not fit"),
        (stripes(8), holes((8, 8)), "a single patch of"),
    ],
)
def test_bad_input(image, mask, message):
    with pytest.raises(ValueError, match=message):
        inpaint(image, mask)


@pytest.mark.parametrize("shape, patch_size", [((8, 9), None), ((10, 10), None), ((20,), 4)])
def test_a_patch_may_be_nearly_as_large_as_the_image(shape, patch_size):
    image = np.where(np.indices(shape).sum(axis=0) % 4 < 2, 50.0, 200.0)
    image[..., 3] = np.nan
    inpainted = inpaint(image, patch_size=patch_size, fast=True, random_state=0)
    assert inpainted.shape == shape
    assert np.isfinite(inpainted).all()


def test_bad_parameters():
    with pytest.raises(ValueError, match="noise_variance"):
        inpaint(stripes(20), noise_variance=-1.0)


def test_a_channel_without_a_known_value_is_told():
    image = np.stack([stripes(20), np.full((20, 20), np.nan), stripes(20)])
    with pytest.raises(ValueError, match="no known value in channel 1"):
        inpaint(image, channel_axis=0)


def test_a_model_that_fills_nothing_is_told():
    class Blank(BinarySparseCoding):
        def reconstruct(self, X):
            return np.full(X.shape, np.nan)

    with pytest.raises(ValueError, match="reconstruct returned NaN"):
        inpaint(stripes(24), holes((24, 24)), Blank(4, max_iter=2, random_state=0))
