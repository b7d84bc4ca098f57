"""One distribution of the values for all latents, or one for each."""

import numpy as np
import pytest
from enumeration import Model
from numpy.testing import assert_allclose, assert_array_equal

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.priors import BinaryPrior, DiscretePrior, TernaryPrior

EXACT = dict(rtol=1e-10, atol=1e-10)
NAMED = [
    BinarySparseCoding,
    TernarySparseCoding,
    DiscreteSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
]
OWN = np.array([0.05, 0.5, 0.2, 0.35, 0.1, 0.6])


def own_prior(kind):
    """Return a prior with probabilities of each latent's own, its values and their shares."""
    if kind == "binary":
        return BinaryPrior(OWN, tied=False), [1.0], OWN[None]
    if kind == "ternary":
        return TernaryPrior(OWN, tied=False), [-1.0, 1.0], np.vstack([OWN, OWN]) / 2
    active = np.vstack([0.7 * OWN, 0.3 * OWN[::-1]])
    probabilities = np.vstack([active[0], 1.0 - active.sum(axis=0), active[1]])
    return DiscretePrior((-1, 0, 2), probabilities, tied=False), [-1.0, 2.0], active


def fitted(kind, superposition, X, W, **params):
    return SparseCoding(
        6,
        prior=own_prior(kind)[0],
        superposition=superposition,
        components_init=W,
        noise_init=0.5,
        max_iter=0,
        **params,
    ).fit(X)


@pytest.mark.parametrize("superposition", ["linear", "maximum", "magnitude-maximum"])
@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
def test_own_probabilities_equal_enumeration(kind, superposition):
    rng = np.random.default_rng(0)
    W, X = np.abs(rng.standard_normal((6, 7))), rng.standard_normal((20, 7)) + 0.5
    _, values, active = own_prior(kind)
    model = Model(W, np.array(values), active, 0.5, superposition)
    exact = fitted(kind, superposition, X, W, n_candidates=None, max_changes=None)
    expected = model.posteriors(X)
    assert_allclose(exact.score_samples(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(exact.transform(X), [p.mean for p in expected], **EXACT)
    assert_allclose(exact.posterior(X).marginals, [p.active for p in expected], **EXACT)
    if superposition == "linear":
        around = fitted(kind, superposition, X, W, n_candidates=3, max_changes=2)
        expected = model.around_best(X, 3, 2)
        assert_allclose(around.score_samples(X), [p.log_evidence for p in expected], **EXACT)


@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
@pytest.mark.parametrize("tied", [True, False])
def test_probabilities_are_the_posterior_shares_of_each_value(kind, tied):
    prior, values, active = own_prior(kind)
    if tied:
        params = {"probability": 0.3} if kind != "discrete" else {"probabilities": (0.2, 0.6, 0.2)}
        prior = type(prior)(**(prior.get_params() | params | dict(tied=True)))
    rng = np.random.default_rng(1)
    counts = rng.uniform(1.0, 5.0, (len(values), 6))
    if kind == "ternary":
        counts[1] = counts[0]
    learned = prior.start(6).updated({"counts": counts, "weight": 20.0}).active_probabilities(6)
    share = counts / 20.0
    assert_allclose(learned, share.mean(axis=1, keepdims=True) if tied else share)


@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
def test_own_probabilities_are_recovered(kind):
    rng = np.random.default_rng(0)
    prior, values, active = own_prior(kind)
    W = 4.0 * np.eye(6, 12) + 0.3 * rng.standard_normal((6, 12))
    codes = prior.start(6).sample(4000, 6, np.random.RandomState(0))
    X = codes @ W + 0.5 * rng.standard_normal((4000, 12))
    model = SparseCoding(
        6, prior=type(prior)(**{**prior.get_params(), **_unknown(kind)}), components_init=W
    )
    model.set_params(annealing=None).fit(X)
    assert_allclose(model.prior_.active_probabilities(), active, atol=0.03)


def _unknown(kind):
    return {"probabilities": None} if kind == "discrete" else {"probability": None}


@pytest.mark.parametrize("model", NAMED)
def test_named_models_take_the_word(model):
    X = np.random.default_rng(0).standard_normal((60, 5))
    for tied, shape in ((True, ()), (False, (4,))):
        prior = model(4, tied=tied, max_iter=3, tol=0, random_state=0).fit(X).prior_
        assert prior.tied == tied
        if model is DiscreteSparseCoding:
            assert prior.probabilities.shape == (3, *shape)
        else:
            assert np.shape(prior.probability) == shape


@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
def test_one_number_is_where_each_latent_starts(kind):
    prior = own_prior(kind)[0]
    one = {"probabilities": (0.1, 0.7, 0.2)} if kind == "discrete" else {"probability": 0.3}
    each = type(prior)(**(prior.get_params() | one)).start(5).active_probabilities(5)
    assert each.shape == (prior.n_values, 5)
    assert_array_equal(each, each[:, :1] * np.ones(5))


@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
def test_a_shared_distribution_is_not_given_for_each(kind):
    prior = own_prior(kind)[0].set_params(tied=True)
    with pytest.raises(ValueError, match="one for each of 6. Set tied=False"):
        prior.start(6)


@pytest.mark.parametrize("kind", ["binary", "ternary", "discrete"])
def test_distributions_of_another_number_of_latents(kind):
    with pytest.raises(ValueError, match="each of the 4"):
        own_prior(kind)[0].start(4)


@pytest.mark.parametrize("model", NAMED)
def test_a_fit_that_goes_on_keeps_what_is_shared(model):
    X = np.random.default_rng(0).standard_normal((60, 5))
    fit = model(3, tied=True, max_iter=2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="warm_start goes on"):
        fit.set_params(tied=False).fit(X)
