"""E-step of the maximum and magnitude-maximum superpositions with discrete values.

The states over the candidates are walked depth first: the ybar of a state is that of
its parent, the state without its last latent, joined with one more row. One buffer for
each depth holds the path, so that all of it stays in the first-level cache. The walk
starts from the core, the latents of the centre that are no candidates and are active in
all these states.

The sums of the M-step need the weight with which an item, a candidate with one of its
values, wins each pixel. A state hands what its last latent does not win on to its
parent: that serves all latents of all states in one pass over the states that matter.
What no item wins goes to the core's strongest term. A single change of a core latent
moves weight between the strongest term of the centre and its runner-up.

The maximum of non-negative terms is that of largest magnitude, so that one walk serves
both. An inactive latent takes part in the maximum with 0, and a negative value never
wins: it counts as 0. Only where no latent is inactive and all values are negative, a
bottom state, the least negative term wins. Of terms that are equal but for rounding
that of the core wins, then that of the earlier candidate. At 0 all active latents do,
of positive value in the case of the maximum: whichever of them rises from 0 lifts ybar,
and its M-step must know.

Data and components come in units of the noise, y / sigma and W / sigma, so that a
log-joint is the log prior less half the squared error. Energies are log-joints less
that of the state 0.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .centre import (
    Search,
    all_negative,
    bottom_energy,
    cheapest,
    clear,
    climb,
    fill_peaks,
    join,
    least_negative,
    make_search,
    margin_of,
    overlap_row,
    slack_of,
    take_best,
)
from .compiling import njit
from .holes import (
    collect_diagonal,
    diagonal_of_point,
    enter_point,
    gram_row,
    hide_features,
    show_features,
    write_bias,
)
from .linear import insert_state
from .selection import best_gains
from .vector_math import INLINE, JIT, exp, fma, highest, log_share, maximum, plain_sum

# Centres tried for one data point, each a better state than the last.
_MOST_CENTRES = 8


class StateTrees(NamedTuple):
    """The states over the candidates, depth first, one tree after the other.

    In tree m the first m candidates are active in the centre, in their slot 0; the other
    slots are their other values. Of the rest all slots are changes. The nodes are the
    states with at most ``max_changes`` changes, and what leads to them. An item is a
    candidate i with one of its slots k: i K + k.
    """

    items: np.ndarray  # (n,) int32, last item of a state, -1 where no candidate is active
    depths: np.ndarray  # (n,) int32, number of active candidates
    kept: np.ndarray  # (n,) bool, whether the node is a state that is kept
    starts: np.ndarray  # (n_trees + 1,) int64 first node of each tree


class Model(NamedTuple):
    """What the kernels know of the parameters, in units of the noise."""

    components: np.ndarray  # (H, D)
    values: np.ndarray  # (K,) of an active latent
    single_values: np.ndarray  # (K,) the same, 0 for those that lose to the others' 0
    odds: np.ndarray  # (K, H) float64 log odds of value k against 0
    bias: np.ndarray  # (K, H) odds less half the squared norm of single_values W
    gram: np.ndarray  # (H, H) W W^T
    overlap: np.ndarray  # (H, H) sum_d min(|W_hd|, |W_id|)^2, both empty: no pursuit
    n_candidates: int
    n_screened: int  # inactive latents that the search of a centre looks at, 0: centre 0
    bottom: bool  # whether all latents may be negative, none being 0
    cutoff: float  # nats below the best state at which all others may be left out
    negligible: float  # posterior weight that may be left out of the statistics


class Workspace(NamedTuple):
    """Memory for one data point."""

    search: Search
    y: np.ndarray  # (D,)
    terms: np.ndarray  # (n_items, D) value times component, 0 where it never wins
    means: np.ndarray  # (n_depths, D) ybar by depth
    left: np.ndarray  # (n_depths, D) weight not won yet by depth
    won: np.ndarray  # (n_items, D) weight with which an item wins a pixel
    core_by: np.ndarray  # (D,) int64 latent of the core's strongest term, H where it is 0
    path: np.ndarray  # (n_depths + 1,) float64 sums by depth
    trail: np.ndarray  # (n_depths,) int64 items by depth
    energies: np.ndarray  # (n_states,) float64
    weights: np.ndarray  # (n_states,) float64
    beyond: np.ndarray  # (n_states,) float64 weights of their descendants, 0: of none
    item_kinds: np.ndarray  # (n_items,) int64 value of a slot
    counts: np.ndarray  # (n_items,) float64 posterior weight
    changed: np.ndarray  # (H, K + 1) float64 weights of the single changes of the core
    leaving: np.ndarray  # (H + 1,) float64 weights of switching a latent off
    singles: np.ndarray  # (K, H) float64 weights of single-latent states
    scores: np.ndarray  # (3, H)
    candidates: np.ndarray  # (n_candidates,) int64
    own: np.ndarray  # (n_candidates,) int64 their kinds in the centre
    core: np.ndarray  # (H,) int64 places of the core among the known latents


class Point(NamedTuple):
    """What `infer` found for one data point, besides the arrays of the `Workspace`."""

    reference: float  # log of the unit of the weights
    total: float  # sum of all weights
    energy: float  # of the centre
    first: int  # its tree: first node and one past the last
    last: int
    n_on: int  # candidates that are active in the centre
    n_active: int  # latents that are
    n_core: int
    singles: bool  # whether single-latent states outside core and candidates matter


# Tables -------------------------------------------------------------------------------


@njit(**JIT)
def grow_tree(n_candidates, n_values, n_on, max_changes, items, depths, kept):
    """Write the nodes of tree ``n_on`` as far as there is room; return how many there are."""
    path = np.empty(n_candidates + 1, np.int64)
    changes = np.zeros(n_candidates + 1, np.int64)
    size, depth, item, last = 0, 0, -1, -1
    while True:
        if item >= 0:
            last, slot = divmod(item, n_values)
            previous = path[depth] // n_values if depth > 0 else -1
            # active candidates of the centre that were passed over
            passed = max(0, min(last, n_on) - previous - 1)
            n_changed = changes[depth] + passed + (last >= n_on or slot > 0)
        else:
            n_changed = 0
        if n_changed <= max_changes:
            if item >= 0:
                depth += 1
                path[depth] = item
                changes[depth] = n_changed
            if size < items.size:
                items[size] = item
                depths[size] = depth
                kept[size] = n_changed + max(0, n_on - last - 1) <= max_changes
            size += 1
            item = (last + 1) * n_values
        else:
            item += 1
        while item >= n_candidates * n_values:
            if depth == 0:
                return size
            item = path[depth] + 1
            depth -= 1


@njit(**INLINE)
def items_of(trees, first, s, items):
    """Write the items of a state of a tree in rising order; return how many there are."""
    n = np.int64(trees.depths[first + s])
    wanted = n
    while wanted > 0:
        if trees.depths[first + s] == wanted:
            wanted -= 1
            items[wanted] = trees.items[first + s]
        s -= 1
    return n


@lru_cache(maxsize=16)
def state_trees(n_candidates, max_changes, n_values, best):
    """Return the `StateTrees` of a truncated posterior.

    Parameters
    ----------
    n_candidates, max_changes : int
        H' and gamma.
    n_values : int
        Values of an active latent.
    best : bool
        Whether candidates may be active in the centre.
    """
    # where all states are kept, the trees are one
    n_trees = n_candidates + 1 if best and max_changes < n_candidates else 1
    empty = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.bool_)
    sizes = [grow_tree(n_candidates, n_values, m, max_changes, *empty) for m in range(n_trees)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    nodes = [np.empty(starts[-1], array.dtype) for array in empty]
    for m in range(n_trees):
        here = slice(starts[m], starts[m + 1])
        grow_tree(n_candidates, n_values, m, max_changes, *(array[here] for array in nodes))
    return StateTrees(*nodes, starts)


@njit(**INLINE)
def make_workspace(model, trees):
    """Allocate the `Workspace`."""
    n, n_values = model.n_candidates, model.values.size
    n_latents, n_features = model.components.shape
    n_items, n_depths, n_states = n * n_values, trees.depths.max() + 1, np.int64(0)
    for m in range(trees.starts.size - 1):
        n_states = max(n_states, trees.starts[m + 1] - trees.starts[m])
    dtype = model.components.dtype
    return Workspace(
        make_search(model.components, n_values),
        np.empty(n_features, dtype),
        np.empty((n_items, n_features), dtype),
        np.empty((n_depths, n_features), dtype),
        np.empty((n_depths, n_features), dtype),
        np.empty((n_items, n_features), dtype),
        np.empty(n_features, np.int64),
        np.empty(n_depths + 1),
        np.empty(n_depths, np.int64),
        np.empty(n_states),
        np.empty(n_states),
        np.empty(n_states),
        np.empty(n_items, np.int64),
        np.empty(n_items),
        np.zeros((n_latents, n_values + 1)),
        np.zeros(n_latents + 1),
        np.empty((n_values, n_latents)),
        np.empty((3, n_latents), dtype),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n_latents, np.int64),
    )


# The centre -----------------------------------------------------------------------------


@njit(**INLINE)
def pursue(model, holes, projection, work):
    """Write the candidates of the centre 0 in rising order.

    A gain is the energy of a latent's best single-latent state. Pursuit takes from the
    gains what the picked latents explain already. At a pixel two latents share, only the
    stronger one explains the data; the weaker one's gain there, with the stronger one's
    ybar for the data, is s_i W_i s_h W_h - min(|s_i W_i|, |s_h W_h|)^2 / 2.
    """
    values, bias, peaks = model.single_values, model.bias, work.search.peaks
    gains, residual, shared = work.scores[0], work.scores[1], work.scores[2]
    candidates = work.candidates
    best_gains(projection, values, bias, gains)
    pursuit = model.overlap.size > 0
    residual[:] = projection
    shared[:] = 0.0
    half = gains.dtype.type(0.5)
    fill_peaks(gains, peaks)
    for j in range(candidates.size):
        if j > 0 and pursuit:
            best = candidates[j - 1]
            peak = 0.0
            for k in range(values.size):
                v = np.float64(values[k])
                energy = v * residual[best] + bias[k, best] + 0.5 * abs(v) * shared[best]
                peak = max(peak, energy)
            total, mean, size = exp(-peak), 0.0, 0.0
            for k in range(values.size):
                v = np.float64(values[k])
                energy = v * residual[best] + bias[k, best] + 0.5 * abs(v) * shared[best]
                q = exp(energy - peak)
                total += q
                mean += q * v
                size += q * abs(v)
            mean, size = gains.dtype.type(mean / total), gains.dtype.type(size / total)
            gram = gram_row(model.gram, holes, best)
            overlap = overlap_row(model, holes, work.search, best)
            for h in range(gains.size):
                residual[h] -= mean * gram[h]
                shared[h] += size * overlap[h]
            v, b = values[0], bias[0]
            for h in range(gains.size):
                gains[h] = v * residual[h] + b[h] + half * abs(v) * shared[h]
            for k in range(1, values.size):
                v, b = values[k], bias[k]
                for h in range(gains.size):
                    gain = v * residual[h] + b[h] + half * abs(v) * shared[h]
                    gains[h] = maximum(gains[h], gain)
            for i in range(j):
                gains[candidates[i]] = -np.inf
            fill_peaks(gains, peaks)
        candidates[j] = take_best(gains, peaks)
    candidates.sort()


@njit(**INLINE)
def centre_first(kinds, candidates, trail):
    """Order candidates, those active in the centre first; return how many these are."""
    n_on, n_off = 0, 0
    for i in range(candidates.size):
        h = candidates[i]
        if kinds[h] > 0:
            candidates[n_on] = h
            n_on += 1
        else:
            trail[n_off] = h
            n_off += 1
    for i in range(n_off):
        candidates[n_on + i] = trail[i]
    return n_on


@njit(**INLINE)
def load_items(model, work):
    """Write the values of the slots and their terms, as far as they can win."""
    n_values, kinds = model.values.size, work.search.kinds
    for i in range(work.candidates.size):
        h = work.candidates[i]
        component = model.components[h]
        work.own[i] = kinds[h]
        own = kinds[h] - 1
        for slot in range(n_values):
            k = slot
            if own >= 0:
                k = own if slot == 0 else (slot - 1 if slot <= own else slot)
            work.item_kinds[i * n_values + slot] = k
            v, term = model.single_values[k], work.terms[i * n_values + slot]
            for d in range(term.size):
                term[d] = v * component[d]


@njit(**INLINE)
def load_core(model, work, n_active):
    """Write the core's places, ybar and log odds; return how many latents it has."""
    search, candidates, top = work.search, work.candidates, work.means[0]
    top[:] = 0.0
    work.path[0] = 0.0
    n_core = 0
    for p in range(n_active):
        h = search.known[p]
        inside = False
        for i in range(candidates.size):
            inside |= candidates[i] == h
        if not inside:
            work.core[n_core] = p
            n_core += 1
    if n_core == 0:
        return 0
    work.core_by[:] = search.kinds.size
    clear(search)
    for c in range(n_core):
        h = search.known[work.core[c]]
        k = search.kinds[h] - 1
        work.path[0] += model.odds[k, h]
        join(search, h, model.single_values[k], model.components[h])
    top[:] = search.top
    work.core_by[:] = search.top_by
    # the centre's terms compete in the order of the walk
    for i in range(candidates.size):
        h = candidates[i]
        if search.kinds[h] > 0:
            v = model.single_values[search.kinds[h] - 1]
            join(search, h, v, model.components[h])
    return n_core


