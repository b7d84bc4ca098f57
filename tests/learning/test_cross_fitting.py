"""Components that predict what posteriors have not seen, and what EM gains by them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import skprosper
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.inference.missing import PartlyObserved
from skprosper.learning import escape
from skprosper.learning.cross_fitting import cross_fitted

N = 600
CASES = {
    "BinarySparseCoding": dict(prior="binary"),
    "TernarySparseCoding": dict(prior="ternary"),
    "GaussianSparseCoding": dict(prior="spike-slab", noise=1.0),
    "MaximalCausesAnalysis": dict(superposition="maximum"),
}


def with_holes(X, share, seed=0):
    return np.where(np.random.default_rng(seed).uniform(size=X.shape) < share, np.nan, X)


def model_near_bars(name, X, bars, **params):
    start = np.abs(bars + np.random.default_rng(1).standard_normal(bars.shape))
    n_components = len(bars)
    estimator = getattr(skprosper, name)
    return estimator(n_components, components_init=start, max_iter=0, **params).fit(X)


def e_step_of(model, X):
    """Return what makes E-steps of parameters."""
    _, superposition, _, truncation = model._model(X)

    def e_step(parameters):
        kind = superposition.e_step(parameters.prior)
        return PartlyObserved(kind(parameters, truncation, X.dtype))

    return e_step


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("noise", ["isotropic", "full"])
def test_equal_to_the_normal_equations_of_codes_of_hidden_features(name, noise):
    if name == "MaximalCausesAnalysis" and noise == "full":
        pytest.skip("the maxima have isotropic noise")
    X, _, bars = make_bars(N, size=3, random_state=0, **CASES[name])
    X = with_holes(X, 0.4)
    X[:, 7] = np.nan
    params = dict(noise=noise, fit_offset=name != "MaximalCausesAnalysis")
    model = model_near_bars(name, X, bars, **params)
    parameters = model._parameters()
    effects, left = cross_fitted(e_step_of(model, X), parameters, X, np.random.RandomState(3))

    W, amplitudes = parameters.components, parameters.prior.amplitudes(len(bars))[:, None]
    fold = np.random.RandomState(3).permutation(9) % 5
    expected, squares = amplitudes * W, []
    for d in np.arange(9)[np.arange(9) != 7]:
        codes = model.transform(np.where(fold == fold[d], np.nan, X)) / amplitudes.T
        rows = ~np.isnan(X[:, d])
        y = X[rows, d] - (0.0 if parameters.offset is None else parameters.offset[d])
        A = codes[rows]
        # each component counts for one data point
        step = np.linalg.solve(A.T @ A + np.eye(len(W)), A.T @ (y - A @ expected[:, d]))
        expected[:, d] += step
        squares.append((y - A @ expected[:, d]) ** 2)
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
    nothing = escape.Move((0,), start[:1], (), ())
    monkeypatch.setattr(escape, "_cross_fitted", lambda *arguments: nothing)
    assert smallest_cosine(model.fit(X), bars) < 0.9
    assert bound > model.lower_bound_ + 0.1


@pytest.mark.parametrize("name", ["GaussianSparseCoding", "MaximalCausesAnalysis"])
def test_noise_that_is_given_is_not_made_hotter(name, monkeypatch):
    X, _, bars = make_bars(N, size=3, random_state=0, **CASES[name])
    X = with_holes(X, 0.6)
    hotter = []
    moved = escape.moved

    def noted(parameters, moves, superposition):
        hotter.extend(move.hotter for move in moves)
        return moved(parameters, moves, superposition)

    monkeypatch.setattr(escape, "moved", noted)
    for learn in (("components", "prior"), ("components", "prior", "noise")):
        model = getattr(skprosper, name)(
            6, noise_init=1.0, learn=learn, annealing=Annealing(1.0), random_state=0
        )
        model.fit(X)
        assert hotter and (max(hotter) > 1.0) == ("noise" in learn)
        hotter.clear()


def test_one_feature_cannot_be_predicted_by_others():
    X = with_holes(np.random.default_rng(0).standard_normal((300, 1)), 0.3)
    model = skprosper.BinarySparseCoding(1, random_state=0).fit(X)
    assert np.isfinite(model.lower_bound_)
