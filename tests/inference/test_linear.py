"""The linear superposition with discrete values against brute-force enumeration."""

import numpy as np
import pytest
from enumeration import Model
from numpy.testing import assert_allclose, assert_array_equal
from problems import PRIORS, random_problem
from scipy.special import logsumexp

from skprosper.inference.base import Parameters, Truncation
from skprosper.inference.linear import LinearEStep
from skprosper.kernels import linear as kernel
from skprosper.kernels.linear import add_outer
from skprosper.kernels.states import count_states, paired_states
from skprosper.kernels.vector_math import argmax, exp
from skprosper.noise import IsotropicNoise
from skprosper.priors import BinaryPrior

EXACT = dict(rtol=1e-10, atol=1e-10)
TRUNCATIONS = {
    "exact": dict(n_candidates=None, max_changes=None),
    "exact, zero": dict(center="zero", n_candidates=None, max_changes=None),
    "best": dict(n_candidates=3, max_changes=2),
    "best, one candidate": dict(n_candidates=1, max_changes=1),
    "zero, pursuit": dict(center="zero", n_candidates=3, max_changes=2, selection="pursuit"),
    "zero, marginal": dict(center="zero", n_candidates=4, max_changes=2, selection="marginal"),
    "zero, one candidate": dict(center="zero", n_candidates=1, max_changes=1),
}


