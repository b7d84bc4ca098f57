"""Missing values against brute-force enumeration of the observed entries' likelihood."""

import numpy as np
import pytest
from enumeration import Model
from enumeration_spike_slab import SpikeSlabModel
from maximum_states import posteriors as around_best_maximum
from numpy.testing import assert_allclose, assert_array_equal
from problems import PRIORS, noise_of

from skprosper.inference import incomplete_correlated, incomplete_independent
from skprosper.inference.base import Parameters, Truncation, codes_of
from skprosper.inference.missing import PartlyObserved
from skprosper.noise import NOISES
from skprosper.priors import DiscretePrior, SpikeSlabPrior
from skprosper.superpositions import SUPERPOSITIONS

EXACT = dict(rtol=1e-10, atol=1e-10)
H, D = 5, 6
TRUNCATIONS = {
    "exact": Truncation(5, 5, False, True),
    "best, exact": Truncation(5, 5),
    "best": Truncation(4, 3),
    "best, few": Truncation(3, 2),
    "best, one candidate": Truncation(1, 1),
    "zero, pursuit": Truncation(4, 3, False, True),
    "zero, marginal": Truncation(3, 2, False, False),
}
LINEAR = [*PRIORS, "diagonal slabs", "full slabs"]
MAXIMA = [
    (prior, superposition)
    for prior in [*PRIORS, "negative"]
    for superposition in ("maximum", "magnitude-maximum")
]
TEMPERATURES = [(1.0, 1.0), (2.0, 1.5)]


def data_with_holes(seed=1, n=24):
    """Return rows of which some are complete, and of one of which nothing is observed."""
    rng = np.random.default_rng(seed)
    X = 1.5 * rng.standard_normal((n, D))
    X[rng.uniform(size=X.shape) < rng.uniform(0.1, 0.9, (n, 1))] = np.nan
    X[:3] = rng.standard_normal((3, D))
    X[5] = np.nan
    return X


def problem(prior, noise="isotropic", superposition="linear", temperature=(1.0, 1.0), seed=0):
    """Return a reference, and the parameters that it holds."""
    rng = np.random.default_rng(seed)
    components = rng.standard_normal((H, D))
    if superposition == "maximum":
        components = np.abs(components)
    variance = noise_of(noise, D, rng)
    offset = rng.standard_normal(D) if superposition == "linear" else None
    shared = dict(noise=variance, offset=0.0 if offset is None else offset, temperature=temperature)
    if "slabs" in prior:
        root = rng.standard_normal((H, H))
        psi = 0.3 * np.eye(H) + root @ root.T / H
        psi = psi if "full" in prior else np.diag(psi).copy()
        probability, mean = rng.uniform(0.1, 0.6, H), rng.standard_normal(H)
        model = SpikeSlabModel(components, probability, mean, psi, **shared)
        prior = SpikeSlabPrior(probability, mean, psi).start(H)
    else:
        if prior == "negative":
            prior = DiscretePrior((-2, -1, 0, 1), (0.3, 0.3, 0.2, 0.2), tied=True)
            values, probabilities = [-2.0, -1.0, 1.0], [0.3, 0.3, 0.2]
        else:
            prior, values, probabilities = PRIORS[prior]
        model = Model(
            components,
            np.array(values),
            np.array(probabilities),
            superposition=superposition,
            **shared,
        )
        prior = prior.start(H)
    return model, Parameters(components, prior, NOISES[noise](variance), offset)


def e_step_of(parameters, truncation, superposition="linear", temperature=(1.0, 1.0)):
    """Return the E-step of data with missing values."""
    e_step = SUPERPOSITIONS[superposition].e_step(parameters.prior)
    return PartlyObserved(e_step(parameters, truncation, np.float64, temperature))


