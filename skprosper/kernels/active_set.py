"""Centre and candidates of one data point, linear superposition, spike-and-slab prior.

In scaled units an active set A has the log-joint, relative to the state 0,

    sum_A bias_h + log integral exp(u_A^T z - z^T R_A z / 2) dz - |A| log(2 pi) / 2

A full slab covariance Psi has another inverse for each A. There every latent has two
variables: the Lagrange multiplier Psi_A^-1 (z_A - mu_A) and z, in the quadratic form
[[-Psi_A, I], [I, G_A]], whose blocks do not depend on A.

Activating a latent eliminates its variables from the quadratic form of all others. What
then stands for an eliminated variable is the Lagrange multiplier of its being 0: to
eliminate that one switches the latent off again. So the form at the centre treats on and
off alike. With A active and x the variables of the others and those multipliers, the form
is linear^T x - x^T F x / 2, and the eliminated variables have the mean
-linear_A + F_A x and the covariance -F_AA. Only the rows F_A and the diagonal are kept.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .holes import enter_point, gram_entry, gram_row
from .vector_math import INLINE, argmax, exp, log, maximum

# Least conditional variance of a slab in units of its variance.
LEAST_VARIANCE = 1e-14


class Slabs(NamedTuple):
    """The parameters in scaled units: z = scale * (scaled z)."""

    kinds: tuple  # a 0 for each variable of a latent: their number is known to the compiler
    scale: np.ndarray  # (H,) posterior deviation of a latent that is active alone
    shift: np.ndarray  # (H,) u = scale * projection + shift
    bias: np.ndarray  # (H,) the gain of a latent alone is bias + u^2 / 2
    precision: np.ndarray  # (H, H) R, the diagonal is not read
    coupling: np.ndarray  # (H,) scale / prior deviation
    mean: np.ndarray  # (H,) slab mean / prior deviation
    correlation: np.ndarray  # (H, H) of the slabs; (0, 0) where they are independent


class Centre(NamedTuple):
    """The form of one data point at its centre.

    The variables of one kind stand together: variable kind * H + h, the multipliers first.
    """

    kinds: tuple  # see `Slabs`
    linear: np.ndarray  # (kinds * H,)
    diagonal: np.ndarray  # (1, H) of z, or (3, H): of z, multiplier, and between the two
    gains: np.ndarray  # (H,) of changing each latent, nats
    support: np.ndarray  # (H,) int64, the active latents come first
    position: np.ndarray  # (H,) int64, place in ``support``, -1: inactive
    candidates: np.ndarray  # (n_candidates,) int64
    rows: np.ndarray  # (at least kinds * n_active, kinds * H), kinds of a latent together


class Scratch(NamedTuple):
    """Memory of the search."""

    row: np.ndarray  # (kinds * H,)
    factors: np.ndarray  # (kinds * H,)
    scaled: np.ndarray  # (H,) projections in scaled units, in the data's dtype
    residual: np.ndarray  # (H,) in the data's dtype
    work: np.ndarray  # (H,)


@njit(**INLINE)
def make_scratch(n_latents, n_variables, dtype):
    """Allocate the `Scratch`."""
    return Scratch(
        np.empty(n_variables),
        np.empty(n_variables),
        np.empty(n_latents, dtype),
        np.empty(n_latents, dtype),
        np.empty(n_latents),
    )


@njit(**INLINE)
def first_best(gains, u, bias):
    """Return the first latent whose gain is the best but for rounding errors."""
    best = argmax(gains)
    least = gains[best] - rounding(best, u, bias)
    first = np.int64(gains.size)
    for h in range(gains.size):
        i = h if gains[h] >= least else np.int64(gains.size)
        first = i if i < first else first
    return first


@njit(**INLINE)
def rounding(h, u, bias):
    """Return by how much gains of a latent may differ by rounding errors alone."""
    x = np.float64(u[h])
    return (1e-8 if u.itemsize == 8 else 1e-5) * (1.0 + abs(np.float64(bias[h])) + 0.5 * x * x)


@njit(**INLINE)
def start(u, slabs, holes, n, centre):
    """Write the form at the state 0, where no latent is active."""
    n_latents = u.size
    centre.position[:] = -1
    if len(slabs.kinds) == 1:
        for h in range(n_latents):
            x = np.float64(u[h])
            centre.linear[h] = x
            centre.diagonal[0, h] = 1.0
            centre.gains[h] = np.float64(slabs.bias[h]) + 0.5 * x * x
        own_diagonal(slabs, holes, n, centre)
        return
    for h in range(n_latents):
        x, coupling, mean = np.float64(u[h]), slabs.coupling[h], slabs.mean[h]
        centre.linear[h] = mean
        centre.linear[n_latents + h] = x - coupling * mean
        centre.diagonal[0, h] = 1.0 - coupling * coupling
        centre.diagonal[1, h] = -1.0
        centre.diagonal[2, h] = coupling
        centre.gains[h] = np.float64(slabs.bias[h]) + 0.5 * x * x
    own_diagonal(slabs, holes, n, centre)


@njit(**INLINE)
def own_diagonal(slabs, holes, n, centre):
    """Write the data point's own diagonal: what is missing adds nothing to it."""
    if holes is None:
        return
    squares, full = holes.squares[n], len(slabs.kinds) == 2
    for h in range(squares.size):
        coupling = slabs.coupling[h]
        centre.diagonal[0, h] = squares[h] + (0.0 if full else coupling * coupling)
    write_gains(slabs, centre, 0)


