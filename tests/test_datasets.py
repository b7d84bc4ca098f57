import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skprosper.datasets import (
    load_image_patches,
    make_bars,
    make_bars_components,
    make_sparse_coding,
    make_spectrograms,
)


def test_bars_are_the_rows_and_columns_of_the_image():
    images = make_bars_components(4, amplitude=3).reshape(8, 4, 4)
    for index in range(4):
        row, column = np.zeros((2, 4, 4))
        row[index] = 3
        column[:, index] = 3
        assert_array_equal(images[index], row)
        assert_array_equal(images[4 + index], column)


def test_signed_bars_have_one_sign_each_and_both_signs_occur():
    bars = make_bars_components(8, amplitude=2, signed=True, random_state=0)
    signs = bars.sum(axis=1) / 16
    assert_array_equal(bars, signs[:, np.newaxis] * make_bars_components(8, amplitude=2))
    assert set(signs) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("options", "values", "probabilities"),
    [
        ({}, [0, 1], [0.8, 0.2]),
        ({"n_active": 3}, [0, 1], [0.7, 0.3]),
        ({"prior": "ternary"}, [-1, 0, 1], [0.1, 0.8, 0.1]),
        ({"prior": "discrete"}, [0, 1, 2], [0.8, 0.1, 0.1]),
        (
            {"prior": "discrete", "values": (-2, 0, 1, 5)},
            [-2, 0, 1, 5],
            [1 / 15, 0.8] + 2 * [1 / 15],
        ),
        (
            {"prior": "discrete", "probabilities": (0.8, 0.15, 0.05)},
            [0, 1, 2],
            [0.8, 0.15, 0.05],
        ),
    ],
)
def test_codes_take_the_values_of_the_prior_with_its_probabilities(options, values, probabilities):
    _, codes, _ = make_bars(5000, random_state=0, **options)
    found, counts = np.unique(codes, return_counts=True)
    assert_array_equal(found, values)
    assert_allclose(counts / codes.size, probabilities, atol=0.008)


def test_spike_slab_codes_are_zero_or_drawn_from_a_normal_of_mean_and_variance_one():
    _, codes, _ = make_bars(10_000, prior="spike-slab", random_state=0)
    active = codes[codes != 0]
    assert active.size / codes.size == pytest.approx(0.2, abs=0.01)
    assert active.mean() == pytest.approx(1, abs=0.03)
    assert active.std() == pytest.approx(1, abs=0.03)


def test_codes_are_independent_over_components():
    _, codes, _ = make_bars(20_000, random_state=0)
    correlation = np.corrcoef(codes.T)
    assert np.abs(correlation[~np.eye(10, dtype=bool)]).max() < 0.04


@pytest.mark.parametrize("prior", ["binary", "ternary", "discrete", "spike-slab"])
@pytest.mark.parametrize("superposition", ["linear", "maximum", "magnitude-maximum"])
def test_noiseless_data_are_the_superposition_of_the_active_components(prior, superposition):
    components = np.random.default_rng(0).normal(size=(6, 7))
    if superposition == "maximum":
        components = np.abs(components)
    X, codes = make_sparse_coding(
        components,
        50,
        prior=prior,
        superposition=superposition,
        noise=0,
        random_state=0,
    )
    parts = codes[:, :, np.newaxis] * components
    if superposition == "linear":
        expected = parts.sum(axis=1)
    elif superposition == "maximum":
        expected = np.maximum(parts.max(axis=1), 0)
    else:
        winner = np.abs(parts).argmax(axis=1, keepdims=True)
        expected = np.take_along_axis(parts, winner, axis=1)[:, 0]
    assert_allclose(X, expected, atol=1e-12)


def test_noise_is_a_standard_deviation_in_data_units():
    noisy, codes, components = make_bars(2000, noise=3, random_state=0)
    residual = noisy - codes @ components
    assert residual.std() == pytest.approx(3, rel=0.02)
    assert residual.mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("make", [make_bars, make_spectrograms])