def restricted(model, seen):
    """Return the reference of the features that are observed."""
    noise = np.asarray(model.noise)
    noise = noise[np.ix_(*[seen] * noise.ndim)] if noise.ndim else model.noise
    offset = model.offset if np.ndim(model.offset) == 0 else model.offset[seen]
    shared = dict(noise=noise, offset=offset, temperature=model.temperature)
    components = model.components[:, seen]
    if isinstance(model, SpikeSlabModel):
        return SpikeSlabModel(components, model.probability, model.mean, model.covariance, **shared)
    return Model(
        components, model.values, model.probabilities, superposition=model.superposition, **shared
    )


def posteriors_of(model, X, truncation):
    """Return the reference's posterior of each row; of nothing observed the exact one."""
    posteriors = []
    for x in X:
        seen = ~np.isnan(x)
        own = restricted(model, seen)
        if not seen.any():
            posteriors.append(own.posterior(x[seen]))
        elif truncation.best and getattr(model, "superposition", "linear") != "linear":
            posteriors += around_best_maximum(own, x[seen][None], *truncation[:2])
        elif truncation.best:
            posteriors += own.around_best(x[seen][None], *truncation[:2])
        else:
            posteriors += own.posteriors(x[seen][None], *truncation[:2], truncation.pursuit)
    return posteriors


def rest_of(model, seen):
    """Return what the observed features tell of the others' noise, and what they do not."""
    sigma = np.asarray(model.noise)
    if sigma.ndim < 2:
        sigma = np.diag(np.broadcast_to(sigma, D))
    B = np.linalg.solve(sigma[np.ix_(seen, seen)], sigma[np.ix_(seen, ~seen)]).T
    return B, sigma[np.ix_(~seen, ~seen)] - B @ sigma[np.ix_(seen, ~seen)]


def imputed_by(model, posterior, x):
    """Return data with means in place of what is missing, and variances."""
    seen = ~np.isnan(x)
    filled, variance = x.copy(), np.zeros(D)
    offset = np.broadcast_to(model.offset, D)
    B, rest = rest_of(model, seen)
    if isinstance(model, SpikeSlabModel):
        U = model.components[:, ~seen] - model.components[:, seen] @ B.T
        mean = posterior.mean @ U
        square = np.sum(U * (posterior.second @ U), axis=0)
    else:
        ybar = model.means(posterior.states) - offset
        told = ybar[:, ~seen] - ybar[:, seen] @ B.T
        mean, square = posterior.q @ told, posterior.q @ told**2
    filled[~seen] = offset[~seen] + mean + B @ (x - offset)[seen]
    variance[~seen] = square - mean**2 + np.diag(rest)
    return filled, variance


def check_posteriors(model, e_step, X, posteriors):
    """Compare everything but the statistics with the reference."""
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in posteriors], **EXACT)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in posteriors], **EXACT)
    assert_allclose(e_step.codes(X, "probability"), [p.active for p in posteriors], **EXACT)
    filled, variance = e_step.impute(X)
    expected = [imputed_by(model, p, x) for p, x in zip(posteriors, X, strict=True)]
    assert_allclose(filled, [mean for mean, _ in expected], **EXACT)
    assert_allclose(variance, [spread for _, spread in expected], **EXACT)
    offset = np.broadcast_to(model.offset, D)
    if isinstance(model, Model):
        noiseless = [p.q @ model.means(p.states) for p in posteriors]
    else:
        noiseless = [p.mean @ model.components + offset for p in posteriors]
    assert_allclose(e_step.reconstruct(X), noiseless, **EXACT)
    residual = np.where(np.isnan(X), 0.0, X - noiseless)
    assert_allclose(e_step.residuals(X), residual, **EXACT)
    told = ~np.isnan(X).all(axis=1)
    top = e_step.top_states(X, 3)
    for n in np.flatnonzero(told):
        ranked = np.sort(posteriors[n].log_joint)[::-1][:3]
        assert_allclose(top.log_joint[n], ranked, **EXACT)
    best = codes_of(top.support[:, 0], top.values[:, 0], H, np.float64)
    assert_array_equal(e_step.codes(X, "map"), best)


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", LINEAR)
def test_linear_posteriors_equal_enumeration(prior, noise, truncation):
    check_linear_posteriors(prior, noise, truncation)


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("prior", LINEAR)
def test_posteriors_by_pattern_equal_enumeration(prior, truncation, monkeypatch):
    monkeypatch.setattr(incomplete_correlated, "_MANY_ROWS", 1)
    check_linear_posteriors(prior, "full", truncation)


