"""The maximum superpositions with discrete values against brute-force enumeration."""

import numpy as np
import pytest
from enumeration import Model, superpose
from maximum_states import posteriors
from numpy.testing import assert_allclose, assert_array_equal
from problems import PRIORS, random_problem

from skprosper import MaximalCausesAnalysis, SparseCoding
from skprosper.inference.base import Parameters, Truncation
from skprosper.kernels.maximum import state_trees
from skprosper.kernels.states import count_states
from skprosper.noise import IsotropicNoise
from skprosper.priors import DiscretePrior
from skprosper.superpositions import SUPERPOSITIONS

EXACT = dict(rtol=1e-10, atol=1e-10)
TRUNCATIONS = {
    "exact": dict(n_candidates=None, max_changes=None),
    "exact around 0": dict(n_candidates=None, max_changes=None, center="zero"),
    "few active": dict(n_candidates=None, max_changes=2, center="zero"),
    "pursuit": dict(n_candidates=3, max_changes=2, center="zero", selection="pursuit"),
    "marginal": dict(n_candidates=4, max_changes=2, center="zero", selection="marginal"),
    "one candidate": dict(n_candidates=1, max_changes=1, center="zero"),
    "best, few changes": dict(n_candidates=None, max_changes=2),
    "best, core": dict(n_candidates=2, max_changes=2),
    "best, one candidate": dict(n_candidates=1, max_changes=1),
}
MAXIMA = ["maximum", "magnitude-maximum"]


def problem(prior, superposition, **params):
    return random_problem(prior, superposition=superposition, offset=False, **params)


def reference(model, X, truncation):
    selection = TRUNCATIONS[truncation].get("selection", "pursuit")
    n_candidates = TRUNCATIONS[truncation]["n_candidates"]
    max_active = TRUNCATIONS[truncation]["max_changes"]
    if truncation.startswith("best"):
        n_candidates = min(n_candidates or len(model.components), len(model.components))
        return posteriors(model, X, n_candidates, min(max_active, n_candidates))
    return model.posteriors(X, n_candidates, max_active, selection == "pursuit")


