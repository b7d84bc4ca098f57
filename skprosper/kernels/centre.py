"""The best state of a data point under a maximum superposition.

From the state 0 the one change, a latent on, off or to another value, that raises the
log-joint most is made, until none raises it by more than rounding may. Where one of the
states that are kept around the centre is better still, the climb goes on from there. A
change costs O(D), so that not all latents are looked at: a change is sought among the
active latents and the `n_screened` inactive ones of the best estimated rise. The
estimate is exact where no latent is active or one is; else it takes what the active
latents explain as if no three of them met at a pixel: with the values s of the state,

    v W_h y - v^2 |W_h|^2 / 2 - sum_i (v s_i W_h W_i - |v s_i| overlap_hi / 2) + log odds,

because at a pixel two latents share only the stronger one explains the data.

At every pixel the strongest term and the runner-up are kept with their latents: what
switching any active latent off costs follows from one pass over the pixels.
"""

from typing import NamedTuple

import numpy as np

from .compiling import njit
from .holes import gram_row
from .vector_math import INLINE, JIT, maximum

# Latents of a block whose best gain is kept, such that taking one costs no pass over all.
_BLOCK = 16
# Active latents up to which a pass over the pixels for each is faster than one for all.
_FEW = 4
# Terms that differ by less than this share are equal but for rounding errors. In single
# precision it is less than what `steadied` keeps components apart by.
_TIED, _TIED_SINGLE = 1e-8, 5e-7


class Search(NamedTuple):
    """Memory for the search of one data point.

    A kind is the index of a value plus one, 0 for an inactive latent. Of the known latents
    the active ones come first, in rising order.
    """

    kinds: np.ndarray  # (H,) int64 the state
    known: np.ndarray  # (H,) int64 latents whose changes are known
    rises: np.ndarray  # (H, K + 1) float64 what a known latent's change to a kind brings
    best: np.ndarray  # (H,) float64 the best of them
    scores: np.ndarray  # (4, H) estimated rises, residual projections, shared pixels, overlap
    peaks: np.ndarray  # best estimate of each block
    drops: np.ndarray  # (H + 1,) float64 by latent, the last for pixels at 0
    top: np.ndarray  # (D,) strongest term
    second: np.ndarray  # (D,) runner-up
    top_by: np.ndarray  # (D,) int64 their latents, H where all terms are 0
    second_by: np.ndarray  # (D,) int64


