"""E-step of the linear superposition with discrete values (BSC, TSC, DSC)."""

import numpy as np

from .compiling import njit
from .selection import select
from .vector_math import INLINE, JIT, exp, maximum

# States lighter than exp(-CUTOFF) of the heaviest do not matter at double precision.
CUTOFF = 32.0
# Beyond this many nats the reference of the running sums is moved.
_RESCALE = 300.0


@njit(**INLINE)
def half_energies(features, inputs, energies):
    """energies[s] = sum_f inputs[f] features[f, s]."""
    energies[:] = 0.0
    for f in range(inputs.size):
        x = inputs[f]
        row = features[f]
        for s in range(energies.size):
            energies[s] += x * row[s]


@njit(**INLINE)
def half_inputs(projection, gram, values, bias, members, inputs):
    """Write the weights of `HalfStates.features` for one data point."""
    n_values = values.size
    f = 0
    for i in range(members.size):
        h = members[i]
        for k in range(n_values):
            inputs[f] = np.float64(values[k]) * projection[h] + bias[k, h]
            f += 1
    for i in range(members.size):
        for j in range(i + 1, members.size):
            inputs[f] = -gram[members[i], members[j]]
            f += 1


@njit(**INLINE)
def pair_halves(states, left_energies, right_energies, field, reference, cutoff, sums):
    """Sum exp(log-joint - reference) over all pairs of half states.

    field (n_right_latents, n_left_states) is the pull of a left state on the right
    latents. Fills sums = (per left state, per right state, left value x right state)
    and returns the reference they are relative to, which rises where it must.
    """
    left_sums, right_sums, products, row = sums
    left, right, n_right = states
    left_sums[:] = 0.0
    right_sums[:] = 0.0
    products[:] = 0.0
    highest = reference
    for a in range(left_energies.size):
        n = n_right[a]
        base = left_energies[a]
        top = -np.inf
        # four right latents at a time keep the row in registers
        for j in range(0, field.shape[0], 4):
            p0, p1, p2, p3 = field[j, a], field[j + 1, a], field[j + 2, a], field[j + 3, a]
            v0, v1 = right.values[j], right.values[j + 1]
            v2, v3 = right.values[j + 2], right.values[j + 3]
            source = right_energies if j == 0 else row
            for b in range(n):
                e = base + source[b] - (p0 * v0[b] + p1 * v1[b] + p2 * v2[b] + p3 * v3[b])
                row[b] = e
                top = maximum(top, e)
            base = 0.0
            if j + 4 < field.shape[0]:
                top = -np.inf
        if top < highest - cutoff:
            continue
        highest = max(highest, top)
        if top > reference + _RESCALE:
            shrink = np.exp(reference - top)
            reference = top
            left_sums *= shrink
            right_sums *= shrink
            products *= shrink
        for b in range(n):
            w = exp(row[b] - reference)
            row[b] = w
            right_sums[b] += w
        # in a loop of its own: whether a sum in a loop that writes is vectorised depends
        # on where its arrays lie, and with it the sum's last bit
        total = 0.0
        for b in range(n):
            total += row[b]
        left_sums[a] = total
        for i in range(left.kinds.shape[0]):
            v = left.values[i, a]
            if v != 0.0:
                out = products[i]
                for b in range(n):
                    out[b] += v * row[b]
    return reference


@njit(**INLINE)
def pull_of_left(gram, left_members, right_members, left, field):
    """field[j, a] = sum_i gram[i, j] s_i for left state a and right latent j."""
    field[:] = 0.0
    for j in range(right_members.size):
        pull = field[j]
        for i in range(left_members.size):
            g = np.float64(gram[left_members[i], right_members[j]])
            v = left.values[i]
            for a in range(pull.size):
                pull[a] += g * v[a]


@njit(**INLINE)
def half_moments(features, sums, moments):
    """moments[f] = sum_s features[f, s] sums[s]."""
    for f in range(moments.size):
        row = features[f]
        total = 0.0
        for s in range(sums.size):
            total += row[s] * sums[s]
        moments[f] = total


@njit(**INLINE)
def spread_half(members, moments, values, probability, weight, code, counts, second):
    """Add the moments of one half of the candidates to the results."""
    n_values = values.size
    f = 0
    for i in range(members.size):
        h = members[i]
        mean = 0.0
        for k in range(n_values):
            q = weight * moments[f]
            counts[k, h] += q
            mean += q if probability else values[k] * q
            f += 1
        code[h] = mean
    for i in range(members.size):
        for j in range(i + 1, members.size):
            add_pair(second, members[i], members[j], weight * moments[f])
            f += 1


