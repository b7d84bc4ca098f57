"""The best of all latents, and the best few: of those that tie the first."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skprosper.kernels.compiling import njit
from skprosper.kernels.ranking import best_few, first_best, make_ranking
from skprosper.kernels.vector_math import log2_below


@njit()
def bound(x):
    return log2_below(x)


def ranked(gains, slack, n):
    """Return the n best one after the other, of those that tie the first."""
    gains, chosen = np.asarray(gains, float).copy(), []
    for _ in range(n):
        best = np.argmax(gains)
        chosen.append(int(np.flatnonzero(gains >= gains[best] - slack[best])[0]))
        gains[chosen[-1]] = -np.inf
    return chosen


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size, n", [(1, 1), (5, 5), (31, 3), (400, 8), (400, 40)])
def test_the_best_few_are_those_of_a_plain_search(size, n, dtype):
    rng = np.random.default_rng(size + n)
    ranking = make_ranking(size, np.dtype(dtype))
    chosen = np.empty(n, np.int64)
    for step in (1e-3, 0.25):  # few ties and many
        gains = (step * rng.integers(-4000, 4, size)).astype(dtype)
        gains += (1e-6 * rng.standard_normal(size)).astype(dtype)
        ranking.slack[:] = rng.uniform(1e-4, 2e-4, size)
        widest = ranking.slack.max()
        best_few(gains, ranking, widest, chosen)
        assert_array_equal(chosen, ranked(gains, ranking.slack, n))
        assert first_best(gains, ranking, widest) == chosen[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_bound_of_the_logarithm_is_close(dtype):
    x = np.exp(np.linspace(-60.0, 60.0, 2001)).astype(dtype)
    short = np.log2(x.astype(np.float64)) - [bound(number) for number in x]
    assert short.min() > -2e-5
    assert short.max() < 0.0861