# The walk -----------------------------------------------------------------------------


@njit(**INLINE)
def walk_energies(model, trees, point, work):
    """Write the energies of all states over the candidates."""
    means, terms, y, path = work.means, work.terms, work.y, work.path
    two, n_values = y.dtype.type(2.0), model.values.size
    error = y.dtype.type(0.0)
    for d in range(y.size):
        error += means[0, d] * (means[0, d] - two * y[d])
    work.energies[0] = path[0] - 0.5 * np.float64(error)
    for s in range(1, point.last - point.first):
        item, depth = trees.items[point.first + s], trees.depths[point.first + s]
        parent, term, mean = means[depth - 1], terms[item], means[depth]
        # what |y - ybar|^2 exceeds |y|^2 by
        error = y.dtype.type(0.0)
        for d in range(y.size):
            x = term[d] if abs(term[d]) > abs(parent[d]) else parent[d]
            mean[d] = x
            error += x * (x - two * y[d])
        odds = model.odds[work.item_kinds[item], work.candidates[item // n_values]]
        path[depth] = path[depth - 1] + odds
        work.energies[s] = path[depth] - 0.5 * np.float64(error)


@njit(**INLINE)
def walk_counts(trees, point, work):
    """Write the posterior weights of the items, and those of the states' descendants."""
    weights, beyond, path = work.weights, work.beyond, work.path
    work.counts[:] = 0.0
    path[:] = 0.0
    for s in range(point.last - point.first - 1, 0, -1):
        depth = trees.depths[point.first + s]
        beyond[s] = path[depth + 1]
        path[depth + 1] = 0.0
        path[depth] += weights[s] + beyond[s]
        work.counts[trees.items[point.first + s]] += weights[s] + beyond[s]


@njit(**INLINE)
def walk_wins(trees, point, work):
    """Write the weights with which the items win the pixels, left[0] what none wins."""
    weights, beyond, trail = work.weights, work.beyond, work.trail
    means, terms, left = work.means, work.terms, work.left
    n_states = point.last - point.first
    work.won[:] = 0.0
    left[0] = weights[0]
    margin, zero = margin_of(work.y), work.y.dtype.type(0.0)
    open_depth = np.int64(0)
    for s in range(1, n_states + 1):
        depth = np.int64(trees.depths[point.first + s]) if s < n_states else 1
        # what the last latent of a finished state does not win is left to its parent
        while open_depth >= depth:
            item = trail[open_depth]
            parent, term, won = means[open_depth - 1], terms[item], work.won[item]
            mine, rest = left[open_depth], left[open_depth - 1]
            for d in range(mine.size):
                q, rival = mine[d], margin * abs(parent[d])
                wins = abs(term[d]) > rival
                won[d] += q if wins or rival == 0.0 else 0.0
                rest[d] += 0.0 if wins else q
            open_depth -= 1
        if s < n_states and weights[s] + beyond[s] > 0.0:
            item = trees.items[point.first + s]
            parent, term, mean = means[depth - 1], terms[item], means[depth]
            if beyond[s] == 0.0:  # no state beyond it matters
                q, won, rest = left.dtype.type(weights[s]), work.won[item], left[depth - 1]
                for d in range(mean.size):
                    rival = margin * abs(parent[d])
                    wins = abs(term[d]) > rival
                    won[d] += q if wins or rival == 0.0 else zero
                    rest[d] += zero if wins else q
                continue
            left[depth] = weights[s]
            for d in range(mean.size):
                mean[d] = term[d] if abs(term[d]) > abs(parent[d]) else parent[d]
            trail[depth] = item
            open_depth = depth


# States of negative values alone, no latent inactive ----------------------------------


@njit(**INLINE)
def set_kinds(model, trees, point, work, s):
    """Make the kinds of the search those of a state over the candidates."""
    n_values, kinds = model.values.size, work.search.kinds
    for i in range(work.candidates.size):
        kinds[work.candidates[i]] = 0
    for j in range(items_of(trees, point.first, s, work.trail)):
        item = work.trail[j]
        kinds[work.candidates[item // n_values]] = work.item_kinds[item] + 1


@njit(**INLINE)
def reset_kinds(work):
    """Make the kinds of the search those of the centre again."""
    for i in range(work.candidates.size):
        work.search.kinds[work.candidates[i]] = work.own[i]


@njit(**INLINE)
def may_be_bottom(model, trees, point, work, s):
    """Return whether a state over the candidates may leave no latent inactive."""
    full = point.n_core + work.candidates.size == work.search.kinds.size
    return full and trees.depths[point.first + s] == work.candidates.size


@njit(**INLINE)
def bottom_energies(model, trees, point, work):
    """Write the energies of these states."""
    kinds = work.search.kinds
    for s in range(point.last - point.first):
        if may_be_bottom(model, trees, point, work, s):
            set_kinds(model, trees, point, work, s)
            if all_negative(model, kinds):
                work.energies[s] = bottom_energy(model, work.y, kinds)
    reset_kinds(work)


@njit(**INLINE)
def bottom_wins(model, trees, point, work, numerator, denominator):
    """Credit the pixels of these states to the latents that win them."""
    kinds, y = work.search.kinds, work.y
    for s in range(point.last - point.first):
        q = work.weights[s]
        if q > 0.0 and may_be_bottom(model, trees, point, work, s):
            set_kinds(model, trees, point, work, s)
            if all_negative(model, kinds):
                credit_state(model, y, kinds, q, numerator, denominator)
    reset_kinds(work)


@njit(**INLINE)
def credit_state(model, y, kinds, q, numerator, denominator):
    """Credit the pixels of any state, its weight q, to the latents that win them."""
    below = all_negative(model, kinds)
    for d in range(y.size):
        if below:
            h = least_negative(model, kinds, d)[0]
            credit(numerator, denominator, h, d, model.values[kinds[h] - 1], q, y)
            continue
        winner, _ = strongest(model, kinds, d)
        for h in range(kinds.size):
            if kinds[h] > 0 and model.single_values[kinds[h] - 1] != 0.0:
                if h == winner or winner == kinds.size:
                    credit(numerator, denominator, h, d, model.values[kinds[h] - 1], q, y)


@njit(**INLINE)
def strongest(model, kinds, d):
    """Return the latent of the strongest term of a pixel, H at 0, and the term."""
    winner, top = np.int64(kinds.size), model.values.dtype.type(0.0)
    margin = margin_of(model.components)
    for h in range(kinds.size):
        if kinds[h] > 0:
            t = model.single_values[kinds[h] - 1] * model.components[h, d]
            if abs(t) > margin * abs(top):
                winner, top = h, t
    return winner, top


@njit(**INLINE)
def power(x, square):
    """Return a number or its square."""
    return x * x if square else x


@njit(**INLINE)
def add_ybar(model, kinds, q, square, mean):
    """Add q times the ybar of any state, or its square."""
    below = all_negative(model, kinds)
    for d in range(mean.size):
        if below:
            mean[d] += q * power(least_negative(model, kinds, d)[1], square)
        else:
            mean[d] += q * power(strongest(model, kinds, d)[1], square)


# Single changes of the core -----------------------------------------------------------


@njit(**INLINE)
def next_to_bottom(model, point, work):
    """Return whether a single change may lead to or from a bottom state."""
    kinds = work.search.kinds
    if not model.bottom or point.n_active < kinds.size:
        return False
    above = 0
    for h in range(kinds.size):
        above += model.values[kinds[h] - 1] >= 0.0
    return above <= 1


@njit(**INLINE)
def share_changes(point, work):
    """Return the weight of all changes of the core, and write that of what leaves."""
    total = 0.0
    for c in range(point.n_core):
        p = work.core[c]
        for kind in range(work.changed.shape[1]):
            total += work.changed[c, kind]
        work.leaving[work.search.known[p]] = work.changed[c, 0]
    return total


@njit(**INLINE)
def forget_leaving(point, work):
    """Make ``leaving`` 0 again."""
    for c in range(point.n_core):
        work.leaving[work.search.known[work.core[c]]] = 0.0


@njit(**INLINE)
def credit(numerator, denominator, h, d, v, q, y):
    """Let a latent of value v win a pixel with weight q."""
    v = np.float64(v)
    numerator[h, d] += v * q * np.float64(y[d])
    denominator[h, d] += v * v * q


@njit(**INLINE)
def credit_all(model, point, work, but, d, q, numerator, denominator):
    """Let all active latents of the centre, but one, win a pixel at which ybar is 0."""
    search = work.search
    for p in range(point.n_active):
        h = search.known[p]
        k = search.kinds[h] - 1
        if h != but and model.single_values[k] != 0.0:
            credit(numerator, denominator, h, d, model.values[k], q, work.y)


@njit(**INLINE)
def core_wins(model, point, work, numerator, denominator):
    """Credit what no item wins to the core."""
    search, left, core_by = work.search, work.left[0], work.core_by
    for d in range(left.size):
        h, q = core_by[d], np.float64(left[d])
        if h < search.kinds.size:
            v = model.values[search.kinds[h] - 1]
            credit(numerator, denominator, h, d, v, q, work.y)
        elif q > 0.0:
            for c in range(point.n_core):
                h = search.known[work.core[c]]
                k = search.kinds[h] - 1
                if model.single_values[k] != 0.0:
                    credit(numerator, denominator, h, d, model.values[k], q, work.y)


@njit(**INLINE)
def leaving_wins(model, point, work, numerator, denominator):
    """Move the weights of switching core latents off from the centre's winners."""
    search, leaving, y = work.search, work.leaving, work.y
    none = search.kinds.size
    for d in range(y.size):
        h = search.top_by[d]
        if h == none:
            for c in range(point.n_core):
                h = search.known[work.core[c]]
                k = search.kinds[h] - 1
                if leaving[h] > 0.0 and model.single_values[k] != 0.0:
                    credit(numerator, denominator, h, d, model.values[k], -leaving[h], y)
        elif leaving[h] > 0.0:
            q, v = leaving[h], model.values[search.kinds[h] - 1]
            credit(numerator, denominator, h, d, v, -q, y)
            i = search.second_by[d]
            if i < none:
                v = model.values[search.kinds[i] - 1]
                credit(numerator, denominator, i, d, v, q, y)
            else:
                credit_all(model, point, work, h, d, q, numerator, denominator)


@njit(**INLINE)
def value_wins(model, point, work, h, kind, q, numerator, denominator):
    """Move the weight of another value of a core latent from the centre's winners."""
    search, y = work.search, work.y
    none, k = search.kinds.size, kind - 1
    margin = margin_of(y)
    for d in range(y.size):
        by, rival, i = search.top_by[d], search.top[d], search.top_by[d]
        if by == h:
            rival, i = search.second[d], search.second_by[d]
        t = model.single_values[k] * model.components[h, d]
        if abs(t) <= margin * abs(rival) and by != h and by != none:
            continue
        if by == none:
            credit_all(model, point, work, none, d, -q, numerator, denominator)
        else:
            v = model.values[search.kinds[by] - 1]
            credit(numerator, denominator, by, d, v, -q, y)
        if abs(t) > margin * abs(rival):
            credit(numerator, denominator, h, d, model.values[k], q, y)
        elif i < none:
            credit(numerator, denominator, i, d, model.values[search.kinds[i] - 1], q, y)
        else:
            credit_all(model, point, work, h, d, q, numerator, denominator)
            if model.single_values[k] != 0.0:
                credit(numerator, denominator, h, d, model.values[k], q, y)


@njit(**INLINE)
def change_wins(model, point, work, numerator, denominator):
    """Credit what the single changes of the core win."""
    search = work.search
    direct = next_to_bottom(model, point, work)
    if not direct:
        leaving_wins(model, point, work, numerator, denominator)
    for c in range(point.n_core):
        h = search.known[work.core[c]]
        own = search.kinds[h]
        for kind in range(work.changed.shape[1]):
            q = work.changed[c, kind]
            if q > 0.0 and direct:
                search.kinds[h] = kind
                credit_state(model, work.y, search.kinds, q, numerator, denominator)
                search.kinds[h] = own
            elif q > 0.0 and kind > 0:
                value_wins(model, point, work, h, kind, q, numerator, denominator)


@njit(**INLINE)
def change_means(model, point, work, square, mean):
    """Add what the single changes of the core add to the mean of ybar, or of its square."""
    search = work.search
    direct = next_to_bottom(model, point, work)
    for c in range(point.n_core):
        h = search.known[work.core[c]]
        own = search.kinds[h]
        for kind in range(work.changed.shape[1]):
            q = mean.dtype.type(work.changed[c, kind])
            if q > 0.0 and direct:
                search.kinds[h] = kind
                add_ybar(model, search.kinds, q, square, mean)
                search.kinds[h] = own
            elif q > 0.0:
                v = model.single_values[kind - 1] if kind > 0 else mean.dtype.type(0.0)
                for d in range(mean.size):
                    rival = search.second[d] if search.top_by[d] == h else search.top[d]
                    t = v * model.components[h, d]
                    x = t if abs(t) > abs(rival) else rival
                    mean[d] += q * (power(x, square) - power(search.top[d], square))


# One data point -----------------------------------------------------------------------


@njit(**INLINE)
def single_energy(value, projection, bias):
    """Return the energy of a state of one active latent, the same number wherever it is asked."""
    return np.float64(fma(value, projection, bias))


@njit(**INLINE)
def infer(model, holes, trees, n, x, projection, work):
    """Write the weights of all states of K_n of the n-th data point; return the `Point`."""
    enter_point(holes, n)
    hide_features(holes, n, model.components)
    write_bias(holes, n, model.single_values, model.bias)
    search, energies, weights = work.search, work.energies, work.weights
    work.y[:] = x
    search.kinds[:] = 0
    slack, n_left, energy = slack_of(search.scores), _MOST_CENTRES, 0.0
    while True:
        n_active, n_on = 0, np.int64(0)
        if model.n_screened > 0:
            energy, n_active, n_known = climb(model, holes, work.y, projection, search, energy)
            cheapest(search, n_known, energy, work.candidates)
            n_on = centre_first(search.kinds, work.candidates, work.trail)
        else:
            pursue(model, holes, projection, work)
        tree = min(n_on, trees.starts.size - 2)
        first, last = trees.starts[tree], trees.starts[tree + 1]
        load_items(model, work)
        n_core = load_core(model, work, n_active)
        point = Point(0.0, 0.0, energy, first, last, n_on, n_active, n_core, True)
        walk_energies(model, trees, point, work)
        if model.bottom:
            bottom_energies(model, trees, point, work)
        top_energy = -np.inf
        for s in range(last - first):
            e = energies[s] if trees.kept[first + s] else -np.inf
            top_energy = maximum(top_energy, e)
        # a better state than the centre is the next centre
        least = top_energy - slack * (1.0 + abs(top_energy))
        n_left -= 1
        if model.n_screened == 0 or energies[n_on] >= least or n_left == 0:
            break
        s = np.int64(0)
        while not trees.kept[first + s] or energies[s] < least:
            s += 1
        set_kinds(model, trees, point, work, s)
        energy = energies[s]
    # the best gain of a single latent
    gains = work.scores[0]
    best_gains(projection, model.single_values, model.bias, gains)
    top = highest(gains)
    n_states = last - first
    reference = top_energy
    if n_core > 0:
        energy = energies[n_on]
        for c in range(n_core):
            p = work.core[c]
            for kind in range(work.changed.shape[1]):
                if kind != search.kinds[search.known[p]]:
                    reference = max(reference, energy + search.rises[p, kind])
    singles = np.float64(top) > reference - model.cutoff
    reference = max(reference, np.float64(top))
    # sums in loops of their own, see linear.pair_halves
    for s in range(n_states):
        q = exp(energies[s] - reference)
        weights[s] = q if trees.kept[first + s] else 0.0
    total = 0.0
    for s in range(n_states):
        total += weights[s]
    for c in range(n_core):
        p = work.core[c]
        for kind in range(work.changed.shape[1]):
            work.changed[c, kind] = 0.0
            if kind != search.kinds[search.known[p]]:
                rise = search.rises[p, kind]
                work.changed[c, kind] = exp(plain_sum(energy, rise) - reference)
            total += work.changed[c, kind]
    # All single-latent states at once; those of candidates and core are counted above.
    if singles:
        for k in range(model.values.size):
            v, b, single = model.single_values[k], model.bias[k], work.singles[k]
            for h in range(projection.size):
                single[h] = exp(single_energy(v, projection[h], b[h]) - reference)
            for h in work.candidates:
                single[h] = 0.0
            for c in range(n_core):
                single[search.known[work.core[c]]] = 0.0
            for h in range(projection.size):
                total += single[h]
    return Point(reference, total, energy, first, last, n_on, n_active, n_core, singles)


@njit(**INLINE)
def weigh(model, point, work, weight):
    """Scale the weights of all states to sum to ``weight``; forget negligible ones."""
    scale, floor = weight / point.total, model.negligible * point.total
    weights, n_states = work.weights, point.last - point.first
    for s in range(n_states):
        weights[s] = scale * weights[s] if weights[s] * n_states > floor else 0.0
    for c in range(point.n_core):
        for kind in range(work.changed.shape[1]):
            q = work.changed[c, kind]
            work.changed[c, kind] = scale * q if q > floor else 0.0
    if point.singles:
        for k in range(model.values.size):
            single = work.singles[k]
            for h in range(single.size):
                single[h] = scale * single[h] if single[h] > floor else 0.0


@njit(**INLINE)
def count(trees, point, work):
    """Write the counts of the items; return the weight of all states over core and items.

    A change of the core counts as the centre.
    """
    if point.n_core > 0:
        work.weights[point.n_on] += share_changes(point, work)
    walk_counts(trees, point, work)
    return work.weights[0] + work.path[1]


@njit(**INLINE)
def wins(model, trees, point, work):
    """Write the weights with which the items win the pixels, after `count`."""
    if point.n_core > 0 and next_to_bottom(model, point, work):
        work.weights[point.n_on] -= share_changes(point, work)
    walk_wins(trees, point, work)
    for item in range(work.counts.size):
        if model.single_values[work.item_kinds[item]] == 0.0:
            work.won[item] = 0.0


@njit(**INLINE)
def write_codes(point, work, values, code):
    """Write the mean code of the single-latent states outside core and candidates."""
    code[:] = 0.0
    if point.singles:
        for k in range(values.size):
            v, single = np.float64(values[k]), work.singles[k]
            for h in range(code.size):
                code[h] += v * single[h]


@njit(**INLINE)
def mean_energy_of(model, point, work, projection):
    """Return the weighted sum of the energies of all states."""
    search, total = work.search, 0.0
    for s in range(point.last - point.first):
        total += work.weights[s] * work.energies[s]
    for c in range(point.n_core):
        for kind in range(work.changed.shape[1]):
            q = work.changed[c, kind]
            if q > 0.0:
                total += q * (point.energy + search.rises[work.core[c], kind])
    if point.singles:
        for k in range(model.values.size):
            v, b, single = model.single_values[k], model.bias[k], work.singles[k]
            for h in range(projection.size):
                total += single[h] * np.float64(v * projection[h] + b[h])
    return total


# Blocks of data points ----------------------------------------------------------------


@njit(**JIT)
def expectations(
    X, codes, weights, model, trees, evidence, counts, numerator, denominator, sums, holes
):
    """Add the sums of the M-step over a block of data points.

    Parameters
    ----------
    X : (n, D) array
        Data in units of the noise.
    codes : (n, H) array
        In: the projections X W^T. Out: weight times q s of the single-latent states
        outside core and candidates. Their part of ``numerator`` is left to the caller.
    weights : (n,) float64 array
        Weight of each data point.
    model : Model
    trees : StateTrees
    evidence : (n,) float64 array
        Out: log of the truncated evidence relative to the state 0.
    counts : (K, H) float64 array
        sum w q(s_h = v_k) is added to.
    numerator, denominator : (H, D) float64 arrays
        sum w <A s y> and sum w <A s^2> are added to.
    sums : (2, H) float64 array
        Added to: the denominator of the states left out of ``numerator``, the same at
        every pixel, and in [1, 0] sum w <energy>.
    holes : Holes or None
        What the data points miss. There each active latent counts in ``denominator``.

    Returns
    -------
    n_nonzero : int
        Entries of ``codes`` that are not zero.
    """
    work = make_workspace(model, trees)
    search, n_values = work.search, model.values.size
    single_second = sums[0]
    own_counts = diagonal_of_point(holes, counts)
    squares = model.single_values.astype(np.float64) ** 2
    n_nonzero, mean_energy = 0, 0.0
    for n in range(X.shape[0]):
        code = codes[n]
        point = infer(model, holes, trees, n, X[n], code, work)
        evidence[n] = point.reference + np.log(point.total)
        if weights[n] == 0.0:
            code[:] = 0.0
            continue
        weigh(model, point, work, weights[n])
        mean_energy += mean_energy_of(model, point, work, code)
        if point.singles:
            for k in range(n_values):
                v2 = np.float64(model.single_values[k]) ** 2
                single, total = work.singles[k], own_counts[k]
                for h in range(code.size):
                    total[h] += single[h]
                    single_second[h] += single[h] * v2
        write_codes(point, work, model.single_values, code)
        if point.singles:
            for h in range(code.size):
                n_nonzero += code[h] != 0.0
        tree_total = count(trees, point, work)
        wins(model, trees, point, work)
        for item in range(work.counts.size):
            q = work.counts[item]
            if q > 0.0:
                h, k = work.candidates[item // n_values], work.item_kinds[item]
                own_counts[k, h] += q
                v = np.float64(model.values[k])
                won, top, bottom, y = work.won[item], numerator[h], denominator[h], work.y
                for d in range(y.size):
                    q = v * won[d]
                    top[d] += q * y[d]
                    bottom[d] += v * q
        if model.bottom:
            bottom_wins(model, trees, point, work, numerator, denominator)
        if point.n_core > 0:
            core_wins(model, point, work, numerator, denominator)
            change_wins(model, point, work, numerator, denominator)
            for c in range(point.n_core):
                h, rest = search.known[work.core[c]], tree_total
                for kind in range(n_values + 1):
                    q = work.changed[c, kind]
                    rest -= q
                    if kind > 0:
                        own_counts[kind - 1, h] += q
                own_counts[search.kinds[h] - 1, h] += rest
            forget_leaving(point, work)
        collect_diagonal(holes, n, squares, counts)
    sums[1, 0] += mean_energy
    return n_nonzero


@njit(**JIT)
def posterior_means(X, codes, model, trees, probability, evidence, holes):
    """Turn the projections ``codes`` into posterior means, or P(active), of the codes.

    ``evidence`` is as in `expectations`.
    """
    work = make_workspace(model, trees)
    search = work.search
    values = np.ones_like(model.values) if probability else model.values
    for n in range(X.shape[0]):
        code = codes[n]
        point = infer(model, holes, trees, n, X[n], code, work)
        evidence[n] = point.reference + np.log(point.total)
        weigh(model, point, work, 1.0)
        write_codes(point, work, values, code)
        total = count(trees, point, work)
        for item in range(work.counts.size):
            v = values[work.item_kinds[item]]
            code[work.candidates[item // values.size]] += v * work.counts[item]
        for c in range(point.n_core):
            h, rest, mean = search.known[work.core[c]], total, 0.0
            for kind in range(values.size + 1):
                q = work.changed[c, kind]
                rest -= q
                if kind > 0:
                    mean += values[kind - 1] * q
            code[h] = mean + values[search.kinds[h] - 1] * rest
        forget_leaving(point, work)


@njit(**JIT)
def reconstructions(X, codes, model, trees, square, means, holes):
    """Write the posterior mean of ybar, or of its square, less what ``codes`` is left with.

    ``codes`` holds the projections first and then the mean codes of the single-latent
    states outside core and candidates, or their squares: what is not there is codes W, or
    codes W^2.
    """
    work = make_workspace(model, trees)
    values = model.single_values**2 if square else model.single_values
    for n in range(X.shape[0]):
        code, mean = codes[n], means[n]
        point = infer(model, holes, trees, n, X[n], code, work)
        weigh(model, point, work, 1.0)
        write_codes(point, work, values, code)
        count(trees, point, work)
        if holes is not None:
            show_features(holes, model.components)
            load_items(model, work)
            load_core(model, work, point.n_active)
        wins(model, trees, point, work)
        core = work.means[0]
        for d in range(mean.size):
            mean[d] = work.left[0, d] * power(core[d], square)
        for item in range(work.counts.size):
            term, won = work.terms[item], work.won[item]
            for d in range(mean.size):
                mean[d] += won[d] * power(term[d], square)
        if model.bottom:
            kinds = work.search.kinds
            for s in range(point.last - point.first):
                if may_be_bottom(model, trees, point, work, s):
                    set_kinds(model, trees, point, work, s)
                    if all_negative(model, kinds):
                        add_ybar(model, kinds, mean.dtype.type(work.weights[s]), square, mean)
            reset_kinds(work)
        change_means(model, point, work, square, mean)
        forget_leaving(point, work)


@njit(**INLINE)
def put(support, kinds, size, h, kind):
    """Insert an active latent in rising order as far as there is room; return the size."""
    if size < support.size:
        i = size
        while i > 0 and support[i - 1] > h:
            support[i], kinds[i] = support[i - 1], kinds[i - 1]
            i -= 1
        support[i], kinds[i] = h, kind - 1
    return size + 1


@njit(**JIT)
def top_states(
    X, projections, model, trees, log_probability, support, kinds, entropy, evidence, holes
):
    """Write the most probable states of every data point, best first.

    log_probability (n, n_states) is -inf where K_n holds fewer states; support
    (n, n_states, width) holds the active latents, -1 where there are fewer, kinds the
    index of their value; entropy (n,) is that of the truncated posterior and evidence
    (n,) its log normaliser relative to the state 0, both in nats. Returns the most
    latents active in a state: where that is more than width, support has no room.
    """
    work = make_workspace(model, trees)
    search, n_values = work.search, model.values.size
    index = np.empty(log_probability.shape[1], np.int64)
    value = np.empty(log_probability.shape[1], np.int64)
    items = np.empty(trees.depths.max() + 1, np.int64)
    widest = np.int64(0)
    for n in range(X.shape[0]):
        projection, best = projections[n], log_probability[n]
        best[:] = -np.inf
        support[n] = -1
        kinds[n] = 0
        point = infer(model, holes, trees, n, X[n], projection, work)
        evidence[n] = point.reference + np.log(point.total)
        size, n_states = 0, point.last - point.first
        for s in range(n_states):
            if trees.kept[point.first + s]:
                size = insert_state(best, index, value, size, work.energies[s], s, 0)
        for c in range(point.n_core):
            p = work.core[c]
            for kind in range(n_values + 1):
                if kind != search.kinds[search.known[p]]:
                    energy = plain_sum(point.energy, search.rises[p, kind])
                    # an index beyond the states marks a change of the core
                    size = insert_state(best, index, value, size, energy, n_states + p, kind)
        outside = work.scores[0]
        outside[:] = 1.0
        for h in work.candidates:
            outside[h] = 0.0
        for c in range(point.n_core):
            outside[search.known[work.core[c]]] = 0.0
        for k in range(n_values):
            v, b = model.single_values[k], model.bias[k]
            for h in range(projection.size):
                if outside[h] > 0.0:
                    energy = single_energy(v, projection[h], b[h])
                    # a negative index marks a state outside core and candidates
                    size = insert_state(best, index, value, size, energy, -1 - h, k + 1)
        mean_energy = mean_energy_of(model, point, work, projection) / point.total
        entropy[n] = max(0.0, evidence[n] - mean_energy)
        for i in range(size):
            best[i] = log_share(best[i], point.reference, point.total)
            s, row, kind, width = index[i], support[n, i], kinds[n, i], 0
            if s < 0:
                width = put(row, kind, width, -1 - s, value[i])
            elif s < n_states:
                for c in range(point.n_core):
                    h = search.known[work.core[c]]
                    width = put(row, kind, width, h, search.kinds[h])
                for j in range(items_of(trees, point.first, s, items)):
                    h = work.candidates[items[j] // n_values]
                    width = put(row, kind, width, h, work.item_kinds[items[j]] + 1)
            else:
                for p in range(point.n_active):
                    h = search.known[p]
                    own = value[i] if p == s - n_states else search.kinds[h]
                    if own > 0:
                        width = put(row, kind, width, h, own)
            widest = max(widest, width)
    return widest
