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
-linear_A + F_A x and the covariance -F_AA.

Only the diagonal and the rows F_A are kept. The search needs less of them: it appends to
E, one row per variable, with F = -E^T D E in the rows and columns of A, and D the signs of
the pivots. E_A is lower triangular, and F_A = -E_A^T D E.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .holes import enter_point, gram_entry, gram_row
from .ranking import Ranking, best_few, first_best, make_ranking, reaching
from .vector_math import INLINE, LN2, exp, highest, log, log2_below, maximum

# Least conditional variance of a slab in units of its variance.
LEAST_VARIANCE = 1e-14
# By how much the bound of a gain may exceed it: half the error of `log2_below`.
_MARGIN = 0.03
# Rows of the form that are completed together.
_TILE = 4


class Slabs(NamedTuple):
    """The parameters in scaled units: z = scale * (scaled z)."""

    kinds: tuple  # a 0 for each variable of a latent: their number is known to the compiler
    scale: np.ndarray  # (H,) posterior deviation of a latent that is active alone
    shift: np.ndarray  # (H,) u = scale * projection + shift
    bias: np.ndarray  # (H,) the gain of a latent alone is bias + u^2 / 2
    precision: np.ndarray  # (H, H) R, the diagonal is not read
    coupling: np.ndarray  # (H,) scale / prior deviation, in the dtype of the forms
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
    rows: np.ndarray  # (at least kinds * n_active, kinds * H), kinds of a latent together;
    # F_A, or while it is searched for E


class Scratch(NamedTuple):
    """Memory of the search."""

    factors: np.ndarray  # (kinds * H,), or more
    kept: np.ndarray  # (kinds * H,) 0 for the variables that are eliminated, else 1
    bounds: np.ndarray  # (H,)
    scaled: np.ndarray  # (H,) projections in scaled units, in the data's dtype
    residual: np.ndarray  # (H,) in the data's dtype
    work: np.ndarray  # (H,)
    ranking: Ranking


@njit(**INLINE)
def make_scratch(slabs, dtype):
    """Allocate the `Scratch`, for data of this dtype."""
    n_latents, form_dtype = slabs.scale.size, slabs.coupling.dtype
    return Scratch(
        np.empty(max(len(slabs.kinds) * n_latents, _TILE**2), form_dtype),
        np.empty(len(slabs.kinds) * n_latents, form_dtype),
        np.empty(n_latents, form_dtype),
        np.empty(n_latents, dtype),
        np.empty(n_latents, dtype),
        np.empty(n_latents),
        make_ranking(n_latents, np.float64),
    )


@njit(**INLINE)
def write_slack(u, bias, slack):
    """Write by how much gains may differ by rounding errors alone; return the largest."""
    unit, widest = 1e-8 if u.itemsize == 8 else 1e-5, 0.0
    for h in range(u.size):
        x = np.float64(u[h])
        slack[h] = unit * (1.0 + abs(np.float64(bias[h])) + 0.5 * x * x)
    for h in range(u.size):
        widest = maximum(widest, slack[h])
    return widest


@njit(**INLINE)
def start(u, slabs, holes, n, centre, scratch):
    """Write the form at the state 0, where no latent is active."""
    n_latents = u.size
    scratch.kept[:] = 1.0
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
    coupling = np.float64(slabs.coupling[h])
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
def gain_of(slabs, centre, h):
    """Return the gain of changing a latent."""
    linear, diagonal, n_latents = centre.linear, centre.diagonal, centre.gains.size
    active = centre.position[h] >= 0
    constant, r = constant_of(slabs, h), np.float64(linear[h])
    if len(slabs.kinds) == 1:
        if active:
            p = maximum(-np.float64(diagonal[0, h]), 1.0)
            return -constant - 0.5 * (r * r / p + np.log(p))
        coupling = np.float64(slabs.coupling[h])
        p = maximum(np.float64(diagonal[0, h]), coupling * coupling)
        return constant + 0.5 * (r * r / p - np.log(p))
    # of its two variables the first to be eliminated, then the second
    first, second, r_second, least = 1, 0, linear[n_latents + h], slabs.coupling[h] ** 2
    if active:
        first, second, r, r_second, least = 0, 1, r_second, r, 1.0
    variance = maximum(-diagonal[first, h], LEAST_VARIANCE)
    slope = diagonal[2, h] / variance
    p = maximum(diagonal[second, h] + slope * diagonal[2, h], least)
    x = r_second + slope * r
    gain = 0.5 * (x * x / p - r * r / variance - np.log(p * variance))
    return gain - constant if active else gain + constant


