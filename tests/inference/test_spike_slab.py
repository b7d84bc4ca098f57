"""The linear superposition with a spike-and-slab prior against brute-force enumeration."""

import pickle

import numpy as np
import pytest
from enumeration_spike_slab import SpikeSlabModel
from numpy.testing import assert_allclose, assert_array_equal
from problems import noise_of

from skprosper import SparseCoding
from skprosper.inference.base import Parameters, Truncation, codes_of
from skprosper.inference.spike_slab import SpikeSlabEStep
from skprosper.kernels import spike_slab as kernel
from skprosper.noise import NOISES, IsotropicNoise
from skprosper.priors import SpikeSlabPrior

EXACT = dict(rtol=1e-10, atol=1e-10)
SLABS = ["diagonal", "full"]
TRUNCATIONS = {
    "exact": Truncation(5, 5, False, True),
    "pursuit": Truncation(4, 3, False, True),
    "marginal": Truncation(3, 2, False, False),
    "one active": Truncation(3, 1, False, True),
    "one candidate": Truncation(1, 1, False, True),
    "best, exact": Truncation(5, 5),
    "best": Truncation(4, 3),
    "best, few": Truncation(3, 2),
    "best, one changed": Truncation(3, 1),
    "best, one candidate": Truncation(1, 1),
}


def posteriors_of(model, X, truncation):
    """Return the reference's posterior of each row."""
    n_candidates, max_changes, best, pursuit = truncation
    if best:
        return model.around_best(X, n_candidates, max_changes)
    return model.posteriors(X, n_candidates, max_changes, pursuit)


def prior_of(probability, mean, covariance):
    """Return a prior that holds these values."""
    return SpikeSlabPrior(probability, mean, covariance).start(len(covariance))


