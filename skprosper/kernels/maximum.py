"""E-step of the maximum and magnitude-maximum superpositions with discrete values.

At every pixel the strongest active latent explains the data alone. So the squared
error of a state is a sum over its active latents, each over the pixels where no other
active latent is stronger, and a pixel matters only through which of the candidates
are stronger there: states are never superposed, they are looked up.

For each item, a latent i with one of its values, the pixels are sorted into a table by
which other candidates beat the item there. Running sums over the table, one axis per
other candidate, turn an entry into the error that the item leaves in a state: one pass
over the pixels of the candidates serves all states. The sums of the M-step are the
transposed map: posterior weights are added to the entries of their states, running
sums taken, and every pixel looks up the weight with which the item wins there.

Where the table would outgrow the states (many candidates, few of them active), the
states are walked depth first instead, a child's ybar being its parent's joined with
one more row.

A latent's strength at a pixel is |s_h W_hd| for the magnitude-maximum and s_h W_hd for
the maximum, where inactive latents take part with 0 and a negative s_h never wins: in
states of negative values alone, no latent being inactive, the least negative term
does. Of equally strong latents the one of lowest index wins. At strength 0 all active
latents do: whichever of them rises from 0 lifts ybar, and its M-step must know.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from .linear import insert_state
from .selection import best_gains
from .vector_math import JIT, argmax, exp, maximum

# Below this strength, in units of the noise, a latent does not win alone.
_WEAKEST = 1.2e-38
# A table may have this many entries.
_MAX_TABLE = 2**20


class CandidateStates(NamedTuple):
    """The states over the candidates, depth first, and their places in the table.

    An item is a candidate with one of the K values: i K + k. A rank is the place of a
    value among the distinct strengths 1 .. R, 0 where it never wins. The digit of
    another candidate in an item's table is the number of its ranks that beat the item.
    """

    values: np.ndarray  # (K,) float64
    ranks: np.ndarray  # (K,) int64
    strengths: np.ndarray  # (R,) float64, rising
    kinds: np.ndarray  # (n_states, n_candidates) int64, 0: inactive, k + 1: value k
    items: np.ndarray  # (n_states,) int64, the last active item, -1 for the state 0
    depths: np.ndarray  # (n_states,) int64, number of active latents
    starts: np.ndarray  # (n_states + 1,) int64, where a state's places begin
    places: np.ndarray  # (n_places,) int64 entries of the table, empty: walk the states
    bottom: np.ndarray  # (n_bottom,) int64, states of negative values alone, none inactive
    table_size: int


@lru_cache(maxsize=16)
def candidate_states(n_candidates, max_active, values, magnitude, n_latents, n_features):
    """Return the `CandidateStates` of a truncated posterior.

    Parameters
    ----------
    n_candidates, max_active : int
        H' and gamma.
    values : tuple of floats
        The values of an active latent, in the order of the prior.
    magnitude : bool
        Whether magnitudes compete.
    n_latents, n_features : int
        H, to know whether a state leaves any latent inactive, and D.
    """
    values = np.array(values)
    strength = np.abs(values) if magnitude else np.maximum(values, 0.0)
    strengths = np.unique(strength[strength > 0.0])
    ranks = np.searchsorted(strengths, strength) + (strength > 0.0)
    kinds = _depth_first(n_candidates, min(max_active, n_candidates), len(values))
    active = kinds > 0
    depths = active.sum(axis=1)
    last = n_candidates - 1 - active[:, ::-1].argmax(axis=1)
    items = last * len(values) + kinds[np.arange(len(kinds)), last] - 1
    items[depths == 0] = -1
    bottom = np.empty(0, np.int64)
    if not magnitude and depths.max() == n_latents:
        negative = np.append(False, values < 0.0)
        bottom = np.flatnonzero(negative[kinds].all(axis=1))

    # the table: one row per combination of digits, one column per item
    base, n_items = len(strengths) + 1, n_candidates * len(values)
    table_size = base ** (n_candidates - 1) * n_items
    starts, places = np.zeros(len(kinds) + 1, np.int64), np.empty(0, np.int64)
    cost = table_size * max(n_candidates - 1, 1)
    if table_size > _MAX_TABLE or cost > 2 * max(n_features, 16) * len(kinds):
        table_size = 0
    else:
        headroom = len(strengths) - np.append(0, ranks)[kinds]
        digits = np.where(active, headroom, 0)  # of no use where inactive
        place = np.empty(kinds.shape, np.int64)
        for i in range(n_candidates):
            others = np.delete(headroom, i, axis=1)
            row = others @ base ** np.arange(n_candidates - 1)
            place[:, i] = row * n_items + i * len(values) + kinds[:, i] - 1
        del digits
        places = place[active]
        starts[1:] = np.cumsum(depths)
    return CandidateStates(
        values,
        ranks.astype(np.int64),
        strengths,
        kinds,
        items,
        depths,
        starts,
        places,
        bottom,
        table_size,
    )
