"""skprosper.image.denoise: better images, noise inferred, any dtype."""

from copy import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning

from skprosper import BinarySparseCoding, SparseCoding
from skprosper.image import denoise, extract_patches, inpaint, reconstruct_from_patches
from skprosper.image.noise_level import noise_of_patches
from skprosper.image.progress import as_one_task
from skprosper.image.regions import by_region, from_patches
from skprosper.metrics import psnr
from skprosper.priors import SpikeSlabPrior

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
    axis = None if n_channels is None else -1
    denoised, model = denoise(noisy, channel_axis=axis, return_estimator=True, **SETTINGS)
    assert psnr(denoised, clean, 255) > psnr(noisy, clean, 255) + 12
    assert denoised.shape == clean.shape
    assert isinstance(model, SparseCoding)
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
    if dtype == np.float32:
        # a component more or less may be kept where its gain is what it costs, but for rounding
        assert np.mean(np.abs(denoised - expected) > 0.5) < 0.05
        assert_allclose(denoised, expected, atol=5)
    else:
        assert_allclose(denoised, expected, atol=1e-9 if dtype == np.float64 else 0.5)


def test_patches_are_wider_where_noise_prevails():
    for sigma, side in ((20.0, 8), (120.0, 10)):
        _, model = denoise(with_noise(stripes(), sigma), return_estimator=True, **SETTINGS)
        assert model.n_features_in_ == side**2


@pytest.mark.parametrize("unit, level", [(255.0, -765.0), (1e-30, 0.0), (1e30, 100.0)])
def test_the_unit_of_an_image_does_not_matter(unit, level):
    noisy = with_noise(stripes())
    scaled = denoise((noisy + level) / unit, **SETTINGS)
    difference = np.abs(unit * scaled - level - denoise(noisy, **SETTINGS))
    assert difference.mean() < 0.02 * 20.0  # of the noise: a component more or less may be kept


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
    (log,) = monitor.get_logs(select="all")
    fits = [entry["estimator_name"] for entry in log.data if entry["task_name"] == "fit"]
    assert fits[:2] == ["GaussianSparseCoding", "SparseCoding"]


class Heard:
    """A callback that goes down into fits and writes down every task."""

    max_propagation_depth = 1

    def __init__(self):
        self.begun, self.ended, self.root = [], [], []

    def setup(self, estimator, context):
        self.root.append(context.task_name)

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.estimator_name, context.task_name))
        return False


@pytest.mark.parametrize("restore", [denoise, inpaint])
def test_a_progress_bar_hears_of_the_whole_call(restore):
    heard = Heard()
    restore(with_noise(stripes(32)), callbacks=[heard], **SETTINGS)
    assert heard.root == [restore.__name__]
    steps = [
        [task for task in tasks if task[0] == "Restoration"] for tasks in (heard.begun, heard.ended)
    ]
    assert sorted(steps[0]) == sorted(steps[1])
    assert heard.ended[-1] == ("Restoration", restore.__name__)
    assert ("Restoration", "picture") in heard.begun
    assert ("SparseCoding", "iteration") in heard.begun


def test_regions_do_not_matter_where_the_prior_is_the_same(monkeypatch):
    pixels = with_noise(stripes(40, n_channels=2))

    def picture(estimate):
        def work(steps):
            return from_patches(estimate, pixels, (8, 7), steps, "picture", smooth=pixels)

        return as_one_task(work, "test", 1, None)

    def halved(patches):
        return patches / 2, 1.0 + patches[:, 0] ** 2

    patches = extract_patches(pixels, (8, 7), channel_axis=-1)
    means = patches.reshape(len(patches), 56, 2).mean(axis=1)
    centred = patches - np.tile(means, 56)
    expected = reconstruct_from_patches(
        centred / 2 + np.tile(means, 56),
        (8, 7),
        pixels.shape,
        channel_axis=-1,
        weights=1.0 + centred[:, 0] ** 2,
    )
    assert_allclose(picture(halved), expected, rtol=1e-12)
    monkeypatch.setattr("skprosper.image.regions._REGION", 5000)
    assert_allclose(picture(halved), expected, rtol=1e-12)


