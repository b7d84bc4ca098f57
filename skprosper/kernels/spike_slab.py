"""E-step of the linear superposition with a spike-and-slab prior (GSC).

Latents are scaled so that the posterior precision of one that is active alone is 1.
An active set A then has the log-joint, relative to the state 0,

    sum_A b_h + (u_A^T R_A^-1 u_A - log det R_A) / 2

and its slabs the posterior N(R_A^-1 u_A, R_A^-1). The states are a tree in which a
child activates one more, later candidate. Activating a candidate eliminates its
variable from the quadratic form of the later ones, one row of a Cholesky factor; the
sums of first and second moments over all descendants come back the other way, by the
law of total expectation. No state is solved on its own.

A full slab covariance Psi has another inverse for each A. There every candidate has
two variables: the Lagrange multiplier Psi_A^-1 (z_A - mu_A) and z, in the quadratic
form [[-Psi_A, I], [I, G_A]], whose blocks do not depend on A. The rest is the same.

The tree is walked once for a group of data points: they are the innermost axis.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .compiling import njit
from .linear import add_pair, insert_state
from .vector_math import INLINE, JIT, argmax, exp, maximum

# Data points that walk the tree together, and most numbers kept for all its states.
_LANES = 64
_MAX_ENERGIES = 4_000_000
# Least conditional variance of a slab in units of its variance.
_LEAST_VARIANCE = 1e-14


class StateTree(NamedTuple):
    """Sets of active candidates, none empty, in the order of a depth-first walk."""

    latent: np.ndarray  # (n_states,) int64, the last active candidate
    n_active: np.ndarray  # (n_states,) int64


class Slabs(NamedTuple):
    """The parameters in scaled units: z = scale * (scaled z)."""

    scale: np.ndarray  # (H,) posterior deviation of a latent that is active alone
    shift: np.ndarray  # (H,) u = scale * projection + shift
    bias: np.ndarray  # (H,) b: the gain of a latent alone is b + u^2 / 2
    precision: np.ndarray  # (H, H) R, the diagonal is not read
    coupling: np.ndarray  # (H,) scale / prior deviation
    mean: np.ndarray  # (H,) slab mean / prior deviation
    correlation: np.ndarray  # (H, H) of the slabs; (0, 0) where they are independent


class Sums(NamedTuple):
    """Sums over the data points in scaled units, to be added to."""

    second: np.ndarray  # (H, H) upper triangle of <z z^T>, two or more active
    singles: np.ndarray  # (3, H) q(h active alone) times 1, z, z^2
    several: np.ndarray  # (3, H) two or more active: q(h active), <z>, <multiplier>
    multipliers: np.ndarray  # (H, H) as second, of the multipliers; or (0, 0)


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
    active: np.ndarray  # (variable, lane) posterior weight of being active
    bias: np.ndarray  # (variable, lane)
    floor: np.ndarray  # (variable, lane) least size of a pivot
    row: np.ndarray  # (lane,) scratch


@lru_cache(maxsize=8)
def state_tree(n_candidates, max_active):
    """Return the `StateTree` of 1 to ``max_active`` active candidates."""
    latent, n_active = [], []

    def grow(first, depth):
        for j in range(first, n_candidates):
            latent.append(j)
            n_active.append(depth)
            if depth < max_active:
                grow(j + 1, depth + 1)

    if max_active > 1:
        grow(0, 1)
    return StateTree(np.array(latent, np.int64), np.array(n_active, np.int64))


@njit(**INLINE)
def select(u, bias, precision, pursuit, residual, gains, candidates):
    """Write the candidates, best first; return the largest gain of a latent alone."""
    half = u.dtype.type(0.5)
    for h in range(u.size):
        residual[h] = u[h]
        gains[h] = bias[h] + half * u[h] * u[h]
    candidates[0] = argmax(gains)
    top = np.float64(gains[candidates[0]])
    gain = top
    for j in range(1, candidates.size):
        last = candidates[j - 1]
        if pursuit:
            e = exp(-abs(gain))
            share = (1.0 if gain > 0.0 else e) / (1.0 + e)
            amplitude = u.dtype.type(share * residual[last])
            for h in range(u.size):
                r = residual[h] - amplitude * precision[last, h]
                residual[h] = r
                gains[h] = bias[h] + half * r * r
        for i in range(j):
            gains[candidates[i]] = -np.inf
        candidates[j] = argmax(gains)
        gain = np.float64(gains[candidates[j]])
    return top


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
        np.empty(lanes),
    )
    return walk


@njit(**INLINE)
def load(walk, lane, u, candidates, slabs):
    """Write the quadratic form of one data point's candidates at the root."""
    full = slabs.correlation.size > 0
    n_kinds = 2 if full else 1
    z = n_kinds - 1
    q, r = walk.quadratic[0], walk.linear[0]
    for i in range(candidates.size):
        h = candidates[i]
        v = n_kinds * i
        coupling = slabs.coupling[h]
        walk.floor[v + z, lane] = coupling * coupling
        walk.bias[v + z, lane] = 0.0
        walk.bias[v, lane] = slabs.bias[h]
        r[v + z, lane] = u[h]
        q[v + z, v + z, lane] = 1.0
        for k in range(i + 1, candidates.size):
            q[v + z, n_kinds * k + z, lane] = slabs.precision[h, candidates[k]]
        if full:
            mean = slabs.mean[h]
            walk.floor[v, lane] = _LEAST_VARIANCE
            walk.bias[v, lane] += 0.5 * mean * mean
            r[v, lane] = mean
            r[v + 1, lane] -= coupling * mean
            q[v, v, lane] = -1.0
            q[v, v + 1, lane] = coupling
            q[v + 1, v + 1, lane] -= coupling * coupling
            for k in range(i + 1, candidates.size):
                q[v, 2 * k, lane] = -slabs.correlation[h, candidates[k]]
                q[v, 2 * k + 1, lane] = 0.0
                q[v + 1, 2 * k, lane] = 0.0