@njit(**JIT)
def expectations(
    codes,
    weights,
    gram,
    values,
    bias,
    states,
    n_candidates,
    pursuit,
    probability,
    cutoff,
    negligible,
    second,
    counts,
    evidence,
):
    """Truncated posteriors of a block of data points.

    Parameters
    ----------
    codes : (n, H) array
        In: the projections W Sigma^-1 y. Out: weight times posterior mean <s>, or
        with ``probability`` weight times posterior probability of being active.
    weights : (n,) float64 array
        Weight of each data point.
    gram : (H, H) array
        W Sigma^-1 W^T.
    values : (K,) array
        Values of an active latent.
    bias : (K, H) array
        Log odds of value k against 0, less v_k^2 G_hh / 2.
    states : PairedStates
    n_candidates : int
    pursuit, probability : bool
    cutoff : float
        States this many nats below the best one are passed over.
    negligible : float
        Posterior weight below which a single-latent state outside the candidates is
        left out of everything but the evidence.
    second : (H, H) float64 array
        Upper triangle, i < j, of sum <s_i s_j> is added to.
    counts : (K, H) float64 array
        sum q(s_h = v_k) is added to.
    evidence : (n,) float64 array
        Out: log of the truncated evidence relative to the state 0.

    Returns
    -------
    n_nonzero : int
        Entries of ``codes`` that are not zero.
    """
    n_points, n_latents = codes.shape
    n_values = values.size
    left, right, n_right = states
    residual = np.empty(n_latents, codes.dtype)
    gains = np.empty(n_latents, codes.dtype)
    work = np.empty(n_latents, codes.dtype)
    singles = np.empty((n_values, n_latents))
    candidates = np.empty(n_candidates, np.int64)
    left_members = candidates[: left.kinds.shape[0]]
    right_members = candidates[left.kinds.shape[0] :]
    left_inputs = np.empty(left.features.shape[0])
    right_inputs = np.empty(right.features.shape[0])
    left_energies = np.empty(left.features.shape[1])
    right_energies = np.empty(right.features.shape[1])
    field = np.zeros((right.values.shape[0], left_energies.size))
    left_sums = np.empty(left_energies.size)
    right_sums = np.empty(right_energies.size)
    products = np.empty((left_members.size, right_energies.size))
    sums = (left_sums, right_sums, products, np.empty(right_energies.size))
    n_nonzero = 0
    for n in range(n_points):
        code = codes[n]
        select(code, gram, values, bias, pursuit, residual, gains, work, candidates)
        half_inputs(code, gram, values, bias, left_members, left_inputs)
        half_inputs(code, gram, values, bias, right_members, right_inputs)
        half_energies(left.features, left_inputs, left_energies)
        half_energies(right.features, right_inputs, right_energies)
        pull_of_left(gram, left_members, right_members, left, field)
        reference = pair_halves(
            states,
            left_energies,
            right_energies,
            field,
            max(0.0, np.float64(gains[candidates[0]])),
            cutoff,
            sums,
        )
        total = 0.0
        for a in range(left_sums.size):
            total += left_sums[a]
        # All single-latent states at once; the candidates' own are counted above.
        for k in range(n_values):
            v, b, single = values[k], bias[k], singles[k]
            for h in range(n_latents):
                single[h] = exp(np.float64(v * code[h] + b[h]) - reference)
            for i in range(n_candidates):
                single[candidates[i]] = 0.0
            for h in range(n_latents):
                total += single[h]
        evidence[n] = reference + np.log(total)
        floor = negligible * total
        weight = weights[n] / total
        code[:] = 0.0
        for k in range(n_values):
            v = 1.0 if probability else np.float64(values[k])
            single, count = singles[k], counts[k]
            for h in range(n_latents):
                q = weight * single[h] if single[h] > floor else 0.0
                count[h] += q
                code[h] += v * q
        half_moments(left.features, left_sums, left_inputs)
        half_moments(right.features, right_sums, right_inputs)
        spread_half(left_members, left_inputs, values, probability, weight, code, counts, second)
        spread_half(
            right_members,
            right_inputs,
            values,
            probability,
            weight,
            code,
            counts,
            second,
        )
        for i in range(left_members.size):
            for j in range(right_members.size):
                product, v = products[i], right.values[j]
                total = 0.0
                for s in range(product.size):
                    total += product[s] * v[s]
                add_pair(second, left_members[i], right_members[j], weight * total)
        for h in range(n_latents):
            n_nonzero += code[h] != 0.0
    return n_nonzero


@njit(**INLINE)
def add_pair(second, i, j, value):
    """Add to the upper triangle; skip what would only cost a cache miss."""
    if abs(value) > 1e-18:
        if i < j:
            second[i, j] += value
        else:
            second[j, i] += value


