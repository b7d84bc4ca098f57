"""Components that predict what posteriors have not seen, and what EM gains by them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import skprosper
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.learning import escape
from skprosper.learning.cross_fitting import _regressed, cross_fitted
from skprosper.learning.moments import data_moments
from skprosper.learning.problem import Problem
from skprosper.parallel.workers import Workers

N = 600
CASES = {
    "BinarySparseCoding": dict(prior="binary"),
    "TernarySparseCoding": dict(prior="ternary"),
    "GaussianSparseCoding": dict(prior="spike-slab", noise=1.0),
    "MaximalCausesAnalysis": dict(superposition="maximum"),
    "MaximumMagnitudeCausesAnalysis": dict(superposition="magnitude-maximum", signed=True),
}


def with_holes(X, share, seed=0):
    return np.where(np.random.default_rng(seed).uniform(size=X.shape) < share, np.nan, X)


def model_near_bars(name, X, bars, **params):
    start = bars + np.random.default_rng(1).standard_normal(bars.shape)
    if name == "MaximalCausesAnalysis":
        start = np.abs(start)
    n_components = len(bars)
    estimator = getattr(skprosper, name)
    return estimator(n_components, components_init=start, max_iter=0, **params).fit(X)


def reference(codes, active, target, start, maximum):
    """Return weights of codes for a target, by normal equations in which start counts for one."""

    def solved(A):
        return np.linalg.solve(A.T @ A + np.eye(len(start)), A.T @ target + start)

    start = solved(codes)
    if not maximum:
        return start, target - codes @ start
    fitted = np.maximum(start, 0.0)
    for _ in range(3):
        alone = codes.copy()
        for h in range(len(start)):
            for i in range(len(start)):
                if fitted[i] > fitted[h] or (fitted[i] == fitted[h] and i < h):
                    alone[:, h] *= 1.0 - active[:, i]
        fitted = np.maximum(solved(alone), 0.0)
    return fitted, target - alone @ fitted


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("noise", ["isotropic", "full"])
def test_equal_to_the_normal_equations_of_codes_of_hidden_features(name, noise):
    linear = "superposition" not in CASES[name]
    if not linear and noise == "full":
        pytest.skip("the maxima have isotropic noise")
    X, _, bars = make_bars(N, size=3, random_state=0, **CASES[name])
    X = with_holes(X, 0.4)
    X[:, 7] = np.nan
    model = model_near_bars(name, X, bars, noise=noise, fit_offset=linear)
    parameters = model._parameters()
    _, superposition, _, truncation = model._model(X)
    with Workers() as workers:
        moments = data_moments(X, None)["moments"]
        problem = Problem(X, None, workers, superposition, truncation, moments)
        effects, left = cross_fitted(problem, parameters, X, np.random.RandomState(3))

    amplitudes = parameters.prior.amplitudes(len(bars))[:, None]
    fold = np.random.RandomState(3).permutation(9) % 5
    expected, squares = amplitudes * parameters.components, []
    for d in np.arange(9)[np.arange(9) != 7]:
        hidden, rows = np.where(fold == fold[d], np.nan, X), ~np.isnan(X[:, d])
        codes = model.transform(hidden)[rows] / amplitudes.T
        active = model.set_params(code="probability").transform(hidden)[rows]
        model.set_params(code="mean")
        target = X[rows, d] - (0.0 if parameters.offset is None else parameters.offset[d])
        maximum = name == "MaximalCausesAnalysis"
        expected[:, d], rest = reference(codes, active, target, expected[:, d], maximum)
        squares.append(rest**2)
    assert_allclose(effects, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert left == pytest.approx(np.mean(np.concatenate(squares)), rel=1e-3)


def smallest_cosine(model, bars):
    W = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    return np.abs(W @ (bars / np.linalg.norm(bars, axis=1, keepdims=True)).T).max(axis=0).min()


def test_signs_of_features_that_frustrate_em_are_mended(monkeypatch):
    X, _, bars = make_bars(2000, size=5, random_state=0, **CASES["GaussianSparseCoding"])
    X = with_holes(X, 0.8)
    start = bars.copy()
    for h in range(0, 10, 3):
        start[h, np.flatnonzero(bars[h])[h % 5]] *= -1.0
    plain = Annealing(1.0, components_noise=0.0)
    model = skprosper.GaussianSparseCoding(
        10, components_init=start, annealing=plain, random_state=0
    )
    assert smallest_cosine(model.fit(X), bars) > 0.99
    bound = model.lower_bound_
    # other moves leave them as they are
    nothing = escape.Move(tuple(range(10)), start, (), ())
    monkeypatch.setattr(escape, "_cross_fitted", lambda *arguments: nothing)
    assert smallest_cosine(model.fit(X), bars) < 0.9
    assert bound > model.lower_bound_ + 0.1


@pytest.mark.parametrize("name", ["GaussianSparseCoding", "MaximalCausesAnalysis"])
def test_noise_that_is_given_is_not_made_hotter(name, monkeypatch):
    X, _, bars = make_bars(N, size=3, random_state=0, **CASES[name])
    X = with_holes(X, 0.6)
    hotter = []
    moved = escape.moved

    def noted(parameters, moves, *others):
        hotter.extend(move.hotter for move in moves)
        return moved(parameters, moves, *others)

    monkeypatch.setattr(escape, "moved", noted)
    for learn in (("components", "prior"), ("components", "prior", "noise")):
        model = getattr(skprosper, name)(
            6, noise_init=1.0, learn=learn, annealing=Annealing(1.0), random_state=0
        )
        model.fit(X)
        assert hotter and (max(hotter) > 1.0) == ("noise" in learn)
        hotter.clear()


def test_causes_that_overlap_everywhere_are_found_by_latents_that_begin_again():
    n_fits_with_all = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        W, active = np.abs(4.0 * rng.standard_normal((5, 16))), rng.uniform(size=(1000, 5)) < 0.4
        X = (active[:, :, None] * W).max(axis=1) + rng.standard_normal((1000, 16))
        model = skprosper.MaximalCausesAnalysis(5, random_state=seed).fit(with_holes(X, 0.8, seed))
        n_fits_with_all += smallest_cosine(model, W) > 0.95
    assert n_fits_with_all >= 7  # all eight; six where none begins again


def test_components_stay_where_nothing_is_seen():
    X, _, bars = make_bars(N, size=3, random_state=0)
    X = with_holes(X, 0.4)
    model = model_near_bars("BinarySparseCoding", X, bars)
    parameters = model._parameters()
    _, superposition, _, truncation = model._model(X)
    with Workers() as workers:
        moments = data_moments(X, None)["moments"]
        problem = Problem(X, None, workers, superposition, truncation, moments)
        nothing = np.full((5, 9), np.nan)
        effects, left = cross_fitted(problem, parameters, nothing, np.random.RandomState(3))
    assert_allclose(effects, parameters.components, rtol=1e-12, atol=0.0)
    assert left == 0.0


@pytest.mark.parametrize("tiny", [1e-158, 1e-160])
def test_regression_on_targets_whose_squares_vanish(tiny):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        codes, start = rng.uniform(size=(50, 3)), tiny * rng.standard_normal((3, 4))
        targets = with_holes(np.zeros((50, 4)), 0.5, seed)
        weights, left = _regressed(codes, targets, start)
        assert np.abs(weights).max() <= np.abs(start).max()
        assert_allclose(left, targets - codes @ weights)


def test_one_feature_cannot_be_predicted_by_others():
    X = with_holes(np.random.default_rng(0).standard_normal((300, 1)), 0.3)
    model = skprosper.BinarySparseCoding(1, random_state=0).fit(X)
    assert np.isfinite(model.lower_bound_)
