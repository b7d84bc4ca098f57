"""What a model keeps, and what it reads anew: after set_params, failed fits, copies."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    SparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

X, _, BARS = make_bars(400, size=3, random_state=0)
SHORT = dict(n_components=6, max_iter=3, tol=1e9, random_state=0)


def outputs(model):
    """Everything that a fitted model says of data."""
    top = model.posterior(X[:50], 3)
    codes = model.transform(X)
    return [
        codes,
        model.inverse_transform(codes),
        model.reconstruct(X),
        model.score_samples(X),
        np.float64(model.score(X)),
        *model.sample(20),
        top.probabilities,
        top.values,
    ]


@pytest.mark.parametrize(
    "fitted, later",
    [
        (dict(noise="diagonal"), dict(noise="isotropic")),
        (dict(noise="full"), dict(noise="diagonal")),
        (dict(), dict(noise="full")),
        (dict(fit_offset=True), dict(fit_offset=False)),
        (dict(), dict(fit_offset=True)),
        (dict(superposition="maximum"), dict(superposition="linear")),
        (dict(), dict(superposition="magnitude-maximum")),
        (dict(), dict(prior="spike-slab")),
        (dict(prior=BinaryPrior(0.2)), dict(prior__probability=0.4)),
        (dict(prior="spike-slab"), dict(prior="ternary")),
        (dict(), dict(n_components=3, learn=(), components_init=np.eye(9), noise_init=5.0)),
        (dict(), dict(annealing=None, n_init=2, max_iter=0, tol=0.0, warm_start=True)),
    ],
)
def test_a_fitted_model_works_as_it_was_fitted(fitted, later):
    model = SparseCoding(**SHORT, **fitted).fit(X + 3.0)
    before = outputs(model)
    model.set_params(**later)
    for one, other in zip(before, outputs(model), strict=True):
        assert_array_equal(one, other)


def test_the_values_of_a_fitted_model_are_its_own():
    model = DiscreteSparseCoding(**SHORT).fit(X)
    before = outputs(model)
    model.set_params(values=(0, 5))
    for one, other in zip(before, outputs(model), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    "params",
    [
        dict(code="mode"),
        dict(n_jobs="two"),
        dict(batch_size=0),
        dict(n_candidates=0),
        dict(max_changes=-1),
        dict(center="middle"),
        dict(selection="best"),
    ],
)
def test_what_is_read_anew_is_checked(params):
    model = SparseCoding(**SHORT).fit(X)
    codes = model.transform(X)
    name = next(iter(params))
    model.set_params(**params)
    calls = [
        lambda: model.transform(X),
        lambda: model.inverse_transform(codes),
        lambda: model.reconstruct(X),
        lambda: model.score(X),
        lambda: model.score_samples(X),
        lambda: model.posterior(X),
        lambda: model.sample(2),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            call()


def test_the_truncation_is_read_anew():
    model = SparseCoding(**SHORT).fit(X)
    wide = model.set_params(n_candidates=None, max_changes=None).score(X)
    assert model.set_params(n_candidates=2, max_changes=1, center="zero").score(X) < wide


def test_arrays_of_the_user_are_not_those_of_the_model():
    values, noise, bars = np.array([0.0, 1.0, 2.0]), np.full(9, 2.0), BARS.copy()
    model = SparseCoding(
        prior=DiscretePrior(values),
        noise="diagonal",
        noise_init=noise,
        components_init=bars,
        **{**SHORT, "max_iter": 0},
    ).fit(X)
    score = model.score(X)
    values[2], noise[:], bars[:] = 7.0, 9.0, 0.0
    assert model.score(X) == score


# Warm starts


@pytest.mark.parametrize(
    "params, named",
    [
        (dict(prior="ternary"), "prior='ternary'"),
        (dict(prior=BinaryPrior(0.4)), "prior=BinaryPrior"),
        (dict(noise="diagonal"), "noise='diagonal'"),
        (dict(noise_init=3.0), "noise_init=3.0"),
        (dict(components_init=BARS), "components_init="),
        (dict(components_init="k-means++"), "components_init='k-means"),
        (dict(fit_offset=True), "fit_offset=True"),
        (dict(superposition="magnitude-maximum"), "superposition='magnitude"),
        (dict(n_components=4), r"shape \(4, 9\)"),
    ],
)
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_going_on_with_another_start_is_an_error(how, params, named):
    model = SparseCoding(warm_start=True, **SHORT).fit(X)
    before = outputs(model)
    model.set_params(**params)
    with pytest.raises(ValueError, match=f"{named}[\\s\\S]*warm_start=False"):
        getattr(model, how)(X)
    for one, other in zip(before, outputs(model), strict=True):
        assert_array_equal(one, other)
    model.set_params(warm_start=False).fit(X)


@pytest.mark.parametrize(
    "model, params",
    [
        (DiscreteSparseCoding, dict(values=(0, 1))),
        (GaussianSparseCoding, dict(covariance="full")),
        (GaussianSparseCoding, dict(learn_mean=False)),
    ],
)
def test_going_on_with_other_values_or_slabs_is_an_error(model, params):
    model = model(warm_start=True, **SHORT).fit(X).set_params(**params)
    with pytest.raises(ValueError, match=next(iter(params))):
        model.fit(X)


def test_equal_starts_written_otherwise_are_the_same():
    model = SparseCoding(prior=DiscretePrior((0, 1, 2)), warm_start=True, noise_init=4, **SHORT)
    model.fit(X).set_params(prior=DiscretePrior(np.arange(3.0)), noise_init=np.float64(4.0)).fit(X)
    model = SparseCoding(warm_start=True, **SHORT).fit(X)
    model.set_params(prior=BinaryPrior()).fit(X)


def test_a_loop_of_warm_fits_is_not_hot_for_ever():
    loop = BinarySparseCoding(6, max_iter=1, warm_start=True, random_state=0).fit(X)
    plain = clone(loop).set_params(
        annealing=None, max_iter=60, tol=0, components_init=loop.components_
    )
    plain.set_params(noise_init=loop.noise_variance_)
    for _ in range(60):
        loop.fit(X)
    assert abs(loop.score(X) - plain.fit(X).score(X)) < 0.1
    assert loop.score(X) - loop.lower_bound_ < 0.01  # what it reports is not tempered


def test_only_the_first_of_several_warm_runs_is_warm():
    params = dict(n_init=3, max_iter=4, tol=0, random_state=0)
    monitor = ScoringMonitor(scoring={"nats": lambda model, X, y: model.lower_bound_})
    model = BinarySparseCoding(6, warm_start=True, **params).fit(X)
    bound = model.score(X)
    model.set_callbacks(monitor).fit(X)
    logs = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    first = np.array([row["nats"] for row in logs])[::4]
    assert len(first) == 3
    assert_allclose(first[0], bound)
    assert len(set(np.round(first, 6))) == 3
    assert model.lower_bound_ >= bound


# Fits that fail


class Raise:
    """Callback that ends a fit with an error."""

    def __init__(self, error):
        self.error = error

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        raise self.error


def bad_fits(width):
    yield lambda model: model.fit(np.zeros((50, width)))
    yield lambda model: model.fit(np.ones((50, width)), sample_weight=np.zeros(50))
    yield lambda model: model.set_params(n_components=30, n_candidates=None, max_changes=None).fit(
        np.ones((50, width))
    )
    yield lambda model: model.set_callbacks(Raise(KeyboardInterrupt())).fit(
        np.random.default_rng(0).normal(size=(50, width))
    )
    yield lambda model: model.fit(np.full((50, width), np.nan))


@pytest.mark.parametrize("i", range(5))
def test_a_fit_that_failed_leaves_an_estimator_that_is_not_fitted(i):
    model = SparseCoding(**SHORT)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        list(bad_fits(9))[i](model)
    assert not any(name.endswith("_") and not name.endswith("__") for name in vars(model))
    for method in ("transform", "reconstruct", "score", "score_samples", "posterior"):
        with pytest.raises(NotFittedError):
            getattr(model, method)(X)
    with pytest.raises(NotFittedError):
        model.sample()
    with pytest.raises(NotFittedError):
        model.inverse_transform(X[:, :6])
    with pytest.raises(NotFittedError):
        model.get_feature_names_out()


@pytest.mark.parametrize("i", range(5))
def test_a_refit_that_failed_leaves_the_model_as_it_was(i):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X).add_prefix("pixel")
    model = SparseCoding(**SHORT).fit(frame)
    before = model.score(frame)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        list(bad_fits(4))[i](model)
    model.set_params(n_candidates=8, max_changes=5)
    assert model.score(frame) == before
    assert model.n_features_in_ == 9 and model.feature_names_in_[0] == "pixel0"
    assert model._fit_state is None


def test_a_fit_to_other_data_forgets_what_the_first_were():
    pandas = pytest.importorskip("pandas")
    model = SparseCoding(**SHORT).fit(pandas.DataFrame(X).add_prefix("pixel"))
    model.fit(X[:, :4].astype(np.float32))
    assert model.n_features_in_ == 4 and not hasattr(model, "feature_names_in_")
    assert model.components_.dtype == np.float32 and model.usage_.shape == (6,)
    fresh = SparseCoding(**SHORT).fit(X[:, :4].astype(np.float32))
    assert_array_equal(model.components_, fresh.components_)


def test_callbacks_score_data_with_names_without_a_warning():
    pandas = pytest.importorskip("pandas")
    monitor = ScoringMonitor(scoring={"nats": lambda model, X, y: model.score(X)})
    model = SparseCoding(**SHORT).fit(X).set_callbacks(monitor)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names")
        model.fit(pandas.DataFrame(X[:, :5]).add_prefix("pixel"))
        model.fit(X)


# Copies


def test_copies_of_a_model_go_their_own_ways():
    model = BinarySparseCoding(6, random_state=0).fit(X)
    stream = BinarySparseCoding(6, max_iter=10, random_state=0).partial_fit(X[:50])
    stream = stream.partial_fit(X[50:300]).partial_fit(X[300:350])
    for original in (model, stream):
        before = outputs(original)
        twins = [
            copy.copy(original),
            copy.deepcopy(original),
            pickle.loads(pickle.dumps(original)),
        ]
        for twin in twins:
            twin.partial_fit(X[350:]).partial_fit(X[:200])
            assert_array_equal(twin.components_, twins[0].components_)
        for one, other in zip(before, outputs(original), strict=True):
            assert_array_equal(one, other)
        with pytest.raises(NotFittedError):
            clone(original).transform(X)


def test_a_model_pickles_in_the_middle_of_a_fit():
    kept = []

    class Pickle(Raise):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "iteration":
                state = {k: v for k, v in vars(estimator).items() if "_callback" not in k}
                kept.append(pickle.dumps(state))

    SparseCoding(**SHORT).set_callbacks(Pickle(None)).fit(X)
    assert kept


def test_a_random_state_of_the_users_advances_with_every_fit():
    def two_fits():
        rng = np.random.RandomState(0)
        model = SparseCoding(**{**SHORT, "random_state": rng})
        return model.fit(X).components_, model.fit(X).components_

    (a, b), (c, d) = two_fits(), two_fits()
    assert_array_equal(a, c)
    assert_array_equal(b, d)
    assert not np.array_equal(a, b)


# Parameters of parameters


def test_grids_reach_into_names():
    grid = {"prior__probability": [0.1, 0.4], "annealing__temperature": [2.0]}
    search = GridSearchCV(SparseCoding(**SHORT), grid, cv=2).fit(X)
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))
    assert isinstance(search.best_estimator_.prior, BinaryPrior)
    assert search.best_estimator_.annealing.temperature == 2.0
    grid = {"prior": ["ternary"], "prior__probability": [0.3]}
    best = GridSearchCV(SparseCoding(**SHORT), grid, cv=2).fit(X).best_estimator_
    assert best.prior.probability == 0.3 and isinstance(best.prior, TernaryPrior)


@pytest.mark.parametrize(
    "params, message",
    [
        (dict(annealing=None, annealing__temperature=2.0), "annealing__temperature.*None.*auto"),
        (dict(prior="laplace", prior__probability=0.2), "prior='laplace'.*binary"),
        (dict(tol__x=0.2), "tol__x has nothing"),
        (dict(prior=BinaryPrior, prior__probability=0.2), "instance, BinaryPrior()"),
        (dict(no__x=1), "Invalid parameter 'no'"),
    ],
)
def test_parameters_of_what_has_none_are_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        SparseCoding().set_params(**params)


@pytest.mark.parametrize("cls", [BinaryPrior, TernaryPrior, DiscretePrior, SpikeSlabPrior])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_a_class_in_place_of_a_prior_is_one_error(cls, how):
    with pytest.raises(ValueError, match="instance"):
        getattr(SparseCoding(6, prior=cls), how)(X)


def test_a_class_in_place_of_annealing_is_one_error():
    with pytest.raises(ValueError, match="instance"):
        SparseCoding(6, annealing=Annealing).fit(X)


# Warnings


@pytest.mark.parametrize("around", ["fit", "fit_transform", "search"])
def test_warnings_point_at_the_line_of_the_user(around):
    model = MaximalCausesAnalysis(6, max_iter=2, annealing=None, random_state=0)
    with pytest.warns(ConvergenceWarning) as caught:
        if around == "search":
            GridSearchCV(model, {"n_init": [1]}, cv=2).fit(X)
        else:
            getattr(model, around)(X)
    assert {w.filename for w in caught if w.category is ConvergenceWarning} == {__file__}


def test_the_warning_of_bias_points_at_the_line_of_the_user():
    data = make_bars(100, size=3, n_active=4, random_state=0)[0]
    model = BinarySparseCoding(
        6, center="zero", n_candidates=2, max_changes=1, max_iter=3, tol=1e9, random_state=0
    )
    with pytest.warns(UserWarning) as caught:
        model.fit(data)
    assert {w.filename for w in caught} == {__file__}


def test_a_posterior_takes_memory_for_the_states_that_there_are():
    model = SparseCoding(**SHORT).fit(X)
    top = model.posterior(X[:20], 100_000)
    assert top.support.shape[1] <= 2**6
    assert_allclose(top.probabilities.sum(axis=1), 1.0)
    few = model.posterior(X[:20], 5)
    assert_array_equal(top.probabilities[:, :5], few.probabilities)


@pytest.mark.parametrize("prior", ["ternary", "spike-slab"])
def test_rows_whose_posterior_is_grown_may_have_more_states(prior):
    data = make_bars(40, size=4, n_active=3, random_state=0)[0]
    model = SparseCoding(
        12, prior=prior, center="zero", n_candidates=3, max_changes=1, max_iter=2, tol=1e9
    ).fit(data)
    top = model.posterior(data, 100_000)
    n_states = (top.probabilities > 0).sum(axis=1)
    assert top.probabilities.shape[1] == top.support.shape[1] >= n_states.max()
    assert_allclose(top.probabilities.sum(axis=1), 1.0)
