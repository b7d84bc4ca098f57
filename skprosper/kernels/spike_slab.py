"""E-step of the linear superposition with a spike-and-slab prior (GSC).

A state is told by its changes from the centre of the data point, latents switched on or
off. `active_set` gives the quadratic form there: a latent's variable, or where it is on
in the centre the multiplier that switches it off. Changed latents B have the log-joint,
relative to the centre,

    sum_B +-constant_h + (linear_B^T F_B^-1 linear_B - log abs(det F_B)) / 2

and those variables the formal moments of N(F_B^-1 linear_B, F_B^-1); the slabs are linear
in them, with a remainder that is the same for all states. The states are a tree in which
a child changes one more, later candidate. Changing a candidate eliminates its variable
from the quadratic form of the later ones, one row of a Cholesky factor; the sums of first
and second moments over all descendants come back the other way, by the law of total
expectation. No state is solved on its own, and what is on in the centre costs per data
point, never per state.

The tree is walked once for a group of data points: they are the innermost axis.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .active_set import (
    LEAST_VARIANCE,
    Centre,
    constant_of,
    enter,
    entry_between,
    least_pivot,
    make_scratch,
    variable_of,
)
from .compiling import njit
from .holes import collect_point, finish, has_room, moments_of_point
from .linear import add_pair, insert_state
from .vector_math import INLINE, JIT, exp, highest, log_share, maximum

# Data points that walk the tree together, and most numbers kept for all its states.
_LANES = 64
_MAX_ENERGIES = 4_000_000
# Most numbers kept for the centres of a group, if a single one needs no more.
_MAX_ROWS = 2_000_000
# Latents of a centre whose products with all of it are formed together, in registers.
_TILE = 4


class StateTree(NamedTuple):
    """Sets of changed candidates, none empty, in the order of a depth-first walk."""

    latent: np.ndarray  # (n_states,) int64, the last changed candidate
    n_changed: np.ndarray  # (n_states,) int64


class Sums(NamedTuple):
    """Sums over the data points in scaled units, to be added to.

    Of z and, where the slabs have a full covariance, before it of the multipliers.
    """

    active: np.ndarray  # (H,) q(h active)
    first: np.ndarray  # (1 or 2, H)
    square: np.ndarray  # (1 or 2, H) second moments
    second: np.ndarray  # (1 or 2, H, H) entries (i, j) and (j, i), i != j, sum to <z_i z_j>


class Group(NamedTuple):
    """The centres of the data points that walk the tree together; see `Centre`."""

    kinds: tuple
    linear: np.ndarray
    diagonal: np.ndarray
    gains: np.ndarray
    support: np.ndarray
    position: np.ndarray
    candidates: np.ndarray
    n_active: np.ndarray  # (lanes,) int64
    first_row: np.ndarray  # (lanes,) int64
    height: np.ndarray  # (lanes,) log-joint of the centre, relative to the state 0
    rows: np.ndarray  # (room, variables) of all of them


class Walk(NamedTuple):
    """The path from the root to a state: one slot per variable eliminated so far."""

    quadratic: np.ndarray  # (slot, variable, variable, lane) of those not eliminated
    linear: np.ndarray  # (slot, variable, lane)
    gain: np.ndarray  # (slot, lane) log-joint but for the determinant
    determinant: np.ndarray  # (slot, lane)
    inverse: np.ndarray  # (slot, lane) 1 / pivot of the variable eliminated here
    mean: np.ndarray  # (slot, lane) its mean where all later ones are 0
    total: np.ndarray  # (slot, lane) posterior weight of the state and descendants
    first: np.ndarray  # (slot, variable, lane) first moments summed over them
    second: np.ndarray  # (slot, variable, variable, lane) second moments
    changed: np.ndarray  # (variable, lane) posterior weight of being changed
    bias: np.ndarray  # (variable, lane)
    sign: np.ndarray  # (variable, lane) of the pivot
    floor: np.ndarray  # (variable, lane) least size of a pivot
    row: np.ndarray  # (lane,) scratch


@lru_cache(maxsize=8)
def state_tree(n_candidates, max_changes):
    """Return the `StateTree` of 1 to ``max_changes`` changed candidates."""
    latent, n_changed = [], []

    def grow(first, depth):
        for j in range(first, n_candidates):
            latent.append(j)
            n_changed.append(depth)
            if depth < max_changes:
                grow(j + 1, depth + 1)

    if max_changes > 1:
        grow(0, 1)
    return StateTree(np.array(latent, np.int64), np.array(n_changed, np.int64))


@njit(**INLINE)
def new_walk(n_variables, n_slots, lanes):
    """Return a `Walk` of undefined content, but a determinant of 1 at the root."""
    walk = Walk(
        np.empty((n_slots, n_variables, n_variables, lanes)),
        np.empty((n_slots, n_variables, lanes)),
        np.zeros((n_slots, lanes)),
        np.ones((n_slots, lanes)),
        np.empty((n_slots, lanes)),
        np.empty((n_slots, lanes)),
        np.empty((n_slots, lanes)),
        np.empty((n_slots, n_variables, lanes)),
        np.empty((n_slots, n_variables, n_variables, lanes)),
        np.empty((n_variables, lanes)),
        np.empty((n_variables, lanes)),
        np.empty((n_variables, lanes)),
        np.empty((n_variables, lanes)),
        np.empty(lanes),
    )
    return walk


@njit(**INLINE)
def kind_of(n_kinds, j, active):
    """Return the kind of the j-th variable to eliminate of a latent that changes.

    Multiplier and z where it is switched on, the other way round where it is off.
    """
    return n_kinds - 1 - j if active else j


@njit(**INLINE)
def load(walk, lane, slabs, holes, centre, n_active):
    """Write the quadratic form of one data point's candidates at the root."""
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    q, candidates, position = walk.quadratic[0], centre.candidates, centre.position
    for i in range(candidates.size):
        h = candidates[i]
        active = position[h] >= 0
        constant = constant_of(slabs, h)
        for j in range(n_kinds):
            v, kind = n_kinds * i + j, kind_of(n_kinds, j, active)
            is_z = kind == n_kinds - 1
            walk.sign[v, lane] = 1.0 if is_z != active else -1.0
            walk.floor[v, lane] = least_pivot(slabs, h, kind, active)
            walk.bias[v, lane] = 0.0
            walk.linear[0, v, lane] = centre.linear[kind * n_latents + h]
            q[v, v, lane] = centre.diagonal[0 if is_z else 1, h]
            for k in range(i + 1, candidates.size):
                g = candidates[k]
                for m in range(n_kinds):
                    other = kind_of(n_kinds, m, position[g] >= 0)
                    x = entry_between(slabs, holes, centre, n_active, n_kinds, h, kind, g, other)
                    q[v, n_kinds * k + m, lane] = x
        walk.bias[n_kinds * i, lane] = -constant if active else constant
        if n_kinds == 2:
            q[2 * i, 2 * i + 1, lane] = centre.diagonal[2, h]


