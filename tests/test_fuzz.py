"""A share of the fits of `fuzz.py`, always the same, and what the rest of them have found."""

import warnings

import numpy as np
import pytest
from fuzz import cases, check_density, sparse_sums, survives
from hypothesis import HealthCheck, Phase, given, settings

from skprosper import (
    BinarySparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.noise import FullNoise
from skprosper.priors import BinaryPrior, SpikeSlabPrior

MODELS = [BinarySparseCoding, GaussianSparseCoding, MaximumMagnitudeCausesAnalysis]
X = np.random.default_rng(0).normal(size=(40, 4))


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(cases())
def test_any_model_of_any_data_is_finite_or_an_error(case):
    survives(case)


@pytest.mark.parametrize("model", [GaussianSparseCoding, MaximumMagnitudeCausesAnalysis])
@pytest.mark.parametrize("dtype, least", [(np.float32, 1e-7), (np.float64, 1e-13)])
def test_noise_that_rounding_errors_outweigh_is_an_error(model, dtype, least):
    data = (X / np.sqrt(np.mean(X**2))).astype(dtype)
    settings = dict(learn=("components", "prior"), random_state=0, max_iter=3)
    with pytest.raises(ValueError, match="noise_init is too small.*Raise it 2 times"):
        model(3, noise_init=least / 2, **settings).fit(data)
    fitted = model(3, noise_init=2 * least, **settings).fit(data)
    assert np.all(np.isfinite(fitted.lower_bounds_)) and np.all(np.isfinite(fitted.transform(data)))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_slabs_far_above_the_noise_are_as_exact_in_float32(covariance):
    rng = np.random.default_rng(0)
    field = rng.normal(size=(1, 4))
    alike = field + [[0.0], [1e-4], [2e-4]] * rng.normal(size=(3, 4))
    data = (rng.normal(size=(40, 1)) * field).astype(np.float32)
    prior = SpikeSlabPrior(0.5, covariance=1e4 * np.eye(3) if covariance == "full" else 1e4)
    model = SparseCoding(
        3, prior=prior, components_init=alike, noise_init=1e-4, learn=(), max_iter=1
    )
    scores, codes = {}, {}
    for dtype in (np.float32, np.float64):
        fitted = model.fit(data.astype(dtype))
        scores[dtype] = fitted.score_samples(data.astype(dtype))
        codes[dtype] = fitted.transform(data.astype(dtype))
        assert codes[dtype].dtype == dtype and fitted.posterior(data.astype(dtype)).values.any()
    np.testing.assert_allclose(scores[np.float32], scores[np.float64], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(codes[np.float32], codes[np.float64], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "mean, covariance", [(1e4, 1.0), (1e4, 1e-4), (-1e3, 1e-4), (1e4, np.eye(3)), (100.0, 1e-2)]
)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_slabs_far_from_0_are_as_exact_in_float32(mean, covariance, missing):
    data = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    data[np.random.default_rng(1).uniform(size=data.shape) < missing] = np.nan
    prior = SpikeSlabPrior(0.3, mean, covariance)
    model = SparseCoding(3, prior=prior, max_iter=0, random_state=0)
    scores = [model.fit(data.astype(t)).score_samples(data.astype(t)) for t in ("f4", "f8")]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-3)


def test_slabs_too_small_for_float32():
    data = (1e-14 * X).astype(np.float32)
    data[:, 1:] = np.nan
    schedule = Annealing(
        temperature=1e4, target="likelihood", components_noise=0.1, variance_noise=1e6
    )
    model = GaussianSparseCoding(
        5, covariance="full", components_init=np.zeros((5, 4)), noise_init=1e-31, tol=1.0,
        n_candidates=None, max_changes=None, annealing=schedule, max_iter=3, random_state=8,
    )  # fmt: skip
    model.fit(data)
    assert np.max(model.prior_.amplitudes(5)) < 1e-20
    assert np.all(np.isfinite(model.lower_bounds_)) and np.isfinite(model.score(data))


@pytest.mark.parametrize("prior", ["binary", "spike-slab"])
@pytest.mark.parametrize("n_candidates", [1, None])
def test_gains_that_differ_by_less_than_rounding_errors_of_a_huge_row(prior, n_candidates):
    # either component explains the row, the second one better by 1e5 nats in 1e18
    components = np.array([[1.0], [1.0 + 1e-13]])
    model = SparseCoding(
        2, prior=prior, components_init=components, noise_init=1.0, center="zero", learn=(),
        n_candidates=n_candidates, max_changes=1, max_iter=0, random_state=0,
    ).fit(X[:, :1])  # fmt: skip
    row = np.full((1, 1), 1e9 if prior == "spike-slab" else 1e18)
    best = SparseCoding(
        1, prior=prior, components_init=components[1:], noise_init=1.0, learn=(), max_iter=0
    ).fit(X[:, :1])
    np.testing.assert_allclose(model.score_samples(row), best.score_samples(row), rtol=1e-9)
    assert model.set_params(code="probability").transform(row)[0, 1] > 0.99


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_components_that_cancel_are_as_exact_in_float32(missing):
    rng = np.random.default_rng(0)
    field = 3e3 * rng.normal(size=4)
    components = np.array([field, -field, rng.normal(size=4)])
    data = rng.normal(size=(40, 4)).astype(np.float32)
    data[rng.uniform(size=data.shape) < missing] = np.nan
    model = BinarySparseCoding(
        3, components_init=components, noise_init=1e-2, learn=(), max_iter=0, max_changes=None
    )
    scores = [model.fit(data.astype(t)).score_samples(data.astype(t)) for t in ("f4", "f8")]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-3)
    assert model.fit(data).transform(data).dtype == np.float32