def test_a_component_is_as_probable_as_its_region_uses_it():
    patches = with_noise(np.zeros((300, 16)), 1.0)
    patches[:, :4] += 6.0 * (np.arange(300) < 200)[:, None]
    components = np.zeros((2, 16))
    components[0, :4], components[1, 4:8] = 6.0, 6.0
    model = SparseCoding(
        2, prior=SpikeSlabPrior(0.5, 1.0, np.full(2, 0.01)), components_init=components, max_iter=0
    ).fit(patches)
    restored, weights = by_region(model, 1.0, 1)(patches)
    # the second is never used, and 10 patches of the image say half
    local = copy(model)
    local.prior_ = SpikeSlabPrior(
        np.array([(200 + 5) / 310, (0 + 5) / 310]), model.prior_.mean, model.prior_.covariance
    )
    assert_allclose(restored, local.reconstruct(patches), atol=0.02)
    assert_allclose(weights[:200], 1 / 1.5, atol=0.05)
    assert_allclose(weights[200:], 1 / 0.5, atol=0.1)


def test_workers_do_not_matter():
    noisy = with_noise(stripes())
    assert_array_equal(denoise(noisy, n_jobs=2, **SETTINGS), denoise(noisy, **SETTINGS))


def test_an_image_without_noise_stays_as_it_is():
    clean = stripes()
    assert psnr(denoise(clean, **SETTINGS), clean, 255) > 40


def test_much_more_noise_than_image_leaves_its_mean():
    image = stripes()
    denoised = denoise(image, noise_variance=1e6 * image.var(), **SETTINGS)
    assert_allclose(denoised, image.mean(), atol=0.1 * image.std())


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
        (np.arange(50.0), ValueError, "does not fit"),
        (stripes(9)[:8, :8], ValueError, "a single patch of"),
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
        (dict(noise_variance=1e-9), "noise_variance=1e-09 is too small .* Give 5.*e-08 or more"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        denoise(stripes(), **params)


def framed(image, share, level=0.0):
    """Return an image amid a border of one level that takes a share of the area."""
    side = round(len(image) / np.sqrt(1.0 - share))
    frame = np.full((side, side), level)
    start = (side - len(image)) // 2
    frame[start : start + len(image), start : start + len(image)] = image
    return frame


@pytest.mark.parametrize("level", [0.0, 255.0])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.84])
def test_borders_are_no_evidence_of_the_noise(share, level):
    noisy = with_noise(stripes(96))
    assert_allclose(
        noise_of_patches(framed(noisy, share, level), 2, np.random.RandomState(0)) ** 0.5,
        20.0,
        rtol=0.1,
    )


def test_saturated_regions_are_no_evidence_of_the_noise():
    clean = np.where(np.indices((96, 160))[1] < 80, stripes(160)[:96], 250.0)
    noisy = np.clip(with_noise(clean), 0, 255)
    assert_allclose(noise_of_patches(noisy, 2, np.random.RandomState(0)) ** 0.5, 20.0, rtol=0.15)


def test_a_border_does_not_keep_an_image_from_getting_better():
    clean = stripes()
    noisy = framed(with_noise(clean), 0.75)
    denoised = denoise(noisy, **SETTINGS)[32:-32, 32:-32]
    assert psnr(denoised, clean, 255) > psnr(noisy[32:-32, 32:-32], clean, 255) + 10


def test_a_noise_that_is_known_is_taken():
    noisy = with_noise(stripes(32))
    known = denoise(noisy, noise_variance=400.0, return_estimator=True, **SETTINGS)
    assert known[1].noise_variance_ == 400.0
    assert not np.array_equal(known[0], denoise(noisy, noise_variance=40.0, **SETTINGS))


