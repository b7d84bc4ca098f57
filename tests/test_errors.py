"""Bad input: one error that names the value and the remedy."""

import numpy as np
import pytest

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    SparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

X = np.random.default_rng(0).standard_normal((20, 3))


def changed(value):
    Y = X.copy()
    Y[3, 1] = value
    return Y


@pytest.mark.parametrize(
    "data, message",
    [
        (np.full_like(X, np.nan), "no row that counts"),
        (changed(np.inf), "contains infinity"),
        (np.array([["a", "b"], ["c", "d"]]), "could not convert string"),
        (X[0], "Expected 2D array"),
        (X[:1], "minimum of 2 is required"),
        (np.zeros((5, 3)), "zero everywhere"),
        (1e-160 * X, "rescale X"),
        (1e160 * X, "rescale X"),
        (1j * X, "Complex data"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        SparseCoding(2).fit(data)


@pytest.mark.parametrize(
    "params, message",
    [
        (dict(n_components=-1), "n_components.*-1"),
        (dict(n_components=2.5), "n_components.*2.5"),
        (dict(prior="laplace"), "prior.*laplace"),
        (dict(prior=3), "prior"),
        (dict(superposition="product"), "superposition.*product"),
        (dict(noise="poisson"), "noise.*poisson"),
        (dict(superposition="maximum", noise="full"), "noise='full' needs superposition='linear'"),
        (dict(superposition="magnitude-maximum", noise="diagonal"), "noise='diagonal' needs"),
        (dict(superposition="maximum", fit_offset=True), "fit_offset=True needs.*subtract"),
        (dict(superposition="maximum", prior="spike-slab"), "'maximum' has no posterior.*spike"),
        (dict(superposition="magnitude-maximum", prior=SpikeSlabPrior()), "has no posterior"),
        (dict(superposition="maximum", components_init=X[:2]), "must not be negative.*-"),
        (dict(n_candidates=0), "n_candidates.*0"),
        (dict(annealing=Annealing(data_cut=0.5)), "data_cut=0.5 needs center='zero'"),
        (dict(center="best-state"), "center.*best-state"),
        (dict(n_components=60, n_candidates=None, max_changes=None), "Lower n_candidates"),
        (dict(learn=("components", "sigma")), "learn holds 'sigma'"),
        (dict(components_init=np.ones((3, 3))), r"components_init has shape \(3, 3\)"),
        (dict(components_init=np.full((2, 3), np.nan)), "components_init contains NaN"),
        (dict(noise_init=-1.0), "noise_init.*-1"),
        (dict(noise_init=[1.0, 2.0, 3.0]), "noise_init has shape"),
        (dict(noise="diagonal", noise_init=[1.0, 0.0, 3.0]), "noise_init must be positive"),
        (dict(noise="full", noise_init=-np.eye(3)), "positive definite"),
        (dict(noise="full", noise_init=np.triu(np.ones((3, 3))) + np.eye(3)), "symmetric"),
        (dict(tol=-1.0), "tol.*-1"),
        (dict(max_iter=-1), "max_iter.*-1"),
        (dict(n_init=0), "n_init.*0"),
        (dict(code="mode"), "code.*mode"),
        (dict(selection="best"), "selection.*best"),
        (dict(batch_size=0), "batch_size.*0"),
        (dict(annealing="slow"), "annealing.*slow"),
        (dict(prior=BinaryPrior(1.5)), "probability.*1.5"),
        (dict(prior=BinaryPrior([0.1, 0.2, 0.3])), "one for each of the 2 components"),
        (dict(prior=TernaryPrior([0.1, 1.2])), "between 1e-10 and 1 - 1e-10"),
        (dict(prior=DiscretePrior((1, 2))), "must hold 0"),
        (dict(prior=DiscretePrior((0, 0, 1))), "must not repeat"),
        (dict(prior=DiscretePrior((0, 1, np.nan))), "finite numbers"),
        (dict(prior=DiscretePrior((0, "a"))), "must be numbers"),
        (dict(prior=DiscretePrior((0, 1), (0.6, 0.6))), "sum to one.*1.2"),
        (dict(prior=DiscretePrior((0, 1), (0.2, 0.3, 0.5))), "one probability for each value"),
        (dict(prior=SpikeSlabPrior(0.0)), "probability.*0.0"),
        (dict(prior=SpikeSlabPrior([0.1, 0.2, 0.3])), "one for each of the 2 components"),
        (dict(prior=SpikeSlabPrior(mean=[0, 1, 2])), "mean of the prior must be one finite number"),
        (dict(prior=SpikeSlabPrior(mean=np.nan)), "mean of the prior must be one finite number"),
        (dict(prior=SpikeSlabPrior(covariance="block")), "covariance.*block"),
        (dict(prior=SpikeSlabPrior(covariance=-2.0)), "covariance.*-2"),
        (dict(prior=SpikeSlabPrior(covariance=[1, -2])), "finite and above 0.*-2"),
        (dict(prior=SpikeSlabPrior(covariance=np.ones(3))), r"shape \(3,\).*\(2, 2\)"),
        (dict(prior=SpikeSlabPrior(covariance=[[1, 0], [1, 1]])), "symmetric"),
        (dict(prior=SpikeSlabPrior(covariance=[[1, 2], [2, 1]])), "positive definite.*-1"),
        (dict(prior=SpikeSlabPrior(learn_mean=2)), "learn_mean.*2"),
        (dict(annealing=Annealing(temperature=((0.5, 2), (0.2, 1)))), "rising positions"),
        (dict(annealing=Annealing(temperature=0.5)), "temperature.*0.5"),
        (dict(annealing=Annealing(components_noise=((0, -1), (1, 0)))), "at least 0"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        SparseCoding(**{"n_components": 2, **params}).fit(X)


def test_bad_values_of_discrete_sparse_coding():
    with pytest.raises(ValueError, match="must hold 0"):
        DiscreteSparseCoding(2, values=(1, 2, 3)).fit(X)


def test_bad_covariance_of_gaussian_sparse_coding():
    with pytest.raises(ValueError, match="covariance.*block"):
        GaussianSparseCoding(2, covariance="block").fit(X)


def test_bad_weights():
    with pytest.raises(ValueError, match="[Nn]egative"):
        SparseCoding(2).fit(X, sample_weight=-np.ones(20))
    with pytest.raises(ValueError, match="sample_weight"):
        SparseCoding(2).fit(X, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="non-zero"):
        SparseCoding(2).fit(X, sample_weight=np.zeros(20))


def test_bad_calls_of_a_fitted_model():
    model = BinarySparseCoding(2, max_iter=1, tol=1e9, annealing=None).fit(X)
    with pytest.raises(ValueError, match="4 features"):
        model.transform(np.ones((2, 4)))
    with pytest.raises(ValueError, match="codes of this model have 2"):
        model.inverse_transform(np.ones((2, 3)))
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample(0)
    with pytest.raises(ValueError, match="n_states=-3"):
        model.posterior(X, n_states=-3)
    with pytest.raises(ValueError, match="warm_start"):
        model.set_params(n_components=3, warm_start=True).fit(X)