def check_linear_posteriors(prior, noise, truncation):
    model, parameters = problem(prior, noise)
    truncation, X = TRUNCATIONS[truncation], data_with_holes()
    e_step = e_step_of(parameters, truncation)
    check_posteriors(model, e_step, X, posteriors_of(model, X, truncation))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("truncation", ["exact", "best", "zero, pursuit"])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", LINEAR)
@pytest.mark.parametrize("apart", [True, False])
def test_linear_statistics_equal_enumeration(
    prior, noise, truncation, temperature, apart, monkeypatch
):
    """Of few features, or of many; under correlated noise of rows apart, or by pattern."""
    if not apart:
        monkeypatch.setattr(incomplete_independent, "_MOST_BY_FEATURE", 0)
        monkeypatch.setattr(incomplete_correlated, "_MANY_ROWS", 1)
    by_feature = apart and noise != "full"
    model, parameters = problem(prior, noise, temperature=temperature)
    truncation, X = TRUNCATIONS[truncation], data_with_holes()
    w = np.random.default_rng(2).uniform(0.5, 2.0, len(X))
    w[[1, 9]] = 0.0
    e_step = e_step_of(parameters, truncation, temperature=temperature)
    found = e_step.complete(e_step.statistics(X, w))
    posteriors = posteriors_of(model, X, truncation)
    expected = dict.fromkeys(("weight", "codes", "second", "cross", "data", "data_second"), 0.0)
    active, observed, blank, bound = 0.0, 0.0, 0.0, 0.0
    hidden_codes, hidden_second = np.zeros((H, D)), np.zeros((D, H, H))
    for a, p, x in zip(w, posteriors, X, strict=True):
        seen = ~np.isnan(x)
        if not seen.any():
            blank += a
            continue
        B, rest = rest_of(model, seen)
        W = model.components
        U = W[:, ~seen] - W[:, seen] @ B.T
        centred = x - model.offset
        fixed = np.zeros(D)  # filled by the data alone
        fixed[seen], fixed[~seen] = centred[seen], B @ centred[seen]
        moved = np.zeros(W.shape)  # by the codes
        moved[:, ~seen] = U
        squares = np.outer(fixed, fixed) + moved.T @ p.second @ moved
        mixed = np.outer(fixed, p.mean @ moved)
        squares += mixed + mixed.T
        if noise == "full":
            squares[np.ix_(~seen, ~seen)] += rest
        own = {
            "weight": 1.0,
            "codes": p.mean,
            "second": p.second,
            "cross": np.outer(p.mean, fixed) + p.second @ moved,
            "data": fixed + p.mean @ moved,
            "data_second": squares if noise == "full" else np.diag(squares),
        }
        expected = {name: total + a * own[name] for name, total in expected.items()}
        active = active + a * p.active
        observed = observed + a * seen
        hidden_codes[:, ~seen] += a * p.mean[:, None]
        hidden_second[~seen] += a * p.second
        cold = restricted(model, seen)
        cold.temperature = (1.0, 1.0)
        if isinstance(model, SpikeSlabModel):
            hot, p.model = p.model, cold
            bound += a * p.bound
            p.model = hot
        else:
            bound += a * p.q @ (cold.log_joint(p.states, x[seen]) - np.log(p.q))
    for name, value in expected.items():
        assert_allclose(found[name], value, **EXACT, err_msg=name)
    counts = found["active"] if isinstance(model, SpikeSlabModel) else found["counts"].sum(axis=0)
    assert_allclose(counts, active, **EXACT)
    assert_allclose(found["blank"], blank, **EXACT)
    if noise != "full":
        assert_allclose(found["observed"], observed, **EXACT)
    assert ("hidden_second" in found) == by_feature
    if by_feature:
        assert_allclose(found["hidden_codes"], hidden_codes, **EXACT)
        assert_allclose(found["hidden_second"], hidden_second, **EXACT)
    assert_allclose(e_step.bound(found), bound, **EXACT)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