@njit(**INLINE)
def eliminate(walk, slot, v, stop):
    """Go down one slot: take variable v out of those before ``stop``."""
    q, r, row = walk.quadratic, walk.linear, walk.row
    inverse, mean, gain, determinant = walk.inverse, walk.mean, walk.gain, walk.determinant
    for n in range(row.size):
        sign = walk.sign[v, n]
        size = maximum(sign * q[slot, v, v, n], walk.floor[v, n])
        inverse[slot, n] = sign / size
        x = r[slot, v, n]
        mean[slot, n] = x * inverse[slot, n]
        gain[slot + 1, n] = gain[slot, n] + walk.bias[v, n] + 0.5 * x * mean[slot, n]
        determinant[slot + 1, n] = determinant[slot, n] * size
    for i in range(v + 1, stop):
        for n in range(row.size):
            x = q[slot, v, i, n]
            r[slot + 1, i, n] = r[slot, i, n] - x * mean[slot, n]
            row[n] = x * inverse[slot, n]
        for k in range(i, stop):
            for n in range(row.size):
                q[slot + 1, i, k, n] = q[slot, i, k, n] - row[n] * q[slot, v, k, n]


@njit(**INLINE)
def forget(walk, slot, start, stop):
    """Set the sums of a slot to 0."""
    walk.total[slot] = 0.0
    for i in range(start, stop):
        walk.first[slot, i] = 0.0
        walk.second[slot, i, i:stop] = 0.0


