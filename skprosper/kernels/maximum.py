"""E-step of the maximum and magnitude-maximum superpositions with discrete values.

The states over the candidates are walked depth first: the ybar of a state is that of
its parent, the state without its last latent, joined with one more row. One buffer for
each depth holds the path, so that all of it stays in the first-level cache.

The sums of the M-step need the weight with which an item, a candidate with one of its
values, wins each pixel. A state hands what its last latent does not win on to its
parent: that serves all latents of all states in one pass over the states that matter.

The maximum of non-negative terms is that of largest magnitude, so that one walk serves
both. An inactive latent takes part in the maximum with 0, and a negative value never
wins: it counts as 0. Only where no latent is inactive and all values are negative, a
bottom state, the least negative term wins. Of terms that are equal but for rounding that
of the lowest latent wins. At 0 all active latents do, of positive value in the case of
the maximum: whichever of them rises from 0 lifts ybar, and its M-step must know.

Data and components come in units of the noise, y / sigma and W / sigma, so that a
log-joint is the log prior less half the squared error. Energies are log-joints less
that of the state 0.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .compiling import njit
from .linear import insert_state
from .selection import best_gains
from .states import count_states
from .vector_math import INLINE, JIT, exp, first_best, maximum

# Terms that differ by less than this share are equal but for rounding errors. In single
# precision it is less than what `steadied` keeps components apart by.
_TIED, _TIED_SINGLE = 1e-8, 5e-7


class StateTree(NamedTuple):
    """The states over the candidates, depth first.

    Candidates are in rising order of their index. An item is a candidate i with its
    value k: i K + k.
    """

    items: np.ndarray  # (n_states,) int64, last item of a state, -1 for the state 0
    depths: np.ndarray  # (n_states,) int64, number of active latents
    bottom: np.ndarray  # (n_bottom,) int64, states of negative values, none inactive
    bottom_items: np.ndarray  # (n_bottom, H) int64


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
    negligible: float  # posterior weight that may be left out of the statistics


class Workspace(NamedTuple):
    """Memory for one data point."""

    y: np.ndarray  # (D,)
    terms: np.ndarray  # (n_items, D) value times component, 0 where it never wins
    means: np.ndarray  # (max_active + 1, D) ybar by depth
    left: np.ndarray  # (max_active + 1, D) weight not won yet by depth
    won: np.ndarray  # (n_items, D) weight with which an item wins a pixel
    path: np.ndarray  # (max_active + 2,) float64 sums by depth
    trail: np.ndarray  # (max_active + 1,) int64 items by depth
    energies: np.ndarray  # (n_states,) float64
    weights: np.ndarray  # (n_states,) float64
    subtotals: np.ndarray  # (n_states,) float64 weights of states and descendants
    item_odds: np.ndarray  # (n_items,) float64
    counts: np.ndarray  # (n_items,) float64 posterior weight
    singles: np.ndarray  # (K, H) float64 weights of single-latent states
    scores: np.ndarray  # (3, H)
    candidates: np.ndarray  # (n_candidates,) int64


# Tables -------------------------------------------------------------------------------


@njit(**JIT)
def fill_tree(n_items, n_values, max_active, items, depths):
    """Write last item and depth of all states, depth first."""
    path = np.empty(max_active + 1, np.int64)
    items[0] = -1
    depths[0] = 0
    depth, item = 0, 0
    for s in range(1, items.size):
        while depth == max_active or item >= n_items:
            item = path[depth] + 1
            depth -= 1
        depth += 1
        path[depth] = item
        items[s] = item
        depths[s] = depth
        item = (item // n_values + 1) * n_values


@njit(**INLINE)
def items_of(tree, s, items):
    """Write the items of a state in rising order; return how many there are."""
    n = tree.depths[s]
    wanted = n
    while wanted > 0:
        if tree.depths[s] == wanted:
            wanted -= 1
            items[wanted] = tree.items[s]
        s -= 1
    return n


@njit(**JIT)
def all_items(tree, states):
    """Return the items of states that have as many as there are candidates, one a row."""
    found = np.empty((states.size, tree.depths.max()), np.int64)
    for i in range(states.size):
        items_of(tree, states[i], found[i])
    return found


@lru_cache(maxsize=16)
def state_tree(n_candidates, max_active, values, magnitude, n_latents):
    """Return the `StateTree` of a truncated posterior.

    Parameters
    ----------
    n_candidates, max_active : int
        H' and gamma.
    values : tuple of floats
        The values of an active latent, in the order of the prior.
    magnitude : bool
        Whether magnitudes compete.
    n_latents : int
        H, to know which states leave no latent inactive.
    """
    n_values = len(values)
    items = np.empty(count_states(n_candidates, max_active, n_values), np.int64)
    depths = np.empty_like(items)
    fill_tree(n_candidates * n_values, n_values, max_active, items, depths)
    none = np.empty(0, np.int64)
    tree = StateTree(items, depths, none, none.reshape(0, 0))
    full = np.flatnonzero(depths == n_latents)
    if magnitude or n_latents == 1 or min(values) > 0.0 or not full.size:
        return tree
    full_items = all_items(tree, full)
    negative = (np.array(values)[full_items % n_values] < 0.0).all(axis=1)
    return tree._replace(bottom=full[negative], bottom_items=full_items[negative])


@njit(**JIT)
def pairwise_overlap(components):
    """Return sum_d min(|W_hd|, |W_id|)^2 for all pairs of components."""
    n_latents, n_features = components.shape
    zero = components.dtype.type(0.0)
    overlap = np.empty((n_latents, n_latents), components.dtype)
    for h in range(n_latents):
        a = components[h]
        for i in range(h + 1):
            b, total = components[i], zero
            for d in range(n_features):
                x = -maximum(-abs(a[d]), -abs(b[d]))
                total += x * x
            overlap[h, i] = total
            overlap[i, h] = total
    return overlap


@njit(**INLINE)
def make_workspace(model, tree):
    """Allocate the `Workspace`."""
    n, n_values = model.n_candidates, model.values.size
    n_latents, n_features = model.components.shape
    n_items, n_states, n_depths = n * n_values, tree.items.size, tree.depths.max() + 1
    dtype = model.components.dtype
    return Workspace(
        np.empty(n_features, dtype),
        np.empty((n_items, n_features), dtype),
        np.empty((n_depths, n_features), dtype),
        np.empty((n_depths, n_features), dtype),
        np.empty((n_items, n_features), dtype),
        np.empty(n_depths + 1),
        np.empty(n_depths, np.int64),
        np.empty(n_states),
        np.empty(n_states),
        np.empty(n_states),
        np.empty(n_items),
        np.empty(n_items),
        np.empty((n_values, n_latents)),
        np.empty((3, n_latents), dtype),
        np.empty(n, np.int64),
    )


# The walk -----------------------------------------------------------------------------


@njit(**INLINE)
def load_candidates(model, work):
    """Write the terms of the candidates, as far as they can win, and their log odds."""
    n_values = model.values.size
    for i in range(work.candidates.size):
        h = work.candidates[i]
        component = model.components[h]
        for k in range(n_values):
            v, term = model.single_values[k], work.terms[i * n_values + k]
            for d in range(term.size):
                term[d] = v * component[d]
            work.item_odds[i * n_values + k] = model.odds[k, h]


@njit(**INLINE)
def walk_energies(tree, work):
    """Write the energies of all states over the candidates."""
    means, terms, y, path = work.means, work.terms, work.y, work.path
    two = y.dtype.type(2.0)
    means[0] = 0.0
    path[0] = 0.0
    work.energies[0] = 0.0
    for s in range(1, work.energies.size):
        item, depth = tree.items[s], tree.depths[s]
        parent, term, mean = means[depth - 1], terms[item], means[depth]
        # what |y - ybar|^2 exceeds |y|^2 by
        error = y.dtype.type(0.0)
        for d in range(y.size):
            x = term[d] if abs(term[d]) > abs(parent[d]) else parent[d]
            mean[d] = x
            error += x * (x - two * y[d])
        path[depth] = path[depth - 1] + work.item_odds[item]
        work.energies[s] = path[depth] - 0.5 * np.float64(error)


@njit(**INLINE)
def walk_counts(tree, work):
    """Write the posterior weights of the items, and those of states and descendants."""
    weights, subtotals, path = work.weights, work.subtotals, work.path
    work.counts[:] = 0.0
    path[:] = 0.0
    for s in range(weights.size - 1, 0, -1):
        depth = tree.depths[s]
        subtotals[s] = weights[s] + path[depth + 1]
        path[depth + 1] = 0.0
        path[depth] += subtotals[s]
        work.counts[tree.items[s]] += subtotals[s]


@njit(**INLINE)
def walk_wins(tree, work):
    """Write the weights with which the items win the pixels."""
    weights, trail = work.weights, work.trail
    means, terms, left = work.means, work.terms, work.left
    n_states = weights.size
    margin = work.y.dtype.type(1.0 + (_TIED if work.y.itemsize == 8 else _TIED_SINGLE))
    work.won[:] = 0.0
    left[0] = 0.0
    means[0] = 0.0
    open_depth = 0
    for s in range(1, n_states + 1):
        depth = tree.depths[s] if s < n_states else 1
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
        if s < n_states and work.subtotals[s] > 0.0:
            item = tree.items[s]
            parent, term, mean = means[depth - 1], terms[item], means[depth]
            left[depth] = weights[s]
            for d in range(mean.size):
                mean[d] = term[d] if abs(term[d]) > abs(parent[d]) else parent[d]
            trail[depth] = item
            open_depth = depth


# States of negative values alone, no latent inactive ----------------------------------


@njit(**INLINE)
def least_negative(model, candidates, items, d):
    """Return the item that wins a pixel in such a state, and its term."""
    n_values = model.values.size
    winner, top = items[0], -np.inf
    for item in items:
        i, k = divmod(item, n_values)
        term = np.float64(model.values[k] * model.components[candidates[i], d])
        if term > (1.0 - _TIED) * top:
            winner, top = item, term
    return winner, top


@njit(**INLINE)
def bottom_energies(model, tree, work):
    """Add to the energies of these states what their ybar < 0 brings."""
    for b in range(tree.bottom.size):
        for d in range(work.y.size):
            _, x = least_negative(model, work.candidates, tree.bottom_items[b], d)
            work.energies[tree.bottom[b]] -= 0.5 * x * (x - 2.0 * work.y[d])


@njit(**INLINE)
def bottom_wins(model, tree, work):
    """Add the pixels of these states to those that the items win."""
    for b in range(tree.bottom.size):
        for d in range(work.y.size):
            item, _ = least_negative(model, work.candidates, tree.bottom_items[b], d)
            work.won[item, d] += work.weights[tree.bottom[b]]


# One data point -----------------------------------------------------------------------


@njit(**INLINE)
def select(model, projection, work):
    """Write the candidates of a data point in rising order; return the best gain.

    A gain is the energy of a latent's best single-latent state. Pursuit takes from the
    gains what the picked latents explain already. At a pixel two latents share, only the
    stronger one explains the data; the weaker one's gain there, with the stronger one's
    ybar for the data, is s_i W_i s_h W_h - min(|s_i W_i|, |s_h W_h|)^2 / 2.
    """
    values, bias = model.single_values, model.bias
    gains, residual, shared = work.scores[0], work.scores[1], work.scores[2]
    candidates = work.candidates
    best_gains(projection, values, bias, gains)
    pursuit = model.overlap.size > 0
    best = first_best(gains, projection, bias)
    top = np.float64(gains[best])
    residual[:] = projection
    shared[:] = 0.0
    half = gains.dtype.type(0.5)
    for j in range(candidates.size):
        candidates[j] = best
        if j + 1 == candidates.size:
            break
        if pursuit:
            peak = max(0.0, np.float64(gains[best]))
            total, mean, size = exp(-peak), 0.0, 0.0
            for k in range(values.size):
                v = np.float64(values[k])
                energy = v * residual[best] + bias[k, best] + 0.5 * abs(v) * shared[best]
                q = exp(energy - peak)
                total += q
                mean += q * v
                size += q * abs(v)
            mean, size = gains.dtype.type(mean / total), gains.dtype.type(size / total)
            gram, overlap = model.gram[best], model.overlap[best]
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
        for i in range(j + 1):
            gains[candidates[i]] = -np.inf
        best = first_best(gains, projection, bias)
    candidates.sort()
    return top


@njit(**INLINE)
def infer(model, tree, x, projection, work):
    """Write the weights of all states of K_n; return their log reference and their sum."""
    work.y[:] = x
    reference = max(0.0, select(model, projection, work))
    load_candidates(model, work)
    walk_energies(tree, work)
    if tree.bottom.size > 0:
        bottom_energies(model, tree, work)
    energies, weights = work.energies, work.weights
    for s in range(energies.size):
        reference = maximum(reference, energies[s])
    # sums in loops of their own, see linear.pair_halves
    for s in range(energies.size):
        weights[s] = exp(energies[s] - reference)
    total = 0.0
    for s in range(weights.size):
        total += weights[s]
    # All single-latent states at once; the candidates' own are counted above.
    for k in range(model.values.size):
        v, b, single = model.single_values[k], model.bias[k], work.singles[k]
        for h in range(projection.size):
            single[h] = exp(np.float64(v * projection[h] + b[h]) - reference)
        for h in work.candidates:
            single[h] = 0.0
        for h in range(projection.size):
            total += single[h]
    return reference, total


@njit(**INLINE)
def weigh(model, work, total, weight):
    """Scale the weights of all states to sum to ``weight``; forget negligible ones."""
    scale, floor = weight / total, model.negligible * total
    weights = work.weights
    for s in range(weights.size):
        weights[s] = scale * weights[s] if weights[s] * weights.size > floor else 0.0
    for k in range(model.values.size):
        single = work.singles[k]
        for h in range(single.size):
            single[h] = scale * single[h] if single[h] > floor else 0.0


@njit(**INLINE)
def wins(model, tree, work):
    """Write counts of the items, and the weights with which they win the pixels."""
    n_values = model.values.size
    walk_counts(tree, work)
    walk_wins(tree, work)
    for item in range(work.counts.size):
        if model.single_values[item % n_values] == 0.0:
            work.won[item] = 0.0
    if tree.bottom.size > 0:
        bottom_wins(model, tree, work)


@njit(**INLINE)
def write_codes(work, values, code):
    """Write the mean code of the single-latent states outside the candidates."""
    code[:] = 0.0
    for k in range(values.size):
        v, single = np.float64(values[k]), work.singles[k]
        for h in range(code.size):
            code[h] += v * single[h]


# Blocks of data points ----------------------------------------------------------------


@njit(**JIT)
def expectations(X, codes, weights, model, tree, evidence, counts, numerator, denominator, sums):
    """Add the sums of the M-step over a block of data points.

    Parameters
    ----------
    X : (n, D) array
        Data in units of the noise.
    codes : (n, H) array
        In: the projections X W^T. Out: weight times q s of the single-latent states
        outside the candidates. Their part of ``numerator`` is left to the caller.
    weights : (n,) float64 array
        Weight of each data point.
    model : Model
    tree : StateTree
    evidence : (n,) float64 array
        Out: log of the truncated evidence relative to the state 0.
    counts : (K, H) float64 array
        sum w q(s_h = v_k) is added to.
    numerator, denominator : (H, D) float64 arrays
        sum w <A s y> and sum w <A s^2> are added to.
    sums : (2, H) float64 array
        Added to: the denominator of the states left out of ``numerator``, the same at
        every pixel, and in [1, 0] sum w <energy>.

    Returns
    -------
    n_nonzero : int
        Entries of ``codes`` that are not zero.
    """
    work = make_workspace(model, tree)
    n_values = model.values.size
    single_second = sums[0]
    n_nonzero, mean_energy = 0, 0.0
    for n in range(X.shape[0]):
        code = codes[n]
        reference, total = infer(model, tree, X[n], code, work)
        evidence[n] = reference + np.log(total)
        if weights[n] == 0.0:
            code[:] = 0.0
            continue
        weigh(model, work, total, weights[n])
        for s in range(work.energies.size):
            mean_energy += work.weights[s] * work.energies[s]
        for k in range(n_values):
            v, b = model.single_values[k], model.bias[k]
            single, count = work.singles[k], counts[k]
            v2 = np.float64(v) * np.float64(v)
            for h in range(code.size):
                q = single[h]
                mean_energy += q * np.float64(v * code[h] + b[h])
                count[h] += q
                single_second[h] += q * v2
        write_codes(work, model.single_values, code)
        for h in range(code.size):
            n_nonzero += code[h] != 0.0
        wins(model, tree, work)
        for item in range(work.counts.size):
            q = work.counts[item]
            if q > 0.0:
                i, k = divmod(item, n_values)
                h = work.candidates[i]
                counts[k, h] += q
                v = np.float64(model.values[k])
                won, top, bottom, y = work.won[item], numerator[h], denominator[h], work.y
                for d in range(y.size):
                    q = v * won[d]
                    top[d] += q * y[d]
                    bottom[d] += v * q
    sums[1, 0] += mean_energy
    return n_nonzero


@njit(**JIT)
def posterior_means(X, codes, model, tree, probability, evidence):
    """Turn the projections ``codes`` into posterior means, or P(active), of the codes.

    ``evidence`` is as in `expectations`.
    """
    work = make_workspace(model, tree)
    values = np.ones_like(model.values) if probability else model.values
    for n in range(X.shape[0]):
        code = codes[n]
        reference, total = infer(model, tree, X[n], code, work)
        evidence[n] = reference + np.log(total)
        weigh(model, work, total, 1.0)
        write_codes(work, values, code)
        walk_counts(tree, work)
        for item in range(work.counts.size):
            i, k = divmod(item, values.size)
            code[work.candidates[i]] += values[k] * work.counts[item]


@njit(**JIT)
def reconstructions(X, codes, model, tree, means):
    """Write the posterior mean of ybar, less the part that ``codes`` is left with.

    ``codes`` holds the projections first and then the mean codes of the single-latent
    states outside the candidates: what is missing is codes W.
    """
    work = make_workspace(model, tree)
    for n in range(X.shape[0]):
        code, mean = codes[n], means[n]
        _, total = infer(model, tree, X[n], code, work)
        weigh(model, work, total, 1.0)
        write_codes(work, model.single_values, code)
        wins(model, tree, work)
        mean[:] = 0.0
        for item in range(work.counts.size):
            i, k = divmod(item, model.values.size)
            won, component = work.won[item], model.components[work.candidates[i]]
            for d in range(mean.size):
                mean[d] += won[d] * (model.values[k] * component[d])


@njit(**JIT)
def top_states(X, projections, model, tree, log_joint, support, kinds, entropy, evidence):
    """Write the most probable states of every data point, best first.

    log_joint (n, n_states) is relative to the state 0, -inf where K_n holds fewer
    states; support (n, n_states, width) holds the active latents, -1 where there are
    fewer, kinds the index of their value; entropy (n,) is that of the truncated
    posterior and evidence (n,) its log normaliser, both in nats.
    """
    work = make_workspace(model, tree)
    n_values = model.values.size
    index = np.empty(log_joint.shape[1], np.int64)
    value = np.empty(log_joint.shape[1], np.int64)
    items = np.empty(support.shape[2], np.int64)
    for n in range(X.shape[0]):
        projection, best = projections[n], log_joint[n]
        best[:] = -np.inf
        support[n] = -1
        kinds[n] = 0
        reference, total = infer(model, tree, X[n], projection, work)
        evidence[n] = reference + np.log(total)
        size, mean_energy = 0, 0.0
        for s in range(work.energies.size):
            energy = work.energies[s]
            mean_energy += work.weights[s] / total * energy
            size = insert_state(best, index, value, size, energy, s, 0)
        for k in range(n_values):
            v, b = model.single_values[k], model.bias[k]
            for h in range(projection.size):
                q = work.singles[k, h]
                # exactly 0 marks the candidates: exp has a floor above it
                if q > 0.0:
                    energy = np.float64(v * projection[h] + b[h])
                    mean_energy += q / total * energy
                    # a negative index marks a state outside the candidates
                    size = insert_state(best, index, value, size, energy, -1 - h, k)
        entropy[n] = max(0.0, evidence[n] - mean_energy)
        for i in range(size):
            if index[i] < 0:
                support[n, i, 0] = -1 - index[i]
                kinds[n, i, 0] = value[i]
                continue
            for j in range(items_of(tree, index[i], items)):
                support[n, i, j] = work.candidates[items[j] // n_values]
                kinds[n, i, j] = items[j] % n_values