def reference(model, X, truncation):
    """Return the posteriors of the data by enumeration of the states that are kept."""
    kind, size = TRUNCATIONS[truncation], TRUNCATIONS[truncation]["n_candidates"]
    if kind.get("center", "best") == "best" and size is not None:
        return model.around_best(X, size, kind["max_changes"])
    return model.posteriors(
        X, size, kind["max_changes"], kind.get("selection", "pursuit") == "pursuit"
    )


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("prior", PRIORS)
def test_public_methods_equal_enumeration(prior, noise, truncation):
    estimator, model, X = random_problem(prior, noise, **TRUNCATIONS[truncation])
    expected = reference(model, X, truncation)
    assert_allclose(estimator.score_samples(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(estimator.transform(X), [p.mean for p in expected], **EXACT)
    assert_allclose(estimator.reconstruct(X), [p.reconstruction for p in expected], **EXACT)
    probability = estimator.set_params(code="probability").transform(X)
    assert_allclose(probability, [p.active for p in expected], **EXACT)
    assert_allclose(estimator.set_params(code="map").transform(X), [p.map for p in expected])


@pytest.mark.parametrize("prior", PRIORS)
def test_score_is_the_mean_log_likelihood_of_all_states(prior):
    estimator, model, X = random_problem(prior, "full", **TRUNCATIONS["exact"])
    expected = [logsumexp(model.posterior(x).log_joint) for x in X]
    assert_allclose(estimator.score(X), np.mean(expected), rtol=1e-12)
    weights = np.arange(len(X))
    weighted = estimator.score(X, sample_weight=weights)
    assert_allclose(weighted, np.average(expected, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
def test_posterior_lists_the_best_states_with_their_probabilities(prior):
    # it grows from 1 candidate and 1 change by 2 and 1
    estimator, model, X = random_problem(
        prior, "diagonal", **TRUNCATIONS["best, one candidate"], n_components=5
    )
    found = estimator.posterior(X, n_states=4)
    assert 1 < len(set(found.max_changes)) and max(found.max_changes) <= 5
    for n, changes in enumerate(found.max_changes):
        (expected,) = model.around_best(X[n : n + 1], min(2 * changes - 1, 5), changes)
        order = np.argsort(-expected.q)[:4]
        assert_allclose(found.probabilities[n], expected.q[order], **EXACT)
        states = [found.codes(rank)[n] for rank in range(4)]
        assert_allclose(states, expected.states[order])
        q = expected.q[expected.q > 0]
        assert_allclose(found.entropy[n], -(q * np.log(q)).sum(), **EXACT)
        assert_allclose(found.marginals[n], expected.active, **EXACT)
        assert_allclose(found.log_evidence[n], expected.log_evidence, **EXACT)
        if changes < 5:  # the next one would hardly have added to it
            (wider,) = model.around_best(X[n : n + 1], min(2 * changes + 1, 5), changes + 1)
            gap = max(wider.log_evidence - expected.log_evidence, 0.0)
            assert_allclose(found.truncation_gap[n], gap, **EXACT)
            assert gap <= 0.01


def test_posterior_pads_when_there_are_fewer_states_than_asked_for():
    estimator, _, X = random_problem("binary", "isotropic", n_components=2)
    found = estimator.posterior(X, n_states=10)
    assert_array_equal((found.probabilities > 0).sum(axis=1), 4)
    assert_allclose(found.probabilities.sum(axis=1), 1.0)
    assert_array_equal(found.n_active.max(), 2)


@pytest.mark.parametrize("temperature", [(1.0, 1.0), (2.5, 1.0), (3.0, 3.0)])
@pytest.mark.parametrize("max_changes", [1, 2, 7])
@pytest.mark.parametrize("prior", PRIORS)
def test_statistics_and_bound_equal_enumeration(prior, max_changes, temperature):
    rng = np.random.default_rng(3)
    start, values, _ = PRIORS[prior]
    start = start.start(7).rescaled(1.7)  # half of the latents active: cores are large
    probabilities = start.active_probabilities(7)
    W = rng.standard_normal((7, 5))
    X = start.sample(20, 7, rng) @ W + 0.5 * rng.standard_normal((20, 5))
    w = rng.uniform(0, 2, len(X))
    parameters = Parameters(W, start, IsotropicNoise(0.25), None)
    truncation = Truncation(max(max_changes, 3), max_changes)
    e_step = LinearEStep(parameters, truncation, np.float64, temperature)
    sums = e_step.complete(e_step.statistics(X, w))
    hot = Model(W, np.array(values), probabilities, 0.25, temperature=temperature)
    cold = Model(W, np.array(values), probabilities, 0.25)
    posteriors = hot.around_best(X, *truncation[:2])
    assert_allclose(sums["second"], sum(a * p.second for a, p in zip(w, posteriors)), **EXACT)
    assert_allclose(sums["counts"], sum(a * p.counts for a, p in zip(w, posteriors)), **EXACT)
    assert_allclose(sums["codes"], sum(a * p.mean for a, p in zip(w, posteriors)), **EXACT)
    cross = sum(a * np.outer(p.mean, x) for a, p, x in zip(w, posteriors, X))
    assert_allclose(sums["cross"], cross, **EXACT)
    bound = 0.0
    for a, p, x in zip(w, posteriors, X):
        q = p.q[p.q > 0]
        bound += a * q @ (cold.log_joint(p.states[p.q > 0], x) - np.log(q))
    assert_allclose(e_step.bound(sums), bound, rtol=1e-10)


@pytest.mark.parametrize("prior", PRIORS)
def test_around_the_best_state_few_states_come_near_the_likelihood(prior):
    rng = np.random.default_rng(5)
    start, values, _ = PRIORS[prior]
    start = start.start(8).rescaled(1.7)
    W = rng.standard_normal((8, 20))
    X = start.sample(40, 8, rng) @ W + rng.standard_normal((40, 20))
    parameters = Parameters(W, start, IsotropicNoise(1.0), None)
    model = Model(W, np.array(values), start.active_probabilities(8), 1.0)
    exact = np.array([p.log_evidence for p in model.posteriors(X)])
    around = {
        best: LinearEStep(parameters, Truncation(5, 3, best), np.float64).log_evidence(X)
        for best in (True, False)
    }
    assert np.all(around[True] <= exact + 1e-9)
    assert np.mean(exact - around[True]) < 0.25 * np.mean(exact - around[False])


def test_latents_that_tie_are_told_apart_by_their_index_alone():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, 9))
    W[3], W[5] = W[1], W[1] * (1 + 1e-15)
    X = np.outer(rng.uniform(0.5, 1.5, 30), W[1]) + 0.1 * rng.standard_normal((30, 9))
    parameters = Parameters(W, BinaryPrior(0.2).start(6), IsotropicNoise(0.1), None)
    best = LinearEStep(parameters, Truncation(3, 2), np.float64).codes(X, "map")
    assert np.all(best[:, 1] >= np.maximum(best[:, 3], best[:, 5]))
    assert best[:, 1].mean() > 0.5


def test_float32_stays_and_agrees_with_float64():
    estimator, _, X = random_problem("ternary", "diagonal")
    codes = estimator.transform(X.astype(np.float32))
    assert codes.dtype == np.float32
    assert_allclose(codes, estimator.transform(X), atol=1e-4)
    scores = estimator.score_samples(X.astype(np.float32))
    assert_allclose(scores, estimator.score_samples(X), rtol=1e-5)


def test_log_joints_in_the_thousands_do_not_underflow():
    estimator, model, X = random_problem("binary", "isotropic", offset=False)
    X = 60.0 * X
    expected = [model.posterior(x).log_evidence for x in X]
    assert min(expected) < -5000
    assert_allclose(estimator.score_samples(X), expected, rtol=1e-10)


@pytest.mark.parametrize("n_candidates, max_active, values", [(1, 1, 1), (5, 3, 2), (7, 7, 1)])
def test_state_tables_hold_every_truncated_state_once(n_candidates, max_active, values):
    values = np.arange(1.0, values + 1)
    states = paired_states(n_candidates, max_active, len(values))
    seen = set()
    for a, n_right in enumerate(states.n_right):
        for b in range(n_right):
            seen.add((*states.left.kinds[:, a], *states.right.kinds[:, b]))
    assert len(seen) == states.n_right.sum()
    assert len(seen) == count_states(n_candidates, max_active, len(values))
    assert max(np.count_nonzero(s) for s in seen) == max_active


def moved(value, shift):
    """Return a copy of which each array lies ``shift`` items behind a cache line."""
    if isinstance(value, tuple):
        parts = [moved(part, shift) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, np.ndarray):
        return value
    memory = np.empty(value.nbytes + 64 + shift * value.itemsize, np.uint8)
    start = -memory.ctypes.data % 64 + shift * value.itemsize
    copy = memory[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    copy[...] = value
    return copy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", ["best", "zero"])
@pytest.mark.parametrize("prior", PRIORS)
def test_no_bit_depends_on_where_arrays_lie(monkeypatch, prior, center, dtype):
    rng = np.random.default_rng(2)
    start = PRIORS[prior][0].start(37)
    W = rng.standard_normal((37, 29))
    X = start.sample(25, 37, rng) @ W + 0.5 * rng.standard_normal((25, 29))
    e_step = LinearEStep(
        Parameters(W, start, IsotropicNoise(0.3), None), Truncation(6, 4, center == "best"), dtype
    )
    calls, infer = [], kernel.expectations
    monkeypatch.setattr(
        kernel, "expectations", lambda *call: calls.append(moved(call, 0)) or infer(*call)
    )
    e_step.statistics(X.astype(dtype), rng.uniform(0, 2, len(X)))
    results = []
    for shift in (0, 1, 2, 3, 5, 7):
        call = moved(calls[0], shift)
        infer(*call)
        results.append([part.copy() for part in call if isinstance(part, np.ndarray)])
    for result in results[1:]:
        for part, expected in zip(result, results[0]):
            assert_array_equal(part, expected)


def test_exponential_is_exact_to_rounding():
    x = np.linspace(-700, 700, 10001)
    assert_allclose([exp(v) for v in x], np.exp(x), rtol=5e-16)
    assert exp(-1e9) < 1e-300


def test_argmax_finds_the_first_maximum():
    rng = np.random.default_rng(0)
    for n in (1, 7, 400):
        x = rng.integers(0, 20, n).astype(float)
        assert argmax(x) == np.argmax(x)


def test_sparse_outer_product_equals_the_dense_one():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((50, 9)) * (rng.uniform(size=(50, 9)) < 0.3)
    X, out = rng.standard_normal((50, 13)), np.ones((9, 13))
    add_outer(codes, X, np.count_nonzero(codes), out)
    assert_allclose(out, 1.0 + codes.T @ X)
