import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprosper.image import ZCAWhitening, extract_patches, reconstruct_from_patches

GREY, COLOR = (9, 7), (9, 7, 3)
AXIS = {GREY: None, COLOR: -1}


def random_image(shape, dtype=np.float64):
    return np.random.default_rng(0).uniform(0, 255, size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [GREY, COLOR])
def test_patches_are_all_windows_of_the_image_row_by_row(shape, dtype):
    image = random_image(shape, dtype)
    patches = extract_patches(image, (4, 2), channel_axis=AXIS[shape])
    windows = [image[row : row + 4, col : col + 2] for row in range(6) for col in range(6)]
    assert_array_equal(patches, np.reshape(windows, (36, -1)))
    assert patches.dtype == dtype


def test_an_int_stands_for_a_square_patch():
    image = random_image(GREY)
    assert_array_equal(extract_patches(image, 3), extract_patches(image, (3, 3)))


def test_random_patches_are_windows_determined_by_the_random_state():
    image = random_image(GREY)
    every = {patch.tobytes() for patch in extract_patches(image, 3)}
    drawn = extract_patches(image, 3, max_patches=20, random_state=0)
    assert drawn.shape == (20, 9)
    assert {patch.tobytes() for patch in drawn} <= every
    assert_array_equal(drawn, extract_patches(image, 3, max_patches=20, random_state=0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("patch_size", [1, (4, 2), (9, 7)])
@pytest.mark.parametrize("shape", [GREY, COLOR])
def test_an_image_comes_back_from_its_patches(shape, patch_size, weighted):
    image = random_image(shape)
    patches = extract_patches(image, patch_size, channel_axis=AXIS[shape])
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.1, 9, size=len(patches)) if weighted else None
    again = reconstruct_from_patches(
        patches, patch_size, shape, channel_axis=AXIS[shape], weights=weights
    )
    assert_allclose(again, image)


@pytest.mark.parametrize("shape", [GREY, COLOR])
def test_a_pixel_is_the_weighted_mean_over_the_patches_that_hold_it(shape):
    rng = np.random.default_rng(0)
    size = 3
    like = extract_patches(np.zeros(shape), size, channel_axis=AXIS[shape])
    patches, weights = rng.normal(size=like.shape), rng.uniform(0.1, 2, size=len(like))
    total, weight_sum = np.zeros((2, *shape))
    for index, patch in enumerate(patches):
        row, col = divmod(index, shape[1] - size + 1)
        total[row : row + size, col : col + size] += weights[index] * patch.reshape(
            size, size, *shape[2:]
        )
        weight_sum[row : row + size, col : col + size] += weights[index]
    image = reconstruct_from_patches(
        patches, size, shape, channel_axis=AXIS[shape], weights=weights
    )
    assert_allclose(image, total / weight_sum)


def test_only_ratios_of_weights_count():
    patches = extract_patches(random_image(GREY), 3)
    patches = patches + np.random.default_rng(1).normal(size=patches.shape)
    weights = np.linspace(1, 2, len(patches))
    image = reconstruct_from_patches(patches, 3, GREY, weights=weights)
    huge = reconstruct_from_patches(patches, 3, GREY, weights=weights * 1e307)
    assert_allclose(huge, image)


def test_weights_of_any_scale_keep_every_pixel():
    patches = extract_patches(random_image(GREY), 3)
    weights = np.geomspace(1e-300, 1e300, len(patches))
    assert_allclose(reconstruct_from_patches(patches, 3, GREY, weights=weights), random_image(GREY))


def test_numbers_near_the_largest_come_back():
    image = random_image(GREY) / 255 * np.finfo(np.float64).max
    assert_allclose(reconstruct_from_patches(extract_patches(image, 3), 3, GREY), image)


def test_float32_images_far_from_zero_come_back():
    image = 1e6 + random_image((40, 40)).astype(np.float32)
    again = reconstruct_from_patches(extract_patches(image, 8), 8, image.shape)
    assert_array_equal(again, image)


@pytest.mark.parametrize("shape", [(12,), (6, 5, 7), (4, 5, 6, 3)])
def test_images_of_any_dimensions_come_back(shape):
    image = random_image(shape)
    patches = extract_patches(image, 3)
    assert patches.shape == (np.prod(np.subtract(shape, 2)), 3 ** len(shape))
    assert_allclose(reconstruct_from_patches(patches, 3, shape), image)


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_the_channels_may_be_any_axis(axis):
    last = random_image(COLOR)
    image = np.moveaxis(last, -1, axis)
    patches = extract_patches(image, 3, channel_axis=axis)
    assert_array_equal(patches, extract_patches(last, 3, channel_axis=-1))
    again = reconstruct_from_patches(patches, 3, image.shape, channel_axis=axis)
    assert_allclose(again, image)
    drawn = extract_patches(image, 3, channel_axis=axis, max_patches=9, random_state=0)
    assert {patch.tobytes() for patch in drawn} <= {patch.tobytes() for patch in patches}


def test_float32_patches_make_a_float32_image():
    patches = extract_patches(random_image(GREY, np.float32), 3)
    weights = np.ones(len(patches))
    assert reconstruct_from_patches(patches, 3, GREY).dtype == np.float32
    image = reconstruct_from_patches(patches, 3, GREY, weights=weights)
    assert image.dtype == np.float32


@pytest.mark.parametrize(
    ("image_shape", "patch_size", "options", "message"),
    [
        (GREY, (10, 2), {}, "does not fit"),
        (GREY, (2, 8), {}, "does not fit"),
        (GREY, (2, 2, 2), {}, "2 ints"),
        (GREY, (0, 2), {}, "2 ints"),
        (GREY, 0, {}, "'patch_size' parameter"),
        ((9,), 2, {"channel_axis": 0}, "is no axis"),
        (COLOR, 2, {"channel_axis": 3}, "channel_axis=3 is no axis of an image of 3 dim"),
        (COLOR, 4, {}, "does not fit.*channel_axis=-1"),
        ((3, 9, 7), 4, {}, "does not fit.*channel_axis=0"),
        (COLOR, (4, 2), {}, "3 ints.*channel_axis=-1"),
        (GREY, 8, {"max_patches": 1}, "does not fit"),
        (GREY, 7, {"max_patches": 4}, "more than the 3 patches"),
    ],
)
def test_patches_that_cannot_be_cut_are_an_error(image_shape, patch_size, options, message):
    with pytest.raises(ValueError, match=message):
        extract_patches(np.ones(image_shape), patch_size, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patches": np.ones((10, 9))}, r"has patches of shape \(35, 9\)"),
        ({"patches": np.ones((35, 8))}, r"has patches of shape \(35, 9\)"),
        ({"image_shape": (9, 7, 3)}, r"has patches of shape \(35, 27\)"),
        ({"image_shape": COLOR, "channel_axis": -1}, r"has patches of shape \(35, 27\)"),
        ({"weights": np.ones(10)}, "each of the 35 patches"),
        ({"weights": np.zeros(35)}, "above zero"),
    ],
)
def test_patches_that_do_not_make_the_image_are_an_error(change, message):
    arguments = {"patches": np.ones((35, 9)), "patch_size": 3, "image_shape": GREY}
    with pytest.raises(ValueError, match=message):
        reconstruct_from_patches(**{**arguments, **change})


