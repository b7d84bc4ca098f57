"""Where data leave nothing to learn, or a bound of ours is learned: one warning says which."""

import warnings

import numpy as np
import pytest

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
from skprosper.priors import BinaryPrior

X = make_bars(400, size=3, random_state=0)[0]
LINEAR = [BinarySparseCoding, TernarySparseCoding, DiscreteSparseCoding, GaussianSparseCoding]
MODELS = [*LINEAR, MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis]


def limits_of(model, data, **fit):
    """Return the fitted model and what it warned of, but for the end of its iterations."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(data, **fit)
    found = [str(w.message) for w in caught if "at a limit" in str(w.message)]
    assert len(found) <= 1
    return model, "".join(found)


@pytest.mark.parametrize("model", MODELS)
def test_data_that_have_structure_do_not_warn(model):
    assert limits_of(model(6, random_state=0), X)[1] == ""
    assert limits_of(model(random_state=0), X)[1] == ""
    assert limits_of(model(20, random_state=0), X)[1] == ""


@pytest.mark.parametrize("model", MODELS)
def test_data_that_do_not_vary(model):
    _, found = limits_of(model(3, random_state=0), np.full((50, 4), 3.0))
    assert "X does not vary" in found and found.count(";") == 0


@pytest.mark.parametrize("value", [3.0, 300.1, 1e-5, -7.0])
@pytest.mark.parametrize("model", LINEAR)
def test_data_that_do_not_vary_leave_nothing_beside_an_offset(model, value):
    with pytest.raises(ValueError, match="nothing is left to learn"):
        model(3, fit_offset=True).fit(np.full((50, 4), value))


@pytest.mark.parametrize("model", LINEAR)
def test_components_beside_a_large_offset_are_not_idle(model):
    assert "all components are 0" not in limits_of(model(6, fit_offset=True), X + 1e12)[1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", MODELS)
def test_data_far_from_zero(model, dtype):
    _, found = limits_of(model(6, random_state=0), (300 + 0.1 * X).astype(dtype))
    assert "X lies far from 0" in found
    assert ("fit_offset=True" in found) == (model in LINEAR)
    if model in LINEAR:
        params = dict(fit_offset=True, random_state=0)
        if model is TernarySparseCoding:  # bars are on or off: its latents are never 0
            params["tied"] = True
        assert limits_of(model(6, **params), 300 + 0.1 * X)[1] == ""


def test_latents_that_are_never_zero():
    _, found = limits_of(TernarySparseCoding(6, fit_offset=True, random_state=0), X)
    assert "active in all data points" in found and "prior of fewer values" in found


def test_components_that_are_zero():
    model, found = limits_of(MaximalCausesAnalysis(6, random_state=0), -np.abs(X))
    assert np.all(model.components_ == 0)
    assert "all components are 0" in found and "magnitude-maximum" in found


@pytest.mark.parametrize("noise", ["isotropic", "diagonal", "full"])
def test_noise_at_its_floor(noise):
    clean = make_bars(400, size=3, noise=0.0, random_state=0)[0]
    model = SparseCoding(6, noise=noise, components_init=make_bars(size=3)[2], random_state=0)
    assert "the noise variance is at its floor" in limits_of(model, clean)[1]
    model.set_params(learn=("components", "prior"), noise_init=1.0)
    assert limits_of(model, clean)[1] == ""


def test_features_that_do_not_vary_are_named():
    data = np.column_stack([X, np.zeros((400, 2))])
    model = SparseCoding(6, noise="diagonal", random_state=0)
    assert "features 9, 10 is at its floor" in limits_of(model, data)[1]


def test_one_row_beyond_all_others():
    data = X.copy()
    data[5, 5] = 1e6
    assert "far larger than all others" in limits_of(BinarySparseCoding(6, random_state=0), data)[1]


@pytest.mark.parametrize("probability", [0.3, [0.3, 0.3]])
def test_components_that_are_active_in_all_data_points(probability):
    rng = np.random.default_rng(0)
    data = np.array([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]]).sum(axis=0) + rng.normal(size=(300, 3))
    model = BinaryPrior(probability)
    components = [[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]]
    model = SparseCoding(2, prior=model, components_init=components, annealing=None)
    found = limits_of(model, data)[1]
    assert "active in all data points" in found and "fit_offset=True" in found


def test_strengths_that_do_not_vary():
    data = np.zeros((60, 4))
    data[::2, 1] = 5.0
    settings = dict(learn=("components", "prior"), noise_init=1e-9, random_state=0)
    found = limits_of(GaussianSparseCoding(1, **settings), data)[1]
    assert "slab variance of component 0 is at its floor" in found


def test_most_components_to_spare():
    rng = np.random.default_rng(0)
    data = np.outer(rng.normal(size=400) * (rng.uniform(size=400) < 0.3), np.eye(6)[0]) * 20
    model = GaussianSparseCoding(8, random_state=0, max_iter=300)
    found = limits_of(model, data + rng.normal(size=data.shape))[1]
    idle = int(np.sum(model.prior_.probability <= 1.1e-10))
    assert (f"{idle} of 8 components are never active" in found) == (idle > 4)
