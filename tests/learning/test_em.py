"""EM: monotone bounds, convergence to the truth, what fit options do."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import PRIORS
from sklearn.exceptions import ConvergenceWarning

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars, make_sparse_coding
from skprosper.learning import em
from skprosper.learning.em import Run
from skprosper.metrics import match_components, recovered_components
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior
from skprosper.superpositions import solve_semidefinite

MONOTONE = {
    **{name: start for name, (start, _, _) in PRIORS.items()},
    "spike-slab": SpikeSlabPrior(0.3),
    "spike-slab of mean 0": SpikeSlabPrior(0.3, learn_mean=False),
    "full slabs": SpikeSlabPrior(0.3, covariance="full"),
    "full slabs of mean 1": SpikeSlabPrior(0.3, mean=1.0, covariance="full", learn_mean=False),
}
EXACT = dict(n_candidates=None, max_changes=None, annealing=None)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("prior", MONOTONE)
def test_lower_bound_never_falls_at_temperature_one(prior, seed):
    rng = np.random.default_rng(seed)
    n_features, n_components = rng.integers(2, 7), rng.integers(1, 6)
    X = rng.standard_normal((40, n_features)) @ rng.standard_normal((n_features, n_features))
    model = SparseCoding(
        n_components,
        prior=MONOTONE[prior],
        noise=("isotropic", "diagonal", "full")[seed % 3],
        fit_offset=seed % 2 == 0,
        max_iter=30,
        tol=0,
        random_state=seed,
        **EXACT,
    ).fit(X)
    assert len(model.lower_bounds_) == 30
    assert np.diff(model.lower_bounds_).min() > -1e-9
    assert model.score(X) >= model.lower_bound_ - 1e-9
    if "full" in prior:
        assert np.linalg.eigvalsh(model.prior_.covariance)[0] > 0


@pytest.mark.parametrize("prior", ["binary", "ternary", "discrete"])
def test_parameters_converge_to_the_truth_with_more_data(prior):
    rng = np.random.default_rng(0)
    components = 2.0 * rng.standard_normal((4, 8))
    kind = dict(values=(0, 1, 2), probabilities=(0.6, 0.3, 0.1)) if prior == "discrete" else {}
    errors = []
    for n_samples in (300, 20_000):
        X, _ = make_sparse_coding(
            components, n_samples, prior=prior, n_active=1.6, noise=0.7, random_state=1, **kind
        )
        model = SparseCoding(
            4, prior=prior, components_init=components, tol=1e-7, random_state=0, **EXACT
        ).fit(X)
        found, true, cosine = match_components(
            model.components_, components, ignore_sign=prior == "ternary"
        )
        sign = np.sign(cosine)[:, None]
        errors.append(np.abs(sign * model.components_[found] - components[true]).max())
    assert errors[1] < 0.1
    assert errors[1] < errors[0] / 3
    assert_allclose(model.noise_variance_, 0.49, rtol=0.02)
    if prior == "discrete":
        assert_allclose(model.prior_.probabilities.mean(axis=1), (0.6, 0.3, 0.1), atol=0.01)
    else:
        assert_allclose(model.prior_.probability, 0.4, atol=0.01)


@pytest.mark.parametrize("noise", ["diagonal", "full"])
def test_noise_structure_and_offset_are_recovered(noise):
    rng = np.random.default_rng(0)
    components = 3.0 * rng.standard_normal((3, 5))
    root = np.diag(rng.uniform(0.5, 1.5, 5)) + (noise == "full") * 0.3 * rng.standard_normal((5, 5))
    covariance = root @ root.T
    codes = (rng.uniform(size=(20_000, 3)) < 0.3).astype(float)
    X = 5.0 + codes @ components + rng.multivariate_normal(np.zeros(5), covariance, len(codes))
    model = SparseCoding(3, noise=noise, fit_offset=True, components_init=components, **EXACT).fit(
        X
    )
    expected = np.diag(covariance) if noise == "diagonal" else covariance
    assert_allclose(model.noise_variance_, expected, atol=0.06)
    assert_allclose(model.offset_, 5.0, atol=0.1)
    assert_allclose(model.components_, components, atol=0.15)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_slabs_are_recovered(covariance):
    rng = np.random.default_rng(0)
    components = rng.standard_normal((3, 6))
    components /= np.linalg.norm(components, axis=1, keepdims=True)
    probability, mean = np.array([0.2, 0.4, 0.6]), np.array([2.0, 0.0, -3.0])
    psi = np.diag([1.0, 4.0, 2.0]) + (covariance == "full") * np.array(
        [[0, 1.2, 0.5], [1.2, 0, -1.0], [0.5, -1.0, 0]]
    )
    z = rng.multivariate_normal(mean, psi, 30_000)
    codes = z * (rng.uniform(size=z.shape) < probability)
    X = codes @ components + 0.3 * rng.standard_normal((len(z), 6))
    prior = SpikeSlabPrior(covariance=covariance)
    model = SparseCoding(3, prior=prior, components_init=2.0 * components, **EXACT).fit(X)
    assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
    assert_allclose(model.components_, components, atol=0.02)
    assert_allclose(model.prior_.probability, probability, atol=0.02)
    assert_allclose(model.prior_.mean, mean, atol=0.1)
    expected = psi if covariance == "full" else np.diag(psi)
    assert_allclose(model.prior_.covariance, expected, atol=0.25)
    assert_allclose(model.noise_variance_, 0.09, rtol=0.02)


def test_slabs_that_are_not_learned_keep_their_scale():
    X, _, bars = make_bars(200, size=3, prior="spike-slab", random_state=0)
    prior = SpikeSlabPrior(0.3, mean=1.0, covariance=0.5)
    params = dict(prior=prior, components_init=bars, max_iter=5, annealing=None)
    model = SparseCoding(6, learn=("components", "noise"), **params).fit(X)
    assert_array_equal(model.prior_.mean, np.ones(6))
    assert_array_equal(model.prior_.covariance, np.full(6, 0.5))
    model = SparseCoding(6, learn=("prior", "noise"), **params).fit(X)
    assert_array_equal(model.components_, bars)
    assert np.all(model.prior_.mean != 1.0)


@pytest.mark.parametrize("prior", ["binary", "discrete"])
def test_default_fit_finds_all_bars(prior):
    kind = dict(probabilities=(0.8, 0.15, 0.05)) if prior == "discrete" else {}
    for seed in range(3):
        X, _, bars = make_bars(1000, prior=prior, random_state=seed, **kind)
        model = SparseCoding(10, prior=prior, random_state=seed).fit(X)
        assert recovered_components(model.components_, bars) == 10
        assert_allclose(model.noise_variance_, 4.0, rtol=0.1)


def test_probability_given_per_component_is_learned_per_component():
    rng = np.random.default_rng(0)
    components = 4.0 * np.eye(3, 6)
    codes = rng.uniform(size=(5000, 3)) < [0.1, 0.3, 0.5]
    X = codes @ components + 0.5 * rng.standard_normal((5000, 6))
    model = SparseCoding(
        3, prior=BinaryPrior([0.2, 0.2, 0.2]), components_init=components, **EXACT
    ).fit(X)
    assert_allclose(model.prior_.probability, [0.1, 0.3, 0.5], atol=0.02)


@pytest.mark.parametrize("kept", ["components", "prior", "noise"])
def test_what_is_not_learned_stays_as_initialised(kept):
    X, _, bars = make_bars(200, size=3, random_state=0)
    learn = {"components", "prior", "noise"} - {kept}
    model = SparseCoding(
        6,
        prior=BinaryPrior(0.25),
        components_init=bars + 1.0,
        noise_init=3.0,
        learn=tuple(learn),
        max_iter=5,
    ).fit(X)
    changed = {
        "components": not np.array_equal(model.components_, bars + 1.0),
        "prior": np.any(model.prior_.probability != 0.25),
        "noise": model.noise_variance_ != 3.0,
    }
    assert {name for name, moved in changed.items() if moved} == learn


def test_no_iteration_keeps_the_initial_parameters():
    X, _, bars = make_bars(100, size=3, random_state=0)
    model = SparseCoding(6, components_init=bars, max_iter=0).fit(X)
    assert_array_equal(model.components_, bars)
    assert model.n_iter_ == 0
    assert_allclose(model.lower_bound_, model.score(X))


def test_warm_start_goes_on_from_the_last_fit():
    X, _, _ = make_bars(300, size=3, random_state=0)
    params = dict(annealing=None, tol=0, random_state=0)
    whole = SparseCoding(6, max_iter=8, **params).fit(X)
    half = SparseCoding(6, max_iter=4, warm_start=True, **params).fit(X)
    half.fit(X)
    assert_allclose(half.components_, whole.components_, rtol=1e-10)


def test_several_starts_keep_the_best():
    X, _, _ = make_bars(300, size=3, random_state=0)
    params = dict(annealing=None, max_iter=20)
    rng = np.random.RandomState(0)
    single = [SparseCoding(6, random_state=rng, **params).fit(X).lower_bound_ for _ in range(4)]
    best = SparseCoding(6, n_init=4, random_state=np.random.RandomState(0), **params).fit(X)
    assert max(single) > min(single) + 1.0
    assert_allclose(best.lower_bound_, max(single), rtol=1e-12)  # two of them tie


def test_sample_weight_of_two_equals_the_row_twice():
    X, _, _ = make_bars(100, size=3, random_state=0)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = BinarySparseCoding(6, random_state=0, max_iter=20).fit(X, sample_weight=weights)
    repeated = BinarySparseCoding(6, random_state=0, max_iter=20).fit(np.repeat(X, weights, axis=0))
    assert_allclose(weighted.components_, repeated.components_, rtol=1e-7)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-9)


@pytest.mark.parametrize(
    "model, seed",
    [
        (BinarySparseCoding, 97),
        (BinarySparseCoding, 115),
        (BinarySparseCoding, 125),
        (DiscreteSparseCoding, 17),
        (DiscreteSparseCoding, 117),
        (GaussianSparseCoding, 3),
    ],
)
def test_rounding_does_not_decide_what_few_rows_of_noise_become(model, seed):
    # fewer rows than tell the components apart: directions that nothing determines, ICA that
    # does not end, disturbances beyond the noise would let a last bit grow
    rng = np.random.default_rng(seed)
    n_rows, n_components, n_features = (int(rng.integers(*r)) for r in ((5, 61), (2, 31), (2, 41)))
    data = rng.uniform(size=(n_rows, n_features))
    weights = rng.integers(0, 5, n_rows)
    weights[:2] = 1
    order = np.random.default_rng(seed).permutation(n_rows)
    weighted = model(n_components, random_state=seed).fit(
        data[order], sample_weight=weights[order].astype(float)
    )
    repeated = model(n_components, random_state=seed).fit(np.repeat(data, weights, axis=0))
    codes = weighted.transform(data)
    assert_allclose(codes, repeated.transform(data), atol=1e-7 * np.abs(codes).max())


@pytest.mark.parametrize("prior", ["binary", "spike-slab"])
@pytest.mark.parametrize("scale, shift", [(1e-3, 0.0), (1e6, 1e7), (1e-150, 0), (1e30, 0)])
def test_learning_does_not_depend_on_the_unit_of_the_data(scale, shift, prior):
    X, _, _ = make_bars(300, size=3, random_state=0)
    params = dict(prior=prior, fit_offset=True, random_state=0)
    if scale == 1e-150:
        with pytest.raises(ValueError, match="rescale X"):
            SparseCoding(6, **params).fit(scale * X)
        return
    model = SparseCoding(6, **params).fit(X)
    other = SparseCoding(6, **params).fit(scale * X + shift)
    unit = scale if prior == "binary" else 1.0
    assert_allclose(other.components_ / unit, model.components_, atol=1e-5)
    assert_allclose(
        other.transform(scale * X + shift) * unit / scale, model.transform(X), atol=1e-4
    )
    assert_allclose(other.prior_.probability, model.prior_.probability, rtol=1e-5)


@pytest.mark.parametrize(
    "prior",
    ["binary", "ternary", "discrete", "spike-slab", SpikeSlabPrior(covariance="full")],
)
def test_degenerate_data_leave_finite_parameters(prior):
    rng = np.random.default_rng(0)
    constant_column = np.c_[rng.standard_normal((30, 3)), np.full(30, 2.0)]
    few_rows = rng.standard_normal((4, 6))
    repeated_rows = np.repeat(rng.standard_normal((2, 5)), 20, axis=0)
    for X in (constant_column, few_rows, repeated_rows):
        for noise in ("isotropic", "diagonal", "full"):
            model = SparseCoding(8, prior=prior, noise=noise, random_state=0, max_iter=30).fit(X)
            fitted = [model.components_, model.noise_variance_, model.lower_bounds_]
            fitted += [np.asarray(v, float) for v in vars(model.prior_).values()]
            assert all(np.all(np.isfinite(values)) for values in fitted)
            assert np.all(np.isfinite(model.transform(X)))


def test_convergence_trouble_is_a_warning():
    X, _, _ = make_bars(100, size=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        model = SparseCoding(6, max_iter=3, annealing=None, random_state=0).fit(X)
    assert not model.converged_


def test_a_bound_that_wanders_has_converged():
    risen, wandering = list(range(-20, 0)), [0.0, -0.5, 0.1, -0.2]
    run = Run(parameters=None, lower_bounds=risen + 5 * wandering)
    run.plain = 5  # all of them wander, but EM cannot tell yet
    assert not run.stalls(tol=0.1)
    run.plain = 20
    assert run.stalls(tol=0.1)
    assert not run.stalls(tol=0.0)
    run.lower_bounds[-3] = 0.6  # 0.5 in five iterations is as much as the tolerance
    assert not run.stalls(tol=0.1)


def test_a_bound_that_stands_still_once_may_do_so_by_chance():
    run = Run(parameters=None, lower_bounds=[-3.0, -2.0, -1.0, -1.0])
    run.plain = 4
    assert not run.stood_still(tol=0.1)
    run.lower_bounds.append(-0.95)
    assert run.stood_still(tol=0.1)
    run.plain = 2  # the iteration before the last was another kind of EM
    assert not run.stood_still(tol=0.1)


def noisy_bars(n_samples):
    """Return data in whose noise EM creeps, and where to begin."""
    X, _, bars = make_bars(n_samples, size=3, random_state=0)
    X = X + bars.max() * np.random.default_rng(0).standard_normal(X.shape)
    return X, bars + 0.2 * bars.max()


PLAIN = Annealing(temperature=1.0, components_noise=0.0, reseed=False)


@pytest.mark.parametrize("estimator", [BinarySparseCoding, GaussianSparseCoding])
def test_momentum_comes_as_far_in_fewer_iterations(estimator, monkeypatch):
    X, start = noisy_bars(3000)
    model = estimator(6, components_init=start, annealing=PLAIN, tol=1e-5, max_iter=300)
    fast = model.fit(X)
    assert fast.converged_
    fast_iterations, fast_bound = fast.n_iter_, fast.lower_bound_
    monkeypatch.setattr(em, "_MOMENTUM", 0.0)
    slow = model.fit(X)
    assert slow.converged_
    assert fast_iterations < 0.85 * slow.n_iter_
    assert fast_bound > slow.lower_bound_ - 1e-3


@pytest.mark.parametrize(
    "estimator, params, n_samples, hidden, pushed",
    [
        (BinarySparseCoding, dict(annealing=PLAIN), 500, False, True),
        (BinarySparseCoding, dict(annealing=None), 500, False, False),
        (BinarySparseCoding, dict(annealing=PLAIN), 500, True, False),
        (BinarySparseCoding, dict(annealing=PLAIN), 50, False, False),
        (BinarySparseCoding, dict(annealing=PLAIN, learn=("prior",)), 500, False, False),
        (MaximumMagnitudeCausesAnalysis, dict(annealing=PLAIN), 500, False, False),
    ],
    ids=["linear", "plain EM", "missing values", "few rows", "components given", "maxima"],
)
def test_momentum_is_for_linear_models_of_complete_data_and_lands(
    estimator, params, n_samples, hidden, pushed, monkeypatch
):
    X, start = noisy_bars(n_samples)
    if hidden:
        X[::3, 0] = np.nan
    push, pushes = Run.push, []

    def noted(run, *step):
        push(run, *step)
        if run.ahead is not None:
            pushes.append(len(run.lower_bounds))

    monkeypatch.setattr(Run, "push", noted)
    estimator(6, components_init=start, tol=0, max_iter=20, random_state=0, **params).fit(X)
    assert bool(pushes) == pushed
    # what an iteration is pushed to, the next begins from
    assert all(n_iter + 1 <= 20 - em._LANDING for n_iter in pushes)


def test_sample_follows_the_model():
    components = np.array([[3.0, 0.0], [0.0, 2.0]])
    X = np.random.default_rng(0).standard_normal((50, 2))
    model = SparseCoding(
        2,
        prior=DiscretePrior((0, 1, 2), (0.5, 0.3, 0.2)),
        components_init=components,
        noise_init=0.25,
        max_iter=0,
        random_state=0,
    ).fit(X)
    samples, codes = model.sample(50_000)
    shares = [(codes == v).mean() for v in (0, 1, 2)]
    assert_allclose(shares, (0.5, 0.3, 0.2), atol=0.01)
    residual = samples - model.inverse_transform(codes)
    assert_allclose(np.cov(residual.T), 0.25 * np.eye(2), atol=0.01)


def test_semidefinite_solve_keeps_what_is_not_determined():
    rng = np.random.default_rng(0)
    previous, truth = rng.standard_normal((2, 4, 3))
    basis = rng.standard_normal((2, 4))
    second = basis.T @ basis
    second[3] = second[:, 3] = 0.0
    W = solve_semidefinite(second, second @ truth, previous, np.ones(4))
    # but for a proximal step where second is singular
    assert_allclose(second @ W, second @ truth, atol=1e-5)
    assert_array_equal(W[3], previous[3])


def test_semidefinite_solve_takes_a_shorter_step_where_rounding_made_the_matrix_indefinite():
    rng = np.random.default_rng(0)
    previous = rng.standard_normal((4, 3))
    second = np.eye(4)
    second[0, 1] = second[1, 0] = 1.0 + 1e-4
    W = solve_semidefinite(second, second @ previous, previous, np.ones(4))
    assert_allclose(W, previous, atol=1e-6)  # what solves it already stays