@njit(**INLINE)
def write_gains(slabs, centre, n_active):
    """Write the gain of changing each latent."""
    linear, diagonal, gains = centre.linear, centre.diagonal, centre.gains
    n_latents = gains.size
    if len(slabs.kinds) == 1:
        for h in range(n_latents):
            coupling, r = np.float64(slabs.coupling[h]), np.float64(linear[h])
            p = maximum(np.float64(diagonal[0, h]), coupling * coupling)
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
        gains[h] = gain_of(slabs, centre, h)


@njit(**INLINE)
def write_bounds(slabs, centre, n_active, bounds):
    """Write upper bounds of the gains, at most ``_MARGIN`` above them, without logarithms."""
    linear, diagonal = centre.linear, centre.diagonal
    n_latents, dtype = bounds.size, bounds.dtype.type
    half, unit, least_variance = dtype(0.5), dtype(LN2), dtype(LEAST_VARIANCE)
    if len(slabs.kinds) == 1:
        one = dtype(1.0)
        for h in range(n_latents):
            coupling, r = slabs.coupling[h], linear[h]
            p = maximum(diagonal[0, h], coupling * coupling)
            bounds[h] = slabs.bias[h] + half * (r * r / p - unit * log2_below(p))
        for i in range(n_active):
            h = centre.support[i]
            r, p = linear[h], maximum(-diagonal[0, h], one)
            bounds[h] = -slabs.bias[h] - half * (r * r / p + unit * log2_below(p))
        return
    for h in range(n_latents):
        coupling, mean = slabs.coupling[h], slabs.mean[h]
        variance = maximum(-diagonal[1, h], least_variance)
        slope = diagonal[2, h] / variance
        p = maximum(diagonal[0, h] + slope * diagonal[2, h], coupling * coupling)
        r = linear[n_latents + h] + slope * linear[h]
        gain = r * r / p - linear[h] * linear[h] / variance - unit * log2_below(p * variance)
        bounds[h] = slabs.bias[h] + half * (mean * mean + gain)
    for i in range(n_active):
        h = centre.support[i]
        bounds[h] = gain_of(slabs, centre, h)


@njit(**INLINE)
def best_change(slabs, centre, slack, widest, bounds):
    """Return the first latent whose gain is the best but for rounding errors, and its gain.

    ``widest`` is the largest slack of all latents. Gains are written for the few latents
    alone whose bound lets them be the best.
    """
    gains = centre.gains
    least = bounds.dtype.type(np.float64(highest(bounds)) - _MARGIN - widest)
    n_left, first = reaching(bounds, least)
    best, last = first, first
    gains[first] = gain_of(slabs, centre, first)
    while n_left > 1:
        last += 1
        if bounds[last] >= least:
            n_left -= 1
            gains[last] = gain_of(slabs, centre, last)
            best = last if gains[last] > gains[best] else best
    least_gain = gains[best] - slack[best]
    while bounds[first] < least or gains[first] < least_gain:
        first += 1
    return first, gains[first]


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
def sign_of(n_kinds, s, dtype):
    """Return the sign of the pivot of a row: negative for a multiplier."""
    return dtype(-1.0 if n_kinds == 2 and s % 2 == 0 else 1.0)