@pytest.mark.parametrize("covariance", [np.array([1e-299]), np.array([[1e-299]])])
def test_slabs_that_shrink_to_nothing_keep_a_variance(covariance):
    # codes of 1e-170, whose square is no number of float64
    prior = SpikeSlabPrior(np.array([0.5]), np.array([0.0]), covariance)
    statistics = dict(
        weight=1.0, active=np.array([0.5]), codes=np.array([1e-170]), second=np.zeros((1, 1)),
        mean_step=np.zeros(1), covariance_step=-np.atleast_2d(covariance),
    )  # fmt: skip
    assert prior.updated(statistics).amplitudes(1)[0] > 0.0
    _, rescaled = prior.canonical(np.array([[1e-20]]))
    assert rescaled.amplitudes(1)[0] > 0.0


def test_posterior_variances_beyond_float32():
    data = (3e14 * X[:, :1]).astype(np.float32)
    model = GaussianSparseCoding(1, learn=("components",), max_iter=0).fit(data)
    model.components_ = 1e-20 * model.components_
    model.prior_ = SpikeSlabPrior(np.array([0.5]), np.array([0.0]), np.array([1e40]))
    variances = model.posterior(data, 2).variances
    assert np.all(np.isfinite(variances)) and variances.max() > 1e38
    assert np.all(np.isfinite(model.transform(data)))


def test_slabs_that_float64_does_not_resolve_are_an_error():
    model = SparseCoding(3, prior=SpikeSlabPrior(0.3, 1e6, 1e-6), max_iter=0, random_state=0)
    with pytest.raises(ValueError, match="1.*standard deviations from 0.*raise its covariance 1e"):
        model.fit(X)
    prior, far = SpikeSlabPrior(0.3, covariance=1e6), np.full((3, 4), 1e6)
    model.set_params(prior=prior, components_init=far, noise_init=1e-12)
    with pytest.raises(ValueError, match="noise_init is too small for latents that add"):
        model.fit(X)


@pytest.mark.parametrize(
    "superposition, prior",
    [("linear", "discrete"), ("linear", "spike-slab"), ("magnitude-maximum", "discrete")],
)
def test_probabilities_beside_an_unlikely_row(superposition, prior):
    model = SparseCoding(
        1, prior=prior, superposition=superposition, noise_init=1.0, random_state=0, max_iter=0
    ).fit(X)
    row = np.full((1, 4), 1e13)
    row -= model.components_ * (row @ model.components_.T) / np.sum(model.components_**2)
    probabilities = model.posterior(row).probabilities
    assert probabilities.max() < 1.0
    np.testing.assert_allclose(probabilities.sum(), 1.0)