@pytest.mark.parametrize("prior", LINEAR)
def test_the_linear_m_step_solves_the_normal_equations_of_each_feature(prior, noise):
    model, parameters = problem(prior, noise)
    X, truncation = data_with_holes(n=60), TRUNCATIONS["exact"]
    e_step = e_step_of(parameters, truncation)
    statistics = e_step.complete(e_step.statistics(X, np.ones(len(X))))
    superposition = SUPERPOSITIONS["linear"]
    components, offset, residual = superposition.updated(parameters, statistics, ("components",))
    posteriors = posteriors_of(model, X, truncation)
    for d in range(D):
        normal, right, square = np.zeros((H + 1, H + 1)), np.zeros(H + 1), 0.0
        rows = np.flatnonzero(~np.isnan(X[:, d]))
        for p, y in ((posteriors[n], X[n, d]) for n in rows):
            mean = np.append(p.mean, 1.0)
            normal += np.block([[p.second, p.mean[:, None]], [mean]])
            right += y * mean
            square += y**2
        w = np.linalg.solve(normal, right)
        assert_allclose(np.append(components[:, d], offset[d]), w, rtol=1e-8, atol=1e-8)
        assert_allclose(residual[d], (square - w @ right) / len(rows), rtol=1e-8)


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("prior, superposition", MAXIMA)
def test_maximum_posteriors_equal_enumeration(prior, superposition, truncation):
    model, parameters = problem(prior, superposition=superposition)
    truncation, X = TRUNCATIONS[truncation], data_with_holes()
    e_step = e_step_of(parameters, truncation, superposition)
    check_posteriors(model, e_step, X, posteriors_of(model, X, truncation))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("truncation", ["exact", "best", "zero, pursuit"])
@pytest.mark.parametrize("prior, superposition", MAXIMA)
def test_maximum_statistics_equal_enumeration(prior, superposition, truncation, temperature):
    model, parameters = problem(prior, superposition=superposition, temperature=temperature)
    truncation, X = TRUNCATIONS[truncation], data_with_holes()
    w = np.random.default_rng(2).uniform(0.5, 2.0, len(X))
    w[[1, 9]] = 0.0
    e_step = e_step_of(parameters, truncation, superposition, temperature)
    found = e_step.complete(e_step.statistics(X, w))
    expected = dict(
        weight=0.0,
        counts=0.0,
        squared_error=0.0,
        numerator=np.zeros((H, D)),
        denominator=np.zeros((H, D)),
        observed=0.0,
    )
    bound = 0.0
    for a, p, x in zip(w, posteriors_of(model, X, truncation), X, strict=True):
        seen = ~np.isnan(x)
        if not seen.any():
            continue
        expected["weight"] += a
        expected["counts"] = expected["counts"] + a * p.counts
        expected["squared_error"] += a * p.squared_error
        expected["numerator"][:, seen] += a * p.numerator
        expected["denominator"][:, seen] += a * p.denominator
        expected["observed"] = expected["observed"] + a * seen
        cold = restricted(model, seen)
        cold.temperature = (1.0, 1.0)
        bound += a * p.q @ (cold.log_joint(p.states, x[seen]) - np.log(p.q))
    for name, value in expected.items():
        assert_allclose(found[name], value, **EXACT, err_msg=name)
    assert_allclose(e_step.bound(found), bound, **EXACT)
