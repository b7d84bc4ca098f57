"""Imputation by models of the Bayesian bootstrap."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprosper import BinarySparseCoding
from skprosper.datasets import make_bars
from skprosper.impute import BootstrapImputer

FEW = dict(annealing=None, max_iter=5)


@pytest.fixture(autouse=True)
def not_converged():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def table_of(seed):
    """Return rows of correlated features, few for their number, and the same with holes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 4)) @ rng.standard_normal((4, 16))
    X += 0.5 * rng.standard_normal(X.shape)
    return X, np.where(rng.uniform(size=X.shape) < 0.3, np.nan, X)


@pytest.fixture(scope="module")
def table():
    return table_of(0)


def imputer_of(**params):
    return BootstrapImputer(BinarySparseCoding(4, **FEW), 4, **{"random_state": 0, **params})


@parametrize_with_checks([BootstrapImputer(BinarySparseCoding(2, **FEW), n_estimators=2)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_mean_and_variance_are_those_of_the_mixture_of_the_models(table, dtype):
    X = table[1].astype(dtype)
    imputer = imputer_of().fit(X)
    filled, std = imputer.impute(X, return_std=True)
    means, stds = zip(*(m.impute(X, return_std=True) for m in imputer.estimators_), strict=True)
    missing, tol = np.isnan(X), dict(rtol=1e-10 if dtype == np.float64 else 1e-5)
    assert filled.dtype == std.dtype == dtype
    assert_array_equal(filled[~missing], X[~missing])
    assert not std[~missing].any()
    assert_allclose(filled, np.mean(means, axis=0), **tol)
    variance = np.mean(np.square(stds), axis=0) + np.var(means, axis=0, ddof=1)
    assert_allclose(std, np.sqrt(variance), **tol)
    assert_array_equal(imputer.transform(X), filled)


def test_models_differ_in_weights_and_seeds_and_not_by_the_number_of_jobs(table):
    _, X = table
    first = imputer_of().fit(X)
    seeds = [model.random_state for model in first.estimators_]
    assert len(set(seeds)) == 4
    components = [model.components_ for model in first.estimators_]
    assert not np.allclose(components[0], components[1])
    again = imputer_of(n_jobs=2).fit(X)
    assert_array_equal(first.impute(X), again.impute(X))
    assert not np.array_equal(first.impute(X), imputer_of(random_state=1).fit(X).impute(X))


def test_intervals_hold_what_those_of_one_model_do_not():
    model = BinarySparseCoding(
        4, noise="full", annealing=None, max_iter=20, fit_offset=True, random_state=0
    )
    tables = [table_of(seed) for seed in range(6)]

    def inside_and_error(imputer):
        results = []
        for X, holes in tables:
            missing = np.isnan(holes)
            filled, std = imputer.fit(holes).impute(holes, return_std=True)
            error = np.abs(filled - X)[missing]
            inside = np.mean(error < 1.96 * std[missing])
            results.append((inside, np.sqrt(np.mean(error**2))))
        return np.mean(results, axis=0)

    inside, error = inside_and_error(model)
    inside_of_many, error_of_many = inside_and_error(BootstrapImputer(model, random_state=0))
    assert inside + 0.05 < inside_of_many < 0.98
    assert inside_of_many > 0.88
    assert error_of_many < error


def test_a_pipeline_that_imputes():
    X, codes, _ = make_bars(120, size=3, random_state=0)
    holes = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.2, np.nan, X)
    imputer = BootstrapImputer(BinarySparseCoding(6, **FEW), n_estimators=2, random_state=0)
    pipeline = make_pipeline(imputer.set_output(transform="default"), LogisticRegression())
    assert pipeline.fit(holes, codes[:, 0] > 0).score(holes, codes[:, 0] > 0) > 0.8


@pytest.mark.parametrize(
    "params, message",
    [
        ({"estimator": PCA()}, "'estimator' parameter"),
        ({"n_estimators": 1}, "'n_estimators' parameter"),
    ],
)
def test_bad_parameters_are_named(table, params, message):
    with pytest.raises(ValueError, match=message):
        imputer_of().set_params(**params).fit(table[1])


def test_infinite_values_are_an_error(table):
    X = table[1].copy()
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        imputer_of().fit(X)
