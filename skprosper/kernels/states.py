"""Tables of the truncated states over the candidates of a data point.

A state is told by how it differs from the data point's centre: a candidate with K active
values has K ways to change. The candidates are dealt into two halves. A state is a pair
of half states, and its log-joint is the sum of the halves' own plus a few products that
couple them: that makes the innermost loop of the kernels straight vector code over the
right half.
"""

from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple

import numpy as np


class HalfStates(NamedTuple):
    """States of one half of the candidates, fewest changed latents first.

    ``features[:, s]`` holds, for state s, whether latent i has its k-th change
    (``n_latents * n_values`` rows, k fastest).
    """

    features: np.ndarray  # (n_latents * n_values, n_states) float64
    kinds: np.ndarray  # (n_latents, n_states) int64, 0: as in the centre, k + 1: change k
    n_changed: np.ndarray  # (n_states,) int64


class PairedStates(NamedTuple):
    """All states that differ from the centre in at most ``max_changes`` candidates."""

    left: HalfStates
    right: HalfStates
    n_right: np.ndarray  # (n_left_states,) right states a left state may pair with


def count_states(n_candidates, max_changes, n_values):
    """Return the number of states that differ in at most ``max_changes`` candidates."""
    total, term = 1, 1
    for k in range(1, max_changes + 1):
        term = term * (n_candidates - k + 1) * n_values // k
        total += term
    return total


def half_states(n_latents, max_changes, n_values):
    """Return the `HalfStates` with at most ``max_changes`` of ``n_latents`` changed."""
    kinds = np.array(
        [
            [dict(zip(changed, assigned)).get(h, 0) for h in range(n_latents)]
            for k in range(min(max_changes, n_latents) + 1)
            for changed in combinations(range(n_latents), k)
            for assigned in product(range(1, n_values + 1), repeat=k)
        ],
        dtype=np.int64,
    ).reshape(-1 if n_latents else 1, n_latents)
    is_change = kinds[:, :, None] == np.arange(1, n_values + 1)
    return HalfStates(
        np.ascontiguousarray(is_change.reshape(len(kinds), -1).T.astype(np.float64)),
        np.ascontiguousarray(kinds.T),
        (kinds > 0).sum(axis=1),
    )


@lru_cache(maxsize=16)
def paired_states(n_candidates, max_changes, n_values):
    """Return the `PairedStates` of a truncated posterior.

    Parameters
    ----------
    n_candidates : int
        H', the number of candidate latents.
    max_changes : int
        gamma, the most candidates in which a state differs from the centre.
    n_values : int
        The number of values of an active latent.
    """
    n_left = (n_candidates + 1) // 2
    left = half_states(n_left, max_changes, n_values)
    right = half_states(n_candidates - n_left, max_changes, n_values)
    room = max_changes - left.n_changed
    n_right = np.searchsorted(right.n_changed, room, side="right")
    return PairedStates(left, right, n_right)