@njit(**INLINE)
def eliminate(walk, slot, v, stop, sign):
    """Go down one slot: take variable v out of those before ``stop``.

    ``sign`` is that of the pivot.
    """
    q, r, row = walk.quadratic, walk.linear, walk.row
    inverse, mean, gain, determinant = walk.inverse, walk.mean, walk.gain, walk.determinant
    for n in range(row.size):
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
        walk.active[v, n] += total[below, n]
        total[slot, n] += total[below, n]


@njit(**INLINE)
def activate(walk, n_kinds, latent, n_active, n_variables, max_active):
    """Eliminate the variables of one more candidate; return the end of those kept."""
    v = n_kinds * latent
    stop = n_variables if n_active < max_active else v + n_kinds
    for kind in range(n_kinds):
        sign = 1.0 if kind == n_kinds - 1 else -1.0
        eliminate(walk, n_kinds * (n_active - 1) + kind, v + kind, stop, sign)
    return stop


@njit(**INLINE)
def walk_energies(walk, tree, n_kinds, n_variables, max_active, gains, determinants):
    """Write gain and determinant of every state, (n_states, lanes)."""
    for s in range(tree.latent.size):
        activate(walk, n_kinds, tree.latent[s], tree.n_active[s], n_variables, max_active)
        slot = n_kinds * tree.n_active[s]
        for n in range(walk.row.size):
            gains[s, n] = walk.gain[slot, n]
            determinants[s, n] = walk.determinant[slot, n]


@njit(**INLINE)
def walk_moments(walk, tree, n_kinds, n_variables, max_active, path, weights):
    """Sum the moments of all states, weighted by ``weights``, at the root."""
    forget(walk, 0, 0, n_variables)
    walk.active[:] = 0.0
    depth = 0
    for s in range(tree.latent.size + 1):
        latent, n_active = -1, 1
        if s < tree.latent.size:
            latent, n_active = tree.latent[s], tree.n_active[s]
        while depth >= n_active:
            v = n_kinds * path[depth]
            stop = n_variables if depth < max_active else v + n_kinds
            for kind in range(n_kinds - 1, -1, -1):
                absorb(walk, n_kinds * (depth - 1) + kind, v + kind, stop)
            depth -= 1
        if latent < 0:
            return
        stop = activate(walk, n_kinds, latent, n_active, n_variables, max_active)
        for kind in range(n_kinds):
            forget(walk, n_kinds * (n_active - 1) + kind + 1, n_kinds * latent + kind + 1, stop)
        for n in range(walk.row.size):
            walk.total[n_kinds * n_active, n] = weights[s, n]
        path[n_active] = latent
        depth = n_active


