"""What missing values change for a data point: its own Gram matrix, and its second moments.

With the features of a data point that are observed O, independent noise and
G_hg = sum over O of W_hd W_gd / sigma_d^2, all else is as for complete data. Rows of that
matrix are found only for the latents that a search comes to. Where more is observed than
not, they are those of complete data less what is missing. Under correlated noise the
matrices are given.

The M-step needs <s s^T> W at the missing features of every data point. A second moment has
dense rows for the latents that are active in the centre, entries between candidates, and a
diagonal. The rows and the diagonals of many data points are collected for matrix products.
Of discrete values the dense rows follow from the centre s* and the mean change <c>, being
s* <c>^T + <c> s*^T + s* s*^T: these take two products, however many latents are active.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .vector_math import INLINE, LEAN, SUM, fma

# What is collected of the second moments: nothing, what the M-step needs, all of each point.
NOTHING, SUMS, POINTS = 0, 1, 2
# Places in ``tally``.
_N_FEATURES, _HIDDEN, _N_FILLED, _COLLECT, N_ROWS, N_DONE, _POINT = range(7)


class Holes(NamedTuple):
    """A block of data points with missing values, and memory for one of them."""

    seen: np.ndarray  # (n, D) bool
    squares: np.ndarray  # (n, H) G_hh of each data point
    grams: np.ndarray  # (n, H, H) Gram matrices under correlated noise, else (0, H, H)
    odds: np.ndarray  # (K, H) float64 log odds, of discrete values
    fields: np.ndarray  # (H, D) components
    columns: np.ndarray  # (D, H) the same, transposed
    weighted: np.ndarray  # (H, D) components Sigma^-1
    features: np.ndarray  # (D,) int64 those that are seen, or those that are not
    gram: np.ndarray  # (H, H) rows of the data point's own Gram matrix, as they are asked for
    place: np.ndarray  # (H,) int64 where that of a latent is, -1: nowhere yet
    asked: np.ndarray  # (H,) int64 whose rows these are
    tally: np.ndarray  # (7,) int64
    second: np.ndarray  # (kinds, H, H) float64 second moment of the data point, 0 between them
    diagonal: np.ndarray  # (kinds, H) float64 sums of its diagonal
    rows: np.ndarray  # (room, H) dense rows of second moments
    latent: np.ndarray  # (room,) int64 whose rows
    point: np.ndarray  # (room,) int64 of which data point
    diagonals: np.ndarray  # (n, H) diagonals of second moments
    centres: np.ndarray  # (n, H) discrete values of the centres, (n, 0) of slabs
    cross: np.ndarray  # (H, D) float64 <s s^T> W at missing features, of candidates
    mixed: np.ndarray  # (D,) float64


@njit(**LEAN)
def enter_point(holes, n):
    """Make a data point the one whose Gram matrix is asked for."""
    if holes is None:
        return
    seen, tally, n_seen = holes.seen[n], holes.tally, 0
    for d in range(seen.size):
        n_seen += seen[d]
    hidden = 2 * n_seen > seen.size
    n_features = 0
    for d in range(seen.size):
        if seen[d] != hidden:
            holes.features[n_features] = d
            n_features += 1
    for i in range(tally[_N_FILLED]):
        holes.place[holes.asked[i]] = -1
    tally[_N_FEATURES], tally[_HIDDEN], tally[_N_FILLED] = n_features, hidden, 0
    tally[_POINT] = n


@njit(**LEAN)
def write_bias(holes, n, values, bias):
    """Write the log odds of value k less v_k^2 G_hh / 2 of a data point."""
    if holes is None:
        return
    squares = holes.squares[n]
    for k in range(values.size):
        half = 0.5 * np.float64(values[k]) ** 2
        odds, out = holes.odds[k], bias[k]
        for h in range(out.size):
            out[h] = odds[h] - half * squares[h]


@njit(**INLINE)
def gram_row(gram, holes, h):
    """Return a row of the data point's Gram matrix."""
    place = find_row(gram, holes, h)
    if holes is None:
        return gram[h]
    return holes.gram[place]