@njit(**INLINE)
def absorb(walk, slot, v, stop):
    """Go up to ``slot``, where variable v was eliminated: add up the sums below.

    Given the later variables x, the mean of variable v is mean - (q_v . x) / pivot and
    its variance 1 / pivot.
    """
    q, first, second, row = walk.quadratic, walk.first, walk.second, walk.row
    inverse, mean, total = walk.inverse, walk.mean, walk.total
    below = slot + 1
    for i in range(v + 1, stop):
        row[:] = 0.0
        for k in range(v + 1, i):
            for n in range(row.size):
                row[n] += q[slot, v, k, n] * second[below, k, i, n]
        for k in range(i, stop):
            for n in range(row.size):
                x = second[below, i, k, n]
                row[n] += q[slot, v, k, n] * x
                second[slot, i, k, n] += x
        for n in range(row.size):
            x = first[below, i, n]
            first[slot, i, n] += x
            x = mean[slot, n] * x - inverse[slot, n] * row[n]
            second[below, v, i, n] = x
            second[slot, v, i, n] += x
    row[:] = 0.0
    for i in range(v + 1, stop):
        for n in range(row.size):
            row[n] += q[slot, v, i, n] * first[below, i, n]
    for n in range(row.size):
        x = mean[slot, n] * total[below, n] - inverse[slot, n] * row[n]
        first[below, v, n] = x
        first[slot, v, n] += x
        row[n] = 0.0
    for i in range(v + 1, stop):
        for n in range(row.size):
            row[n] += q[slot, v, i, n] * second[below, v, i, n]
    for n in range(row.size):
        second[slot, v, v, n] += (
            inverse[slot, n] * (total[below, n] - row[n]) + mean[slot, n] * first[below, v, n]
        )
        walk.changed[v, n] += total[below, n]
        total[slot, n] += total[below, n]


@njit(**INLINE)
def change(walk, n_kinds, latent, n_changed, n_variables, max_changes):
    """Eliminate the variables of one more candidate; return the end of those kept."""
    v = n_kinds * latent
    stop = n_variables if n_changed < max_changes else v + n_kinds
    for kind in range(n_kinds):
        eliminate(walk, n_kinds * (n_changed - 1) + kind, v + kind, stop)
    return stop


@njit(**INLINE)
def walk_energies(walk, tree, n_kinds, n_variables, max_changes, gains, determinants):
    """Write gain and determinant of every state, (n_states, lanes)."""
    for s in range(tree.latent.size):
        change(walk, n_kinds, tree.latent[s], tree.n_changed[s], n_variables, max_changes)
        slot = n_kinds * tree.n_changed[s]
        for n in range(walk.row.size):
            gains[s, n] = walk.gain[slot, n]
            determinants[s, n] = walk.determinant[slot, n]


@njit(**INLINE)
def walk_moments(walk, tree, n_kinds, n_variables, max_changes, path, weights):
    """Sum the moments of all states, weighted by ``weights``, at the root."""
    forget(walk, 0, 0, n_variables)
    walk.changed[:] = 0.0
    depth = 0
    for s in range(tree.latent.size + 1):
        latent, n_changed = -1, 1
        if s < tree.latent.size:
            latent, n_changed = tree.latent[s], tree.n_changed[s]
        while depth >= n_changed:
            v = n_kinds * path[depth]
            stop = n_variables if depth < max_changes else v + n_kinds
            for kind in range(n_kinds - 1, -1, -1):
                absorb(walk, n_kinds * (depth - 1) + kind, v + kind, stop)
            depth -= 1
        if latent < 0:
            return
        stop = change(walk, n_kinds, latent, n_changed, n_variables, max_changes)
        for kind in range(n_kinds):
            forget(walk, n_kinds * (n_changed - 1) + kind + 1, n_kinds * latent + kind + 1, stop)
        for n in range(walk.row.size):
            walk.total[n_kinds * n_changed, n] = weights[s, n]
        path[n_changed] = latent
        depth = n_changed


@njit(**INLINE)
def weigh(tree, gains, determinants, reference, total):
    """Turn gains into weights relative to a reference, which rises where it must."""
    for s in range(gains.shape[0]):
        if tree.n_changed[s] > 1:
            for n in range(reference.size):
                reference[n] = maximum(reference[n], gains[s, n])
    for n in range(reference.size):
        total[n] = exp(-reference[n])
    for s in range(gains.shape[0]):
        if tree.n_changed[s] == 1:  # counted among all latents
            gains[s] = 0.0
            continue
        for n in range(reference.size):
            weight = exp(gains[s, n] - reference[n]) / np.sqrt(determinants[s, n])
            gains[s, n] = weight
            total[n] += weight


