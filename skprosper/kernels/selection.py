"""Centre and candidates of one data point, linear superposition with discrete values.

The field of a latent is the projection of the data less what the other active latents
explain: at the value v it brings v field + bias. A change is told by an index k: to the
k-th value, or to 0 for the latent that has the k-th value already.
"""

import numpy as np

from .compiling import njit
from .holes import find_row, gram_entry
from .ranking import first_beside, first_best
from .vector_math import LEAN, copy, exp, fma, maximum


@njit(**LEAN)
def write_slack(projection, bias, slack):
    """Write by how much gains may differ by rounding errors alone; return the largest.

    Gains are small differences of ``projection`` (H,) and ``bias`` (K, H), and err as
    those do.
    """
    unit, widest = 1e-8 if projection.itemsize == 8 else 1e-5, 0.0
    for h in range(slack.size):
        slack[h] = 1.0 + abs(np.float64(projection[h]))
    for k in range(bias.shape[0]):
        b = bias[k]
        for h in range(slack.size):
            slack[h] += abs(np.float64(b[h]))
    for h in range(slack.size):
        slack[h] *= unit
        widest = maximum(widest, slack[h])
    return widest


@njit(**LEAN)
def best_gains(projection, values, bias, gains):
    """gains[h] = max_k values[k] projection[h] + bias[k, h]."""
    v, b = values[0], bias[0]
    for h in range(projection.size):
        gains[h] = fma(v, projection[h], b[h])
    for k in range(1, values.size):
        v, b = values[k], bias[k]
        for h in range(projection.size):
            gains[h] = maximum(gains[h], fma(v, projection[h], b[h]))


@njit(**LEAN)
def note_value(h, kind, values, bias, slopes, intercepts):
    """Write the gains of a latent's changes, as functions of its field, for the value it has."""
    v, b = values.dtype.type(0.0), values.dtype.type(0.0)
    if kind >= 0:
        v, b = values[kind], bias[kind, h]
    for k in range(values.size):
        slopes[k, h] = (values[k] if k != kind else values.dtype.type(0.0)) - v
        intercepts[k, h] = (bias[k, h] if k != kind else values.dtype.type(0.0)) - b


@njit(**LEAN)
def explain(change, row, slopes, intercepts, field, gains):
    """Take what the change of a latent explains from the field; write gains, return the best.

    row (H,) is that of the latent in the Gram matrix.
    """
    top = gains.dtype.type(-np.inf)
    s, t = slopes[0], intercepts[0]
    if len(slopes) == 1:
        for h in range(field.size):
            left = fma(-change, row[h], field[h])
            gain = fma(s[h], left, t[h])
            field[h], gains[h] = left, gain
            top = maximum(top, gain)
        return top
    s1, t1 = slopes[1], intercepts[1]
    for h in range(field.size):
        left = fma(-change, row[h], field[h])
        gain = maximum(fma(s[h], left, t[h]), fma(s1[h], left, t1[h]))
        field[h], gains[h] = left, gain
        top = maximum(top, gain)
    for k in range(2, len(slopes)):
        s, t = slopes[k], intercepts[k]
        for h in range(field.size):
            gain = maximum(gains[h], fma(s[h], field[h], t[h]))
            gains[h] = gain
            top = maximum(top, gain)
    return top


@njit(**LEAN)
def gain_of_change(field, values, bias, kind, h, k):
    """Return the gain of the k-th change of a latent that has the value of index kind."""
    gain = 0.0 if k == kind else np.float64(values[k] * field[h] + bias[k, h])
    if kind >= 0:
        gain -= np.float64(values[kind] * field[h] + bias[kind, h])
    return gain


@njit(**LEAN)
def size_of_change(values, kind, k):
    """Return what the k-th change adds to the value of a latent."""
    change = 0.0 if k == kind else np.float64(values[k])
    return change - np.float64(values[kind]) if kind >= 0 else change