@njit(**INLINE)
def add_rows(row, scale, rows, factors, start, stop):
    """row = scale row + sum_s factors_s rows_s, for start <= s < stop."""
    s = start
    while s + 4 <= stop:
        f0, f1, f2, f3 = factors[s], factors[s + 1], factors[s + 2], factors[s + 3]
        r0, r1, r2, r3 = rows[s], rows[s + 1], rows[s + 2], rows[s + 3]
        for v in range(row.size):
            row[v] = scale * row[v] + f0 * r0[v] + f1 * r1[v] + f2 * r2[v] + f3 * r3[v]
        scale = row.dtype.type(1.0)
        s += 4
    while s < stop:
        f0, r0 = factors[s], rows[s]
        for v in range(row.size):
            row[v] = scale * row[v] + f0 * r0[v]
        scale = row.dtype.type(1.0)
        s += 1
    if start == stop:
        for v in range(row.size):
            row[v] *= scale


@njit(**INLINE)
def write_row(slabs, holes, centre, n_rows, h, kind, row, scratch):
    """Write the row of the form of a variable that is not eliminated."""
    n_latents, n_kinds, dtype = centre.gains.size, len(centre.kinds), row.dtype.type
    factors, kept = scratch.factors, scratch.kept
    own, other = kind * n_latents, (1 - kind) * n_latents
    # slices, whose indices cannot be negative: else the loops are not vectorised
    own_row, own_kept = row[own : own + n_latents], kept[own : own + n_latents]
    if n_kinds == 2 and kind == 0:
        source = slabs.correlation[h]
        for g in range(n_latents):
            own_row[g] = -source[g] * own_kept[g]
    else:
        precision = gram_row(slabs.precision, holes, h)
        for g in range(n_latents):
            own_row[g] = precision[g] * own_kept[g]
    if n_kinds == 2:
        row[other : other + n_latents] = 0.0
        row[other + h] = slabs.coupling[h] * kept[other + h]
    for s in range(n_rows):
        factors[s] = -sign_of(n_kinds, s, dtype) * centre.rows[s, own + h]
    add_rows(row, dtype(1.0), centre.rows, factors, 0, n_rows)


@njit(**INLINE)
def eliminate(slabs, holes, centre, n_rows, h, kind, scratch):
    """Take one variable of a latent out of the form; return what its integral gives, nats."""
    linear, diagonal, row = centre.linear, centre.diagonal, centre.rows[n_rows]
    n_latents, n_kinds, dtype = centre.gains.size, len(centre.kinds), row.dtype.type
    z, own = n_kinds - 1, kind * n_latents + h
    write_row(slabs, holes, centre, n_rows, h, kind, row, scratch)
    # the diagonal has what was subtracted from it so far, the row only what is left
    sign = sign_of(n_kinds, n_rows, dtype)
    least = dtype(least_pivot(slabs, h, kind, False))
    size = maximum(sign * diagonal[0 if kind == z else 1, h], least)
    root = dtype(1.0) / np.sqrt(size)
    r = linear[own]
    mean = sign * r * root
    for v in range(linear.size):
        x = root * row[v]
        row[v] = x
        linear[v] -= mean * x
    diagonal_z, row_z = diagonal[0], row[z * n_latents :]
    for g in range(n_latents):
        diagonal_z[g] -= sign * row_z[g] * row_z[g]
    if n_kinds == 2:
        for g in range(n_latents):
            diagonal[1, g] -= sign * row[g] * row[g]
            diagonal[2, g] -= sign * row[g] * row_z[g]
    # what stands for the variable from now on
    for s in range(n_rows):
        centre.rows[s, own] = 0.0
    row[own], linear[own], scratch.kept[own] = root, -mean * root, 0.0
    diagonal[0 if kind == z else 1, h] = -sign * root * root
    if n_kinds == 2:
        diagonal[2, h] = -sign * root * row[(1 - kind) * n_latents + h]
    return 0.5 * (np.float64(r) * mean * root - np.log(np.float64(size)))


