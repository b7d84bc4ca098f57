"""Magnitudes keep their order where only chance changes it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.isotonic import isotonic_regression

from skprosper.kernels import order


def in_order(old, new, weight, variance):
    """Reference of `order.kept_in_order`, of (n_components, n_features) arrays.

    Which component is the largest at a feature decides who explains the data there. It
    was taken for granted in the E-step; where two new magnitudes swap places by less than
    their errors (variance over weight) do, that would only make EM go round in circles.
    There the old order is kept: of the squared error, isotonic regression gives the
    minimum under that condition. All arrays are (n_components, n_features).
    """
    sign = np.where(old < 0.0, -1.0, 1.0)
    magnitude, error = sign * new, variance / weight
    columns = np.arange(old.shape[1])
    rank = ranked(np.abs(old))
    for sweep in range(len(old)):
        low = np.arange(sweep % 2, len(old) - 1, 2)
        below, above = rank[low], rank[low + 1]
        excess = magnitude[below, columns] - magnitude[above, columns]
        scale = np.sqrt(error[below, columns] + error[above, columns])
        swap = excess > order._SIGNIFICANT * scale
        rank[low], rank[low + 1] = np.where(swap, above, below), np.where(swap, below, above)
    ordered = magnitude[rank, columns]
    for d in np.flatnonzero(np.any(np.diff(ordered, axis=0) < 0.0, axis=0)):
        ordered[:, d] = isotonic_regression(ordered[:, d], sample_weight=weight[rank[:, d], d])
    # apart by more than float32 resolves, whether they were pooled or happen to be equal
    for low, high in zip(ordered, ordered[1:]):
        np.maximum(high, (1.0 + order._APART) * low, out=high)
    magnitude[rank, columns] = ordered
    return sign * magnitude


def ranked(magnitude):
    """Return the indices that sort each column, of equal entries the highest first."""
    position = np.argsort(magnitude, axis=0, kind="stable")
    ordered = np.take_along_axis(magnitude, position, 0)
    group = np.zeros(magnitude.shape, np.int64)
    group[1:] = np.cumsum(ordered[1:] > (1.0 + order._TIED) * ordered[:-1], axis=0)
    rank = np.empty_like(group)
    np.put_along_axis(rank, position, group, 0)
    indices = np.broadcast_to(-np.arange(len(magnitude))[:, None], magnitude.shape)
    return np.lexsort((indices, rank), 0)


def kept(old, new, weight, variance):
    return order.kept_in_order(old.T.copy(), new.T.copy(), weight.T.copy(), variance).T


def test_magnitudes_keep_their_order_within_their_errors():
    old = np.array([[3.0, 3.0], [-2.0, -2.0], [1.0, 1.0]])
    new = np.array([[2.0, 1.0], [-2.1, -4.0], [0.5, 0.5]])
    W = kept(old, new, np.full((3, 2), 10.0), 1.0)
    # 2.1 against 2.0 is chance, and they meet; 4.0 against 1.0 is not
    assert_allclose(np.abs(W[:2, 0]), 2.05, rtol=1e-5)
    assert abs(W[0, 0]) > abs(W[1, 0])
    assert_array_equal(W[:, 1], new[:, 1])
    assert_array_equal(W[2], new[2])


@pytest.mark.parametrize("seed", range(5))
def test_the_compiled_order_is_that_of_the_plain_one(seed):
    rng = np.random.default_rng(seed)
    old = rng.standard_normal((40, 30))
    old[5:9], old[20, ::3] = old[4], 0.0  # equal ones, and some at 0
    new = old + rng.choice([0.01, 0.3, 1.0], (40, 1)) * rng.standard_normal(old.shape)
    weight = rng.uniform(1e-6, 50.0, old.shape)
    W = kept(old, new, weight, 0.5)
    assert_allclose(W, in_order(old, new, weight, 0.5), rtol=1e-12, atol=1e-14)
    assert not np.allclose(W, new)