@njit(**LEAN)
def find_row(gram, holes, h):
    """Return where in ``holes.gram`` a row of the data point's Gram matrix is, once it is."""
    if holes is None:
        return h
    place = holes.place[h]
    if place >= 0:
        return place
    place = holes.tally[_N_FILLED]
    row = holes.gram[place]
    holes.place[h], holes.asked[place] = place, h
    holes.tally[_N_FILLED] += 1
    if holes.grams.shape[0] > 0:
        given = holes.grams[holes.tally[_POINT], h]
        for g in range(row.size):
            row[g] = given[g]
        return place
    n, sign = holes.tally[_N_FEATURES], row.dtype.type(1.0)
    hidden = holes.tally[_HIDDEN] > 0
    if hidden:
        sign = -sign
    source, zero = gram[h], row.dtype.type(0.0)
    for g in range(row.size):
        row[g] = source[g] if hidden else zero
    features, columns, weighted = holes.features, holes.columns, holes.weighted[h]
    i = 0
    while i + 8 <= n:
        d0, d1, d2, d3 = features[i], features[i + 1], features[i + 2], features[i + 3]
        d4, d5, d6, d7 = features[i + 4], features[i + 5], features[i + 6], features[i + 7]
        w0, w1 = sign * weighted[d0], sign * weighted[d1]
        w2, w3 = sign * weighted[d2], sign * weighted[d3]
        w4, w5 = sign * weighted[d4], sign * weighted[d5]
        w6, w7 = sign * weighted[d6], sign * weighted[d7]
        c0, c1, c2, c3 = columns[d0], columns[d1], columns[d2], columns[d3]
        c4, c5, c6, c7 = columns[d4], columns[d5], columns[d6], columns[d7]
        for g in range(row.size):
            x = fma(w3, c3[g], fma(w2, c2[g], fma(w1, c1[g], fma(w0, c0[g], row[g]))))
            row[g] = fma(w7, c7[g], fma(w6, c6[g], fma(w5, c5[g], fma(w4, c4[g], x))))
        i += 8
    while i < n:
        w0, c0 = sign * weighted[features[i]], columns[features[i]]
        for g in range(row.size):
            row[g] = fma(w0, c0[g], row[g])
        i += 1
    return place


@njit(**LEAN)
def gram_entry(gram, holes, h, g):
    """Return an entry of the data point's Gram matrix."""
    if holes is None:
        return gram[h, g]
    if holes.grams.shape[0] > 0:
        return holes.grams[holes.tally[_POINT], h, g]
    if holes.place[h] >= 0:
        return holes.gram[holes.place[h], g]
    if holes.place[g] >= 0:
        return holes.gram[holes.place[g], h]
    return _dot_of_seen(holes.seen[holes.tally[_POINT]], holes.weighted[h], holes.fields[g])


@njit(**SUM)
def _dot_of_seen(seen, x, y):
    """Return the sum of products over the features that are seen."""
    out = x.dtype.type(0.0)
    for d in range(seen.size):
        out += x[d] * y[d] if seen[d] else x.dtype.type(0.0)
    return out


@njit(**INLINE)
def moments_of_point(holes, second, diagonal):
    """Return where a data point adds its second moments: to the sums, or to its own."""
    if holes is None:
        return second, diagonal
    if holes.tally[_COLLECT] == NOTHING:
        return second, diagonal
    return holes.second, holes.diagonal


@njit(**LEAN)
def has_room(holes, n_rows):
    """Return whether the dense rows of a data point can be collected."""
    if holes is None:
        return True
    left = holes.rows.shape[0] - holes.tally[N_ROWS]
    return holes.tally[_COLLECT] == NOTHING or n_rows <= left


@njit(**LEAN)
def finish(holes, n):
    """Note how many data points are done."""
    if holes is None:
        return
    holes.tally[N_DONE] = n