@njit(**LEAN)
def best_change(field, values, bias, kind, h, slack):
    """Return the best change of a latent, the first of those that tie."""
    best, top = 0, gain_of_change(field, values, bias, kind, h, 0)
    for k in range(1, values.size):
        gain = gain_of_change(field, values, bias, kind, h, k)
        if gain > top + slack:
            best, top = k, gain
    return best


@njit(**LEAN)
def find_centre(projection, holes, model, centre, widest):
    """Climb from the state 0 to a local maximum of the log-joint, the best change at a time.

    No latent is active in the ``centre`` on entry. ``widest`` is the largest slack of all.
    Returns how many latents are active.
    """
    kinds, support, field, gains = centre.kinds, centre.support, centre.field, centre.gains
    slopes, intercepts, ranking = centre.slopes, centre.intercepts, centre.ranking
    gram, values, bias = model
    copy(projection, field)
    top = explain(field.dtype.type(0.0), projection, slopes, intercepts, field, gains)
    n_active = 0
    # a step gains more than rounding errors; what they add up to must not go on for ever
    for _ in range(4 * field.size + 16):
        h = first_beside(top, gains, ranking, widest)
        slack = ranking.slack[h]
        if gains[h] <= slack:
            break
        kind = kinds[h]
        k = best_change(field, values, bias, kind, h, slack)
        change = field.dtype.type(size_of_change(values, kind, k))
        if kind < 0:
            support[n_active] = h
            n_active += 1
        if k != kind:
            kinds[h] = k
        else:
            kinds[h] = -1
            n_active -= 1
            for i in range(n_active):
                if support[i] == h:
                    support[i] = support[n_active]
        note_value(h, kinds[h], values, bias, slopes, intercepts)
        own, place = field[h], find_row(gram, holes, h)
        row = gram[h] if holes is None else holes.gram[place]
        field[h] = fma(change, row[h], own)  # from itself a latent takes nothing
        top = explain(change, row, slopes, intercepts, field, gains)
        field[h] = own
    return n_active


@njit(**LEAN)
def log_joint_of(projection, gram, holes, values, bias, kinds, support, n_active):
    """Return the log-joint of a state relative to the state 0."""
    total = 0.0
    for i in range(n_active):
        h = support[i]
        v = np.float64(values[kinds[h]])
        total += v * np.float64(projection[h]) + np.float64(bias[kinds[h], h])
        for j in range(i):
            g = support[j]
            total -= v * np.float64(values[kinds[g]]) * np.float64(gram_entry(gram, holes, h, g))
    return total


@njit(**LEAN)
def posterior_amplitude(projection, values, bias, h):
    """Return the mean of s_h given that all other latents are inactive."""
    top = 0.0
    for k in range(values.size):
        top = max(top, np.float64(values[k] * projection + bias[k, h]))
    total, mean = exp(-top), 0.0
    for k in range(values.size):
        weight = exp(np.float64(values[k] * projection + bias[k, h]) - top)
        total += weight
        mean += values[k] * weight
    return mean / total


@njit(**LEAN)
def select(projection, holes, model, pursuit, centre, widest):
    """Write the candidates of one data point, best first.

    For the centre 0. projection (H,) = W Sigma^-1 y. On return ``centre`` has its field,
    which is the projection, and as gains the log-joint of every latent's best single-latent
    state, relative to the state 0.
    """
    gram, values, bias = model
    residual, gains, work = centre.field, centre.gains, centre.work
    candidates, ranking = centre.candidates, centre.ranking
    best_gains(projection, values, bias, gains)
    candidates[0] = first_best(gains, ranking, widest)
    copy(gains, work)
    copy(projection, residual)
    for j in range(1, candidates.size):
        last = candidates[j - 1]
        if pursuit:
            amplitude = posterior_amplitude(residual[last], values, bias, last)
            amplitude = residual.dtype.type(amplitude)
            place = find_row(gram, holes, last)
            row = gram[last] if holes is None else holes.gram[place]
            for h in range(residual.size):
                residual[h] = fma(-amplitude, row[h], residual[h])
            best_gains(residual, values, bias, work)
        for i in range(j):
            work[candidates[i]] = -np.inf
        candidates[j] = first_best(work, ranking, widest)
    copy(projection, centre.field)