@njit(**INLINE)
def activate(slabs, holes, centre, n_active, h, scratch):
    """Switch a latent on; return the gain."""
    n_kinds, gain = len(centre.kinds), constant_of(slabs, h)
    centre.support[n_active], centre.position[h] = h, n_active
    # the multiplier first: z needs not have a precision of its own
    for kind in range(n_kinds):
        gain += eliminate(slabs, holes, centre, n_kinds * n_active + kind, h, kind, scratch)
    return gain


@njit(**INLINE)
def deactivate(u, slabs, holes, n, centre, n_active, h, scratch):
    """Switch a latent off; return the log-joint relative to the state 0."""
    if len(centre.kinds) == 1:
        drop_row(centre.rows, centre.support, centre.position, n_active, h)
        return refresh(u, slabs, holes, n, centre, n_active - 1, h, scratch)
    # the form is indefinite, rotations would not be stable: the others are switched on anew
    support, height, n_kept = centre.support, 0.0, 0
    start(u, slabs, holes, n, centre, scratch)
    for i in range(n_active):
        if support[i] != h:
            height += activate(slabs, holes, centre, n_kept, support[i], scratch)
            n_kept += 1
    return height


@njit(**INLINE)
def drop_row(rows, support, position, n_active, h):
    """Take an active latent out of the factor E.

    F less what the elimination of the latent's multiplier takes away is -E^T (I - e e^T) E
    with e the direction of E's column h: rotations of neighbouring rows bring e into the
    last one, which goes.
    """
    for s in range(position[h], n_active - 1):
        upper, lower = rows[s], rows[s + 1]
        x, y = upper[h], lower[h]
        size = np.sqrt(x * x + y * y)
        cosine, sine = y / size, x / size
        for v in range(upper.size):
            x, y = upper[v], lower[v]
            upper[v] = sine * y - cosine * x
            lower[v] = cosine * y + sine * x
        support[s] = support[s + 1]
        position[support[s]] = s
    position[h] = -1


@njit(**INLINE)
def refresh(u, slabs, holes, n, centre, n_active, h, scratch):
    """Write what follows from the factor E without a latent; return the log-joint."""
    linear, diagonal, rows = centre.linear, centre.diagonal[0], centre.rows
    support, factors, height = centre.support, scratch.factors, 0.0
    scratch.kept[h] = 1.0
    precision = gram_row(slabs.precision, holes, h)
    for s in range(n_active):
        row, entry, mean = rows[s], rows.dtype.type(0.0), 0.0
        for i in range(s + 1):
            g = support[i]
            entry += row[g] * precision[g]
            mean += np.float64(row[g]) * np.float64(u[g])
        row[h], factors[s] = entry, mean
        root = np.float64(row[support[s]])
        height += constant_of(slabs, support[s]) + 0.5 * mean * mean + np.log(root)
    for v in range(linear.size):
        linear[v], diagonal[v] = u[v], own_precision(slabs, holes, n, v)
    for s in range(n_active):
        linear[support[s]], diagonal[support[s]] = 0.0, 0.0
    for s in range(n_active):
        row, mean = rows[s], factors[s]
        for v in range(linear.size):
            linear[v] -= mean * row[v]
            diagonal[v] -= row[v] * row[v]
    return height


@njit(**INLINE)
def find_centre(u, slabs, holes, n, centre, widest, scratch):
    """Climb from the state 0 to a local maximum of the log-joint, the best change at a time.

    Returns how many latents are active, or -1 where their rows have no room, and the
    log-joint relative to the state 0.
    """
    n_kinds, bounds, slack = len(centre.kinds), scratch.bounds, scratch.ranking.slack
    n_active, height = 0, 0.0
    # a step gains more than rounding errors; what they add up to must not go on for ever
    for _ in range(4 * u.size + 16):
        write_bounds(slabs, centre, n_active, bounds)
        h, gain = best_change(slabs, centre, slack, widest, bounds)
        if gain <= slack[h]:
            break
        if centre.position[h] >= 0:
            height = deactivate(u, slabs, holes, n, centre, n_active, h, scratch)
            n_active -= 1
        elif n_kinds * (n_active + 1) > centre.rows.shape[0]:
            return -1, 0.0
        else:
            height += activate(slabs, holes, centre, n_active, h, scratch)
            n_active += 1
    write_gains(slabs, centre, n_active)
    complete_rows(centre, n_active, scratch.factors)
    return n_active, height