@njit(**INLINE)
def own_precision(slabs, holes, n, h):
    """Return the posterior precision of a latent that is active alone."""
    if holes is None:
        return 1.0
    coupling = slabs.coupling[h]
    return np.float64(holes.squares[n, h]) + coupling * coupling


@njit(**INLINE)
def mend_gains(slabs, holes, n, residual, gains):
    """Write the gains of latents alone where their precisions are the data point's own."""
    if holes is None:
        return
    for h in range(gains.size):
        r, p = np.float64(residual[h]), own_precision(slabs, holes, n, h)
        gains[h] = np.float64(slabs.bias[h]) + 0.5 * (r * r / p - log(p))


@njit(**INLINE)
def constant_of(slabs, h):
    """Return what the prior of an active latent adds to the log-joint."""
    bias = np.float64(slabs.bias[h])
    if len(slabs.kinds) == 1:
        return bias
    return bias + 0.5 * slabs.mean[h] * slabs.mean[h]


@njit(**INLINE)
def least_pivot(slabs, h, kind, active):
    """Return the least size of the pivot of a latent's variable."""
    if len(slabs.kinds) == 1:
        return 1.0 if active else slabs.coupling[h] * slabs.coupling[h]
    if active:
        return LEAST_VARIANCE if kind == 1 else 1.0
    return slabs.coupling[h] * slabs.coupling[h] if kind == 1 else LEAST_VARIANCE


@njit(**INLINE)
def write_gains(slabs, centre, n_active):
    """Write the gain of changing each latent."""
    linear, diagonal, gains = centre.linear, centre.diagonal, centre.gains
    n_latents = gains.size
    if len(slabs.kinds) == 1:
        for h in range(n_latents):
            coupling, r = slabs.coupling[h], linear[h]
            p = maximum(diagonal[0, h], coupling * coupling)
            gains[h] = np.float64(slabs.bias[h]) + 0.5 * (r * r / p - log(p))
    else:
        for h in range(n_latents):
            coupling, mean = slabs.coupling[h], slabs.mean[h]
            variance = maximum(-diagonal[1, h], LEAST_VARIANCE)
            slope = diagonal[2, h] / variance
            p = maximum(diagonal[0, h] + slope * diagonal[2, h], coupling * coupling)
            r = linear[n_latents + h] + slope * linear[h]
            gain = r * r / p - linear[h] * linear[h] / variance - log(p * variance)
            gains[h] = np.float64(slabs.bias[h]) + 0.5 * (mean * mean + gain)
    for i in range(n_active):
        h = centre.support[i]
        gains[h] = gain_of_leaving(slabs, centre, h)


@njit(**INLINE)
def gain_of_leaving(slabs, centre, h):
    """Return the gain of switching an active latent off."""
    linear, diagonal, n_latents = centre.linear, centre.diagonal, centre.gains.size
    if len(slabs.kinds) == 1:
        variance = maximum(-diagonal[0, h], 1.0)
        return -constant_of(slabs, h) - 0.5 * (linear[h] * linear[h] / variance + np.log(variance))
    variance = maximum(-diagonal[0, h], LEAST_VARIANCE)
    slope = diagonal[2, h] / variance
    p = maximum(diagonal[1, h] + slope * diagonal[2, h], 1.0)
    r = linear[h] + slope * linear[n_latents + h]
    gain = r * r / p - linear[n_latents + h] * linear[n_latents + h] / variance
    return 0.5 * (gain - np.log(p * variance)) - constant_of(slabs, h)