@njit(**INLINE)
def group_size(n_points, n_states):
    """Return how many data points walk the tree together."""
    return max(1, min(_LANES, n_points, _MAX_ENERGIES // max(1, n_states)))


@njit(**INLINE)
def make_group(slabs, n_candidates, lanes):
    """Allocate the `Group`; any single data point finds room."""
    n_latents, dtype = slabs.scale.size, slabs.coupling.dtype
    n_kinds = len(slabs.kinds)
    n_variables = n_kinds * n_latents
    room = n_variables * min(lanes, max(1, _MAX_ROWS // n_variables**2))
    return Group(
        slabs.kinds,
        np.empty((lanes, n_variables), dtype),
        np.empty((lanes, 1 if n_kinds == 1 else 3, n_latents), dtype),
        np.empty((lanes, n_latents)),
        np.empty((lanes, n_latents), np.int64),
        np.empty((lanes, n_latents), np.int64),
        np.empty((lanes, n_candidates), np.int64),
        np.empty(lanes, np.int64),
        np.empty(lanes, np.int64),
        np.empty(lanes),
        np.empty((room, n_variables), dtype),
    )


@njit(**INLINE)
def centre_of(group, lane):
    """Return the `Centre` of a data point of the group."""
    return Centre(
        group.kinds,
        group.linear[lane],
        group.diagonal[lane],
        group.gains[lane],
        group.support[lane],
        group.position[lane],
        group.candidates[lane],
        group.rows[group.first_row[lane] :],
    )


@njit(**INLINE)
def repeat(walk, lane, other):
    """Make the form of another lane that of a lane."""
    n_variables = walk.bias.shape[0]
    for v in range(n_variables):
        walk.sign[v, other] = walk.sign[v, lane]
        walk.floor[v, other] = walk.floor[v, lane]
        walk.bias[v, other] = walk.bias[v, lane]
        walk.linear[0, v, other] = walk.linear[0, v, lane]
        for w in range(v, n_variables):
            walk.quadratic[0, v, w, other] = walk.quadratic[0, v, w, lane]


@njit(**INLINE)
def start_group(codes, first, slabs, holes, best, pursuit, group, walk, scratch):
    """Scale the projections of a group from ``first`` on, find the centres, write the forms.

    Returns how many data points found room. Lanes left over repeat the last of them.
    """
    lanes, n_latents = group.gains.shape
    n_kinds = len(group.kinds)
    n_used, row = 0, 0
    while n_used < min(lanes, codes.shape[0] - first):
        u = codes[first + n_used]
        for h in range(n_latents):
            scratch.scaled[h] = slabs.scale[h] * u[h] + slabs.shift[h]
        group.first_row[n_used] = row
        centre = centre_of(group, n_used)
        n_active, height = enter(
            scratch.scaled, slabs, holes, first + n_used, best, pursuit, centre, scratch
        )
        if n_active < 0:
            break
        group.n_active[n_used], group.height[n_used] = n_active, height
        load(walk, n_used, slabs, holes, centre, n_active)
        row += n_kinds * n_active
        n_used += 1
    for lane in range(n_used, lanes):
        repeat(walk, n_used - 1, lane)
    return n_used


@njit(**INLINE)
def weigh_singles(gains, reference, alone):
    """Write the weights of all states that differ in one latent; return their sum."""
    for h in range(gains.size):
        alone[h] = exp(gains[h] - reference)
    # in a loop of its own, see linear.pair_halves
    total = 0.0
    for h in range(gains.size):
        total += alone[h]
    return total


class Moments(NamedTuple):
    """Weighted moments of one data point's changed variables; see `Centre` for their order."""

    changed: np.ndarray  # (H,) posterior weight of being changed
    first: np.ndarray  # (variables,)
    alone: np.ndarray  # (1 or 3, H) second moments of latents that change alone, as diagonal
    pairs: np.ndarray  # (candidates * kinds, candidates * kinds) of several that change


class Active(NamedTuple):
    """Scratch for the latents that are on in the centre."""

    off: np.ndarray  # (variables,) first moments, 0 where the latent is on in the centre
    mixed: np.ndarray  # (candidates * kinds,)
    pull: np.ndarray  # (tile, variables) sum_k F_ik <x_k x_j>
    shift: np.ndarray  # (variables,) sum_k F_ik <x_k>
    total: np.ndarray  # (tile, H) sum_jk F_ij F_lk <x_j x_k>


@njit(**INLINE)
def make_moments(slabs, n_candidates):
    """Allocate the `Moments`."""
    n_latents, n_kinds, dtype = slabs.scale.size, len(slabs.kinds), slabs.coupling.dtype
    n_variables, n_pairs = n_kinds * n_latents, n_kinds * n_candidates
    return Moments(
        np.empty(n_latents, dtype),
        np.empty(n_variables, dtype),
        np.empty((1 if n_kinds == 1 else 3, n_latents), dtype),
        np.empty((n_pairs, n_pairs), dtype),
    )


@njit(**INLINE)
def make_active(slabs, n_candidates):
    """Allocate the `Active`."""
    n_latents, n_kinds, dtype = slabs.scale.size, len(slabs.kinds), slabs.coupling.dtype
    n_variables = n_kinds * n_latents
    return Active(
        np.empty(n_variables, dtype),
        np.empty(n_kinds * n_candidates, dtype),
        np.zeros((_TILE, n_variables), dtype),
        np.empty(n_variables, dtype),
        np.empty((_TILE, n_latents)),
    )


@njit(**INLINE)
def pair_moments(q, first, between, second, r_first, r_second, floor_first, floor_second, sign):
    """Return weight q times the moments of a latent's two variables that changes alone.

    The two are told in the order in which they are eliminated; ``sign`` is that of the
    second pivot. Means of both, second moments of both and between them.
    """
    a = -sign * maximum(-sign * first, floor_first)
    slope = between / a
    b = sign * maximum(sign * (second - slope * between), floor_second)
    mean_second = (r_second - slope * r_first) / b
    mean_first = r_first / a - slope * mean_second
    square_second = 1.0 / b + mean_second * mean_second
    covariance = -slope / b
    square_first = 1.0 / a - slope * covariance + mean_first * mean_first
    mixed = covariance + mean_first * mean_second
    return q * mean_first, q * mean_second, q * square_first, q * square_second, q * mixed


@njit(**INLINE)
def collect_singles(slabs, centre, n_active, alone, weight, floor, moments):
    """Write the moments of the latents that change alone."""
    linear, diagonal, n_latents = centre.linear, centre.diagonal, centre.gains.size
    changed, first, second = moments.changed, moments.first, moments.alone
    full = len(slabs.kinds) == 2
    for h in range(n_latents):
        changed[h] = weight * alone[h] if alone[h] > floor else 0.0
    if not full:
        for h in range(n_latents):
            coupling, q = slabs.coupling[h], changed[h]
            inverse = 1.0 / maximum(diagonal[0, h], coupling * coupling)
            mean = linear[h] * inverse
            first[h] = q * mean
            second[0, h] = q * (inverse + mean * mean)
    else:
        for h in range(n_latents):
            coupling = slabs.coupling[h]
            multiplier, z, multiplier_square, square, mixed = pair_moments(
                changed[h],
                diagonal[1, h],
                diagonal[2, h],
                diagonal[0, h],
                linear[h],
                linear[n_latents + h],
                LEAST_VARIANCE,
                coupling * coupling,
                1.0,
            )
            first[h], first[n_latents + h] = multiplier, z
            second[0, h], second[1, h], second[2, h] = square, multiplier_square, mixed
    for i in range(n_active):
        h = centre.support[i]
        q = changed[h]
        if not full:
            inverse = -1.0 / maximum(-diagonal[0, h], 1.0)
            mean = linear[h] * inverse
            first[h] = q * mean
            second[0, h] = q * (inverse + mean * mean)
        else:
            z, multiplier, square, multiplier_square, mixed = pair_moments(
                q,
                diagonal[0, h],
                diagonal[2, h],
                diagonal[1, h],
                linear[n_latents + h],
                linear[h],
                LEAST_VARIANCE,
                1.0,
                1.0,
            )
            first[h], first[n_latents + h] = multiplier, z
            second[0, h], second[1, h], second[2, h] = square, multiplier_square, mixed


@njit(**INLINE)
def collect_several(walk, lane, centre, weight, moments):
    """Add the moments of several latents that change together."""
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    candidates = centre.candidates
    for i in range(candidates.size):
        h = candidates[i]
        moments.changed[h] += weight * walk.changed[n_kinds * i, lane]
        for j in range(n_kinds):
            v = n_kinds * i + j
            own = kind_of(n_kinds, j, centre.position[h] >= 0) * n_latents + h
            moments.first[own] += weight * walk.first[0, v, lane]
            for w in range(v, n_kinds * candidates.size):
                x = weight * walk.second[0, v, w, lane]
                moments.pairs[v, w] = x
                moments.pairs[w, v] = x


@njit(**INLINE)
def spread_inactive(centre, slabs, weight, probability, moments, code, sums):
    """Add the moments of the latents that are off in the centre to the results.

    Those of the others are left out: their variables are multipliers.
    """
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    z, candidates, position = n_kinds - 1, centre.candidates, centre.position
    mean = moments.first[z * n_latents :]
    for h in range(n_latents):
        sums.active[h] += moments.changed[h]
        code[h] = moments.changed[h] if probability else slabs.scale[h] * mean[h]
    for kind in range(n_kinds):
        first, square = sums.first[kind], sums.square[kind]
        values = moments.first[kind * n_latents :]
        alone = moments.alone[0 if kind == z else 1]
        for h in range(n_latents):
            first[h] += values[h]
            square[h] += alone[h]
    for i in range(candidates.size):
        h = candidates[i]
        if position[h] >= 0:
            continue
        for kind in range(n_kinds):
            v = n_kinds * i + kind
            sums.square[kind, h] += moments.pairs[v, v]
            for k in range(i + 1, candidates.size):
                g = candidates[k]
                if position[g] < 0:
                    add_pair(sums.second[kind], h, g, moments.pairs[v, n_kinds * k + kind])


@njit(**INLINE)
def write_pull(n_kinds, n_latents, row, candidates, position, moments, mixed, pull):
    """Write sum_k row_k <x_k x_j> for the variables j."""
    alone = moments.alone
    if n_kinds == 1:
        for h in range(n_latents):
            pull[h] = row[h] * alone[0, h]
    else:
        for h in range(n_latents):
            x, y = row[h], row[n_latents + h]
            pull[h] = x * alone[1, h] + y * alone[2, h]
            pull[n_latents + h] = x * alone[2, h] + y * alone[0, h]
    mixed[:] = 0.0
    for v in range(mixed.size):
        own, pairs = variable_of_pair(n_kinds, n_latents, candidates, position, v), moments.pairs[v]
        x = row[own]
        for w in range(mixed.size):
            mixed[w] += x * pairs[w]
    for v in range(mixed.size):
        pull[variable_of_pair(n_kinds, n_latents, candidates, position, v)] += mixed[v]


@njit(**INLINE)
def variable_of_pair(n_kinds, n_latents, candidates, position, v):
    """Return the variable of the form that a variable of the tree stands for."""
    if n_kinds == 1:
        return candidates[v]
    h = candidates[v // 2]
    return kind_of(n_kinds, v % 2, position[h] >= 0) * n_latents + h


@njit(**INLINE)
def multiply_tile(pull, rows, first, step, stop, total):
    """total[a, k] = pull_a . row_(first + k step), for four a and k < stop."""
    p0, p1, p2, p3 = pull[0], pull[1], pull[2], pull[3]
    for k in range(0, stop, 2):
        other = min(k + 1, stop - 1)
        x, y = rows[first + k * step], rows[first + other * step]
        zero = x.dtype.type(0.0)
        x0, x1, x2, x3 = zero, zero, zero, zero
        y0, y1, y2, y3 = zero, zero, zero, zero
        for v in range(x.size):
            x0 += p0[v] * x[v]
            x1 += p1[v] * x[v]
            x2 += p2[v] * x[v]
            x3 += p3[v] * x[v]
            y0 += p0[v] * y[v]
            y1 += p1[v] * y[v]
            y2 += p2[v] * y[v]
            y3 += p3[v] * y[v]
        total[0, k], total[1, k], total[2, k], total[3, k] = x0, x1, x2, x3
        total[0, other], total[1, other], total[2, other], total[3, other] = y0, y1, y2, y3


@njit(**INLINE)
def spread_active(centre, slabs, n_active, weight, probability, moments, active, code, sums):
    """Add the moments of the latents that are on in the centre to the results.

    With x the changed variables, they are -linear + F x and a remainder of covariance -F.
    """
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    z, linear, support, rows = n_kinds - 1, centre.linear, centre.support, centre.rows
    off, shift = active.off, active.shift
    off[:] = moments.first
    for s in range(n_kinds * n_active):
        off[variable_of(centre, n_kinds, s)] = 0.0
        row, mean = rows[s], off.dtype.type(0.0)
        for v in range(off.size):
            mean += row[v] * moments.first[v]
        shift[s] = mean
    for kind in range(n_kinds):
        sign_of_square = moments.alone[0 if kind == z else 1]
        for i in range(n_active):
            h, own = support[i], kind * n_latents + support[i]
            first = np.float64(shift[n_kinds * i + kind]) - weight * np.float64(linear[own])
            # what stands there now belongs to the multipliers
            sums.first[kind, h] += first - moments.first[own]
            sums.square[kind, h] -= sign_of_square[h]
            if kind == z:
                sums.active[h] += weight - 2.0 * moments.changed[h]
                code[h] = weight - moments.changed[h] if probability else slabs.scale[h] * first


@njit(**INLINE)
def add_second(centre, slabs, n_active, weight, moments, active, sums):
    """Add the second moments of the latents that are on in the centre, after `spread_active`."""
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    rows, shift, off = centre.rows, active.shift, active.off
    pull, total = active.pull, active.total
    for kind in range(n_kinds):
        for start in range(0, n_active, _TILE):
            n_tile = min(_TILE, n_active - start)
            for a in range(n_tile):
                row = rows[n_kinds * (start + a) + kind]
                write_pull(
                    n_kinds,
                    n_latents,
                    row,
                    centre.candidates,
                    centre.position,
                    moments,
                    active.mixed,
                    pull[a],
                )
            multiply_tile(pull, rows, kind, n_kinds, start + n_tile, total)
            for a in range(n_tile):
                i = start + a
                spread_pairs(centre, i, n_active, kind, weight, shift, off, pull[a], total[a], sums)


@njit(**INLINE)
def spread_pairs(centre, i, n_active, kind, weight, shift, off, pull, total, sums):
    """Add the second moments of the i-th latent that is on, with those off and those before."""
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    linear, support = centre.linear, centre.support
    h, s = support[i], n_kinds * i + kind
    mean = -linear[kind * n_latents + h]
    own_row, own_linear = centre.rows[s, kind * n_latents :], linear[kind * n_latents :]
    own_pull, values = pull[kind * n_latents :], off[kind * n_latents :]
    for k in range(n_active):
        g = support[k]
        x = total[k] - weight * (np.float64(mean) * own_linear[g] + own_row[g])
        x += np.float64(mean) * shift[n_kinds * k + kind] - np.float64(own_linear[g]) * shift[s]
        own_pull[g] = x if k < i else 0.0
        if k == i:
            sums.square[kind, h] += x
    second = sums.second[kind, h]
    for g in range(n_latents):
        second[g] += np.float64(mean * values[g] + own_pull[g])


@njit(**JIT)
def expectations(
    codes,
    weights,
    slabs,
    tree,
    n_candidates,
    max_changes,
    best,
    pursuit,
    probability,
    negligible,
    with_second,
    sums,
    evidence,
    holes,
):
    """Truncated posteriors of a block of data points.

    Parameters
    ----------
    codes : (n, H) array
        In: the projections W Sigma^-1 y. Out: weight times posterior mean <s>, or
        with ``probability`` weight times posterior probability of being active.
    weights : (n,) array
        Weight of each data point in ``sums``.
    slabs : Slabs
    tree : StateTree
    n_candidates, max_changes : int
    best, pursuit, probability : bool
    negligible : float
        Posterior weight below which a latent that changes alone is left out.
    with_second : bool
        Whether the second moments of latents that are on in the centre are added to ``sums``.
    sums : Sums
        Added to.
    evidence : (n,) float64 array
        Out: log of the truncated evidence relative to the state 0.
    holes : Holes or None
        What the data points miss; the block may end before its last one, where there is
        no more room.

    Returns
    -------
    n_nonzero : int
        Entries of ``codes`` that are not zero.
    """
    n_points, n_latents = codes.shape
    n_kinds = len(slabs.kinds)
    n_states = tree.latent.size
    n_variables = n_kinds * n_candidates
    lanes = group_size(n_points, n_states)
    walk = new_walk(n_variables, n_kinds * max_changes + 1, lanes)
    group = make_group(slabs, n_candidates, lanes)
    scratch = make_scratch(slabs, codes.dtype)
    moments = make_moments(slabs, n_candidates)
    gains = np.empty((n_states, lanes))
    determinants = np.empty((n_states, lanes))
    path = np.empty(max_changes + 1, np.int64)
    reference = np.empty(lanes)
    total = np.empty(lanes)
    alone = np.empty(n_latents)
    active = make_active(slabs, n_candidates)
    second, square = moments_of_point(holes, sums.second, sums.square)
    own = Sums(sums.active, sums.first, square, second)
    counted = np.zeros(n_kinds)  # the multipliers have no part in the data
    counted[n_kinds - 1] = 1.0
    n_nonzero, start = 0, 0
    while start < n_points:
        n_used = start_group(codes, start, slabs, holes, best, pursuit, group, walk, scratch)
        for lane in range(lanes):
            used = min(lane, n_used - 1)
            reference[lane] = max(0.0, highest(group.gains[used]))
        walk_energies(walk, tree, n_kinds, n_variables, max_changes, gains, determinants)
        weigh(tree, gains, determinants, reference, total)
        wanted = False
        for n in range(start, start + n_used):
            wanted = wanted or weights[n] > 0.0
        if wanted:
            walk_moments(walk, tree, n_kinds, n_variables, max_changes, path, gains)
        for lane in range(n_used):
            n = start + lane
            code, centre, n_active = codes[n], centre_of(group, lane), group.n_active[lane]
            if not has_room(holes, n_active + n_candidates):
                return n_nonzero
            largest = reference[lane]
            all_states = total[lane] + weigh_singles(centre.gains, largest, alone)
            evidence[n] = group.height[lane] + largest + np.log(all_states)
            if not weights[n] > 0.0:
                code[:] = 0.0
                finish(holes, n + 1)
                continue
            weight = weights[n] / all_states
            floor = negligible * all_states
            collect_singles(slabs, centre, n_active, alone, weight, floor, moments)
            collect_several(walk, lane, centre, weight, moments)
            spread_inactive(centre, slabs, weight, probability, moments, code, own)
            if n_active > 0:
                spread_active(
                    centre, slabs, n_active, weights[n], probability, moments, active, code, own
                )
                if with_second:
                    add_second(centre, slabs, n_active, weights[n], moments, active, own)
            collect_point(
                holes,
                n,
                counted,
                centre.support,
                n_active,
                centre.candidates,
                sums.second,
                sums.square,
            )
            finish(holes, n + 1)
            for h in range(n_latents):
                n_nonzero += code[h] != 0.0
        start += n_used
    return n_nonzero


@njit(**JIT)
def most_active(projections, slabs, best, pursuit, n_candidates, holes):
    """Return the largest number of latents active in the centre of a data point."""
    n_points, n_latents = projections.shape
    n_kinds = len(slabs.kinds)
    walk = new_walk(n_kinds * n_candidates, 1, 1)
    group = make_group(slabs, n_candidates, 1)
    scratch = make_scratch(slabs, projections.dtype)
    most = 0
    for n in range(n_points):
        start_group(projections, n, slabs, holes, best, pursuit, group, walk, scratch)
        most = max(most, group.n_active[0])
    return most


@njit(**INLINE)
def write_support(support, centre, n_active, changed, n_changed):
    """Write the active latents of a state, those of the centre first."""
    width = 0
    for i in range(n_active):
        h = centre.support[i]
        on = True
        for j in range(n_changed):
            on = on and changed[j] != h
        if on:
            support[width] = h
            width += 1
    for j in range(n_changed):
        if centre.position[changed[j]] < 0:
            support[width] = changed[j]
            width += 1


@njit(**JIT)
def top_states(
    projections,
    slabs,
    tree,
    n_candidates,
    max_changes,
    best,
    pursuit,
    log_probability,
    support,
    entropy,
    evidence,
    holes,
):
    """Write the most probable states of every data point, best first.

    log_probability (n, n_states) is -inf where K_n holds fewer states; support
    (n, n_states, width) holds the active latents, -1 where there are fewer; entropy
    (n,) is that of the truncated posterior over active sets and evidence (n,) its log
    normaliser relative to the state 0, both in nats.
    """
    n_points, n_latents = projections.shape
    n_kinds = len(slabs.kinds)
    n_states = tree.latent.size
    n_variables = n_kinds * n_candidates
    lanes = group_size(n_points, n_states)
    walk = new_walk(n_variables, n_kinds * max_changes + 1, lanes)
    group = make_group(slabs, n_candidates, lanes)
    scratch = make_scratch(slabs, projections.dtype)
    gains = np.empty((n_states, lanes))
    determinants = np.empty((n_states, lanes))
    energies = np.empty(n_latents + 1 + n_states)
    index = np.empty(log_probability.shape[1], np.int64)
    unused = np.empty(log_probability.shape[1], np.int64)
    changed = np.empty(max_changes + 1, np.int64)
    start = 0
    while start < n_points:
        n_used = start_group(projections, start, slabs, holes, best, pursuit, group, walk, scratch)
        walk_energies(walk, tree, n_kinds, n_variables, max_changes, gains, determinants)
        for lane in range(n_used):
            n = start + lane
            centre, n_active = centre_of(group, lane), group.n_active[lane]
            # latents that change alone, then the centre, then the tree
            for h in range(n_latents):
                energies[h] = centre.gains[h]
            energies[n_latents] = 0.0
            for s in range(n_states):
                energy = gains[s, lane] - 0.5 * np.log(determinants[s, lane])
                energies[n_latents + 1 + s] = energy if tree.n_changed[s] > 1 else -np.inf
            best_of = log_probability[n]
            best_of[:] = -np.inf
            support[n] = -1
            size = 0
            largest = -np.inf
            for s in range(energies.size):
                largest = maximum(largest, energies[s])
                if energies[s] > -np.inf:
                    size = insert_state(best_of, index, unused, size, energies[s], s, 0)
            total, mean = 0.0, 0.0
            for s in range(energies.size):
                if energies[s] > -np.inf:
                    weight = exp(energies[s] - largest)
                    total += weight
                    mean += weight * (energies[s] - largest)
            evidence[n] = group.height[lane] + largest + np.log(total)
            entropy[n] = max(0.0, np.log(total) - mean / total)
            for i in range(size):
                best_of[i] = log_share(best_of[i], largest, total)
                s = index[i]
                n_changed = 1
                if s < n_latents:
                    changed[0] = s
                else:
                    s -= n_latents + 1
                    # the last state before it with one changed latent less is its parent
                    n_changed = tree.n_changed[s] if s >= 0 else 0
                    depth = n_changed
                    while depth > 0:
                        if tree.n_changed[s] == depth:
                            depth -= 1
                            changed[depth] = centre.candidates[tree.latent[s]]
                        s -= 1
                write_support(support[n, i], centre, n_active, changed, n_changed)
        start += n_used