def test_random_state_determines_the_data(make):
    for first, again in zip(make(random_state=7), make(random_state=7), strict=True):
        assert_array_equal(first, again)
    assert not np.array_equal(make(random_state=7)[0], make(random_state=8)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_active": 11}, "n_active=11 is more than the 10 components"),
        ({"signed": True, "superposition": "maximum"}, "magnitude-maximum"),
        ({"probabilities": (0.5, 0.5)}, "belong to prior='discrete'"),
        ({"prior": "discrete", "values": (1, 2)}, "zero once"),
        ({"prior": "discrete", "values": (0, 0, 1)}, "zero once"),
        ({"prior": "discrete", "probabilities": (0.5, 0.5)}, "each of the 3 values"),
        ({"prior": "discrete", "probabilities": (0.9, 0.2, 0.1)}, "sum to 1"),
        ({"prior": "discrete", "probabilities": (1.2, -0.1, -0.1)}, ">= 0"),
        ({"prior": "laplace"}, "'prior' parameter"),
        ({"noise": -1}, "'noise' parameter"),
        ({"size": 1}, "'size' parameter"),
        ({"n_samples": 0}, "'n_samples' parameter"),
    ],
)
def test_bad_options_get_an_error_that_names_them(options, message):
    with pytest.raises(ValueError, match=message):
        make_bars(**{"signed": True, "random_state": 0, **options})


def test_a_single_source_has_its_own_spectrum():
    X, codes, components = make_spectrograms(400, noise=0, random_state=0)
    alone = codes.sum(axis=1) == 1
    assert alone.any()
    assert_allclose(X[alone], codes[alone] @ components, atol=1e-9)


def test_sources_together_take_nearly_the_maximum():
    X, codes, components = make_spectrograms(400, noise=0, random_state=0)
    maximum = (codes[:, :, np.newaxis] * components).max(axis=1)
    n_active = codes.sum(axis=1, keepdims=True)
    excess = X - maximum
    assert excess.min() > -1e-9
    assert (excess <= 10 * np.log10(np.maximum(n_active, 1)) + 1e-9).all()
    assert excess.mean() < 0.03 * maximum.max()


def test_spectra_are_non_negative_and_peak_at_the_fundamental_frequencies():
    _, _, components = make_spectrograms(10, n_components=3)
    assert components.shape == (3, 100)
    assert (components >= 0).all()
    assert_array_equal(components.argmax(axis=1), [5, 10, 20])


@pytest.mark.parametrize("n_active", [0.8, 4])
def test_sources_sound_as_often_as_asked_and_for_eight_frames(n_active):
    _, codes, _ = make_spectrograms(40_000, 32, n_active=n_active, random_state=0)
    assert codes.sum(axis=1).mean() == pytest.approx(n_active, rel=0.05)
    starts = (np.diff(codes, axis=0) == 1).sum()
    assert codes.sum() / starts == pytest.approx(8, rel=0.05)


def test_all_sources_can_sound_all_the_time():
    _, codes, _ = make_spectrograms(10, n_components=2, n_active=2)
    assert_array_equal(codes, np.ones((10, 2)))


def test_more_sounding_sources_than_sources_are_an_error():
    with pytest.raises(ValueError, match="n_active=3 is more than n_components=2"):
        make_spectrograms(n_components=2, n_active=3)


@pytest.mark.parametrize(
    "image", ["china", "flower", "astronaut", "brick", "camera", "grass", "gravel"]
)
def test_patches_of_every_photograph_are_grey_values_without_a_download(image, monkeypatch):
    def no_download(*args, **kwargs):
        raise AssertionError("a photograph was to be downloaded")

    monkeypatch.setattr("urllib.request.urlopen", no_download)
    monkeypatch.setattr("socket.create_connection", no_download)
    X = load_image_patches(50, image=image, patch_size=(4, 6), whiten=False, random_state=0)
    assert X.shape == (50, 24)
    assert X.min() >= 0
    assert 0.1 < X.max() <= 1


def test_whitened_patches_have_no_mean_and_are_nearly_uncorrelated():
    raw = load_image_patches(3000, whiten=False, random_state=0)
    X = load_image_patches(3000, random_state=0)
    assert_allclose(X.mean(axis=1), 0, atol=1e-9)

    def mean_correlation(patches):
        correlation = np.corrcoef(patches.T)
        return np.abs(correlation[~np.eye(64, dtype=bool)]).mean()

    assert mean_correlation(X) < 0.1 * mean_correlation(raw)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float32"])
def test_patches_have_the_dtype_asked_for(dtype, whiten):
    X = load_image_patches(20, whiten=whiten, dtype=dtype, random_state=0)
    assert X.dtype == dtype


def test_a_dtype_that_is_not_floating_is_an_error():
    with pytest.raises(ValueError, match="dtype must be"):
        load_image_patches(20, dtype=np.int32)


def test_a_missing_scikit_image_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        load_image_patches(20, image="camera")