@parametrize_with_checks([ZCAWhitening()])
def test_whitening_is_a_scikit_learn_transformer(estimator, check):
    check(estimator)


def correlated(n_samples=500, dtype=np.float64):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 8))
    return (rng.normal(size=(n_samples, 8)) @ mixing + 5).astype(dtype)


@pytest.mark.parametrize("scale", [1e-140, 1, 1e140])
def test_whitened_data_have_identity_covariance(scale):
    X = scale * correlated()
    white = ZCAWhitening(epsilon=1e-10).fit_transform(X)
    assert_allclose(white.mean(axis=0), 0, atol=1e-10)
    assert_allclose(np.cov(white.T, bias=True), np.eye(8), atol=1e-5)


def test_the_whitening_matrix_is_the_symmetric_inverse_root_of_the_covariance():
    X = correlated()
    covariance = np.cov(X.T, bias=True)
    regularised = covariance + 0.1 * np.trace(covariance) / 8 * np.eye(8)
    whitener = ZCAWhitening(epsilon=0.1).fit(X)
    root = whitener.whitening_
    assert_allclose(root, root.T)
    assert (np.linalg.eigvalsh(root) > 0).all()
    assert_allclose(root @ regularised @ root, np.eye(8), atol=1e-10)


@pytest.mark.parametrize("n_samples", [4, 500])
def test_whitening_can_be_undone(n_samples):
    X = correlated(n_samples)
    whitener = ZCAWhitening().fit(X)
    assert_allclose(whitener.inverse_transform(whitener.transform(X)), X)


def test_directions_without_variance_are_not_blown_up():
    X = correlated()
    X[:, 3] = X[:, 2]
    white = ZCAWhitening().fit_transform(X)
    assert np.abs(white).max() < 10
    assert_allclose(ZCAWhitening().fit_transform(np.full((5, 3), 7.0)), 0)


def test_float32_data_stay_float32():
    X = correlated(dtype=np.float32)
    whitener = ZCAWhitening().fit(X)
    white = whitener.transform(X)
    assert white.dtype == np.float32
    assert whitener.inverse_transform(white).dtype == np.float32


def test_inverse_transform_of_another_number_of_features_is_an_error():
    whitener = ZCAWhitening().fit(correlated())
    with pytest.raises(ValueError, match="X has 3 features.*fitted with 8"):
        whitener.inverse_transform(np.ones((2, 3)))


def test_the_mean_of_many_float32_rows_far_from_zero_is_exact():
    data = (300 + np.random.default_rng(0).standard_normal((200_000, 2))).astype(np.float32)
    whitener = ZCAWhitening().fit(data)
    assert_allclose(whitener.mean_, data.mean(axis=0, dtype=np.float64), rtol=1e-12)
    white = whitener.transform(data).astype(np.float64)
    assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    assert_allclose(np.cov(white.T), np.eye(2), atol=0.02)


def test_whitening_does_not_see_where_the_data_lie():
    data = np.random.default_rng(0).standard_normal((100, 3)) @ np.diag([1.0, 2.0, 3.0])
    shifted = ZCAWhitening().fit(data + 1e9)
    assert_allclose(shifted.whitening_, ZCAWhitening().fit(data).whitening_, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale, dtype", [(1e200, np.float64), (1e-200, np.float64), (1e35, "f4")])
def test_whitening_data_beyond_the_range_of_squares_is_an_error(scale, dtype):
    data = (np.random.default_rng(0).standard_normal((9, 3)) * scale).astype(dtype)
    with pytest.raises(ValueError, match="rescale X"):
        ZCAWhitening().fit(data)
