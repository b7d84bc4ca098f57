"""E-step of the linear superposition with discrete values (BSC, TSC, DSC).

A state is told by its changes from the centre of the data point: with Delta the change of
a latent's value, states that change i and j together have the gains of both less
Delta_i Delta_j G_ij. The centre's own values are added once per data point.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .holes import (
    collect_point,
    enter_point,
    finish,
    gram_entry,
    has_room,
    moments_of_point,
    note_centre,
    write_bias,
)
from .ranking import Ranking, best_few, make_ranking
from .selection import (
    find_centre,
    gain_of_change,
    log_joint_of,
    note_value,
    select,
    size_of_change,
    write_slack,
)
from .vector_math import (
    INLINE,
    JIT,
    LEAN,
    SUM,
    copy,
    dot,
    exp,
    fma,
    highest,
    log_share,
    maximum,
    sum_of,
)


class Model(NamedTuple):
    """What the kernels know of the parameters."""

    gram: np.ndarray  # (H, H) W Sigma^-1 W^T
    values: np.ndarray  # (K,) of an active latent
    bias: np.ndarray  # (K, H) log odds of value k against 0, less v_k^2 G_hh / 2


class Centre(NamedTuple):
    """The state around which a data point's posterior is truncated."""

    kinds: np.ndarray  # (H,) int64, index of the value of an active latent, else -1
    support: np.ndarray  # (H,) int64, the active latents come first
    field: np.ndarray  # (H,)
    gains: np.ndarray  # (H,) of the best change of each latent
    slopes: np.ndarray  # (K, H) gains of changes are slope * field + intercept
    intercepts: np.ndarray  # (K, H)
    work: np.ndarray  # (H,)
    candidates: np.ndarray  # (n_candidates,) int64
    ranking: Ranking


class Half(NamedTuple):
    """One half of the candidates of a data point and its states."""

    members: np.ndarray  # (n_latents,) int64
    gains: np.ndarray  # (n_latents * n_values,) of their changes
    sizes: np.ndarray  # (n_latents * n_values,) what a change adds to a latent's value
    steps: np.ndarray  # (padded to 4, 8, .., n_states) what a state adds to each value
    energies: np.ndarray  # (n_states,) log-joint relative to the centre
    sums: np.ndarray  # (n_states,) posterior weight


class Pairs(NamedTuple):
    """The pairs of half states of a data point that matter, by their left states."""

    weights: np.ndarray  # (n_states,) log-joint relative to the centre, then posterior weight
    right: np.ndarray  # (n_states,) int64 right state
    starts: np.ndarray  # (n_left_states + 1,) int64 where those of a left state begin


class Memory(NamedTuple):
    """What the kernels allocate, for one data point after the other."""

    centre: Centre
    left: Half
    right: Half
    field: np.ndarray  # (right latents padded to 4, .., n_left_states)
    pairs: Pairs
    row: np.ndarray  # (n_right_states,)
    singles: np.ndarray  # (K, H)
    core: np.ndarray  # (H, K)
    change: np.ndarray  # (H,)


@njit(**INLINE)
def make_centre(model, n_candidates):
    """Allocate the `Centre`; no latent is active."""
    n_latents, dtype = model.gram.shape[0], model.gram.dtype
    slopes = np.empty_like(model.bias)
    for k in range(len(slopes)):
        slopes[k] = model.values[k]
    return Centre(
        np.full(n_latents, -1, np.int64),
        np.empty(n_latents, np.int64),
        np.empty(n_latents, dtype),
        np.empty(n_latents, dtype),
        slopes,
        model.bias.copy(),
        np.empty(n_latents, dtype),
        np.empty(n_candidates, np.int64),
        make_ranking(n_latents, dtype),
    )


