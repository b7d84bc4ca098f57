"""Tests of bic and aic: the number of parameters, and the size that they choose."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.mixture import GaussianMixture

from skprosper import BinarySparseCoding, SparseCoding
from skprosper.datasets import make_bars
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

H, D, N = 4, 9, 200
X = make_bars(N, size=3, random_state=0)[0]


@pytest.mark.parametrize(
    ("prior", "n_prior"),
    [
        (BinaryPrior(), H),
        (BinaryPrior(tied=True), 1),
        (TernaryPrior(), H),
        (TernaryPrior(tied=True), 1),
        (DiscretePrior((-1, 0, 1, 2)), 3 * H),
        (DiscretePrior((-1, 0, 1, 2), tied=True), 3),
        # rows of unit norm: H of the components' numbers are fixed
        (SpikeSlabPrior(), 3 * H - H),
        (SpikeSlabPrior(learn_mean=False), 2 * H - H),
        (SpikeSlabPrior(covariance="full"), 2 * H + H * (H + 1) // 2 - H),
    ],
)
@pytest.mark.parametrize(("noise", "n_noise"), [("isotropic", 1), ("full", D * (D + 1) // 2)])
def test_every_learned_number_counts_once(prior, n_prior, noise, n_noise):
    model = SparseCoding(H, prior=prior, noise=noise, fit_offset=True, max_iter=2, tol=1e9)
    model.fit(X)
    n_parameters = H * D + D + n_prior + n_noise
    assert_allclose(model.aic(X), -2 * N * model.score(X) + 2 * n_parameters)
    assert_allclose(model.bic(X), -2 * N * model.score(X) + np.log(N) * n_parameters)


def test_what_is_not_learned_does_not_count():
    model = BinarySparseCoding(H, learn=("prior",), max_iter=2, tol=1e9).fit(X)
    model.set_params(learn=("components", "noise"))  # says nothing of the fit that was
    assert_allclose(model.aic(X), -2 * N * model.score(X) + 2 * H)


def test_they_are_those_of_the_mixtures():
    # a binary latent that is always off: a Gaussian
    model = SparseCoding(
        1, noise="diagonal", components_init=np.zeros((1, D)), fit_offset=True, learn=("noise",)
    ).fit(X)
    gaussian = GaussianMixture(1, covariance_type="diag", reg_covar=0).fit(X)
    assert_allclose(model.bic(X), gaussian.bic(X), rtol=1e-6)
    assert_allclose(model.aic(X), gaussian.aic(X), rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_true_number_of_bars_has_the_lowest_bic(seed):
    X = make_bars(1000, size=3, random_state=seed)[0]
    sizes = (4, 5, 6, 7, 8)
    bic = [BinarySparseCoding(n, tol=0.001, random_state=0).fit(X).bic(X) for n in sizes]
    assert sizes[np.argmin(bic)] == 6
