"""Numbers far from 1 and far from 0: the same result, or one clear error."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.datasets import load_image_patches, make_bars, make_spectrograms
from skprosper.image import denoise
from skprosper.learning.moments import data_moments, data_squares
from skprosper.metrics import psnr
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

pytestmark = pytest.mark.filterwarnings("ignore:What was learned is at a limit")

X = make_bars(400, size=3, random_state=0)[0]
LINEAR = [BinarySparseCoding, TernarySparseCoding, DiscreteSparseCoding, GaussianSparseCoding]
MODELS = [*LINEAR, MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis]
METHODS = ["score_samples", "score", "transform", "reconstruct", "posterior"]


@pytest.mark.parametrize("scale", [1e100, 1e-100, 1e135, 1e-135])
@pytest.mark.parametrize("model", MODELS)
def test_the_unit_of_the_data_does_not_matter(model, scale):
    expected = model(6, random_state=0, max_iter=40).fit(X)
    scaled = model(6, random_state=0, max_iter=40).fit(scale * X)
    shift = X.shape[1] * np.log(scale)
    # the log of a large number rounds
    assert_allclose(scaled.lower_bound_ + shift, expected.lower_bound_, rtol=0, atol=1e-3)
    assert_allclose(scaled.noise_variance_ / scale**2, expected.noise_variance_, rtol=1e-3)


@pytest.mark.parametrize("shift", [1e4, 1e8])
@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("model", LINEAR)
def test_an_offset_takes_where_the_data_lie(model, noise, shift):
    settings = dict(fit_offset=True, noise=noise, random_state=0, max_iter=30)
    expected = model(6, **settings).fit(X)
    shifted = model(6, **settings).fit(X + shift)
    found = shifted.score(X + shift)
    # digits lost may lead to another optimum, but to no worse one
    assert found > expected.score(X) - 5e-3
    if found < expected.score(X) + 5e-3:
        assert_allclose(shifted.offset_ - shift, expected.offset_, atol=0.05)


@pytest.mark.parametrize("model", LINEAR)
def test_an_offset_of_1e12_leaves_what_float64_resolves(model):
    settings = dict(fit_offset=True, random_state=0, max_iter=30)
    rounded = X + 1e12 - 1e12
    expected = model(6, **settings).fit(rounded)
    shifted = model(6, **settings).fit(X + 1e12)
    assert_allclose(shifted.lower_bounds_[:5], expected.lower_bounds_[:5], atol=1e-3)
    assert_allclose(shifted.noise_variance_, expected.noise_variance_, rtol=0.1)


def test_float32_data_less_an_offset_keep_their_digits():
    settings = dict(fit_offset=True, random_state=0, max_iter=5)
    shifted = (X + 1e4).astype(np.float32)
    as_float64 = GaussianSparseCoding(6, **settings).fit(shifted.astype(np.float64))
    as_float32 = GaussianSparseCoding(6, **settings).fit(shifted)
    assert_allclose(as_float32.lower_bounds_, as_float64.lower_bounds_, rtol=1e-5)
    residual = shifted - as_float32.offset_ - as_float32.reconstruct(shifted)
    assert np.abs(residual + as_float32.offset_).max() < 30


@pytest.mark.parametrize("shift", [1e8, 1e9])
def test_what_float32_does_not_resolve_is_an_error_beside_an_offset(shift):
    with pytest.raises(ValueError, match="no more than float32 resolves.*float64"):
        GaussianSparseCoding(6, fit_offset=True).fit((X + shift).astype(np.float32))


@pytest.mark.parametrize("model", MODELS)
def test_float32_data_far_from_zero_leave_finite_parameters(model):
    for shift in (1e8, 1e9):
        fitted = model(6, random_state=0).fit((X + shift).astype(np.float32))
        assert np.all(np.isfinite(fitted.components_)) and np.isfinite(fitted.lower_bound_)


def test_the_floor_of_the_noise_follows_what_arithmetic_resolves():
    # the mean alone is to be explained beside what explains the data by hand
    far = GaussianSparseCoding(7, random_state=0, max_iter=200).fit(300 + 0.1 * X)
    assert far.noise_variance_ < 0.06


@pytest.mark.parametrize("dtype, value", [(np.float32, 1e20), (np.float64, 1e200)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_data_beyond_the_range_of_a_model_are_an_error(model, method, dtype, value):
    data = X.astype(dtype)
    fitted = model(6, random_state=0, max_iter=2).fit(data)
    for sign in (1, -1):
        data[3, 1] = sign * value
        with pytest.raises(ValueError, match="outside the range of float.*rescale X"):
            getattr(fitted, method)(data)
    data[3, 1] = value**0.5
    result = getattr(fitted, method)(data)
    result = result.log_evidence if method == "posterior" else result
    assert np.all(np.isfinite(result))


def test_a_dask_array_beyond_the_range_of_a_model_is_an_error():
    fitted = BinarySparseCoding(6, random_state=0, max_iter=2).fit(X)
    with pytest.raises(ValueError, match="outside the range"):
        fitted.transform(da.from_array(1e200 * X, chunks=(100, 9))).compute()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weight", [1e-310, 1 / 400, 1e-30])
@pytest.mark.parametrize("model", MODELS)
def test_weights_that_are_shares_count_rows(model, weight, dtype):
    data, weights = X.astype(dtype), np.full(400, weight)
    expected = model(6, random_state=0, max_iter=40).fit(data)
    weighted = model(6, random_state=0, max_iter=40).fit(data, sample_weight=weights)
    assert_allclose(weighted.score(data, sample_weight=weights), expected.score(data), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", MODELS)
def test_huge_weights_leave_a_fit_of_the_data(model, dtype):
    data, weights = X.astype(dtype), np.full(400, 1e305)
    # few iterations: what tells one optimum from another may depend on how much data there are
    expected = model(6, random_state=0, max_iter=5).fit(data)
    weighted = model(6, random_state=0, max_iter=5).fit(data, sample_weight=weights)
    assert weighted.score(data, sample_weight=weights) > expected.score(data) - 0.1


def test_weights_of_a_dask_array_and_of_a_stream_count_rows():
    weights = np.full(400, 1e-300)
    expected = BinarySparseCoding(6, random_state=0, batch_size=100)
    rows = da.from_array(X, chunks=(100, 9))
    weighted = BinarySparseCoding(6, random_state=0).fit(
        rows, sample_weight=da.from_array(weights, chunks=100)
    )
    assert_allclose(weighted.score(X), expected.fit(X).score(X), atol=1e-6)
    streams = [BinarySparseCoding(6, random_state=0) for _ in range(2)]
    for start in range(0, 400, 100):
        part = slice(start, start + 100)
        streams[0].partial_fit(X[part])
        streams[1].partial_fit(X[part], sample_weight=weights[part])
    assert_allclose(streams[1].score(X), streams[0].score(X), atol=1e-6)
    for model, weight in zip(streams, (4.0, 4e-300)):  # no weight is a weight of 1
        model.partial_fit(X[:100], sample_weight=np.full(100, weight))
    assert_allclose(streams[1].score(X), streams[0].score(X), atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e10])
def test_moments_of_chunks_add_up_to_those_of_all(shift):
    data, weights = X + shift, np.random.default_rng(0).uniform(size=400)
    weights[:50] = 0.0
    parts = [slice(0, 50), slice(50, 51), slice(51, 300), slice(300, 400)]
    total = data_moments(data[parts[0]], weights[parts[0]])["moments"]
    for part in parts[1:]:
        total = total + data_moments(data[part], weights[part])["moments"]
    whole = data_moments(data, weights)["moments"]
    expected = np.cov(X.T, aweights=weights, ddof=0)
    for moments in (total, whole):
        assert_allclose(moments.weight, weights.sum())
        assert_allclose(moments.mean - shift, weights @ X / weights.sum(), atol=1e-5)
        assert_allclose(moments.covariance, expected, atol=1e-4)
        assert_allclose(moments.square / moments.weight, np.diag(expected), atol=1e-4)
    assert_allclose(data_squares(data, weights)["moments"].square, whole.square, rtol=1e-12)


@pytest.mark.parametrize("model", LINEAR[:3])
@pytest.mark.parametrize(
    "data",
    [
        make_spectrograms(300, 40, random_state=0)[0],
        load_image_patches(1000, patch_size=5, whiten=False, random_state=0),
        make_bars(200, size=3, noise=0.0, random_state=0)[0],
    ],
    ids=["spectra", "photograph", "noiseless"],
)
def test_little_noise_leaves_finite_posteriors(model, data):
    # single changes of the active latents would gain more than exp can take
    fitted = model(20, random_state=0, max_iter=30).fit(data)
    assert np.all(np.isfinite(fitted.lower_bounds_))
    assert np.all(np.isfinite(fitted.score_samples(data)))


def test_noise_below_what_the_data_allow_is_an_error():
    for dtype, least in ((np.float64, 1e-300), (np.float32, 1e-40)):
        with pytest.raises(ValueError, match="noise_init"):
            SparseCoding(6, noise_init=least).fit(X.astype(dtype))


def test_start_components_beyond_the_range_are_an_error():
    with pytest.raises(ValueError, match="components_init"):
        SparseCoding(6, components_init=np.full((6, 9), 1e200)).fit(X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "params, message",
    [
        (dict(prior=SpikeSlabPrior(covariance=1e300)), "mean and covariance"),
        (dict(prior=SpikeSlabPrior(covariance=1e-300)), "mean and covariance"),
        (dict(prior=SpikeSlabPrior(mean=1e200)), "mean and covariance"),
        (dict(prior=DiscretePrior((0, 1e200))), "rescale its values"),
        (dict(prior=DiscretePrior((0, 1e-200)), superposition="maximum"), "rescale its values"),
    ],
)
def test_start_values_beyond_the_range_are_an_error(params, message, dtype):
    with pytest.raises(ValueError, match=message):
        SparseCoding(6, **params).fit(X.astype(dtype))


@pytest.mark.parametrize("prior", ["binary", "discrete", "spike-slab"])
@pytest.mark.parametrize("noisy", ["prior_noise", "variance_noise", "components_noise"])
def test_annealing_with_any_noise_leaves_finite_parameters(noisy, prior):
    annealing = Annealing(**{noisy: [(0, 1e300), (0.3, 0)]})
    fitted = SparseCoding(6, prior=prior, annealing=annealing, random_state=0).fit(X)
    assert np.all(np.isfinite(fitted.lower_bounds_)) and np.all(np.isfinite(fitted.components_))


@pytest.mark.parametrize("prior", [BinaryPrior, TernaryPrior, SpikeSlabPrior])
@pytest.mark.parametrize("probability", [1e-300, 1.0 - 1e-12])
def test_a_probability_beyond_what_is_learned_is_told(prior, probability):
    with pytest.raises(ValueError, match="between 1e-10 and 1 - 1e-10"):
        SparseCoding(6, prior=prior(probability), learn=("components",)).fit(X)


def two_valued(probability):
    return DiscretePrior((0, 2), (1.0 - probability, probability))


@pytest.mark.parametrize("prior", [BinaryPrior, TernaryPrior, SpikeSlabPrior, two_valued])
@pytest.mark.parametrize("probability", [1e-10, 1.0 - 1e-10])
def test_what_was_learned_at_the_floor_may_be_given(prior, probability):
    params = dict(components_init=X[:6], max_iter=0)
    fitted = SparseCoding(6, prior=prior(probability), **params).fit(X)
    again = SparseCoding(6, prior=fitted.prior_, **params).fit(X)
    assert_allclose(again.prior_.activity(6), probability, rtol=1e-6)


@pytest.mark.parametrize("noise", ["diagonal", "full"])
@pytest.mark.parametrize("offset", [True, False])
def test_features_may_be_in_units_of_their_own(noise, offset):
    units = np.geomspace(1e-5, 1e5, 9)
    settings = dict(noise=noise, fit_offset=offset, annealing=None, max_iter=200)
    start = make_bars(random_state=0, size=3)[2] + 0.5
    variance = np.var(X, axis=0) / 4
    variance = np.diag(variance) if noise == "full" else variance
    expected = SparseCoding(6, components_init=start, noise_init=variance, **settings).fit(X)
    scale = np.outer(units, units) if noise == "full" else units**2
    scaled = SparseCoding(
        6, components_init=start * units, noise_init=variance * scale, **settings
    ).fit(X * units)
    assert_allclose(scaled.noise_variance_ / scale, expected.noise_variance_, rtol=1e-2, atol=1e-2)
    shift = np.log(units).sum()
    assert_allclose(scaled.score(X * units) + shift, expected.score(X), atol=1e-2)


@pytest.mark.parametrize("dtype, code", [(np.float64, 1e308), (np.float32, 3e38)])
def test_codes_beyond_the_range_are_an_error(dtype, code):
    fitted = BinarySparseCoding(6, random_state=0, max_iter=2).fit(X)
    with pytest.raises(ValueError, match="outside the range of float"):
        fitted.inverse_transform(np.full((2, 6), code, dtype))


def test_psnr_of_any_scale():
    rng = np.random.default_rng(0)
    image, reference = rng.uniform(size=(2, 8, 8))
    expected = psnr(image, reference, 1.0)
    for scale in (1e-300, 1e-200, 1e200, 1e308):
        assert_allclose(psnr(scale * image, scale * reference, scale), expected)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_images_beyond_the_range_are_an_error(scale):
    with pytest.raises(ValueError, match="rescale image"):
        denoise(scale * np.random.default_rng(0).uniform(size=(20, 20)))