@pytest.mark.parametrize("model", MODELS)
def test_probabilities_of_little_noise_sum_to_1(model):
    # y^2 in units of the noise is 1e13, whose last digit is 1e-3 nats
    rng = np.random.default_rng(0)
    field = rng.normal(size=12)
    data = field + 1e-6 * rng.normal(size=(100, 12))
    data[rng.uniform(size=data.shape) < 0.3] = np.nan
    alike = [field, field, 0.5 * field]
    fitted = model(3, components_init=alike, noise_init=1e-12, max_changes=None, max_iter=0)
    probabilities = fitted.fit(data).posterior(data, 64).probabilities
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_a_covariance_of_any_range_has_a_factor():
    residual = np.outer([1e9, 1.0, 1.0], [1e9, 1.0, 1.0]) - 0.5 * np.eye(3)
    noise = FullNoise(np.eye(3)).updated(residual, np.ones(3))
    assert np.isfinite(noise.log_normaliser(3))


def test_slabs_that_cancel_stay_within_what_float64_resolves():
    rng = np.random.default_rng(0)
    data = (sparse_sums(rng, 14, 3, 0.1) + 1000.0) * np.geomspace(1.0, 1e-8, 3)
    data[rng.uniform(size=data.shape) < 0.1] = np.nan
    model = GaussianSparseCoding(
        8, covariance="full", learn_mean=False, noise="diagonal", center="zero",
        n_candidates=None, max_changes=2, max_iter=5, random_state=0, warm_start=True,
    )  # fmt: skip
    for _ in range(2):
        model.fit(data)
        check_density(model, data, model.score_samples(data))


def test_components_that_cancel_stay_within_what_float64_resolves():
    # their sum explains the data but for 1e-3, each of them is 1e6
    data = 1.0 + 1e-3 * X[:, :1]
    model = BinarySparseCoding(
        2, components_init=[[1e6], [1.0 - 1e6]], noise_init=1.0, learn=("noise",),
        max_iter=5, annealing=None,
    ).fit(data)  # fmt: skip
    check_density(model, data, model.score_samples(data))
    with pytest.raises(ValueError, match="noise_init is too small for latents that add"):
        model.set_params(components_init=[[1e8], [1.0 - 1e8]]).fit(data)


def test_a_covariance_of_features_in_any_units_is_finite():
    variance = np.array([1e271, 1e271, 1e272])
    noise = FullNoise(np.eye(3)).updated(np.diag(variance), np.array([1e207, 1e222, 1e267]))
    np.testing.assert_allclose(np.diag(noise.variance), variance)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
def test_large_weights_of_large_float32_data_do_not_overflow(noise):
    data = (1e14 * X).astype(np.float32)
    weights = np.where(np.arange(len(X)) % 2, 1e300, 1.0)
    model = GaussianSparseCoding(2, noise=noise, max_iter=5, random_state=0)
    model.fit(data, sample_weight=weights)
    assert np.all(np.isfinite(model.components_)) and np.isfinite(model.score(data))


def test_a_draw_of_rows_of_which_nothing_is_observed():
    holes = X.copy()
    holes[:30] = np.nan
    model = BinarySparseCoding(2, annealing=Annealing(data_share=0.01), max_iter=20, random_state=0)
    assert np.all(np.isfinite(model.fit(holes).lower_bounds_))


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
def test_a_stream_in_which_values_are_missing_later(noise):
    model = BinarySparseCoding(1, fit_offset=True, noise=noise, random_state=0).partial_fit(X)
    holes = X.copy()
    holes[:, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(holes)
    assert np.all(np.isfinite(model.components_)) and np.isfinite(model.score(X))


def test_infinities_of_either_sign_are_one_error():
    data = X.copy()
    data[0, :2] = np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="infinity"):
            BinarySparseCoding(2).fit(data)


def test_data_truncation_keeps_a_row_whatever_the_prior():
    schedule = Annealing(temperature=1.0, data_cut=1.0)
    model = SparseCoding(
        8,
        prior=BinaryPrior(1.0 - 1e-10, tied=True),
        center="zero",
        max_changes=1,
        annealing=schedule,
        max_iter=3,
    )
    assert np.all(np.isfinite(model.set_params(random_state=0).fit(X).lower_bounds_))