@njit(**LEAN)
def collect_point(holes, n, squares, support, n_active, candidates, second, diagonal):
    """Add a data point's second moments to the sums, and keep what the M-step needs.

    squares (kinds,) is what an entry of its diagonal counts in that of the second moments,
    whose last kind is that of the latents.
    """
    if holes is None:
        return
    if holes.tally[_COLLECT] == NOTHING:
        return
    collect_diagonal(holes, n, squares, diagonal)
    own, total = holes.second, second
    last = own.shape[0] - 1
    for i in range(n_active):
        _collect_row(holes, n, last, support[i], total)
    for i in range(candidates.size):
        if holes.tally[_COLLECT] == POINTS:
            _collect_row(holes, n, last, candidates[i], total)
        else:
            _add_candidate(holes, n, last, candidates, candidates[i])
    if holes.tally[_COLLECT] == POINTS:
        return
    for kind in range(last + 1):
        for h in candidates:
            for g in candidates:
                total[kind, h, g] += own[kind, h, g]
                own[kind, h, g] = 0.0


@njit(**LEAN)
def note_centre(holes, n, values, kinds, support, n_active):
    """Keep the discrete values of a data point's centre."""
    if holes is None:
        return
    if holes.tally[_COLLECT] == NOTHING:
        return
    centre = holes.centres[n]  # 0 on entry
    for i in range(n_active):
        centre[support[i]] = values[kinds[support[i]]]


@njit(**LEAN)
def _add_candidate(holes, n, last, candidates, h):
    """Add <s_h s^T> W at missing features, of the other candidates."""
    own, seen, mixed, cross = holes.second[last], holes.seen[n], holes.mixed, holes.cross[h]
    mixed[:] = 0.0
    for g in candidates:
        x = own[h, g] + own[g, h]
        if g != h and x != 0.0:
            field = holes.fields[g]
            for d in range(mixed.size):
                mixed[d] = fma(x, field[d], mixed[d])
    for d in range(mixed.size):
        cross[d] += 0.0 if seen[d] else mixed[d]


@njit(**LEAN)
def collect_diagonal(holes, n, squares, diagonal):
    """Add the diagonal alone, and keep it."""
    if holes is None:
        return
    if holes.tally[_COLLECT] == NOTHING:
        return
    out = holes.diagonals[n]  # 0 on entry
    for k in range(diagonal.shape[0]):
        square, mine, sums = squares[k], holes.diagonal[k], diagonal[k]
        for h in range(out.size):
            out[h] = fma(square, mine[h], out[h])
            sums[h] += mine[h]
            mine[h] = 0.0


@njit(**INLINE)
def diagonal_of_point(holes, diagonal):
    """Return where a data point adds its diagonal: to the sums, or to its own."""
    if holes is None:
        return diagonal
    return diagonal if holes.tally[_COLLECT] == NOTHING else holes.diagonal


@njit(**LEAN)
def hide_features(holes, n, components):
    """Make components 0 where a data point has missing features: there nothing wins."""
    if holes is None:
        return
    seen = holes.seen[n]
    for h in range(components.shape[0]):
        row, field = components[h], holes.fields[h]
        for d in range(seen.size):
            row[d] = field[d] if seen[d] else row.dtype.type(0.0)


@njit(**LEAN)
def show_features(holes, components):
    """Make the components what they are."""
    if holes is None:
        return
    for h in range(components.shape[0]):
        row, field = components[h], holes.fields[h]
        for d in range(row.size):
            row[d] = field[d]


@njit(**LEAN)
def _collect_row(holes, n, last, h, total):
    """Keep a dense row of a data point's second moment; add it to the sums."""
    own = holes.second
    r = holes.tally[N_ROWS]
    row, any_there = holes.rows[r], False
    own[last, h, h] = 0.0  # the diagonal has sums of its own
    for g in range(row.size):
        row[g] = own[last, h, g]
        any_there |= row[g] != 0.0
    if any_there:
        holes.latent[r], holes.point[r] = h, n
        holes.tally[N_ROWS] = r + 1
    for kind in range(last + 1):
        source, target = own[kind, h], total[kind, h]
        for g in range(row.size):
            target[g] += source[g]
            source[g] = 0.0