@pytest.mark.parametrize("n_components", [1, 5])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("superposition", MAXIMA)
def test_public_methods_equal_enumeration(superposition, prior, truncation, n_components):
    if n_components == 1 and truncation in ("pursuit", "marginal"):
        pytest.skip("one latent is all candidates")
    params = TRUNCATIONS[truncation]
    estimator, model, X = problem(prior, superposition, n_components=n_components, **params)
    expected = reference(model, X, truncation)
    assert_allclose(estimator.score_samples(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(estimator.transform(X), [p.mean for p in expected], **EXACT)
    assert_allclose(estimator.reconstruct(X), [p.reconstruction for p in expected], **EXACT)
    probability = estimator.set_params(code="probability").transform(X)
    assert_allclose(probability, [p.active for p in expected], **EXACT)
    best = estimator.set_params(code="map").transform(X)
    for code, p in zip(best, expected, strict=True):
        # states whose negative values never win are equally probable under even odds
        q = p.q[(p.states == code).all(axis=1)]
        assert_allclose(q, p.q.max(), **EXACT)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("superposition", MAXIMA)
def test_more_latents_than_a_search_looks_at_equal_enumeration(superposition, prior):
    params = dict(n_candidates=3, max_changes=2)
    estimator, model, X = problem(prior, superposition, n_components=20, n_features=12, **params)
    if superposition == "maximum":
        X = 1.5 * np.abs(X)
    expected = posteriors(model, X, 3, 2)
    assert max((p.mean > 0.5).sum() for p in expected) > 1
    assert_allclose(estimator.score_samples(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(estimator.transform(X), [p.mean for p in expected], **EXACT)
    assert_allclose(estimator.reconstruct(X), [p.reconstruction for p in expected], **EXACT)


@pytest.mark.parametrize("truncation", ["pursuit", "best, core"])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("superposition", MAXIMA)
def test_posterior_lists_the_best_states_with_their_probabilities(superposition, prior, truncation):
    estimator, model, X = problem(prior, superposition, **TRUNCATIONS[truncation])
    found = estimator.posterior(X, n_states=4)
    assert len(set(found.max_changes)) > 1
    for n, changes in enumerate(found.max_changes):
        # it grew from 2 or 3 candidates and 2 changes by 2 and 1
        start = TRUNCATIONS[truncation]["n_candidates"]
        n_candidates = min(2 * (changes - 2) + start, len(model.components))
        (p,) = (
            posteriors(model, X[n : n + 1], n_candidates, changes)
            if truncation == "best, core"
            else model.posteriors(X[n : n + 1], n_candidates, changes, pursuit=True)
        )
        assert_allclose(found.probabilities[n], np.sort(p.q)[::-1][:4], **EXACT)
        states = [found.codes(rank)[n] for rank in range(4)]
        assert len(np.unique(states, axis=0)) == 4
        q = [p.q[(p.states == state).all(axis=1)][0] for state in states]
        assert_allclose(found.probabilities[n], q, **EXACT)
        q = p.q[p.q > 0]
        assert_allclose(found.entropy[n], -(q * np.log(q)).sum(), **EXACT)
        assert_allclose(found.marginals[n], p.active, **EXACT)
        assert_allclose(found.log_evidence[n], p.log_evidence, **EXACT)
    assert_array_equal(found.variances, 0.0)


@pytest.mark.parametrize("temperature", [(1.0, 1.0), (2.5, 1.0), (3.0, 3.0)])
@pytest.mark.parametrize("truncation", [(4, 4, True), (3, 2, True), (3, 2, False)])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("superposition", MAXIMA)
def test_statistics_and_bound_equal_enumeration(superposition, prior, truncation, temperature):
    rng = np.random.default_rng(3)
    start, values, probabilities = PRIORS[prior]
    W, X = rng.standard_normal((4, 5)), rng.standard_normal((20, 5))
    if superposition == "maximum":
        W = np.abs(W)
    W[:3, 2] = W[1, 3] = 0.0  # entries at 0 tie
    w = rng.uniform(0, 2, len(X))
    w[4] = 0.0
    parameters = Parameters(W, start.start(4), IsotropicNoise(0.5), None)
    e_step = SUPERPOSITIONS[superposition].e_step(parameters.prior)
    e_step = e_step(
        parameters, Truncation(*truncation[:2], False, truncation[2]), np.float64, temperature
    )
    sums = e_step.complete(e_step.statistics(X, w))
    cold = Model(W, np.array(values), np.array(probabilities), 0.5, superposition)
    hot = Model(
        W, np.array(values), np.array(probabilities), 0.5, superposition, temperature=temperature
    )
    posteriors = hot.posteriors(X, *truncation)
    bound = 0.0
    for a, p, x in zip(w, posteriors, X, strict=True):
        bound += a * p.q @ (cold.log_joint(p.states, x) - np.log(p.q))
    assert_allclose(e_step.bound(sums), bound, rtol=1e-10)
    expected = {
        "counts": sum(a * p.counts for a, p in zip(w, posteriors, strict=True)),
        "squared_error": sum(a * p.squared_error for a, p in zip(w, posteriors, strict=True)),
        "denominator": sum(a * p.denominator for a, p in zip(w, posteriors, strict=True)),
        "numerator": sum(a * p.numerator for a, p in zip(w, posteriors, strict=True)),
    }
    for name, value in expected.items():
        assert_allclose(sums[name], value, **EXACT, err_msg=name)


@pytest.mark.parametrize("prior", ["binary", "discrete"])
@pytest.mark.parametrize("superposition", MAXIMA)
def test_rounding_does_not_tell_which_of_equal_terms_of_the_core_wins(superposition, prior):
    rng = np.random.default_rng(0)
    W = rng.uniform(1.0, 3.0, (6, 12))
    W[1, :4], W[1, 4:6], W[4, 6:8] = 4.0, 6.0, 6.0  # what the two alone explain is much
    X = W.max(axis=0) + 0.1 * rng.standard_normal((10, 12))
    start, _, _ = PRIORS[prior]
    sums = []
    for rounding in (1e-14, -1e-14):
        rounded = W.copy()
        rounded[4, :4] = (1.0 + rounding) * rounded[1, :4]
        parameters = Parameters(rounded, start.start(6), IsotropicNoise(0.01), None)
        e_step = SUPERPOSITIONS[superposition].e_step(parameters.prior)
        e_step = e_step(parameters, Truncation(2, 1), np.float64)
        sums.append(e_step.complete(e_step.statistics(X, np.ones(len(X)))))
    assert sums[0]["counts"].sum() > 2 * len(X)  # more than the candidates are active
    for name in ("counts", "numerator", "denominator"):
        assert_allclose(sums[0][name], sums[1][name], rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("prior", ["binary", "ternary", "discrete"])
@pytest.mark.parametrize("superposition", MAXIMA)
def test_gradient_of_the_bound_vanishes_at_convergence(superposition, prior):
    start, values, _ = PRIORS[prior]
    if prior == "discrete":  # a value that never wins is not identified
        start, values = DiscretePrior((0, 1, 2), (0.6, 0.25, 0.15), tied=True), [1.0, 2.0]
    rng = np.random.default_rng(0)
    components = np.array([[3.0, 1.0, 2.0, 0.5], [0.5, 3.0, 1.0, 2.0], [2.0, 0.5, 4.0, 1.0]])
    if superposition == "magnitude-maximum":
        components *= rng.choice([-1.0, 1.0], components.shape)
    codes = start.start(3).sample(400, 3, np.random.RandomState(0))
    X = superpose(codes, components, superposition) + 0.4 * rng.standard_normal((400, 4))
    model = SparseCoding(
        3,
        prior=start,
        superposition=superposition,
        components_init=components,
        n_candidates=None,
        max_changes=None,
        annealing=None,
        max_iter=1000,
        tol=1e-14,
    ).fit(X)
    assert model.converged_
    assert np.abs(model.components_).min() > 0.1  # at 0 the maximum's gradient has one side

    def bound(at):
        """The reference's bound at components, noise and prior in one vector."""
        reference = Model(at[:12].reshape(3, 4), np.array(values), at[13:], at[12], superposition)
        return np.mean([p.log_evidence for p in reference.posteriors(X)])

    if prior == "discrete":
        probability = model.prior_.probabilities[1:]
    else:
        probability = np.full(len(values), model.prior_.probability / len(values))
    at = np.r_[model.components_.ravel(), model.noise_variance_, probability]
    moves = np.eye(len(at))
    if prior == "ternary":  # both signs share their probability
        moves = np.vstack([moves[:13], moves[13] + moves[14]])
    for move in moves:
        step = 1e-5 * move
        assert abs(bound(at + step) - bound(at - step)) / 2e-5 < 1e-5
        # a tenth away from the solution the bound has fallen
        assert bound(at + 0.1 * at * move) < bound(at) - 1e-5


@pytest.mark.parametrize("superposition", MAXIMA)
def test_float32_stays_and_agrees_with_float64(superposition):
    estimator, _, X = problem("discrete", superposition)
    codes = estimator.transform(X.astype(np.float32))
    assert codes.dtype == np.float32
    assert_allclose(codes, estimator.transform(X), atol=1e-4)
    scores = estimator.score_samples(X.astype(np.float32))
    assert_allclose(scores, estimator.score_samples(X), rtol=1e-5)
    means = estimator.reconstruct(X.astype(np.float32))
    assert means.dtype == np.float32
    assert_allclose(means, estimator.reconstruct(X), atol=1e-4)


@pytest.mark.parametrize("superposition", MAXIMA)
def test_log_joints_in_the_thousands_do_not_underflow(superposition):
    estimator, model, X = problem("binary", superposition)
    X = 60.0 * X
    expected = [model.posterior(x).log_evidence for x in X]
    assert min(expected) < -5000
    assert_allclose(estimator.score_samples(X), expected, rtol=1e-10)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("superposition", MAXIMA)
def test_inverse_transform_superposes_by_the_rule_of_the_model(superposition, prior):
    estimator, model, _ = problem(prior, superposition)
    codes = np.vstack([model.posterior(np.ones(6)).states, np.full((1, 5), -0.5)])
    assert_allclose(estimator.inverse_transform(codes), model.means(codes), **EXACT)


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("n_candidates, max_changes, values", [(1, 1, 1), (5, 3, 2), (7, 7, 1)])
def test_the_trees_hold_every_truncated_state_once(n_candidates, max_changes, values, best):
    trees = state_trees(n_candidates, max_changes, values, best)
    all_kept = max_changes == n_candidates
    assert len(trees.starts) == 2 + (n_candidates if best and not all_kept else 0)
    for m, (first, last) in enumerate(zip(trees.starts[:-1], trees.starts[1:], strict=True)):
        assert trees.depths[first] == 0 and trees.items[first] == -1
        seen, path = set(), []
        for s in range(first, last):
            path = [*path[: max(trees.depths[s] - 1, 0)], *trees.items[s : s + 1]][
                : trees.depths[s]
            ]
            slots = {item // values: item % values for item in path}
            assert len(slots) == len(path) and sorted(path) == path
            changes = sum(slots.get(i, -1) != 0 for i in range(m))
            changes += sum(i in slots for i in range(m, n_candidates))
            assert trees.kept[s] == (changes <= max_changes)
            if trees.kept[s]:
                seen.add(tuple(path))
        assert len(seen) == trees.kept[first:last].sum()
        assert len(seen) == count_states(n_candidates, max_changes, values)


def test_components_of_the_maximum_stay_non_negative():
    X = np.random.default_rng(0).standard_normal((60, 4)) - 0.5
    model = MaximalCausesAnalysis(3, random_state=0, max_iter=30).fit(X)
    assert model.components_.min() >= 0.0
    assert np.isfinite(model.lower_bound_)