@njit(**INLINE)
def make_half(states, members):
    """Allocate the `Half`."""
    n_features, n_states = states.features.shape
    n_padded = 4 * max(1, -(-members.size // 4))
    return Half(
        members,
        np.empty(n_features),
        np.empty(n_features),
        np.zeros((n_padded, n_states)),
        np.empty(n_states),
        np.empty(n_states),
    )


@njit(**INLINE)
def make_memory(model, states, n_candidates):
    """Allocate the `Memory`."""
    n_values, n_latents = model.bias.shape
    left_states, right_states, n_right = states
    n_states = n_right.sum()
    centre = make_centre(model, n_candidates)
    n_left = left_states.kinds.shape[0]
    left = make_half(left_states, centre.candidates[:n_left])
    right = make_half(right_states, centre.candidates[n_left:])
    return Memory(
        centre,
        left,
        right,
        np.empty((right.steps.shape[0], left.energies.size)),
        Pairs(
            np.empty(n_states),
            np.empty(n_states, np.int64),
            np.empty(left.energies.size + 1, np.int64),
        ),
        np.empty(right.energies.size),
        np.empty((n_values, n_latents)),
        np.empty((n_latents, n_values)),
        np.empty(n_latents),
    )


@njit(**LEAN)
def enter(code, model, holes, n, best, pursuit, centre, n_active):
    """Find centre and candidates of the n-th data point, which has these projections.

    ``n_active`` latents are active in the centre of the data point before.
    Returns how many are in this one's.
    """
    _, values, bias = model
    ranking = centre.ranking
    enter_point(holes, n)
    write_bias(holes, n, values, bias)
    for i in range(n_active):
        h = centre.support[i]
        centre.kinds[h] = -1
        note_value(h, -1, values, bias, centre.slopes, centre.intercepts)
    if holes is not None:  # each data point has a bias of its own
        for k in range(values.size):
            copy(bias[k], centre.intercepts[k])
    widest = write_slack(code, bias, ranking.slack)
    if not best:
        select(code, holes, model, pursuit, centre, widest)
        return 0
    n_active = find_centre(code, holes, model, centre, widest)
    # the latents whose change costs least
    best_few(centre.gains, ranking, widest, centre.candidates)
    return n_active


@njit(**LEAN)
def load_half(states, half, model, holes, centre):
    """Write the changes of a half's candidates and the energies of its states."""
    members, gains, sizes, steps, energies, _ = half
    gram, values, bias = model
    features = states.features
    energies[:] = 0.0
    f = 0
    for i in range(members.size):
        h = members[i]
        step = steps[i]
        step[:] = 0.0
        for k in range(values.size):
            gain = gain_of_change(centre.field, values, bias, centre.kinds[h], h, k)
            size = size_of_change(values, centre.kinds[h], k)
            gains[f], sizes[f], row = gain, size, features[f]
            for s in range(energies.size):
                step[s] = fma(size, row[s], step[s])
                energies[s] = fma(gain, row[s], energies[s])
            f += 1
        for j in range(i):
            g, other = np.float64(gram_entry(gram, holes, members[j], h)), steps[j]
            for s in range(energies.size):
                energies[s] = fma(-g * step[s], other[s], energies[s])


@njit(**LEAN)
def couple(right, j, pull, energies, base, out):
    """Write energies of right states beside a left one less what four right latents share with it.

    Returns the largest. Four latents at a time keep a row in registers.
    """
    p0, p1, p2, p3 = pull[j], pull[j + 1], pull[j + 2], pull[j + 3]
    v0, v1, v2, v3 = right.steps[j], right.steps[j + 1], right.steps[j + 2], right.steps[j + 3]
    top = -np.inf
    for b in range(out.size):
        e = fma(p1, v1[b], fma(p0, v0[b], -energies[b]))
        e = base - fma(p3, v3[b], fma(p2, v2[b], e))
        out[b] = e
        top = maximum(top, e)
    return top


@njit(**LEAN)
def pair_halves(left, right, n_right, field, reference, cutoff, pairs, row):
    """List the pairs of half states that matter.

    field (n_right_latents, n_left_states) is the pull of a left state on the right
    latents. What lies ``cutoff`` below the best so far, or below the reference, does not
    matter: of two or more values most changes are to the wrong one. Returns the largest
    log-joint, at least the reference.
    """
    energies, index, starts = pairs.weights, pairs.right, pairs.starts
    size = np.uint64(0)  # an index that numba need not count from the end
    for a in range(left.energies.size):
        starts[a] = size
        n = n_right[a]
        top = couple(right, 0, field[:, a], right.energies, left.energies[a], row[:n])
        for j in range(4, field.shape[0], 4):
            top = couple(right, j, field[:, a], row, 0.0, row[:n])
        if top < reference - cutoff:
            continue
        reference = max(reference, top)
        least = reference - cutoff
        for b in range(n):
            energies[size] = row[b]
            index[size] = b
            size += np.uint64(row[b] >= least)
    starts[left.energies.size] = size
    return reference


@njit(**LEAN)
def weigh_pairs(left, right, reference, pairs, with_second, field):
    """Turn log-joints of pairs into weights exp(log-joint - reference) and sum them.

    Fills the sums of both halves and, for second moments, field[j, a]: the steps of the right
    latent j times the weights, over the pairs of a.
    """
    weights, index, starts = pairs.weights, pairs.right, pairs.starts
    for p in range(starts[starts.size - 1]):
        weights[p] = exp(weights[p] - reference)
    left_sums, right_sums = left.sums, right.sums
    right_sums[:] = 0.0
    for a in range(left_sums.size):
        total = 0.0
        for p in range(starts[a], starts[a + 1]):
            total += weights[p]
            right_sums[index[p]] += weights[p]
        left_sums[a] = total
    if not with_second:
        return
    for j in range(0, field.shape[0], 4):
        v0, v1 = right.steps[j], right.steps[j + 1]
        v2, v3 = right.steps[j + 2], right.steps[j + 3]
        for a in range(left_sums.size):
            x0, x1, x2, x3 = 0.0, 0.0, 0.0, 0.0
            for p in range(starts[a], starts[a + 1]):
                w, b = weights[p], index[p]
                x0, x1 = fma(w, v0[b], x0), fma(w, v1[b], x1)
                x2, x3 = fma(w, v2[b], x2), fma(w, v3[b], x3)
            field[j, a], field[j + 1, a], field[j + 2, a], field[j + 3, a] = x0, x1, x2, x3


@njit(**LEAN)
def pull_of_left(gram, holes, left, right_members, field):
    """field[j, a] = sum_i gram[i, j] step_i for left state a and right latent j."""
    field[:] = 0.0
    for j in range(right_members.size):
        pull = field[j]
        for i in range(left.members.size):
            g = np.float64(gram_entry(gram, holes, left.members[i], right_members[j]))
            step = left.steps[i]
            for a in range(pull.size):
                pull[a] = fma(g, step[a], pull[a])


@njit(**LEAN)
def weigh_singles(model, centre, n_active, reference, singles, core):
    """Write the weights of all states that differ from the centre in one latent.

    Those of the candidates are 0: they are counted among the states over the candidates.
    singles (K, H) are the changes of inactive latents, core (i, K) those of the i-th
    active one. Returns their sum.
    """
    _, values, bias = model
    field = centre.field
    for k in range(values.size):
        v, b, single = values[k], bias[k], singles[k]
        for h in range(field.size):
            e = np.float64(fma(v, field[h], b[h])) - reference
            # those of active latents, which are set below, may lie beyond the range of exp
            single[h] = exp(e if e < 1.0 else 1.0)
        for h in centre.candidates:
            single[h] = 0.0
    total = 0.0
    for i in range(n_active):
        h = centre.support[i]
        for k in range(values.size):
            # exactly 0 marks the candidates: exp has a floor above it
            weight = singles[k, h]
            if weight > 0.0:
                gain = gain_of_change(field, values, bias, centre.kinds[h], h, k)
                weight = exp(gain - reference)
            core[i, k] = weight
            total += weight
            singles[k, h] = 0.0
    for k in range(values.size):
        total += sum_of(singles[k])
    return total


@njit(**LEAN)
def spread_change(h, k, q, values, kind, probability, change, counts):
    """Add the posterior weight q of a latent's k-th change to the results."""
    size = size_of_change(values, kind, k)
    if probability:
        size = 1.0 if kind < 0 else (-1.0 if k == kind else 0.0)
    change[h] += size * q
    if kind >= 0:
        counts[kind, h] -= q
    if k != kind:
        counts[k, h] += q


@njit(**LEAN)
def spread_half(states, half, model, kinds, weight, probability, change, counts):
    """Add the first moments of one half of the candidates to the results."""
    members, sums, features = half.members, half.sums, states.features
    f = 0
    for i in range(members.size):
        h = members[i]
        for k in range(model.values.size):
            q = weight * dot(features[f], sums)
            spread_change(h, k, q, model.values, kinds[h], probability, change, counts)
            f += 1


@njit(**LEAN)
def add_pairs(left, right, field, weight, second):
    """Add the second moments of the candidates."""
    for half in (left, right):
        members, steps = half.members, half.steps
        for i in range(members.size):
            for j in range(i):
                together = weight * dot_of_three(steps[i], steps[j], half.sums)
                add_pair(second, members[j], members[i], together)
    for i in range(left.members.size):
        for j in range(right.members.size):
            together = weight * dot(left.steps[i], field[j])
            add_pair(second, left.members[i], right.members[j], together)


@njit(**SUM)
def dot_of_three(x, y, z):
    """Return the sum of products of three."""
    out = 0.0
    for i in range(x.size):
        out += x[i] * y[i] * z[i]
    return out


@njit(**LEAN)
def add_centre(centre, n_active, values, weight, change, second):
    """Add the second moments of the centre and what the latents change by on average.

    With s = s* + c, <s s^T> is s* s*^T + s* <c>^T + <c> s*^T + <c c^T>: the last is there.
    """
    for i in range(n_active):
        h = centre.support[i]
        v = np.float64(values[centre.kinds[h]])
        row = second[h]
        # the diagonal is not read
        for g in range(change.size):
            row[g] = fma(v, change[g], row[g])
        for j in range(i):
            g = centre.support[j]
            row[g] += weight * v * np.float64(values[centre.kinds[g]])


@njit(**LEAN)
def spread_centre(centre, n_active, values, weight, probability, change, counts):
    """Add the centre's own value to what the latents change by on average."""
    for i in range(n_active):
        h = centre.support[i]
        change[h] += weight * (1.0 if probability else np.float64(values[centre.kinds[h]]))
        counts[centre.kinds[h], h] += weight


@njit(**JIT)
def expectations(
    codes,
    weights,
    model,
    states,
    n_candidates,
    best,
    pursuit,
    probability,
    cutoff,
    negligible,
    with_second,
    second,
    counts,
    evidence,
    holes,
):
    """Truncated posteriors of a block of data points.

    Parameters
    ----------
    codes : (n, H) array
        In: the projections W Sigma^-1 y. Out: weight times posterior mean <s>, or
        with ``probability`` weight times posterior probability of being active.
    weights : (n,) float64 array
        Weight of each data point.
    model : Model
    states : PairedStates
    n_candidates : int
    best, pursuit, probability : bool
    cutoff : float
        States this many nats below the best one are passed over.
    negligible : float
        Posterior weight below which a state that differs from the centre in a latent
        that is no candidate is left out of everything but the evidence.
    with_second : bool
        Whether ``second`` is added to.
    second : (H, H) float64 array
        Added to: entries (i, j) and (j, i), i != j, sum to sum <s_i s_j>.
    counts : (K, H) float64 array
        sum q(s_h = v_k) is added to.
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
    n_latents = codes.shape[1]
    memory = make_memory(model, states, n_candidates)
    sums = second.reshape((1, n_latents, n_latents))
    own = moments_of_point(holes, sums, counts)
    squares = model.values.astype(np.float64) ** 2
    limits = n_candidates, best, pursuit, probability, cutoff, negligible, with_second
    return add_points(
        codes, weights, model, states, limits, sums, counts, own, squares, evidence, holes, memory
    )


@njit(**LEAN)
def add_points(
    codes, weights, model, states, limits, second, counts, own, squares, evidence, holes, memory
):
    """Do what `expectations` does; ``own`` is where a data point adds its moments."""
    n_points, n_latents = codes.shape
    gram, values, bias = model
    n_values = values.size
    left_states, right_states, n_right = states
    n_candidates, best, pursuit, probability, cutoff, negligible, with_second = limits
    centre, left, right, field, pairs, row, singles, core, change = memory
    own_second, own_counts = own
    n_nonzero, n_active = 0, 0
    for n in range(n_points):
        code = codes[n]
        n_active = enter(code, model, holes, n, best, pursuit, centre, n_active)
        kinds, support = centre.kinds, centre.support
        if not has_room(holes, n_candidates):
            break
        height = log_joint_of(code, gram, holes, values, bias, kinds, support, n_active)
        load_half(left_states, left, model, holes, centre)
        load_half(right_states, right, model, holes, centre)
        pull_of_left(gram, holes, left, right.members, field)
        reference = max(0.0, np.float64(highest(centre.gains)))
        reference = pair_halves(left, right, n_right, field, reference, cutoff, pairs, row)
        weigh_pairs(left, right, reference, pairs, with_second, field)
        total = sum_of(left.sums)
        # All changes of one latent at once; the candidates' own are counted above.
        total += weigh_singles(model, centre, n_active, reference, singles, core)
        evidence[n] = height + reference + np.log(total)
        if holes is None and weights[n] == 0.0:
            code[:] = 0.0
            continue
        floor = negligible * total
        weight = weights[n] / total
        change[:] = 0.0
        for k in range(n_values):
            v = 1.0 if probability else np.float64(values[k])
            single, count = singles[k], own_counts[k]
            for h in range(n_latents):
                q = weight * single[h] if single[h] > floor else 0.0
                count[h] += q
                change[h] = fma(v, q, change[h])
        for i in range(n_active):
            h = support[i]
            for k in range(n_values):
                if core[i, k] > floor:
                    q = weight * core[i, k]
                    spread_change(h, k, q, values, kinds[h], probability, change, own_counts)
        spread_half(left_states, left, model, kinds, weight, probability, change, own_counts)
        spread_half(right_states, right, model, kinds, weight, probability, change, own_counts)
        if with_second:
            add_pairs(left, right, field, weight, own_second[0])
            add_centre(centre, n_active, values, weights[n], change, second[0])
        spread_centre(centre, n_active, values, weights[n], probability, change, own_counts)
        note_centre(holes, n, values, kinds, support, n_active)
        collect_point(
            holes,
            n,
            squares,
            support,
            0,
            centre.candidates,
            second,
            counts,
        )
        finish(holes, n + 1)
        for h in range(n_latents):
            code[h] = change[h]
        for h in range(n_latents):
            n_nonzero += code[h] != 0.0
    return n_nonzero


@njit(**LEAN)
def add_pair(second, i, j, value):
    """Add to the upper triangle."""
    if i < j:
        second[i, j] += value
    else:
        second[j, i] += value


@njit(**LEAN)
def insert_state(log_joint, left_index, right_index, size, energy, a, b):
    """Keep the best states in falling order, of those that tie the first; return how many."""
    if size == log_joint.size:
        if energy <= log_joint[size - 1]:
            return size
        size -= 1
    least = energy - 1e-10 * (1.0 + abs(energy))
    i = size
    while i > 0 and log_joint[i - 1] < least:
        log_joint[i] = log_joint[i - 1]
        left_index[i] = left_index[i - 1]
        right_index[i] = right_index[i - 1]
        i -= 1
    log_joint[i] = energy
    left_index[i] = a
    right_index[i] = b
    return size + 1


@njit(**LEAN)
def write_state(support, kinds, centre, n_active, changed, n_changed):
    """Write the active latents of a state, those of the centre first, and their values.

    changed (n_changed, 2) holds the latents that differ and the index of their change.
    """
    width = 0
    for i in range(n_active):
        h = centre.support[i]
        kind = centre.kinds[h]
        for j in range(n_changed):
            if changed[j, 0] == h:
                kind = -1 if changed[j, 1] == kind else changed[j, 1]
        if kind >= 0:
            support[width], kinds[width] = h, kind
            width += 1
    for j in range(n_changed):
        h = changed[j, 0]
        if centre.kinds[h] < 0:
            support[width], kinds[width] = h, changed[j, 1]
            width += 1


@njit(**JIT)
def most_active(projections, model, n_candidates, best, pursuit, holes):
    """Return the largest number of latents active in the centre of a data point."""
    centre = make_centre(model, n_candidates)
    return most_active_in(projections, model, centre, best, pursuit, holes)


@njit(**LEAN)
def most_active_in(projections, model, centre, best, pursuit, holes):
    """Do what `most_active` does in memory that is there."""
    n_active, most = 0, 0
    for n in range(projections.shape[0]):
        n_active = enter(projections[n], model, holes, n, best, pursuit, centre, n_active)
        most = max(most, n_active)
    return most


@njit(**JIT)
def top_states(
    projections,
    model,
    states,
    n_candidates,
    best,
    pursuit,
    log_probability,
    support,
    kinds,
    entropy,
    evidence,
    holes,
):
    """Write the most probable states of every data point, best first.

    log_probability (n, n_states) is -inf where K_n holds fewer states; support
    (n, n_states, width) holds the active latents, -1 where there are fewer, kinds the
    index of their value; entropy (n,) is that of the truncated posterior and evidence
    (n,) its log normaliser relative to the state 0, both in nats.
    """
    places = (
        np.empty(log_probability.shape[1], np.int64),
        np.empty(log_probability.shape[1], np.int64),
        np.empty((n_candidates, 2), np.int64),
        np.empty(projections.shape[1], np.bool_),
    )
    memory = make_memory(model, states, n_candidates)
    search = best, pursuit
    out = log_probability, support, kinds, entropy, evidence
    write_states(projections, model, states, search, out, holes, memory, places)


@njit(**LEAN)
def write_states(projections, model, states, search, out, holes, memory, places):
    """Do what `top_states` does; ``places`` is memory for the states of a data point."""
    n_points, n_latents = projections.shape
    gram, values, bias = model
    n_values = values.size
    left_states, right_states, n_right = states
    best, pursuit = search
    log_probability, support, kinds, entropy, evidence = out
    centre, left, right, field = memory.centre, memory.left, memory.right, memory.field
    left_index, right_index, changed, outside = places
    n_active = 0
    for n in range(n_points):
        code = projections[n]
        best_of = log_probability[n]
        best_of[:] = -np.inf
        support[n] = -1
        kinds[n] = 0
        n_active = enter(code, model, holes, n, best, pursuit, centre, n_active)
        height = log_joint_of(
            code, gram, holes, values, bias, centre.kinds, centre.support, n_active
        )
        load_half(left_states, left, model, holes, centre)
        load_half(right_states, right, model, holes, centre)
        pull_of_left(gram, holes, left, right.members, field)
        size = 0
        reference, total, mean_energy = 0.0, 0.0, 0.0
        for a in range(left.energies.size):
            for b in range(n_right[a]):
                energy = left.energies[a] + right.energies[b]
                for j in range(right.members.size):
                    energy -= field[j, a] * right.steps[j, b]
                if energy > reference:
                    shrink = exp(reference - energy)
                    total *= shrink
                    mean_energy *= shrink
                    reference = energy
                weight = exp(energy - reference)
                total += weight
                mean_energy += weight * energy
                size = insert_state(best_of, left_index, right_index, size, energy, a, b)
        outside[:] = True
        for h in centre.candidates:
            outside[h] = False
        for h in range(n_latents):
            if outside[h]:
                for k in range(n_values):
                    kind = centre.kinds[h]
                    energy = gain_of_change(centre.field, values, bias, kind, h, k)
                    if energy > reference:
                        shrink = exp(reference - energy)
                        total *= shrink
                        mean_energy *= shrink
                        reference = energy
                    weight = exp(energy - reference)
                    total += weight
                    mean_energy += weight * energy
                    # a negative index marks a change outside the candidates
                    size = insert_state(best_of, left_index, right_index, size, energy, -1 - h, k)
        evidence[n] = height + reference + np.log(total)
        entropy[n] = max(0.0, reference + np.log(total) - mean_energy / total)
        for i in range(size):
            best_of[i] = log_share(best_of[i], reference, total)
            a, b = left_index[i], right_index[i]
            n_changed = 0
            if a < 0:
                changed[0, 0], changed[0, 1] = -1 - a, b
                n_changed = 1
            else:
                for j in range(left.members.size):
                    if left_states.kinds[j, a] > 0:
                        changed[n_changed, 0] = left.members[j]
                        changed[n_changed, 1] = left_states.kinds[j, a] - 1
                        n_changed += 1
                for j in range(right.members.size):
                    if right_states.kinds[j, b] > 0:
                        changed[n_changed, 0] = right.members[j]
                        changed[n_changed, 1] = right_states.kinds[j, b] - 1
                        n_changed += 1
            write_state(support[n, i], kinds[n, i], centre, n_active, changed, n_changed)


@njit(**JIT)
def add_outer(codes, X, n_nonzero, out):
    """out += codes^T X, for codes that are mostly zero.

    The entries are sorted by latent first, so that a row of ``out`` stays in L1 while
    the data points that use its latent pass by, four at a time.
    """
    n_points, n_latents = codes.shape
    end = np.zeros(n_latents + 1, np.int64)
    for n in range(n_points):
        for h in range(n_latents):
            end[h + 1] += codes[n, h] != 0.0
    for h in range(n_latents):
        end[h + 1] += end[h]
    point = np.empty(n_nonzero, np.int64)
    value = np.empty(n_nonzero, codes.dtype)
    add_sorted(codes, X, end, point, value, out)


@njit(**LEAN)
def add_sorted(codes, X, end, point, value, out):
    """Do what `add_outer` does; entries of latent h begin at end[h] of ``point`` and ``value``."""
    n_points, n_latents = codes.shape
    for n in range(n_points):
        for h in range(n_latents):
            if codes[n, h] != 0.0:
                i = end[h]
                point[i] = n
                value[i] = codes[n, h]
                end[h] = i + 1
    first = 0
    for h in range(n_latents):
        row = out[h]
        last = end[h]
        i = first
        while i + 4 <= last:
            s0, s1, s2, s3 = value[i], value[i + 1], value[i + 2], value[i + 3]
            x0, x1, x2, x3 = X[point[i]], X[point[i + 1]], X[point[i + 2]], X[point[i + 3]]
            for d in range(row.size):
                x = fma(s1, x1[d], fma(s0, x0[d], row[d]))
                row[d] = fma(s3, x3[d], fma(s2, x2[d], x))
            i += 4
        while i < last:
            s0, x0 = value[i], X[point[i]]
            for d in range(row.size):
                row[d] = fma(s0, x0[d], row[d])
            i += 1
        first = last


@njit(**JIT)
def row_squares(X, precision):
    """Return sum_d precision[d] x_nd^2 for every row, summed in float64."""
    out = np.empty(X.shape[0])
    for n in range(X.shape[0]):
        total = 0.0
        for d in range(X.shape[1]):
            x = np.float64(X[n, d])
            total += precision[d] * x * x
        out[n] = total
    return out


@njit(**JIT)
def add_squares(X, weights):
    """Return sum_n weights[n] x_nd^2 for every column, summed in float64."""
    out = np.zeros(X.shape[1])
    for n in range(X.shape[0]):
        w = weights[n]
        for d in range(X.shape[1]):
            x = np.float64(X[n, d])
            out[d] += w * x * x
    return out