@njit(**INLINE)
def weigh(tree, gains, determinants, reference, total):
    """Turn gains into weights relative to a reference, which rises where it must."""
    for s in range(gains.shape[0]):
        if tree.n_active[s] > 1:
            for n in range(reference.size):
                reference[n] = maximum(reference[n], gains[s, n])
    for n in range(reference.size):
        total[n] = exp(-reference[n])
    for s in range(gains.shape[0]):
        if tree.n_active[s] == 1:  # counted among all latents
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
def start_group(codes, slabs, pursuit, members, reference, walk):
    """Scale the projections of a group and write its quadratic forms at the root.

    members (lanes, n_candidates) and reference (lanes,), the largest log-joint of a
    state of at most one active latent, are written. Lanes left over repeat the last
    data point.
    """
    n_points, n_latents = codes.shape
    residual = np.empty(n_latents, codes.dtype)
    gains = np.empty(n_latents, codes.dtype)
    for n in range(n_points):
        u = codes[n]
        for h in range(n_latents):
            u[h] = slabs.scale[h] * u[h] + slabs.shift[h]
        best = select(u, slabs.bias, slabs.precision, pursuit, residual, gains, members[n])
        reference[n] = max(0.0, best)
        load(walk, n, u, members[n], slabs)
    for n in range(n_points, reference.size):
        members[n] = members[n_points - 1]
        reference[n] = reference[n_points - 1]
        load(walk, n, codes[n_points - 1], members[n], slabs)


@njit(**INLINE)
def spread_alone(code, alone, largest, slabs):
    """Write the weights of the latents active alone; return their sum."""
    for h in range(code.size):
        u = np.float64(code[h])
        alone[h] = exp(np.float64(slabs.bias[h]) + 0.5 * u * u - largest)
    # in a loop of its own, see linear.pair_halves
    total = 0.0
    for h in range(code.size):
        total += alone[h]
    return total