@njit(**INLINE)
def insert_state(log_joint, left_index, right_index, size, energy, a, b):
    """Keep the best states in falling order; return how many there are."""
    if size == log_joint.size:
        if energy <= log_joint[size - 1]:
            return size
        size -= 1
    i = size
    while i > 0 and log_joint[i - 1] < energy:
        log_joint[i] = log_joint[i - 1]
        left_index[i] = left_index[i - 1]
        right_index[i] = right_index[i - 1]
        i -= 1
    log_joint[i] = energy
    left_index[i] = a
    right_index[i] = b
    return size + 1


@njit(**JIT)
def top_states(
    projections,
    gram,
    values,
    bias,
    states,
    n_candidates,
    pursuit,
    log_joint,
    support,
    kinds,
    entropy,
    evidence,
):
    """Write the most probable states of every data point, best first.

    log_joint (n, n_states) is relative to the state 0, -inf where K_n holds fewer
    states; support (n, n_states, width) holds the active latents, -1 where there are
    fewer, kinds the index of their value; entropy (n,) is that of the truncated
    posterior and evidence (n,) its log normaliser, both in nats.
    """
    n_points, n_latents = projections.shape
    n_values = values.size
    left, right, n_right = states
    residual = np.empty(n_latents, projections.dtype)
    gains = np.empty(n_latents, projections.dtype)
    work = np.empty(n_latents, projections.dtype)
    candidates = np.empty(n_candidates, np.int64)
    left_members = candidates[: left.kinds.shape[0]]
    right_members = candidates[left.kinds.shape[0] :]
    left_inputs = np.empty(left.features.shape[0])
    right_inputs = np.empty(right.features.shape[0])
    left_energies = np.empty(left.features.shape[1])
    right_energies = np.empty(right.features.shape[1])
    field = np.zeros((right.values.shape[0], left_energies.size))
    left_index = np.empty(log_joint.shape[1], np.int64)
    right_index = np.empty(log_joint.shape[1], np.int64)
    for n in range(n_points):
        code = projections[n]
        best = log_joint[n]
        best[:] = -np.inf
        support[n] = -1
        kinds[n] = 0
        select(code, gram, values, bias, pursuit, residual, gains, work, candidates)
        half_inputs(code, gram, values, bias, left_members, left_inputs)
        half_inputs(code, gram, values, bias, right_members, right_inputs)
        half_energies(left.features, left_inputs, left_energies)
        half_energies(right.features, right_inputs, right_energies)
        pull_of_left(gram, left_members, right_members, left, field)
        size = 0
        reference, total, mean_energy = 0.0, 0.0, 0.0
        for a in range(left_energies.size):
            for b in range(n_right[a]):
                energy = left_energies[a] + right_energies[b]
                for j in range(right_members.size):
                    energy -= field[j, a] * right.values[j, b]
                if energy > reference:
                    shrink = exp(reference - energy)
                    total *= shrink
                    mean_energy *= shrink
                    reference = energy
                weight = exp(energy - reference)
                total += weight
                mean_energy += weight * energy
                size = insert_state(best, left_index, right_index, size, energy, a, b)
        work[:] = 0.0
        for i in range(n_candidates):
            work[candidates[i]] = 1.0
        for h in range(n_latents):
            if work[h] == 0.0:
                for k in range(n_values):
                    energy = np.float64(values[k] * code[h] + bias[k, h])
                    if energy > reference:
                        shrink = exp(reference - energy)
                        total *= shrink
                        mean_energy *= shrink
                        reference = energy
                    weight = exp(energy - reference)
                    total += weight
                    mean_energy += weight * energy
                    # a negative index marks a state outside the candidates
                    size = insert_state(best, left_index, right_index, size, energy, -1 - h, k)
        evidence[n] = reference + np.log(total)
        entropy[n] = max(0.0, evidence[n] - mean_energy / total)
        for i in range(size):
            a, b = left_index[i], right_index[i]
            if a < 0:
                support[n, i, 0] = -1 - a
                kinds[n, i, 0] = b
                continue
            width = 0
            for j in range(left_members.size):
                if left.kinds[j, a] > 0:
                    support[n, i, width] = left_members[j]
                    kinds[n, i, width] = left.kinds[j, a] - 1
                    width += 1
            for j in range(right_members.size):
                if right.kinds[j, b] > 0:
                    support[n, i, width] = right_members[j]
                    kinds[n, i, width] = right.kinds[j, b] - 1
                    width += 1


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
                row[d] += s0 * x0[d] + s1 * x1[d] + s2 * x2[d] + s3 * x3[d]
            i += 4
        while i < last:
            s0, x0 = value[i], X[point[i]]
            for d in range(row.size):
                row[d] += s0 * x0[d]
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