@njit(**INLINE)
def entry(slabs, holes, h, kind, g, other):
    """Return an entry of the form at the state 0, between two variables."""
    if len(slabs.kinds) == 1:
        return np.float64(gram_entry(slabs.precision, holes, h, g))
    if kind != other:
        return slabs.coupling[h] if h == g else 0.0
    if kind == 0:
        return -slabs.correlation[h, g]
    return np.float64(gram_entry(slabs.precision, holes, h, g))


@njit(**INLINE)
def entry_between(slabs, holes, centre, n_active, n_kinds, h, kind, g, other):
    """Return the entry of the form at the centre between variables of two latents."""
    n_latents = centre.gains.size
    i = centre.position[h]
    if i >= 0:
        return centre.rows[n_kinds * i + kind, other * n_latents + g]
    i = centre.position[g]
    if i >= 0:
        return centre.rows[n_kinds * i + other, kind * n_latents + h]
    x = entry(slabs, holes, h, kind, g, other)
    for i in range(n_active):
        for k in range(n_kinds):
            row = centre.rows[n_kinds * i + k]
            factor = entry(slabs, holes, h, kind, centre.support[i], k)
            x += factor * row[other * n_latents + g]
    return x


@njit(**INLINE)
def variable_of(centre, n_kinds, s):
    """Return the variable that a row of the form stands for."""
    if n_kinds == 1:
        return centre.support[s]
    return centre.support[s // 2] + (s % 2) * centre.gains.size


@njit(**INLINE)
def write_row(slabs, holes, centre, n_rows, h, kind, row, factors):
    """Write the row of the form of a variable that is not eliminated."""
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    row[:] = 0.0
    own = kind * n_latents
    if n_kinds == 2 and kind == 0:
        for g in range(n_latents):
            row[g] = -slabs.correlation[h, g]
    else:
        source = gram_row(slabs.precision, holes, h)
        for g in range(n_latents):
            row[own + g] = source[g]
    if n_kinds == 2:
        row[(1 - kind) * n_latents + h] = slabs.coupling[h]
    for s in range(n_rows):
        v = variable_of(centre, n_kinds, s)
        factors[s] = row[v]
        row[v] = 0.0
    s, rows = 0, centre.rows
    while s + 4 <= n_rows:
        f0, f1, f2, f3 = factors[s], factors[s + 1], factors[s + 2], factors[s + 3]
        r0, r1, r2, r3 = rows[s], rows[s + 1], rows[s + 2], rows[s + 3]
        for v in range(row.size):
            row[v] += f0 * r0[v] + f1 * r1[v] + f2 * r2[v] + f3 * r3[v]
        s += 4
    while s < n_rows:
        f0, r0 = factors[s], rows[s]
        for v in range(row.size):
            row[v] += f0 * r0[v]
        s += 1


@njit(**INLINE)
def eliminate(slabs, holes, centre, n_rows, h, kind, active, row, factors):
    """Take one variable of a latent out of the form; return what its integral gives, nats.

    ``active`` says that the latent is, and that the variable is a multiplier that
    switches it off: then its row is the last.
    """
    linear, diagonal, rows = centre.linear, centre.diagonal, centre.rows
    n_latents, n_kinds = centre.gains.size, len(centre.kinds)
    z, own = n_kinds - 1, kind * n_latents + h
    if active:
        n_rows -= 1
        row[:] = rows[n_rows]
    else:
        write_row(slabs, holes, centre, n_rows, h, kind, row, factors)
    # the diagonal has what was subtracted from it so far, the row only what is left
    size = diagonal[0, h] if kind == z else diagonal[1, h]
    sign = 1.0 if (kind == z) != active else -1.0
    size = maximum(sign * size, least_pivot(slabs, h, kind, active))
    pivot = sign * size
    r = linear[own]
    mean = r / pivot
    inverse = 1.0 / pivot
    for v in range(linear.size):
        linear[v] -= row[v] * mean
    diagonal_z = row[z * n_latents :]
    for g in range(n_latents):
        diagonal[0, g] -= diagonal_z[g] * diagonal_z[g] * inverse
    if n_kinds == 2:
        for g in range(n_latents):
            diagonal[1, g] -= row[g] * row[g] * inverse
            diagonal[2, g] -= row[g] * diagonal_z[g] * inverse
    for s in range(n_rows):
        other = rows[s]
        factor = row[variable_of(centre, n_kinds, s)] * inverse
        for w in range(linear.size):
            other[w] -= factor * row[w]
        # the new multiplier, or the variable itself again
        other[own] = factor if active else -factor
    turn = inverse if active else -inverse
    linear[own] = mean if active else -mean
    diagonal[0 if kind == z else 1, h] = -inverse
    if n_kinds == 2:
        diagonal[2, h] = turn * row[(1 - kind) * n_latents + h]
    if not active:
        new = rows[n_rows]
        for v in range(linear.size):
            new[v] = turn * row[v]
        new[own] = turn
    return 0.5 * (r * mean - np.log(size))


@njit(**INLINE)
def change(slabs, holes, centre, n_active, h, scratch):
    """Switch a latent on or off; return how many are active and the gain."""
    n_kinds = len(centre.kinds)
    row, factors = scratch.row, scratch.factors
    i, n_rows = centre.position[h], n_kinds * n_active
    gain = 0.0
    if i < 0:
        centre.support[n_active], centre.position[h] = h, n_active
        # the multiplier first: z needs not have a precision of its own
        for kind in range(n_kinds):
            gain += eliminate(slabs, holes, centre, n_rows + kind, h, kind, False, row, factors)
        return n_active + 1, gain + constant_of(slabs, h)
    last = n_active - 1
    other = centre.support[last]
    for kind in range(n_kinds):
        for v in range(row.size):
            x = centre.rows[n_kinds * i + kind, v]
            centre.rows[n_kinds * i + kind, v] = centre.rows[n_kinds * last + kind, v]
            centre.rows[n_kinds * last + kind, v] = x
    centre.support[i], centre.position[other] = other, i
    centre.support[last], centre.position[h] = h, last
    for kind in range(n_kinds - 1, -1, -1):
        gain += eliminate(slabs, holes, centre, n_rows, h, kind, True, row, factors)
        n_rows -= 1
    centre.position[h] = -1
    return last, gain - constant_of(slabs, h)


@njit(**INLINE)
def find_centre(u, slabs, holes, centre, scratch):
    """Climb from the state 0 to a local maximum of the log-joint, the best change at a time.

    Returns how many latents are active, or -1 where their rows have no room, and the
    log-joint relative to the state 0.
    """
    n_kinds = len(centre.kinds)
    n_active, height = 0, 0.0
    # a step gains more than rounding errors; what they add up to must not go on for ever
    for _ in range(4 * u.size + 16):
        h = first_best(centre.gains, u, slabs.bias)
        if centre.gains[h] <= rounding(h, u, slabs.bias):
            break
        if centre.position[h] < 0 and n_kinds * (n_active + 1) > centre.rows.shape[0]:
            return -1, 0.0
        n_active, gain = change(slabs, holes, centre, n_active, h, scratch)
        height += gain
        write_gains(slabs, centre, n_active)
    return n_active, height


@njit(**INLINE)
def cheapest_changes(u, slabs, centre, work):
    """Write the latents whose change costs least, best first."""
    work[:] = centre.gains
    for j in range(centre.candidates.size):
        h = first_best(work, u, slabs.bias)
        centre.candidates[j] = h
        work[h] = -np.inf


@njit(**INLINE)
def select(u, slabs, holes, n, pursuit, centre, scratch):
    """Write the candidates of the state 0, best first."""
    half = u.dtype.type(0.5)
    candidates, residual, gains = centre.candidates, scratch.residual, scratch.work
    residual[:] = u
    gains[:] = centre.gains
    candidates[0] = first_best(gains, u, slabs.bias)
    gain = gains[candidates[0]]
    for j in range(1, candidates.size):
        last = candidates[j - 1]
        if pursuit:
            e = exp(-abs(gain))
            share = (1.0 if gain > 0.0 else e) / (1.0 + e)
            own, p = residual[last], own_precision(slabs, holes, n, last)
            amplitude = u.dtype.type(share * own / p)
            row = gram_row(slabs.precision, holes, last)
            for h in range(u.size):
                r = residual[h] - amplitude * row[h]
                residual[h] = r
                gains[h] = slabs.bias[h] + half * r * r
            residual[last] = own - u.dtype.type(amplitude * p)
            mend_gains(slabs, holes, n, residual, gains)
        for i in range(j):
            gains[candidates[i]] = -np.inf
        candidates[j] = first_best(gains, u, slabs.bias)
        gain = gains[candidates[j]]


@njit(**INLINE)
def enter(u, slabs, holes, n, best, pursuit, centre, scratch):
    """Find centre and candidates of the n-th data point; see `find_centre` for the rest."""
    enter_point(holes, n)
    start(u, slabs, holes, n, centre)
    if not best:
        select(u, slabs, holes, n, pursuit, centre, scratch)
        return 0, 0.0
    n_active, height = find_centre(u, slabs, holes, centre, scratch)
    if n_active >= 0:
        cheapest_changes(u, slabs, centre, scratch.work)
    return n_active, height