@njit(**JIT)
def expectations(
    codes,
    weights,
    slabs,
    tree,
    n_candidates,
    max_active,
    pursuit,
    probability,
    negligible,
    sums,
    evidence,
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
    n_candidates, max_active : int
    pursuit, probability : bool
    negligible : float
        Posterior weight below which a latent that is active alone is left out.
    sums : Sums
        Added to.
    evidence : (n,) float64 array
        Out: log of the truncated evidence relative to the state 0.

    Returns
    -------
    n_nonzero : int
        Entries of ``codes`` that are not zero.
    """
    n_points, n_latents = codes.shape
    full = slabs.correlation.size > 0
    n_kinds = 2 if full else 1
    z = n_kinds - 1
    n_states = tree.latent.size
    n_variables = n_kinds * n_candidates
    lanes = group_size(n_points, n_states)
    walk = new_walk(n_variables, n_kinds * max_active + 1, lanes)
    gains = np.empty((n_states, lanes))
    determinants = np.empty((n_states, lanes))
    path = np.empty(max_active + 1, np.int64)
    members = np.empty((lanes, n_candidates), np.int64)
    reference = np.empty(lanes)
    total = np.empty(lanes)
    alone = np.empty(n_latents)
    second, singles, several, multipliers = sums
    n_nonzero = 0
    for start in range(0, n_points, lanes):
        n_used = min(lanes, n_points - start)
        group = codes[start : start + n_used]
        start_group(group, slabs, pursuit, members, reference, walk)
        walk_energies(walk, tree, n_kinds, n_variables, max_active, gains, determinants)
        weigh(tree, gains, determinants, reference, total)
        walk_moments(walk, tree, n_kinds, n_variables, max_active, path, gains)
        for lane in range(n_used):
            n = start + lane
            code = codes[n]
            candidates = members[lane]
            largest = reference[lane]
            all_states = total[lane] + spread_alone(code, alone, largest, slabs)
            evidence[n] = largest + np.log(all_states)
            weight = weights[n] / all_states
            floor = negligible * all_states
            for h in range(n_latents):
                q = weight * alone[h] if alone[h] > floor else 0.0
                u = np.float64(code[h])
                mean = q * u
                singles[0, h] += q
                singles[1, h] += mean
                singles[2, h] += q + mean * u
                code[h] = q if probability else slabs.scale[h] * mean
            for i in range(n_candidates):
                h = candidates[i]
                v = n_kinds * i + z
                active, mean = weight * walk.active[v, lane], weight * walk.first[0, v, lane]
                code[h] += active if probability else slabs.scale[h] * mean
                several[0, h] += active
                several[1, h] += mean
                for k in range(i, n_candidates):
                    x = weight * walk.second[0, v, n_kinds * k + z, lane]
                    add_pair(second, h, candidates[k], x)
                if full:
                    several[2, h] += weight * walk.first[0, v - 1, lane]
                    for k in range(i, n_candidates):
                        x = weight * walk.second[0, v - 1, 2 * k, lane]
                        add_pair(multipliers, h, candidates[k], x)
            for h in range(n_latents):
                n_nonzero += code[h] != 0.0
    return n_nonzero


@njit(**JIT)
def top_states(
    projections,
    slabs,
    tree,
    n_candidates,
    max_active,
    pursuit,
    log_joint,
    support,
    entropy,
    evidence,
):
    """Write the most probable states of every data point, best first.

    projections (n, H) are scaled in place. log_joint (n, n_states) is relative to the
    state 0, -inf where K_n holds fewer states; support (n, n_states, width) holds the
    active latents, -1 where there are fewer; entropy (n,) is that of the truncated
    posterior over active sets and evidence (n,) its log normaliser, both in nats.
    """
    n_points, n_latents = projections.shape
    n_kinds = 2 if slabs.correlation.size > 0 else 1
    n_states = tree.latent.size
    n_variables = n_kinds * n_candidates
    lanes = group_size(n_points, n_states)
    walk = new_walk(n_variables, n_kinds * max_active + 1, lanes)
    gains = np.empty((n_states, lanes))
    determinants = np.empty((n_states, lanes))
    members = np.empty((lanes, n_candidates), np.int64)
    reference = np.empty(lanes)
    energies = np.empty(n_latents + 1 + n_states)
    index = np.empty(log_joint.shape[1], np.int64)
    unused = np.empty(log_joint.shape[1], np.int64)
    for start in range(0, n_points, lanes):
        n_used = min(lanes, n_points - start)
        group = projections[start : start + n_used]
        start_group(group, slabs, pursuit, members, reference, walk)
        walk_energies(walk, tree, n_kinds, n_variables, max_active, gains, determinants)
        for lane in range(n_used):
            n = start + lane
            # latents active alone, then the state 0, then the tree
            for h in range(n_latents):
                u = np.float64(group[lane, h])
                energies[h] = np.float64(slabs.bias[h]) + 0.5 * u * u
            energies[n_latents] = 0.0
            for s in range(n_states):
                energy = gains[s, lane] - 0.5 * np.log(determinants[s, lane])
                energies[n_latents + 1 + s] = energy if tree.n_active[s] > 1 else -np.inf
            best = log_joint[n]
            best[:] = -np.inf
            support[n] = -1
            size = 0
            largest = -np.inf
            for s in range(energies.size):
                largest = maximum(largest, energies[s])
                if energies[s] > -np.inf:
                    size = insert_state(best, index, unused, size, energies[s], s, 0)
            total, mean = 0.0, 0.0
            for s in range(energies.size):
                if energies[s] > -np.inf:
                    weight = exp(energies[s] - largest)
                    total += weight
                    mean += weight * (energies[s] - largest)
            evidence[n] = largest + np.log(total)
            entropy[n] = max(0.0, np.log(total) - mean / total)
            for i in range(size):
                s = index[i]
                if s < n_latents:
                    support[n, i, 0] = s
                    continue
                s -= n_latents + 1
                # the last state before it with one active latent less is its parent
                depth = tree.n_active[s] if s >= 0 else 0
                while depth > 0:
                    if tree.n_active[s] == depth:
                        depth -= 1
                        support[n, i, depth] = members[lane, tree.latent[s]]
                    s -= 1
