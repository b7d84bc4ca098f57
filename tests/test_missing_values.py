"""Missing values through what a user calls."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import NAMED, random_problem
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skprosper import BinarySparseCoding, GaussianSparseCoding, MaximalCausesAnalysis, SparseCoding
from skprosper.datasets import make_bars
from skprosper.inference import incomplete_independent
from skprosper.inference.missing import PartlyObserved
from skprosper.learning.moments import moments_of
from skprosper.metrics import match_components

EXACT = dict(n_candidates=None, max_changes=None)


@pytest.fixture(autouse=True)
def not_converged():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def holes_in(X, share=0.4, seed=0):
    """Return a copy with missing values."""
    missing = np.random.default_rng(seed).uniform(size=X.shape) < share
    return np.where(missing, np.nan, X).astype(X.dtype)


@pytest.fixture(scope="module")
def bars():
    X, codes, components = make_bars(600, size=3, random_state=0)
    return X, holes_in(X), components


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("prior", ["binary", "discrete", "spike-slab"])
@pytest.mark.parametrize("by_feature", [True, False])
def test_the_bound_of_the_linear_superposition_never_falls(prior, noise, by_feature, monkeypatch):
    if not by_feature:
        monkeypatch.setattr(incomplete_independent, "_MOST_BY_FEATURE", 0)
    X, _, _ = make_bars(80, size=3, random_state=1)
    X = holes_in(X - X.mean(), 0.5)
    model = SparseCoding(
        4, prior=prior, noise=noise, fit_offset=True, annealing=None, max_iter=40, tol=0,
        random_state=0, **EXACT,
    ).fit(X)  # fmt: skip
    assert np.diff(model.lower_bounds_).min() > -1e-8
    assert model.lower_bounds_[-1] > model.lower_bounds_[0] + 1.0


def test_second_moments_of_each_feature_need_fewer_iterations(monkeypatch):
    X, _, _ = make_bars(400, size=3, random_state=1)
    X = holes_in(X - X.mean(), 0.8)
    model = SparseCoding(6, annealing=None, max_iter=30, tol=0, random_state=0, **EXACT)
    bound = model.fit(X).lower_bound_
    monkeypatch.setattr(incomplete_independent, "_MOST_BY_FEATURE", 0)
    assert bound > model.fit(X).lower_bound_ + 0.05


def test_the_bound_is_the_likelihood_of_the_observed_entries():
    model, reference, X = random_problem("ternary", "diagonal", **EXACT)
    X = holes_in(X)
    expected = []
    for x in X:
        seen = ~np.isnan(x)
        own = type(reference)(
            reference.components[:, seen],
            reference.values,
            reference.probabilities,
            reference.noise[seen],
            offset=reference.offset[seen],
        )
        expected.append(own.posterior(x[seen]).log_evidence)
    assert_allclose(model.score_samples(X), expected, rtol=1e-10)
    assert_allclose(model.score(X), np.mean(expected), rtol=1e-10)


@pytest.mark.parametrize("estimator, kind, shifted", NAMED)
def test_complete_rows_beside_rows_with_holes_keep_their_bits(estimator, kind, shifted):
    X, _, _ = make_bars(200, size=3, random_state=0, **kind)
    model = estimator(6, max_iter=3, random_state=0).fit(X)
    e_step = model._e_step(X.dtype)
    weights = np.ones(len(X))
    partly = PartlyObserved(e_step).statistics(X, weights)
    for name, value in e_step.statistics(X, weights).items():
        assert_array_equal(partly[name], value)
    mixed = np.vstack([X, holes_in(X[:50])])
    for method in ("transform", "reconstruct", "score_samples"):
        assert_array_equal(getattr(model, method)(mixed)[:200], getattr(model, method)(X))


@pytest.mark.parametrize("estimator, kind, shifted", NAMED)
def test_bars_are_found_from_two_thirds_of_the_pixels(estimator, kind, shifted):
    X, codes, true = make_bars(1000, size=3, random_state=0, **kind)
    X = holes_in(X, 0.35)
    # of single fits of six ternary components about 2 in 100 miss some
    model = estimator(6, n_init=2, random_state=0).fit(X)
    cosine = match_components(model.components_, true, ignore_sign=True)[2]
    assert np.abs(cosine).min() > 0.95
    assert_allclose(np.sqrt(model.noise_variance_), kind.get("noise", 2.0), rtol=0.1)


def test_imputed_values_have_the_standard_deviations_told(bars):
    X, holes, _ = bars
    for noise in ("isotropic", "full"):
        model = BinarySparseCoding(6, noise=noise, random_state=0).fit(holes)
        filled, std = model.impute(holes, return_std=True)
        missing = np.isnan(holes)
        assert_array_equal(filled[~missing], X[~missing])
        assert_array_equal(std[~missing], 0.0)
        error = (filled - X)[missing] / std[missing]
        assert 0.92 < np.mean(np.abs(error) < 1.96) < 0.97
        assert np.sqrt(np.mean((filled - X)[missing] ** 2)) < 0.7 * X.std()
        assert_array_equal(model.impute(holes), filled)
        assert_array_equal(model.impute(X), X)


def test_a_row_of_which_nothing_is_observed_has_the_prior(bars):
    _, holes, _ = bars
    blank = np.full((1, 9), np.nan)
    for model in (BinarySparseCoding(6), GaussianSparseCoding(6), MaximalCausesAnalysis(6)):
        model.set_params(max_iter=30, random_state=0, n_candidates=3).fit(holes)
        mean, square = model.prior_.moments(6)
        assert_allclose(model.transform(blank)[0], mean)
        assert_allclose(
            model.set_params(code="probability").transform(blank)[0], model.prior_.activity(6)
        )
        assert model.score(blank) == 0.0
        X, _ = model.sample(40_000)
        filled, std = model.impute(blank, return_std=True)
        assert_allclose(filled[0], X.mean(axis=0), atol=5 * X.std() / 200)
        assert_allclose(std[0], X.std(axis=0), rtol=0.05)
        posterior = model.posterior(blank)
        assert posterior.log_evidence[0] == 0.0
        assert_allclose(posterior.marginals[0], model.prior_.activity(6))


def test_rows_of_which_nothing_is_observed_say_nothing(bars):
    _, holes, _ = bars
    settings = dict(max_iter=20, annealing=None, tol=0, random_state=0)
    alone = BinarySparseCoding(6, **settings).fit(holes)
    more = np.vstack([holes, np.full((5, 9), np.nan)])
    with_blank = BinarySparseCoding(6, **settings).fit(more)
    assert_allclose(with_blank.components_, alone.components_, rtol=1e-6, atol=1e-6)
    n = np.sum(~np.isnan(holes).all(axis=1))
    expected = alone.score(holes) * len(holes) / len(more)
    assert n > 0 and with_blank.score(more) == pytest.approx(expected, rel=1e-6)
    assert with_blank.lower_bound_ == pytest.approx(
        alone.lower_bound_ * len(holes) / len(more), rel=1e-6
    )


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
@pytest.mark.parametrize("superposition", ["linear", "maximum"])
def test_a_column_that_is_never_observed_has_components_of_0(superposition, noise, bars):
    if superposition == "maximum" and noise == "diagonal":
        pytest.skip("isotropic alone")
    _, holes, _ = bars
    holes = holes.copy()
    holes[:, 4] = np.nan
    model = SparseCoding(6, superposition=superposition, noise=noise, max_iter=15, random_state=0)
    with pytest.warns(UserWarning, match="no value of feature 4.*leave out"):
        model.fit(holes)
    assert_array_equal(model.components_[:, 4], 0.0)
    assert np.all(np.isfinite(model.noise_variance_))
    assert np.all(np.isfinite(model.impute(holes)))


def test_columns_that_are_never_observed_stop_no_move(bars):
    _, holes, _ = bars
    holes = np.hstack([holes, np.full((len(holes), 2), np.nan)])
    with pytest.warns(UserWarning, match="no value of features 9, 10"):
        model = BinarySparseCoding(6, random_state=0).fit(holes)
    assert_array_equal(model.components_[:, 9:], 0.0)


@pytest.mark.parametrize("init", ["k-means++", "random_from_data", "random"])
@pytest.mark.parametrize("n_features", [9, 2000])
def test_start_values_do_not_need_complete_rows(init, n_features):
    rng = np.random.default_rng(0)
    X = holes_in(rng.standard_normal((60, n_features)) + rng.standard_normal(n_features), 0.5)
    model = BinarySparseCoding(3, components_init=init, max_iter=2, random_state=0).fit(X)
    assert np.all(np.isfinite(model.components_))
    assert 0.2 < np.std(model.components_) < 5.0


def test_sample_weights_repeat_rows(bars):
    _, holes, _ = bars
    weights = np.random.default_rng(0).integers(0, 3, len(holes))
    settings = dict(max_iter=10, annealing=None, random_state=0)
    weighted = BinarySparseCoding(6, **settings).fit(holes, sample_weight=weights)
    repeated = BinarySparseCoding(6, **settings).fit(np.repeat(holes, weights, axis=0))
    assert_allclose(weighted.components_, repeated.components_, rtol=1e-6, atol=1e-7)


def test_float32_is_kept(bars):
    _, holes, _ = bars
    model = GaussianSparseCoding(6, max_iter=20, random_state=0).fit(holes.astype(np.float32))
    filled, std = model.impute(holes.astype(np.float32), return_std=True)
    assert filled.dtype == std.dtype == model.components_.dtype == np.float32
    other = GaussianSparseCoding(6, max_iter=20, random_state=0).fit(holes)
    assert_allclose(model.lower_bound_, other.lower_bound_, rtol=1e-2)


def test_memory_maps_dask_arrays_and_workers_give_the_same_bits(bars, tmp_path):
    da = pytest.importorskip("dask.array")
    _, holes, _ = bars
    settings = dict(batch_size=150, max_iter=8, random_state=0)
    expected = BinarySparseCoding(6, noise="full", **settings).fit(holes)
    np.save(tmp_path / "X.npy", holes)
    for X, n_jobs in (
        (np.load(tmp_path / "X.npy", mmap_mode="r"), 1),
        (holes, 2),
        (da.from_array(holes, chunks=(150, 9)), 1),
    ):
        model = BinarySparseCoding(6, noise="full", n_jobs=n_jobs, **settings).fit(X)
        assert_array_equal(model.components_, expected.components_)
        assert_array_equal(np.asarray(model.impute(X)), expected.impute(holes))


def test_a_stream_may_have_holes(bars):
    X, codes, true = make_bars(2000, size=3, random_state=0)
    holes = holes_in(X, 0.3)
    model = BinarySparseCoding(6, random_state=0)
    for batch in np.split(holes, 10):
        model.partial_fit(batch)
    cosine = match_components(pickle.loads(pickle.dumps(model)).components_, true)[2]
    assert cosine.min() > 0.95


def test_posteriors_of_rows_with_holes_come_in_their_places(bars):
    X, holes, _ = bars
    for model in (GaussianSparseCoding(6), MaximalCausesAnalysis(6)):
        model.set_params(max_iter=20, random_state=0).fit(holes)
        mixed = np.vstack([X[:3], holes[:3], X[3:5], np.full((1, 9), np.nan)])
        posterior = model.posterior(mixed, n_states=4)
        assert_allclose(posterior.log_evidence[:-1], model.score_samples(mixed)[:-1], atol=0.1)
        one = model.posterior(mixed[4:5], n_states=4)
        assert_allclose(posterior.probabilities[4], one.probabilities[0])
        assert_allclose(
            posterior.variances[4, :, : one.variances.shape[2]], one.variances[0], rtol=1e-9
        )
        assert posterior.codes()[4] == pytest.approx(one.codes()[0])


def test_a_grid_search_scores_models_on_data_with_holes(bars):
    _, holes, _ = bars
    search = GridSearchCV(
        SparseCoding(6, max_iter=30, random_state=0), {"prior": ["binary", "ternary"]}, cv=2
    ).fit(holes)
    assert search.best_params_ == {"prior": "binary"}


def test_a_pipeline_imputes(bars):
    X, holes, _ = bars
    model = BinarySparseCoding(6, max_iter=30, random_state=0).fit(holes)
    y = (model.transform(X)[:, 0] > 0.5).astype(int)
    pipeline = make_pipeline(
        FunctionTransformer(model.impute), LogisticRegression(max_iter=1000)
    ).fit(holes, y)
    assert pipeline.score(holes, y) > 0.75
    coded = make_pipeline(BinarySparseCoding(6, max_iter=30, random_state=0), LogisticRegression())
    assert coded.fit(holes, y).score(holes, y) > 0.75


def test_infinite_values_and_missing_weights_are_errors(bars):
    X, holes, _ = bars
    infinite = holes.copy()
    infinite[0, 0] = np.inf
    model = BinarySparseCoding(6, max_iter=2, random_state=0).fit(holes)
    for method in ("fit", "transform", "score", "impute", "posterior"):
        with pytest.raises(ValueError, match="X contains infinity"):
            getattr(model, method)(infinite)
    weights = np.ones(len(X))
    weights[3] = np.nan
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(holes, sample_weight=weights)
    with pytest.raises(ValueError, match="components_init"):
        BinarySparseCoding(6, components_init=holes[:6]).fit(X)
    with pytest.raises(ValueError, match="no row that counts"):
        model.fit(np.full((5, 9), np.nan))
    with pytest.raises(ValueError, match="return_std='yes'"):
        model.impute(holes, return_std="yes")


def test_rows_with_holes_are_not_ranked_by_their_likelihood(bars):
    from skprosper.annealing import Annealing

    _, holes, _ = bars
    model = BinarySparseCoding(6, center="zero", annealing=Annealing(data_cut=(0.0, 1.0)))
    with pytest.raises(ValueError, match="data_cut.*do not compare"):
        model.fit(holes)


def test_moments_of_parts_add_up_to_those_of_all():
    rng = np.random.default_rng(0)
    X = holes_in(rng.standard_normal((50, 4)) + [100.0, 0.0, 5.0, -3.0])
    X[:10] = rng.standard_normal((10, 4))
    w = rng.uniform(0.0, 2.0, 50)
    whole = moments_of(X, w, products=True)
    parts = [moments_of(X[rows], w[rows], products=True) for rows in np.split(np.arange(50), 5)]
    total = parts[0] + ((parts[1] + parts[2]) + (parts[3] + parts[4]))
    for name in ("weight", "mean", "square", "second", "observed", "pairs", "apart"):
        assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-9, atol=1e-9)
    seen = ~np.isnan(X)
    both = seen[:, 0] & seen[:, 1]
    centred = np.where(seen, X - whole.mean, 0.0)
    assert_allclose(
        whole.covariance[0, 1], (w * centred[:, 0] * centred[:, 1]).sum() / w[both].sum()
    )
