"""Stepwise EM over mini-batches: partial_fit."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.datasets import make_bars
from skprosper.learning.em import maximised
from skprosper.learning.moments import data_moments
from skprosper.learning.problem import Problem
from skprosper.learning.stepwise import Stream, _relative_to
from skprosper.metrics import match_components, recovered_components
from skprosper.parallel.workers import Workers
from skprosper.priors import BinaryPrior, SpikeSlabPrior
from skprosper.superpositions import SUPERPOSITIONS

X, _, BARS = make_bars(600, size=3, random_state=0)
PRIORS = {
    "binary": "binary",
    "per latent": BinaryPrior(np.full(6, 0.2)),
    "ternary": "ternary",
    "discrete": "discrete",
    "spike-slab": "spike-slab",
    "full slabs": SpikeSlabPrior(covariance="full"),
    "full slabs of mean 1": SpikeSlabPrior(mean=1.0, covariance="full", learn_mean=False),
}
MODELS = [
    (superposition, prior)
    for superposition in SUPERPOSITIONS
    for prior in PRIORS
    if superposition == "linear" or "slab" not in prior
]


def estimator(superposition, prior, **params):
    params = dict(components_init=BARS + 0.5, annealing=None) | params
    return SparseCoding(6, superposition=superposition, prior=PRIORS[prior], **params)


@pytest.mark.parametrize("superposition, prior", MODELS)
def test_the_first_step_is_an_iteration_of_em(superposition, prior):
    model = estimator(superposition, prior, max_iter=1)
    weights = np.random.default_rng(0).uniform(size=len(X))
    stepped = clone(model).partial_fit(X, sample_weight=weights)
    model.fit(X, sample_weight=weights)
    assert_allclose(stepped.components_, model.components_, rtol=1e-9)
    assert_allclose(stepped.noise_variance_, model.noise_variance_, rtol=1e-9)
    assert_allclose(stepped.lower_bounds_, model.lower_bounds_, rtol=1e-12)
    assert stepped.n_iter_ == 1 and not stepped.converged_


@pytest.mark.parametrize("superposition, prior", MODELS)
def test_the_stream_climbs_as_far_as_em_in_as_many_full_steps(superposition, prior):
    model = estimator(superposition, prior, max_iter=13, tol=0).fit(X)
    stream = estimator(superposition, prior, max_iter=1)
    rng = np.random.default_rng(0)
    for _ in range(24):
        for rows in rng.permutation(len(X)).reshape(5, 120):
            stream.partial_fit(X[rows])
    assert stream.n_iter_ == 120 == len(stream.lower_bounds_)
    # 120 steps add up to rates of 15
    assert stream.score(X) > model.score(X) - 0.005 * abs(model.score(X))
    assert stream.score(X) > stream.lower_bounds_[:6].mean()
    if "slab" in prior:
        assert_allclose(np.linalg.norm(stream.components_, axis=1), 1.0)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("prior", PRIORS)
def test_statistics_move_with_the_parameters(prior, offset, noise):
    # statistics about the new parameters have these as their maximum
    model = estimator("linear", prior, noise=noise, fit_offset=offset, max_iter=1).fit(X + 3.0)
    with Workers() as workers:
        problem = Problem(
            X + 3.0,
            None,
            workers,
            SUPERPOSITIONS["linear"],
            model._truncation(6, model.prior_),
            data_moments(X + 3.0, None)["moments"],
        )
        before = model._parameters()
        statistics, _ = problem.expectations(problem.e_step(before))
    learn = ("components", "prior", "noise")
    after = maximised(before, statistics, problem.superposition, learn, 1e-9)
    again = maximised(
        after, _relative_to(after, before, statistics), problem.superposition, learn, 1e-9
    )
    assert np.abs(after.components - before.components).max() > 1e-3
    assert_allclose(again.components, after.components, atol=1e-8)
    assert_allclose(again.noise.variance, after.noise.variance, rtol=1e-8, atol=1e-8)
    if offset:
        assert np.abs(after.offset - before.offset).max() > 1e-3
        assert_allclose(again.offset, after.offset, atol=1e-8)
    for name, value in vars(after.prior).items():
        assert_allclose(getattr(again.prior, name), value, atol=1e-8)


def test_a_stream_refines_what_a_fit_of_some_rows_has_found():
    stream = BinarySparseCoding(10, random_state=0).fit(make_bars(500, random_state=99)[0])
    for seed in range(30):
        stream.partial_fit(make_bars(500, random_state=seed)[0])
    data, _, bars = make_bars(1000, random_state=98)
    assert recovered_components(stream.components_, bars) == 10
    learned, true, _ = match_components(stream.components_, bars)
    assert np.abs(stream.components_[learned] - bars[true]).max() < 0.3
    assert_allclose(stream.noise_variance_, 4.0, rtol=0.05)


def test_partial_fit_goes_on_from_a_fit_and_a_fit_begins_anew():
    model = BinarySparseCoding(6, annealing=None, max_iter=30, random_state=0).fit(X)
    components, bound = model.components_, model.score(X)
    model.partial_fit(X)
    assert model.score(X) >= bound - 1e-9
    assert len(model.lower_bounds_) == 1
    model.fit(X)
    assert_array_equal(model.components_, components)


def test_a_batch_that_fails_leaves_the_model_as_it_was():
    model = BinarySparseCoding(6, random_state=0).partial_fit(X)
    components = model.components_
    for bad, message in [
        (np.full_like(X, np.inf), "contains infinity"),
        (np.full_like(X, np.nan), "no row that counts"),
        (1e200 * X, "rescale X"),
        (X[:, :4], "4 features"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(bad)
    with pytest.raises(ValueError, match="non-zero"):
        model.partial_fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match=r"components_ of shape \(4, 9\)"):
        clone(model).partial_fit(X).set_params(n_components=4).partial_fit(X)
    assert_array_equal(model.components_, components)
    assert model.n_iter_ == 1
    model.partial_fit(np.zeros_like(X))
    assert np.all(np.isfinite(model.components_))


def test_streams_keep_float32_and_any_workers_give_the_same_bits():
    data = X.astype(np.float32)
    one = SparseCoding(6, batch_size=50, n_jobs=1, random_state=0)
    two = SparseCoding(6, batch_size=50, n_jobs=2, random_state=0)
    for rows in np.split(data, 3):
        one.partial_fit(rows)
        with parallel_config(backend="threading"):
            two.partial_fit(rows)
    assert one.components_.dtype == np.float32
    assert_array_equal(one.components_, two.components_)
    assert_array_equal(one.lower_bounds_, two.lower_bounds_)


def test_blocks_of_a_dask_array_are_batches():
    da = pytest.importorskip("dask.array")
    blocks = da.from_array(X, chunks=(200, 9))
    one, other = (BinarySparseCoding(6, random_state=0) for _ in range(2))
    for i in range(3):
        one.partial_fit(X[200 * i : 200 * (i + 1)])
        other.partial_fit(blocks.blocks[i])
    assert_allclose(one.components_, other.components_, rtol=1e-9)


MODELS_OF_BARS = [
    BinarySparseCoding,
    TernarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
]


@pytest.mark.parametrize("model", MODELS_OF_BARS)
def test_five_passes_of_small_batches_come_to_what_fit_finds(model):
    # bars that add up are no data of the maxima, and leave them many optima
    kind = {
        MaximalCausesAnalysis: dict(superposition="maximum"),
        MaximumMagnitudeCausesAnalysis: dict(superposition="magnitude-maximum", signed=True),
    }.get(model, {})
    data = make_bars(400, size=3, random_state=0, **kind)[0]
    stream = model(6, random_state=0)
    for _ in range(5):
        for rows in np.split(data, 8):
            stream.partial_fit(rows)
    assert stream.n_iter_ == 40 - 2  # three batches make the first step
    assert stream.score(data) > model(6, random_state=0).fit(data).score(data) - 0.3


@pytest.mark.parametrize("params", [{}, {"fit_offset": True}])
@pytest.mark.parametrize("model", [BinarySparseCoding, GaussianSparseCoding])
def test_one_row_at_a_time_learns_what_batches_learn(model, params):
    single, batches = (model(6, random_state=0, **params) for _ in range(2))
    for row in X:
        single.partial_fit(row[None])
    batches.partial_fit(X[:120])
    for rows in np.split(X[120:], 8):
        batches.partial_fit(rows)
    assert single.score(X) > batches.score(X) - 0.1
    assert single.n_iter_ == 481


def test_steps_count_rows_and_their_weights_not_calls():
    # without new parameters between them, two halves of a batch are the batch
    rate = Stream(unit=120.0, time=3.0, statistics={}).rate
    half = Stream(unit=120.0, time=3.0 + 25.0 / 120.0, statistics={}).rate
    assert_allclose((1.0 - rate(25.0)) * (1.0 - half(25.0)), 1.0 - rate(50.0))
    one, other = (BinarySparseCoding(6, max_iter=5, random_state=0) for _ in range(2))
    for rows in np.split(X, 4):
        one.partial_fit(np.repeat(rows, 2, axis=0))
        other.partial_fit(rows, sample_weight=np.full(len(rows), 2.0))
    assert_allclose(one.components_, other.components_, rtol=1e-6)


def test_rows_are_gathered_until_there_are_enough():
    stream = BinarySparseCoding(6, random_state=0)
    buffer = np.empty((40, 9))
    for i in range(2):
        buffer[:] = X[40 * i : 40 * (i + 1)]
        stream.partial_fit(buffer)
        assert stream.n_features_in_ == 9
        message = f"gathered {40 * (i + 1)} rows of the 120 .* {120 - 40 * (i + 1)} more"
        with pytest.raises(NotFittedError, match=message):
            stream.transform(X)
        with pytest.raises(ValueError, match="9 features"):
            stream.partial_fit(X[:, :4])
    buffer[:] = np.nan  # the rows gathered are copies
    # rows without a weight are none
    stream.partial_fit(X[:100], sample_weight=np.r_[np.ones(39), np.zeros(61)])
    with pytest.raises(NotFittedError, match="gathered 119 rows"):
        stream.score(X)
    stream.partial_fit(X[119:120])
    assert stream.n_iter_ == 1 and np.all(np.isfinite(stream.transform(X)))


def test_gathered_rows_are_learned_from_as_they_come_at_once():
    parts, whole = (GaussianSparseCoding(6, max_iter=10, random_state=0) for _ in range(2))
    for rows in np.split(X[:120], 12):
        parts.partial_fit(rows)
    whole.partial_fit(X[:120])
    assert_array_equal(parts.components_, whole.components_)
    assert_array_equal(parts.lower_bounds_, whole.lower_bounds_)


def test_gathered_rows_survive_pickling_and_a_bad_batch_is_not_among_them():
    stream = pickle.loads(pickle.dumps(BinarySparseCoding(6, random_state=0).partial_fit(X[:100])))
    for bad in (np.full((5, 9), np.inf), np.ones((5, 3))):
        with pytest.raises(ValueError):
            stream.partial_fit(bad)
    other = BinarySparseCoding(6, random_state=0).partial_fit(X[:100]).partial_fit(X[100:200])
    assert_array_equal(stream.partial_fit(X[100:200]).components_, other.components_)


def test_until_it_has_begun_a_stream_takes_another_start():
    stream = SparseCoding(6, random_state=0).partial_fit(X[:60]).set_params(prior="ternary")
    other = SparseCoding(6, prior="ternary", random_state=0).partial_fit(X[:150])
    assert_array_equal(stream.partial_fit(X[60:150]).components_, other.components_)
    stream = SparseCoding(6, warm_start=True, random_state=0).partial_fit(X[:60])
    fitted = SparseCoding(6, prior="ternary", random_state=0).fit(X)
    assert_array_equal(stream.set_params(prior="ternary").fit(X).components_, fitted.components_)


def test_a_full_covariance_waits_for_rows_for_every_feature():
    stream = BinarySparseCoding(1, noise="full", random_state=0).partial_fit(X[:17])
    with pytest.raises(NotFittedError, match="of the 20"):
        stream.transform(X)
    wide = np.random.default_rng(0).standard_normal((40, 50))
    stream = BinarySparseCoding(1, noise="full", random_state=0).partial_fit(wide)
    with pytest.raises(NotFittedError, match="of the 100"):
        stream.transform(wide)


def test_a_fitted_model_is_not_overthrown_by_one_row():
    model = BinarySparseCoding(6, random_state=0).fit(X)
    score = model.score(X)
    for row in X[:119]:
        model.partial_fit(row[None])
    assert model.score(X) == score
    model.partial_fit(X[119:120])
    assert score - 1.0 < model.score(X) != score
    assert not hasattr(model, "usage_")  # which was that of other components


def test_a_stream_begins_anew_from_components_that_were_changed():
    stream = BinarySparseCoding(6, tied=True, random_state=0).partial_fit(X).partial_fit(X)
    stream.components_ = stream.components_[:5]
    stream.set_params(n_components=5).partial_fit(X)
    assert stream.components_.shape == (5, 9) and stream.n_iter_ == 1


def test_what_a_call_costs_does_not_grow_with_the_calls():
    stream = BinarySparseCoding(6, max_iter=5, random_state=0).partial_fit(X)
    for row in X[:20]:
        stream.partial_fit(row[None])
    bounds = tuple(np.linspace(-30.0, -20.0, 1000))
    stream._stream = replace(stream._stream, n_steps=10**6, lower_bounds=bounds)
    stream.partial_fit(X[:1])
    assert stream.n_iter_ == 10**6 + 1
    assert stream.lower_bounds_.shape == (1000,)
    assert stream.lower_bounds_[0] == bounds[1] and stream.lower_bound_ != bounds[-1]


def test_dask_blocks_are_gathered_too():
    da = pytest.importorskip("dask.array")
    blocks = da.from_array(X, chunks=(50, 9))
    one, other = (BinarySparseCoding(6, random_state=0) for _ in range(2))
    for i in range(5):
        one.partial_fit(X[50 * i : 50 * (i + 1)])
        # a filter leaves dask without the number of rows
        block = blocks.blocks[i]
        other.partial_fit(block[block[:, 0] > -np.inf])
    assert_allclose(one.components_, other.components_, rtol=1e-9)
