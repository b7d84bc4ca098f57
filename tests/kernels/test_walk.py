"""The shares of pixels that candidates win, however small the weights of states are."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skprosper.inference.base import Parameters, Truncation
from skprosper.inference.maximum import MagnitudeMaximumEStep
from skprosper.kernels import maximum as kernel
from skprosper.kernels.compiling import njit
from skprosper.kernels.vector_math import JIT
from skprosper.noise import IsotropicNoise
from skprosper.priors import BinaryPrior


@njit(**(JIT | dict(cache=False)))
def shares(model, trees, terms, weights):
    """Return the weights of the items, and with which they and no item win the pixels."""
    work = kernel.make_workspace(model, trees)
    point = kernel.Point(0.0, 0.0, 0.0, 0, weights.size, 0, 0, 0, False)
    work.terms[:] = terms
    work.means[0] = 0.0
    work.weights[: weights.size] = weights
    kernel.walk_counts(trees, point, work)
    kernel.walk_wins(trees, point, work)
    return work.counts, work.won, work.left[0]


def states(trees):
    """Return the items of every state."""
    path, found = [], []
    for item, depth in zip(trees.items, trees.depths, strict=True):
        path = [*path[: max(depth - 1, 0)], item][:depth] if depth else []
        found.append(list(path))
    return found


@pytest.mark.parametrize("smallest", [1e-3, 1e-12, 1e-18, 1e-40])
def test_every_pixel_goes_to_the_largest_term_of_each_state(smallest):
    rng = np.random.default_rng(0)
    n_latents, n_features = 6, 9
    parameters = Parameters(
        rng.standard_normal((n_latents, n_features)),
        BinaryPrior(0.2).start(n_latents),
        IsotropicNoise(1.0),
        None,
    )
    truncation = Truncation(n_latents, n_latents)
    e_step = MagnitudeMaximumEStep(parameters, truncation, np.dtype(np.float64))
    for _ in range(20):
        terms = rng.standard_normal((n_latents, n_features))
        weights = np.where(rng.uniform(size=2**n_latents) < 0.5, 1.0, smallest)
        weights[rng.uniform(size=weights.size) < 0.3] = 0.0
        counts, won, left = shares(e_step.model, e_step.trees, terms, weights)
        expected, nobody = np.zeros_like(won), np.zeros(n_features)
        for q, items in zip(weights, states(e_step.trees), strict=True):
            if not items:
                nobody += q
                continue
            winners = np.array(items)[np.abs(terms[items]).argmax(axis=0)]
            np.add.at(expected, (winners, np.arange(n_features)), q)
        assert_allclose(won, expected, rtol=1e-12, atol=1e-14)
        assert_allclose(left, nobody, rtol=1e-12, atol=1e-14)