def random_model(slabs, noise="isotropic", *, seed=0, n_components=5, n_features=6, **params):
    """Return a reference with random parameters."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n_components, n_components))
    covariance = 0.3 * np.eye(n_components) + root @ root.T / n_components
    return SpikeSlabModel(
        components=rng.standard_normal((n_components, n_features)),
        probability=rng.uniform(0.1, 0.6, n_components),
        mean=rng.standard_normal(n_components),
        covariance=covariance if slabs == "full" else np.diag(covariance).copy(),
        noise=noise_of(noise, n_features, rng),
        **params,
    )


def e_step_of(model, truncation=None, dtype=np.float64, noise="isotropic"):
    """Return the E-step at the parameters of a reference."""
    n_components = len(model.components)
    truncation = (
        Truncation(n_components, n_components, False, True) if truncation is None else truncation
    )
    prior = prior_of(model.probability, model.mean, model.covariance)
    offset = None if np.ndim(model.offset) == 0 else model.offset
    parameters = Parameters(model.components, prior, NOISES[noise](model.noise), offset)
    return SpikeSlabEStep(parameters, truncation, dtype, model.temperature)


def random_data(n=16, n_features=6, seed=1):
    return 1.5 * np.random.default_rng(seed).standard_normal((n, n_features))


def weighted(weights, arrays):
    return sum(w * a for w, a in zip(weights, arrays, strict=True))


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("slabs", SLABS)
def test_posteriors_equal_enumeration(slabs, noise, truncation):
    model = random_model(slabs, noise, offset=np.linspace(-1, 1, 6))
    X = random_data()
    e_step = e_step_of(model, TRUNCATIONS[truncation], noise=noise)
    expected = posteriors_of(model, X, TRUNCATIONS[truncation])
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in expected], **EXACT)
    assert_allclose(e_step.codes(X, "probability"), [p.active for p in expected], **EXACT)


@pytest.mark.parametrize("temperature", [(1.0, 1.0), (2.5, 1.0), (3.0, 3.0)])
@pytest.mark.parametrize("truncation", ["exact", "marginal", "best, exact", "best, few"])
@pytest.mark.parametrize("slabs", SLABS)
def test_statistics_and_bound_equal_enumeration(slabs, truncation, temperature):
    model = random_model(slabs, "diagonal", temperature=temperature)
    X = random_data(24)
    w = np.random.default_rng(2).uniform(0, 2, len(X))
    e_step = e_step_of(model, TRUNCATIONS[truncation], noise="diagonal")
    sums = e_step.complete(e_step.statistics(X, w))
    posteriors = posteriors_of(model, X, TRUNCATIONS[truncation])
    assert_allclose(sums["active"], weighted(w, [p.active for p in posteriors]), **EXACT)
    assert_allclose(sums["codes"], weighted(w, [p.mean for p in posteriors]), **EXACT)
    assert_allclose(sums["second"], weighted(w, [p.second for p in posteriors]), **EXACT)
    crosses = [np.outer(p.mean, x) for p, x in zip(posteriors, X, strict=True)]
    assert_allclose(sums["cross"], weighted(w, crosses), **EXACT)
    assert_allclose(e_step.bound(sums), weighted(w, [p.bound for p in posteriors]), **EXACT)
    if slabs == "full":
        first, second = (weighted(w, m) for m in zip(*(p.slabs for p in posteriors), strict=True))
        assert_allclose(sums["mean_step"], first, **EXACT)
        assert_allclose(w.sum() * model.psi + sums["covariance_step"], second, **EXACT)


@pytest.mark.parametrize("truncation", ["pursuit", "best", "best, few"])
@pytest.mark.parametrize("slabs", SLABS)
def test_top_states_are_the_most_probable_active_sets(slabs, truncation):
    model, X = random_model(slabs, "full"), random_data()
    truncation = TRUNCATIONS[truncation]
    e_step = e_step_of(model, truncation, noise="full")
    top = e_step.top_states(X, 6)
    variances = top.variances
    best = e_step.codes(X, "map")
    for n, expected in enumerate(posteriors_of(model, X, truncation)):
        order = np.argsort(-expected.log_joint)[:6]
        assert_allclose(top.log_joint[n], expected.log_joint[order], **EXACT)
        assert_allclose(top.log_evidence[n], expected.log_evidence, **EXACT)
        assert_allclose(top.entropy[n], expected.entropy, **EXACT)
        for rank, index in enumerate(order):
            A = expected.sets[index]
            slots = [list(top.support[n, rank]).index(h) for h in A]
            assert (top.support[n, rank] >= 0).sum() == len(A)
            assert_allclose(top.values[n, rank][slots], expected.slab_means[index], **EXACT)
            variance = np.diag(expected.slab_covariances[index])
            assert_allclose(variances[n, rank][slots], variance, **EXACT)
        A = expected.sets[order[0]]
        assert_array_equal(np.flatnonzero(best[n]), sorted(A))
        assert_allclose(best[n, list(A)], expected.slab_means[order[0]], **EXACT)


def dense_model(slabs, *, n_components=9, n_features=12, seed=4):
    """Return a reference half of whose latents are active, and data drawn from it."""
    model = random_model(slabs, seed=seed, n_components=n_components, n_features=n_features)
    model.probability[:] = 0.6
    rng = np.random.default_rng(seed + 1)
    active = rng.random((12, n_components)) < 0.6
    z = rng.multivariate_normal(model.mean, model.psi, len(active))
    X = (active * z) @ model.components
    return model, X + np.sqrt(model.noise) * rng.standard_normal(X.shape)


@pytest.mark.parametrize("truncation", [Truncation(3, 2), Truncation(5, 3)])
@pytest.mark.parametrize("slabs", SLABS)
def test_many_active_latents_equal_enumeration(slabs, truncation):
    model, X = dense_model(slabs)
    w = np.random.default_rng(2).uniform(0, 2, len(X))
    e_step = e_step_of(model, truncation)
    posteriors = posteriors_of(model, X, truncation)
    n_active = [len(p.sets[0]) for p in posteriors]
    assert np.mean(n_active) > 3  # most of them are no candidates
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in posteriors], **EXACT)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in posteriors], **EXACT)
    assert_allclose(e_step.codes(X, "probability"), [p.active for p in posteriors], **EXACT)
    sums = e_step.complete(e_step.statistics(X, w))
    assert_allclose(sums["second"], weighted(w, [p.second for p in posteriors]), **EXACT)
    if slabs == "full":
        first, second = (weighted(w, m) for m in zip(*(p.slabs for p in posteriors), strict=True))
        assert_allclose(sums["mean_step"], first, **EXACT)
        assert_allclose(w.sum() * model.psi + sums["covariance_step"], second, **EXACT)


@pytest.mark.parametrize("slabs", SLABS)
def test_around_the_best_state_few_states_come_near_the_likelihood(slabs):
    model, X = dense_model(slabs, n_features=30)
    exact = np.array([p.log_evidence for p in model.posteriors(X)])
    short = {
        best: np.mean(exact - e_step_of(model, Truncation(5, 3, best)).log_evidence(X))
        for best in (True, False)
    }
    assert -1e-9 < short[True] < 0.3 < 10 < short[False]


def test_latents_that_come_and_go_leave_no_trace():
    # a latent that explains the sum of two others is taken first and given up for them
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, 20))
    W[0] = 0.8 * (W[1] + W[2]) + 0.5 * W[0]
    model = SpikeSlabModel(W, np.full(6, 0.2), np.full(6, 3.0), np.ones(6), noise=0.5)
    X = 3.0 * (W[1] + W[2]) + np.sqrt(0.5) * rng.standard_normal((8, 20))
    posteriors = model.around_best(X, 3, 2)
    for x, p in zip(X, posteriors, strict=True):
        assert model.select(x, 1, True) == [0]
        assert 0 not in p.sets[0]  # the centre
    e_step = e_step_of(model, Truncation(3, 2))
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in posteriors], **EXACT)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in posteriors], **EXACT)


def test_top_states_are_padded_where_there_are_fewer():
    e_step = e_step_of(random_model("diagonal", n_components=2))
    X = random_data(3)
    top = e_step.top_states(X, 7)
    assert_array_equal(np.isfinite(top.log_joint).sum(axis=1), 4)
    assert_allclose(np.exp(top.log_joint - top.log_evidence[:, None]).sum(axis=1), 1.0)
    assert_array_equal(codes_of(top.support[:, 6], top.values[:, 6], 2, float), 0.0)


@pytest.mark.parametrize("n_samples", [1, 63, 65, 300])
def test_a_data_point_does_not_depend_on_its_neighbours(n_samples):
    e_step = e_step_of(random_model("full"), Truncation(4, 3, False, True))
    X = random_data(n_samples)
    codes, evidence = e_step.codes(X, "mean"), e_step.log_evidence(X)
    for n in {0, n_samples // 2, n_samples - 1}:
        assert_allclose(codes[n : n + 1], e_step.codes(X[n : n + 1], "mean"), rtol=1e-12)
        assert_allclose(evidence[n], e_step.log_evidence(X[n : n + 1])[0], rtol=1e-12)


@pytest.mark.parametrize("slabs", SLABS)
def test_statistics_of_parts_add_up(slabs):
    e_step, X = e_step_of(random_model(slabs)), random_data(40)
    w = np.linspace(0, 1, 40)
    whole = e_step.statistics(X, w)
    parts = e_step.statistics(X[:15], w[:15]), e_step.statistics(X[15:], w[15:])
    for name in whole:
        assert_allclose(parts[0][name] + parts[1][name], whole[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("slabs", SLABS)
def test_float32_stays_and_agrees_with_float64(slabs):
    model, X = random_model(slabs), random_data()
    single, double = e_step_of(model, dtype=np.float32), e_step_of(model)
    codes = single.codes(X.astype(np.float32), "mean")
    assert codes.dtype == np.float32
    assert_allclose(codes, double.codes(X, "mean"), atol=1e-4)
    evidence = single.log_evidence(X.astype(np.float32))
    assert_allclose(evidence, double.log_evidence(X), rtol=1e-5)


@pytest.mark.parametrize("slabs", SLABS)
def test_log_joints_in_the_thousands_do_not_underflow(slabs):
    model, X = random_model(slabs), 60.0 * random_data()
    expected = model.posteriors(X)
    assert min(p.log_joint[0] for p in expected) < -5000
    e_step = e_step_of(model)
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in expected], rtol=1e-10)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in expected], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("slabs", SLABS)
def test_identical_components_and_tiny_noise_stay_finite(slabs):
    model = random_model(slabs)
    model.components[1] = model.components[2] = model.components[0]
    model.components[3] = 0.0
    model = SpikeSlabModel(
        model.components, model.probability, model.mean, model.covariance, noise=1e-12
    )
    X = random_data()
    e_step = e_step_of(model)
    sums = e_step.complete(e_step.statistics(X, np.ones(len(X))))
    for name, value in sums.items():
        assert np.all(np.isfinite(value)), name
    assert np.linalg.eigvalsh(sums["second"])[0] > -1e-6
    probability = e_step.codes(X, "probability")
    assert probability.min() >= 0
    assert probability.max() <= 1 + 1e-12
    # a component of zeros says nothing about its latent; log-joints are of order 1e12
    assert_allclose(probability[:, 3], model.probability[3], rtol=1e-3)


def test_components_that_are_nearly_the_same_share_what_they_explain():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((2, 6))
    W[1] = W[0] + 1e-5 * W[1]
    model = SpikeSlabModel(W, np.full(2, 0.5), np.zeros(2), np.ones(2), noise=0.01)
    X = random_data()
    expected = model.posteriors(X)
    e_step = e_step_of(model)
    assert_allclose(e_step.log_evidence(X), [p.log_evidence for p in expected], rtol=1e-9)
    assert_allclose(e_step.codes(X, "mean"), [p.mean for p in expected], rtol=1e-6)


def test_uncorrelated_full_covariance_equals_the_diagonal_one():
    model, X = random_model("diagonal"), random_data()
    psi = np.diag(model.covariance)
    full = SpikeSlabModel(model.components, model.probability, model.mean, psi, model.noise)
    a, b = e_step_of(model), e_step_of(full)
    assert_allclose(a.log_evidence(X), b.log_evidence(X), rtol=1e-12)
    sums = [e.complete(e.statistics(X, np.ones(len(X)))) for e in (a, b)]
    assert_allclose(sums[0]["second"], sums[1]["second"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slabs", SLABS)
def test_codes_change_their_unit_with_the_components(slabs):
    model, X = random_model(slabs, temperature=(2.0, 2.0)), random_data()
    unit = np.array([0.1, 1.0, 3.0, 10.0, 100.0])
    covariance = model.covariance * (np.outer(unit, unit) if slabs == "full" else unit**2)
    other = SpikeSlabModel(
        model.components / unit[:, None],
        model.probability,
        model.mean * unit,
        covariance,
        model.noise,
        temperature=model.temperature,
    )
    a, b = e_step_of(model), e_step_of(other)
    assert_allclose(a.log_evidence(X), b.log_evidence(X), rtol=1e-12)
    assert_allclose(a.codes(X, "mean") * unit, b.codes(X, "mean"), rtol=1e-9)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("slabs", SLABS)
def test_estimators_equal_enumeration(slabs, noise):
    X = random_data()
    model = random_model(slabs, noise, offset=X.mean(axis=0))
    estimator = SparseCoding(
        5,
        prior=SpikeSlabPrior(model.probability, model.mean, model.covariance),
        noise=noise,
        components_init=model.components,
        noise_init=model.noise,
        fit_offset=True,
        n_candidates=None,
        max_changes=None,
        max_iter=0,
    ).fit(X)
    expected = model.posteriors(X)
    mean = np.array([p.mean for p in expected])
    assert_allclose(estimator.score_samples(X), [p.log_evidence for p in expected], **EXACT)
    assert_allclose(estimator.transform(X), mean, **EXACT)
    assert_allclose(estimator.reconstruct(X), model.offset + mean @ model.components, **EXACT)
    posterior = estimator.posterior(X, n_states=3)
    assert_allclose(posterior.marginals, [p.active for p in expected], **EXACT)
    assert_allclose(posterior.entropy, [p.entropy for p in expected], **EXACT)
    for n, p in enumerate(expected):
        best = np.argmax(p.log_joint)
        A, width = list(p.sets[best]), len(p.sets[best])
        order = np.argsort(posterior.support[n, 0][:width])
        assert_array_equal(posterior.support[n, 0][order], A)
        assert_allclose(posterior.probabilities[n, 0], p.q[best], **EXACT)
        assert_allclose(posterior.values[n, 0][order], p.slab_means[best], **EXACT)
        variances = np.diag(p.slab_covariances[best])
        assert_allclose(posterior.variances[n, 0][order], variances, **EXACT)


@pytest.mark.parametrize("slabs", SLABS)
def test_sample_follows_the_prior(slabs):
    model = random_model(slabs)
    prior = SpikeSlabPrior(model.probability, model.mean, model.covariance).start(5)
    codes = prior.sample(200_000, 5, np.random.RandomState(0))
    active = codes != 0.0
    assert_allclose(active.mean(axis=0), model.probability, atol=0.01)
    both = active[:, 0] & active[:, 1]
    assert_allclose(codes[both].mean(axis=0)[:2], model.mean[:2], atol=0.05)
    assert_allclose(np.cov(codes[both, :2].T), model.psi[:2, :2], atol=0.06)
    first, second = prior.moments(5)
    assert_allclose(codes.mean(axis=0), first, atol=0.02)
    assert_allclose((codes**2).mean(axis=0), second, atol=0.04)


@pytest.mark.parametrize("n_candidates, max_changes", [(1, 1), (3, 2), (8, 5), (6, 6)])
def test_tree_holds_every_set_once_after_its_parent(n_candidates, max_changes):
    tree = kernel.state_tree(n_candidates, max_changes)
    path, seen = [], set()
    for latent, n_changed in zip(tree.latent, tree.n_changed, strict=True):
        path = [*path[: n_changed - 1], int(latent)]
        assert len(path) == n_changed <= max_changes
        assert path == sorted(set(path))
        seen.add(tuple(path))
    binomials = [1, n_candidates]
    for k in range(2, max_changes + 1):
        binomials.append(binomials[-1] * (n_candidates - k + 1) // k)
    expected = sum(binomials[1:]) if max_changes > 1 else 0
    assert len(seen) == len(tree.latent) == expected


def test_e_step_can_be_pickled():
    model = random_model("full")
    e_step = SpikeSlabEStep(
        Parameters(
            model.components,
            SpikeSlabPrior(0.2, 0.0, 1.5).start(len(model.components)),
            IsotropicNoise(0.5),
            None,
        ),
        Truncation(3, 2, False, True),
        np.float64,
    )
    X = random_data()
    copy = pickle.loads(pickle.dumps(e_step))
    assert_array_equal(copy.log_evidence(X), e_step.log_evidence(X))
