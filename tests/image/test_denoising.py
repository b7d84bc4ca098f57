"""skprosper.image.denoise: better images, noise inferred, any dtype."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning

from skprosper import BinarySparseCoding, GaussianSparseCoding
from skprosper.image import denoise
from skprosper.metrics import psnr

SETTINGS = dict(fast=True, random_state=0)


def stripes(side=64, n_channels=None):
    """Return an image of diagonal stripes in 50..200; channels differ in phase."""
    row, column = np.indices((side, side))
    shifts = [0] if n_channels is None else range(n_channels)
    image = np.stack(
        [np.where((row + column + 2 * shift) % 10 < 5, 50.0, 200.0) for shift in shifts], axis=-1
    )
    return image[:, :, 0] if n_channels is None else image


def with_noise(image, sigma=20.0):
    return image + sigma * np.random.default_rng(0).standard_normal(image.shape)


@pytest.mark.parametrize("n_channels", [None, 3])
def test_noise_goes_and_is_inferred(n_channels):
    clean = stripes(n_channels=n_channels)
    noisy = with_noise(clean)
    denoised, model = denoise(noisy, return_estimator=True, **SETTINGS)
    assert psnr(denoised, clean, 255) > psnr(noisy, clean, 255) + 12
    assert denoised.shape == clean.shape
    assert isinstance(model, GaussianSparseCoding)
    assert_allclose(model.noise_variance_**0.5, 20.0, rtol=0.15)


def test_a_photograph_gets_better_at_every_noise():
    image = pytest.importorskip("skimage.data").camera()[100:196, 200:296].astype(float)
    for sigma in (15, 50):
        noisy = with_noise(image, sigma)
        denoised = denoise(noisy, **SETTINGS)
        assert psnr(denoised, image, 255) > psnr(noisy, image, 255) + 4


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_dtype_and_range_stay(dtype):
    image = np.clip(with_noise(stripes()), 0, 255).astype(dtype)
    denoised = denoise(image, **SETTINGS)
    assert denoised.dtype == dtype
    assert image.min() <= denoised.min() < denoised.max() <= image.max()
    expected = denoise(image.astype(np.float64), **SETTINGS)
    atol = 1e-9 if dtype == np.float64 else 0.5
    assert_allclose(denoised, expected, atol=atol)


def test_patches_are_wider_where_noise_prevails():
    for sigma, side in ((20.0, 8), (120.0, 10)):
        _, model = denoise(with_noise(stripes(), sigma), return_estimator=True, **SETTINGS)
        assert model.n_features_in_ == side**2


def test_the_unit_of_an_image_does_not_matter():
    noisy = with_noise(stripes())
    scaled = denoise(noisy / 255 - 3, **SETTINGS)
    assert_allclose(255 * (scaled + 3), denoise(noisy, **SETTINGS), atol=0.05)


def test_the_fine_model_may_be_given():
    clean = stripes()
    noisy = with_noise(clean)
    given = BinarySparseCoding(20, max_iter=10, random_state=0)
    denoised, model = denoise(noisy, given, patch_size=(6, 5), return_estimator=True, **SETTINGS)
    assert not hasattr(given, "components_")  # a copy is fitted
    assert model.components_.shape == (20, 30)
    assert psnr(denoised, clean, 255) > psnr(noisy, clean, 255) + 3


def test_a_given_model_that_does_not_converge_warns():
    given = BinarySparseCoding(5, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        denoise(with_noise(stripes(32)), given, **SETTINGS)


def test_callbacks_hear_of_every_fit():
    monitor = ScoringMonitor(scoring={"nats": lambda model, X, y: model.lower_bound_})
    denoise(with_noise(stripes(32)), callbacks=[monitor], **SETTINGS)
    assert len(monitor.get_logs(select="all")) == 3


def test_workers_do_not_matter():
    noisy = with_noise(stripes())
    assert_array_equal(denoise(noisy, n_jobs=2, **SETTINGS), denoise(noisy, **SETTINGS))


def test_an_image_without_noise_stays_as_it_is():
    clean = stripes()
    assert psnr(denoise(clean, **SETTINGS), clean, 255) > 40


def test_pure_noise_becomes_flat():
    noise = 100.0 + with_noise(np.zeros((64, 64)), 10.0)
    denoised = denoise(noise, **SETTINGS)
    assert denoised.std() < 0.2 * noise.std()


@pytest.mark.parametrize(
    "image, error, message",
    [
        (np.full((20, 20), 7.0), ValueError, "image is constant, 7"),
        (np.ones((20, 20), bool), ValueError, "dtype bool"),
        (np.full((20, 20), np.nan), ValueError, "contains NaN"),
        (stripes(6), ValueError, "does not fit"),
        (np.arange(50.0), ValueError, "An image has shape"),
        (np.array([["a", "b"]]), ValueError, "dtype <U1"),
    ],
)
def test_bad_images(image, error, message):
    with pytest.raises(error, match=message):
        denoise(image)


@pytest.mark.parametrize(
    "params, message",
    [
        (dict(patch_size=1), "patch_size"),
        (dict(fast="very"), "fast"),
        (dict(estimator=3), "estimator"),
        (dict(callbacks=3), "callbacks"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        denoise(stripes(), **params)
