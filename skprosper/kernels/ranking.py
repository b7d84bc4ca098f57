"""The best of all latents, and the best few: of those that tie the first.

Components that explain the same data become equal: which of them is taken must not depend
on the order of a sum. Gains that differ by less than rounding errors tie.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .vector_math import INLINE, LEAN, argmax, highest, maximum

# Classes of latents, by their index modulo this, of which a bound of the n-th best is taken.
_CLASSES = 32


class Ranking(NamedTuple):
    """Memory of the ranking."""

    slack: np.ndarray  # (H,) float64, by how much gains may differ by rounding errors alone
    peaks: np.ndarray  # (classes,) the best gain of each class
    found: np.ndarray  # (H,) int64


@njit(**INLINE)
def make_ranking(n_latents, dtype):
    """Allocate the `Ranking`, for gains of this dtype."""
    return Ranking(np.empty(n_latents), np.empty(_CLASSES, dtype), np.empty(n_latents, np.int64))


@njit(**LEAN)
def reaching(x, least):
    """Return how many numbers reach ``least``, and the index of the first."""
    # 32 bits: as many lanes as the numbers have
    n, first = np.int32(0), np.int32(x.size - 1)
    for i in range(x.size):
        n = np.int32(n + np.int32(x[i] >= least))
        j = np.int32(i) if x[i] >= least else np.int32(x.size - 1)
        first = j if j < first else first
    return np.int64(n), np.int64(first)


@njit(**LEAN)
def first_best(gains, ranking, widest):
    """Return the first latent whose gain is the best but for rounding errors.

    ``widest`` is the largest slack of all.
    """
    return first_beside(highest(gains), gains, ranking, widest)


@njit(**LEAN)
def first_beside(top, gains, ranking, widest):
    """Return what `first_best` does where the best gain is known."""
    least = gains.dtype.type(np.float64(top) - widest)
    n_left, first = reaching(gains, least)
    if n_left < 2:
        return first
    best, last = first, first
    while n_left > 1:
        last += 1
        if gains[last] >= least:
            n_left -= 1
            best = last if gains[last] > gains[best] else best
    least = gains.dtype.type(np.float64(gains[best]) - ranking.slack[best])
    while gains[first] < least:
        first += 1
    return first


@njit(**LEAN)
def shortlist(gains, n, ranking, widest):
    """Find, in rising order, all that may be among the n best; return how many."""
    peaks, found = ranking.peaks, ranking.found
    peaks[:] = -np.inf
    for start in range(0, gains.size, peaks.size):
        part = gains[start : start + peaks.size]
        for j in range(part.size):
            peaks[j] = maximum(peaks[j], part[j])
    # of the best of each class the n-th best is no better than the n-th best of all
    for _ in range(n - 1):
        peaks[argmax(peaks)] = -np.inf
    least = gains.dtype.type(np.float64(highest(peaks)) - widest)
    # no branch to guess, and an index that numba need not count from the end
    n_found = np.uint64(0)
    for h in range(gains.size):
        found[n_found] = h
        n_found += np.uint64(gains[h] >= least)
    return np.int64(n_found)


@njit(**LEAN)
def best_few(gains, ranking, widest, chosen):
    """Write the latents of the best gains, best first."""
    slack, found = ranking.slack, ranking.found
    n_found = shortlist(gains, chosen.size, ranking, widest)
    for j in range(chosen.size):
        best, first = 0, 0
        for i in range(1, n_found):
            best = i if gains[found[i]] > gains[found[best]] else best
        h = found[best]
        least = gains.dtype.type(np.float64(gains[h]) - slack[h])
        while gains[found[first]] < least:
            first += 1
        chosen[j] = found[first]
        n_found -= 1
        for i in range(first, n_found):
            found[i] = found[i + 1]