def test_channels_may_lie_anywhere():
    noisy = with_noise(stripes(32, n_channels=3))
    last = denoise(noisy, channel_axis=-1, **SETTINGS)
    for axis in (0, 1):
        moved = denoise(np.moveaxis(noisy, -1, axis), channel_axis=axis, **SETTINGS)
        assert_array_equal(np.moveaxis(moved, axis, -1), last)


@pytest.mark.parametrize("shape", [(16, 16, 16), (600,)])
def test_volumes_and_signals_get_better(shape):
    clean = np.where(np.indices(shape).sum(axis=0) % 10 < 5, 50.0, 200.0)
    noisy = with_noise(clean)
    denoised = denoise(noisy, **SETTINGS)
    assert denoised.shape == shape
    assert psnr(denoised, clean, 255) > psnr(noisy, clean, 255) + 6


def test_a_colour_image_is_not_taken_for_a_volume_in_silence():
    with pytest.raises(ValueError, match="channel_axis=-1"):
        denoise(stripes(32, n_channels=3))


def test_a_masked_array_is_for_inpaint():
    with pytest.raises(ValueError, match="use inpaint"):
        denoise(np.ma.masked_greater(stripes(), 100.0))


@pytest.mark.parametrize("seed", range(3))
def test_texture_with_heavy_tails_is_not_taken_for_noise(seed):
    rng = np.random.default_rng(seed)
    # white in each place, of a contrast that differs from place to place as in photographs
    contrast = gaussian_filter(rng.standard_normal((200, 200)), 3.0)
    contrast = np.exp(0.7 * contrast / contrast.std())
    texture = 20.0 / np.sqrt(np.mean(contrast**2)) * contrast * rng.standard_normal((200, 200))
    noisy = texture + 5.0 * rng.standard_normal((200, 200))
    # the least variances alone tell 9.9
    assert 5.0 < np.sqrt(noise_of_patches(noisy, 2, np.random.RandomState(0))) < 8.5


@pytest.mark.parametrize("seed", range(3))
def test_texture_that_differs_from_place_to_place_is_told_from_noise(seed):
    rng = np.random.default_rng(seed)
    texture = 100.0 * np.kron(rng.exponential(size=(20, 20)), np.ones((10, 10)))
    noisy = np.sqrt(texture + 100.0) * rng.standard_normal((200, 200))
    # texture and noise, which are alike in any one place, have a standard deviation of 14
    assert_allclose(noise_of_patches(noisy, 2, np.random.RandomState(0)) ** 0.5, 10.0, rtol=0.08)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (5, 9), (3, 50), (20,), (3, 3, 3)])
def test_a_small_image_has_a_noise_too(shape, scale):
    noise = scale * np.random.default_rng(0).standard_normal(shape)
    found = noise_of_patches(noise, len(shape), np.random.RandomState(0)) ** 0.5
    assert 0.1 * noise.std() < found <= 1.5 * noise.std()


@pytest.mark.parametrize(
    "shape, patch_size", [((8, 9), None), ((9, 9), None), ((6, 6), 3), ((20,), 4)]
)
def test_a_patch_may_be_nearly_as_large_as_the_image(shape, patch_size):
    noisy = with_noise(np.where(np.indices(shape).sum(axis=0) % 4 < 2, 50.0, 200.0))
    denoised = denoise(noisy, patch_size=patch_size, **SETTINGS)
    assert denoised.shape == shape
    assert np.isfinite(denoised).all()


def test_heavy_tails_that_chance_makes_are_not_taken_from_the_noise():
    rng = np.random.default_rng(0)
    for side, least in ((32, 0.75), (64, 0.9), (256, 0.96)):
        for _ in range(5):
            noise = rng.standard_normal((side, side))
            assert noise_of_patches(noise, 2, np.random.RandomState(0)) > least**2
