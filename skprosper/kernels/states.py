"""Tables of the truncated states over the candidates of a data point.

The candidates are dealt into two halves. A state is a pair of half states, and its
log-joint is the sum of the halves' own plus a few products that couple them: that
makes the innermost loop of the kernels straight vector code over the right half.
"""

from itertools import combinations, product
from typing import NamedTuple

import numpy as np


class HalfStates(NamedTuple):
    """States of one half of the candidates, fewest active latents first.

    ``features[:, s]`` holds, for state s, whether latent i has value k (``n_latents *
    n_values`` rows, k fastest), then the products s_i s_j of all pairs i < j.
    """

    features: np.ndarray  # (n_features, n_states) float64
    values: np.ndarray  # (n_latents, padded to 4, 8, .., n_states) float64
    kinds: np.ndarray  # (n_latents, n_states) int64, 0: inactive, k + 1: value k
    n_active: np.ndarray  # (n_states,) int64


class PairedStates(NamedTuple):
    """All states over the candidates with at most ``max_active`` active latents."""

    left: HalfStates
    right: HalfStates
    n_right: np.ndarray  # (n_left_states,) right states a left state may pair with


def count_states(n_candidates, max_active, n_values):
    """Return the number of states with at most ``max_active`` active candidates."""
    total, term = 1, 1
    for k in range(1, max_active + 1):
        term = term * (n_candidates - k + 1) * n_values // k
        total += term
    return total


def half_states(n_latents, max_active, values):
    """Return the `HalfStates` with at most ``max_active`` of ``n_latents`` active."""
    n_values = len(values)
    kinds = np.array(
        [
            [dict(zip(support, assigned)).get(h, 0) for h in range(n_latents)]
            for k in range(min(max_active, n_latents) + 1)
            for support in combinations(range(n_latents), k)
            for assigned in product(range(1, n_values + 1), repeat=k)
        ],
        dtype=np.int64,
    ).reshape(-1 if n_latents else 1, n_latents)
    s = np.concatenate([[0.0], values])[kinds]
    is_value = kinds[:, :, None] == np.arange(1, n_values + 1)
    pairs = [s[:, i] * s[:, j] for i, j in combinations(range(n_latents), 2)]
    features = np.vstack([is_value.reshape(len(s), -1).T, *pairs]).astype(np.float64)
    return HalfStates(
        np.ascontiguousarray(features),
        np.ascontiguousarray(
            np.pad(s, ((0, 0), (0, 4 * max(1, -(-n_latents // 4)) - n_latents))).T
        ),
        np.ascontiguousarray(kinds.T),
        (kinds > 0).sum(axis=1),
    )


def paired_states(n_candidates, max_active, values):
    """Return the `PairedStates` of a truncated posterior.

    Parameters
    ----------
    n_candidates : int
        H', the number of candidate latents.
    max_active : int
        gamma, the most latents active in a state.
    values : (n_values,) array
        The values an active latent can take, in the order of the prior.
    """
    n_left = (n_candidates + 1) // 2
    left = half_states(n_left, max_active, values)
    right = half_states(n_candidates - n_left, max_active, values)
    room = max_active - left.n_active
    n_right = np.searchsorted(right.n_active, room, side="right")
    return PairedStates(left, right, n_right)