@njit(**INLINE)
def make_search(components, n_values):
    """Allocate the `Search`."""
    n_latents, n_features = components.shape
    dtype = components.dtype
    return Search(
        np.zeros(n_latents, np.int64),
        np.empty(n_latents, np.int64),
        np.empty((n_latents, n_values + 1)),
        np.empty(n_latents),
        np.empty((4, n_latents), dtype),
        np.empty((n_latents + _BLOCK - 1) // _BLOCK, dtype),
        np.zeros(n_latents + 1),
        np.empty(n_features, dtype),
        np.empty(n_features, dtype),
        np.empty(n_features, np.int64),
        np.empty(n_features, np.int64),
    )


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
def overlap_row(model, holes, search, h):
    """Return the overlap of a component with all others."""
    if holes is None:
        return model.overlap[h]
    row, a = search.scores[3], model.components[h]
    for i in range(row.size):
        b, total = model.components[i], row.dtype.type(0.0)
        for d in range(a.size):
            x = -maximum(-abs(a[d]), -abs(b[d]))
            total += x * x
        row[i] = total
    return row


@njit(**INLINE)
def slack_of(gains):
    """Return the relative difference below which two gains tie."""
    return 1e-10 if gains.itemsize == 8 else 1e-5


@njit(**INLINE)
def fill_peaks(gains, peaks):
    """Write the best gain of each block."""
    for b in range(peaks.size):
        top = gains.dtype.type(-np.inf)
        for i in range(b * _BLOCK, min((b + 1) * _BLOCK, gains.size)):
            top = maximum(top, gains[i])
        peaks[b] = top


@njit(**INLINE)
def take_best(gains, peaks):
    """Return the first latent whose gain is the best but for rounding; forget its gain.

    Components that explain the same data become equal: which of them is taken must not
    depend on the order of a sum.
    """
    best = gains.dtype.type(-np.inf)
    for b in range(peaks.size):
        best = maximum(best, peaks[b])
    top = np.float64(best)
    least = gains.dtype.type(top - slack_of(gains) * (1.0 + abs(top)))
    b = 0
    while peaks[b] < least:
        b += 1
    first = b * _BLOCK
    while gains[first] < least:
        first += 1
    gains[first] = -np.inf
    best = gains.dtype.type(-np.inf)
    for i in range(b * _BLOCK, min((b + 1) * _BLOCK, gains.size)):
        best = maximum(best, gains[i])
    peaks[b] = best
    return first


# Changes of a state ---------------------------------------------------------------------


@njit(**INLINE)
def margin_of(terms):
    """Return the factor by which a term has to exceed an earlier one to win a pixel."""
    return terms.dtype.type(1.0 + (_TIED if terms.itemsize == 8 else _TIED_SINGLE))


@njit(**INLINE)
def join(search, h, v, component):
    """Let the term of one more latent compete; of terms that tie that of the earlier wins."""
    top, second, top_by, second_by = search.top, search.second, search.top_by, search.second_by
    margin = margin_of(top)
    for d in range(top.size):
        t, m, r = v * component[d], top[d], second[d]
        i, j = top_by[d], second_by[d]
        first, next_ = abs(t) > abs(m), abs(t) > abs(r)
        wins, places = abs(t) > margin * abs(m), abs(t) > margin * abs(r)
        top[d] = t if first else m
        top_by[d] = h if wins else i
        second[d] = m if first else (t if next_ else r)
        second_by[d] = i if wins else (h if places else j)


@njit(**INLINE)
def clear(search):
    """Make the state's ybar that of the state 0."""
    none = search.kinds.size
    search.top[:] = 0.0
    search.second[:] = 0.0
    search.top_by[:] = none
    search.second_by[:] = none


@njit(**INLINE)
def rise_of(y, top, component, v):
    """Return what letting v times a component compete adds to -|y - ybar|^2 / 2."""
    half, total = y.dtype.type(0.5), y.dtype.type(0.0)
    for d in range(y.size):
        t, m = v * component[d], top[d]
        x = t if abs(t) > abs(m) else m
        total += (x - m) * (y[d] - half * (x + m))
    return np.float64(total)


@njit(**INLINE)
def rise_of_value(y, search, h, component, v):
    """Return the same for another value of an active latent."""
    half, total = y.dtype.type(0.5), y.dtype.type(0.0)
    for d in range(y.size):
        t, m = v * component[d], search.top[d]
        x = search.second[d] if search.top_by[d] == h else m
        x = t if abs(t) > abs(x) else x
        total += (x - m) * (y[d] - half * (x + m))
    return np.float64(total)


@njit(**INLINE)
def write_drops(y, search, n_active):
    """Write what switching the active latents off adds to -|y - ybar|^2 / 2."""
    known, drops = search.known, search.drops
    top, second, top_by = search.top, search.second, search.top_by
    half, zero = y.dtype.type(0.5), y.dtype.type(0.0)
    if n_active <= _FEW:
        for p in range(n_active):
            h, total = known[p], zero
            for d in range(y.size):
                m, r = top[d], second[d]
                drop = (r - m) * (y[d] - half * (r + m))
                total += drop if top_by[d] == h else zero
            drops[h] = np.float64(total)
        return
    for p in range(n_active):
        drops[known[p]] = 0.0
    for d in range(y.size):
        m, r = top[d], second[d]
        drops[top_by[d]] += np.float64((r - m) * (y[d] - half * (r + m)))


@njit(**INLINE)
def active_rises(model, y, search, n_active):
    """Write what all changes of the active latents bring."""
    kinds, known, rises, drops = search.kinds, search.known, search.rises, search.drops
    write_drops(y, search, n_active)
    for p in range(n_active):
        h = known[p]
        now = kinds[h]
        lost = model.odds[now - 1, h]
        rises[p, 0] = drops[h] - lost
        for k in range(model.values.size):
            if k + 1 != now:
                v, odds = model.single_values[k], model.odds[k, h] - lost
                # a value that never wins is as good as none
                rise = drops[h]
                if v != 0.0:
                    rise = rise_of_value(y, search, h, model.components[h], v)
                rises[p, k + 1] = rise + odds


@njit(**INLINE)
def inactive_rises(model, y, projection, search, n_active, n_known):
    """Write what all changes of the known latents that are inactive bring."""
    for p in range(n_active, n_known):
        h = search.known[p]
        for k in range(model.values.size):
            v = model.single_values[k]
            if n_active == 0:
                search.rises[p, k + 1] = np.float64(v * projection[h] + model.bias[k, h])
            else:
                rise = 0.0
                if v != 0.0:
                    rise = rise_of(y, search.top, model.components[h], v)
                search.rises[p, k + 1] = rise + model.odds[k, h]


@njit(**INLINE)
def estimate(model, search):
    """Write the estimated rise of every latent that is inactive."""
    gains, residual, shared = search.scores[0], search.scores[1], search.scores[2]
    values, bias, half = model.single_values, model.bias, gains.dtype.type(0.5)
    v, b = values[0], bias[0]
    for h in range(gains.size):
        gains[h] = v * residual[h] + b[h] + half * abs(v) * shared[h]
    for k in range(1, values.size):
        v, b = values[k], bias[k]
        for h in range(gains.size):
            gain = v * residual[h] + b[h] + half * abs(v) * shared[h]
            gains[h] = maximum(gains[h], gain)


@njit(**INLINE)
def explain(model, holes, search, h, before, after):
    """Take from the scores what the change of a latent's value explains."""
    residual, shared = search.scores[1], search.scores[2]
    change, size = after - before, abs(after) - abs(before)
    if change == 0.0:
        return
    gram, overlap = gram_row(model.gram, holes, h), overlap_row(model, holes, search, h)
    for i in range(residual.size):
        residual[i] -= change * gram[i]
        shared[i] += size * overlap[i]


@njit(**INLINE)
def screen(model, search, n_active, n_screened):
    """Write the inactive latents that are looked at; return how many are known then."""
    kinds, known, gains = search.kinds, search.known, search.scores[0]
    n_known = n_active + min(n_screened, kinds.size - n_active)
    if n_screened < kinds.size:
        estimate(model, search)
        for p in range(n_active):
            gains[known[p]] = -np.inf
        fill_peaks(gains, search.peaks)
        for p in range(n_active, n_known):
            known[p] = take_best(gains, search.peaks)
        return n_known
    p = n_active
    for h in range(kinds.size):
        if kinds[h] == 0:
            known[p] = h
            p += 1
    return n_known


@njit(**INLINE)
def best_kinds(model, search, n_known):
    """Write the best change of every known latent."""
    for p in range(n_known):
        now = search.kinds[search.known[p]]
        top = -np.inf
        for kind in range(model.values.size + 1):
            if kind != now:
                top = max(top, search.rises[p, kind])
        search.best[p] = top


@njit(**INLINE)
def best_known(search, n_known, energy, slack):
    """Return the place of the first latent whose best change is the best, and its rise."""
    best, known = search.best, search.known
    top, place = -np.inf, np.int64(0)
    for p in range(n_known):
        top = max(top, best[p])
    least = top - slack * (1.0 + abs(energy + top))
    for p in range(n_known):
        if best[p] >= least and (best[place] < least or known[p] < known[place]):
            place = p
    return place, top


@njit(**INLINE)
def apply_change(model, search, n_active, place, kind):
    """Change a known latent to a kind; return how many are active then."""
    kinds, known = search.kinds, search.known
    h = known[place]
    now = kinds[h]
    kinds[h] = kind
    if now == 0:
        join(search, h, model.single_values[kind - 1], model.components[h])
        p = n_active
        while p > 0 and known[p - 1] > h:
            known[p] = known[p - 1]
            p -= 1
        known[p] = h
        return n_active + 1
    if kind == 0:
        n_active -= 1
        for p in range(place, n_active):
            known[p] = known[p + 1]
    clear(search)
    for p in range(n_active):
        i = known[p]
        join(search, i, model.single_values[kinds[i] - 1], model.components[i])
    return n_active


# States of negative values alone, no latent inactive ---------------------------------------


@njit(**INLINE)
def bottom_energy(model, y, kinds):
    """Return log prior odds less half the squared error's excess of such a state."""
    energy = 0.0
    for h in range(kinds.size):
        energy += model.odds[kinds[h] - 1, h]
    for d in range(y.size):
        x = least_negative(model, kinds, d)[1]
        energy -= 0.5 * x * (x - 2.0 * y[d])
    return energy


@njit(**INLINE)
def least_negative(model, kinds, d):
    """Return the latent that wins a pixel in such a state, and its term."""
    winner, top = np.int64(0), -np.inf
    for h in range(kinds.size):
        term = np.float64(model.values[kinds[h] - 1] * model.components[h, d])
        if term > top:
            winner, top = h, term
    return winner, top


@njit(**INLINE)
def all_negative(model, kinds):
    """Return whether the plain maximum over a state's latents is below 0."""
    for h in range(kinds.size):
        if kinds[h] == 0 or model.values[kinds[h] - 1] >= 0.0:
            return False
    return True


@njit(**INLINE)
def mend_bottom(model, y, search, energy, n_known):
    """Write the rises of changes that leave such a state or lead to one."""
    kinds, below = search.kinds, 0
    for h in range(kinds.size):
        below += kinds[h] > 0 and model.values[kinds[h] - 1] < 0.0
    if below < kinds.size - 1:
        return
    at_bottom = below == kinds.size
    for p in range(n_known):
        h = search.known[p]
        now = kinds[h]
        for kind in range(model.values.size + 1):
            kinds[h] = kind
            if kind == now:
                continue
            if all_negative(model, kinds):
                search.rises[p, kind] = bottom_energy(model, y, kinds) - energy
            elif at_bottom:
                # only this latent's term is not below 0
                rise = 0.0
                for i in range(kinds.size):
                    if kinds[i] > 0:
                        rise += model.odds[kinds[i] - 1, i]
                if kind > 0:
                    v = model.single_values[kind - 1]
                    rise += rise_of(y, search.top, model.components[h], v)
                search.rises[p, kind] = rise - energy
        kinds[h] = now


# The search -------------------------------------------------------------------------------


@njit(**INLINE)
def place_at(model, holes, projection, search):
    """Make the memory that of the state ``kinds``; return how many latents are active."""
    kinds, known, values = search.kinds, search.known, model.single_values
    clear(search)
    search.scores[1] = projection
    search.scores[2] = 0.0
    n_active = 0
    for h in range(kinds.size):
        if kinds[h] > 0:
            v = values[kinds[h] - 1]
            join(search, h, v, model.components[h])
            if model.n_screened < kinds.size:
                explain(model, holes, search, h, values.dtype.type(0.0), v)
            known[n_active] = h
            n_active += 1
    return n_active


@njit(**INLINE)
def climb(model, holes, y, projection, search, energy):
    """Climb from the state ``kinds`` by single changes.

    Returns the energy, how many latents are active and how many known. The known latents
    are the active ones and the inactive ones that were looked at at the end, with what
    their changes bring.
    """
    kinds, known, values = search.kinds, search.known, model.single_values
    slack = slack_of(search.scores)
    n_active, n_known = place_at(model, holes, projection, search), 0
    # rounding could turn a state round in circles: any state may be a centre
    n_left = 4 * kinds.size + 16
    # from the state 0 the estimates are exact: the best of them is the first step
    alone = n_active == 0 and not model.bottom and model.n_screened < kinds.size
    while True:
        n_known = screen(model, search, n_active, 1 if alone else model.n_screened)
        active_rises(model, y, search, n_active)
        inactive_rises(model, y, projection, search, n_active, n_known)
        if model.bottom:
            mend_bottom(model, y, search, energy, n_known)
        best_kinds(model, search, n_known)
        place, rise = best_known(search, n_known, energy, slack)
        tie = slack * (1.0 + abs(energy + rise))
        stuck = rise <= tie or n_left == 0
        if stuck and not alone:
            break
        alone = False
        if stuck:
            continue  # the changes of the others are asked for at the end
        n_left -= 1
        h = known[place]
        now, kind = kinds[h], np.int64(0)
        while kind == now or search.rises[place, kind] < search.best[place] - tie:
            kind += 1
        energy += search.rises[place, kind]
        before = values[now - 1] if now > 0 else values.dtype.type(0.0)
        after = values[kind - 1] if kind > 0 else values.dtype.type(0.0)
        if model.n_screened < kinds.size:
            explain(model, holes, search, h, before, after)
        n_active = apply_change(model, search, n_active, place, kind)
    return energy, n_active, n_known


@njit(**INLINE)
def cheapest(search, n_known, energy, candidates):
    """Write the known latents whose best change costs least, in rising order."""
    slack = slack_of(search.scores)
    for j in range(candidates.size):
        place, _ = best_known(search, n_known, energy, slack)
        candidates[j] = search.known[place]
        search.best[place] = -np.inf
    candidates.sort()
