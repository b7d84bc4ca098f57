"""Stepwise EM over mini-batches: partial_fit."""

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skprosper import BinarySparseCoding, SparseCoding
from skprosper.datasets import make_bars
from skprosper.learning.em import maximised
from skprosper.learning.problem import Problem, data_moments
from skprosper.learning.stepwise import _relative_to
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
    model = estimator(superposition, prior, max_iter=15, tol=0).fit(X)
    stream = estimator(superposition, prior)
    rng = np.random.default_rng(0)
    for _ in range(20):
        for rows in rng.permutation(len(X)).reshape(6, 100):
            stream.partial_fit(X[rows])
    assert stream.n_iter_ == 120 == len(stream.lower_bounds_)
    # 120 steps add up to rates of 17
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
            data_moments(X + 3.0, None),
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
        (np.full_like(X, np.nan), "contains NaN"),
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
