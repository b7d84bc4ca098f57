"""A share of the fits of `fuzz.py`, always the same, and what the rest of them have found."""

import warnings

import numpy as np
import pytest
from fuzz import cases, survives
from hypothesis import HealthCheck, Phase, given, settings

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.noise import FullNoise

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


def test_probabilities_beside_an_unlikely_row():
    model = DiscreteSparseCoding(1, noise_init=1.0, random_state=0, max_iter=0).fit(X)
    row = np.full((1, 4), 1e13)
    row -= model.components_ * (row @ model.components_.T) / np.sum(model.components_**2)
    probabilities = model.posterior(row).probabilities
    assert probabilities.max() < 1.0
    np.testing.assert_allclose(probabilities.sum(), 1.0)


def test_a_covariance_of_any_range_has_a_factor():
    residual = np.outer([1e9, 1.0, 1.0], [1e9, 1.0, 1.0]) - 0.5 * np.eye(3)
    noise = FullNoise(np.eye(3)).updated(residual, np.ones(3))
    assert np.isfinite(noise.log_normaliser(3))


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
        8, prior=_always_active(), center="zero", max_changes=1, annealing=schedule, max_iter=3
    )
    assert np.all(np.isfinite(model.set_params(random_state=0).fit(X).lower_bounds_))


def _always_active():
    from skprosper.priors import BinaryPrior

    return BinaryPrior(1.0 - 1e-10, tied=True)
