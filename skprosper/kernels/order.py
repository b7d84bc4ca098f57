"""The order of components' magnitudes at each feature, kept where only chance changes it."""

import numpy as np

from .compiling import njit
from .vector_math import INLINE, JIT

# Components that tie under an order of magnitudes are this far apart, relatively: by more
# than float32 resolves.
_APART = 1e-6
# Magnitudes that differ by less, relatively, are equal but for rounding errors.
_TIED = 1e-8
# They change their order where their magnitudes differ by this many standard errors.
_SIGNIFICANT = 4.0


@njit(**INLINE)
def rank_magnitudes(magnitude, rank):
    """Write the indices that sort the magnitudes, of equal ones the highest index first."""
    order = np.argsort(magnitude, kind="mergesort")
    first = 0
    for i in range(1, order.size + 1):
        if i < order.size and magnitude[order[i]] <= (1.0 + _TIED) * magnitude[order[i - 1]]:
            continue
        if i - first == 1:
            rank[first] = order[first]
        else:
            group = np.sort(order[first:i])
            for j in range(group.size):
                rank[i - 1 - j] = group[j]
        first = i


@njit(**INLINE)
def swap_significant(magnitude, error, rank):
    """Let neighbours swap where they differ by more than their errors, sweep by sweep."""
    still = 0
    for sweep in range(rank.size):
        swapped = False
        for low in range(sweep % 2, rank.size - 1, 2):
            below, above = rank[low], rank[low + 1]
            excess = magnitude[below] - magnitude[above]
            if excess > _SIGNIFICANT * np.sqrt(error[below] + error[above]):
                rank[low], rank[low + 1] = above, below
                swapped = True
        still = 0 if swapped else still + 1
        if still == 2:
            return


@njit(**INLINE)
def pool_violators(values, weights, sizes):
    """Make values rise, at the least weighted squared error: pool adjacent violators."""
    n = 0
    for i in range(values.size):
        value, weight, size = values[i], weights[i], 1
        while n > 0 and values[n - 1] >= value:
            n -= 1
            total = weight + weights[n]
            value = (weight * value + weights[n] * values[n]) / total
            weight, size = total, size + sizes[n]
        values[n], weights[n], sizes[n] = value, weight, size
        n += 1
    end = values.size
    for i in range(n - 1, -1, -1):
        value = values[i]
        for j in range(end - sizes[i], end):
            values[j] = value
        end -= sizes[i]


@njit(**JIT)
def kept_in_order(old, new, weight, variance):
    """Return the new components with those changes of order undone that chance may make.

    Where two new magnitudes swap places by less than their errors (variance over weight),
    the old order is kept: of the squared error, isotonic regression gives the minimum
    under that condition. All arrays are (n_features, n_components).
    """
    n_features, n_components = old.shape
    kept = np.empty_like(new)
    sign = np.empty(n_components)
    magnitude = np.empty(n_components)
    error = np.empty(n_components)
    rank = np.empty(n_components, np.int64)
    values = np.empty(n_components)
    weights = np.empty(n_components)
    sizes = np.empty(n_components, np.int64)
    for d in range(n_features):
        for h in range(n_components):
            sign[h] = -1.0 if old[d, h] < 0.0 else 1.0
            magnitude[h] = sign[h] * new[d, h]
            error[h] = variance / weight[d, h]
        rank_magnitudes(np.abs(old[d]), rank)
        swap_significant(magnitude, error, rank)
        for i in range(n_components):
            values[i], weights[i] = magnitude[rank[i]], weight[d, rank[i]]
        pool_violators(values, weights, sizes)
        for i in range(n_components):
            if i > 0:
                # apart, whether they were pooled or happen to be equal
                values[i] = max(values[i], (1.0 + _APART) * values[i - 1])
            kept[d, rank[i]] = sign[rank[i]] * values[i]
    return kept
