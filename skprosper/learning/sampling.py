"""Rows that stand for all: drawn by weight, wherever the data are."""

import numpy as np

# Data points that moves are judged by and hot iterations draw: at least.
_LEAST = 4096
# Data of more features than this, and than so many for each component, are wide.
_WIDE, _WIDE_PER_COMPONENT = 1024, 4


def enough(n_components, per_component=20):
    """Return how many rows tell roughly of so many components."""
    return max(_LEAST, per_component * n_components)


def few(n_components):
    """Return how many rows stand for all where a matrix over the features would be larger."""
    return max(_WIDE, _WIDE_PER_COMPONENT * n_components)


def few_rows(problem, n):
    """Return at most n rows, float64, and their weights: all, or some of equal weight."""
    X, weights, workers = problem.X, problem.weights, problem.workers
    if X.shape[0] <= n:
        rows = np.concatenate(list(workers.map(_all_rows, X)))
        return rows, np.ones(len(rows)) if weights is None else np.asarray(weights)
    return rows_at(problem, (np.arange(n) + 0.5) / n), np.ones(n)


def _all_rows(X, weights):
    return X.astype(np.float64)


def rows_at(problem, shares):
    """Return the rows of the data at these shares, in [0, 1), of the sum of the weights.

    A weight of 2 equals the row twice, one after the other. Only these rows leave their
    chunks.
    """
    rows, which = drawn(problem, shares)
    return rows[which]


def drawn(problem, shares):
    """Return the rows at these shares, each row once, and which of them each share has."""
    X, weights, workers = problem.X, problem.weights, problem.workers
    bounds = np.cumsum([0.0, *workers.map(_total_weight, X, weights)])
    positions = _below(bounds[-1], bounds[-1] * shares)
    chunks = np.searchsorted(bounds[1:], positions, side="right")
    asked = np.unique(chunks)
    arguments = [None] * (len(bounds) - 1)
    for i in asked:
        arguments[i] = (positions[chunks == i] - bounds[i],)
    rows, which, n_before = [], np.empty(len(shares), np.int64), 0
    parts = workers.map(_rows_at, X, weights, arguments)
    for i, (part, own) in zip(asked, parts, strict=True):
        rows.append(part.astype(np.float64, copy=False))
        which[chunks == i] = n_before + own
        n_before += len(part)
    return np.concatenate(rows), which


def _total_weight(X, weights):
    return float(len(X)) if weights is None else np.cumsum(np.concatenate([[0.0], weights]))[-1]


def _rows_at(X, weights, positions):
    """Return the rows of a chunk at positions in the running sum of its weights, each once."""
    bounds = np.cumsum(np.ones(len(X)) if weights is None else weights)
    rows = np.searchsorted(bounds, _below(bounds[-1], positions), side="right")
    rows, which = np.unique(rows, return_inverse=True)
    return X[rows], which


def _below(bound, positions):
    # what rounding has put on the bound would belong to no row
    return np.minimum(positions, np.nextafter(bound, 0.0))