@njit(**INLINE)
def complete_rows(centre, n_active, factors):
    """Turn the rows of the factor into the rows F_A of the form."""
    n_kinds, rows, dtype = len(centre.kinds), centre.rows, centre.rows.dtype.type
    n_rows = n_kinds * n_active
    for first in range(0, n_rows, _TILE):
        stop = min(first + _TILE, n_rows)
        for i in range(first, stop):
            own = variable_of(centre, n_kinds, i)
            for s in range(i, stop):
                factors[s] = -sign_of(n_kinds, s, dtype) * rows[s, own]
            add_rows(rows[i], factors[i], rows, factors, i + 1, stop)
        for start in range(stop, n_rows, _TILE):
            for i in range(_TILE):
                own = variable_of(centre, n_kinds, first + i)
                for j in range(_TILE):
                    s, x = start + j, dtype(0.0)
                    if s < n_rows:
                        x = -sign_of(n_kinds, s, dtype) * rows[s, own]
                    factors[_TILE * i + j] = x
            add_tile(rows, first, start, n_rows - 1, factors)


@njit(**INLINE)
def add_tile(rows, first, start, last, factors):
    """Add multiples of four rows to each of four others: every number is loaded once for four."""
    x0, x1, x2, x3 = rows[first], rows[first + 1], rows[first + 2], rows[first + 3]
    y0, y1 = rows[start], rows[min(start + 1, last)]
    y2, y3 = rows[min(start + 2, last)], rows[min(start + 3, last)]
    a0, a1, a2, a3 = factors[0], factors[1], factors[2], factors[3]
    b0, b1, b2, b3 = factors[4], factors[5], factors[6], factors[7]
    c0, c1, c2, c3 = factors[8], factors[9], factors[10], factors[11]
    d0, d1, d2, d3 = factors[12], factors[13], factors[14], factors[15]
    for v in range(x0.size):
        p, q, r, t = y0[v], y1[v], y2[v], y3[v]
        x0[v] += a0 * p + a1 * q + a2 * r + a3 * t
        x1[v] += b0 * p + b1 * q + b2 * r + b3 * t
        x2[v] += c0 * p + c1 * q + c2 * r + c3 * t
        x3[v] += d0 * p + d1 * q + d2 * r + d3 * t


@njit(**INLINE)
def select(u, slabs, holes, n, pursuit, centre, widest, scratch):
    """Write the candidates of the state 0, best first."""
    half = u.dtype.type(0.5)
    candidates, residual, gains = centre.candidates, scratch.residual, scratch.work
    residual[:] = u
    gains[:] = centre.gains
    candidates[0] = first_best(gains, scratch.ranking, widest)
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
        candidates[j] = first_best(gains, scratch.ranking, widest)
        gain = gains[candidates[j]]


@njit(**INLINE)
def enter(u, slabs, holes, n, best, pursuit, centre, scratch):
    """Find centre and candidates of the n-th data point; see `find_centre` for the rest."""
    enter_point(holes, n)
    start(u, slabs, holes, n, centre, scratch)
    widest = write_slack(u, slabs.bias, scratch.ranking.slack)
    if not best:
        select(u, slabs, holes, n, pursuit, centre, widest, scratch)
        return 0, 0.0
    n_active, height = find_centre(u, slabs, holes, n, centre, widest, scratch)
    if n_active >= 0:
        # the latents whose change costs least
        best_few(centre.gains, scratch.ranking, widest, centre.candidates)
    return n_active, height
