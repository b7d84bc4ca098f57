"""E-step of the linear superposition with a spike-and-slab prior (GSC).

Latents are scaled so that the posterior precision of a latent that is active alone is
one. Given the active set A, the slab then has precision R_A and mean R_A^-1 u_A, and

    log p(y, A) - log p(y, {}) = sum_A b_h + u_A^T R_A^-1 u_A / 2 - log det(R_A) / 2

The states are a tree: a child activates one more, later candidate, which eliminates
one variable of the quadratic form (the last row of a Cholesky factor). The kernel walks
the tree once for all data points of a group: they are the lanes of its vectors.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from .linear import add_pair
from .vector_math import JIT, argmax, exp, maximum

# Data points that walk the tree of states together.
LANES = 32


class StateTree(NamedTuple):
    """States of active candidates in the order of a depth-first walk."""

    latent: np.ndarray  # (n_states,) int64, the last active candidate
    n_active: np.ndarray  # (n_states,) int64


class Slabs(NamedTuple):
    """What the kernel needs of the parameters, in scaled units."""

    scale: np.ndarray  # (H,) posterior deviation of a latent that is active alone
    shift: np.ndarray  # (H,) prior's share of u = scale * projection + shift
    bias: np.ndarray  # (H,) b, such that b + u^2 / 2 is the gain of a latent alone
    precision: np.ndarray  # (H, H) R, unit diagonal
    floor: np.ndarray  # (H,) least precision of a latent given others


def state_tree(n_candidates, max_active):
    """Return the `StateTree` of 1 to ``max_active`` active candidates."""
    latent, n_active = [], []

    def grow(first, depth):
        for j in range(first, n_candidates):
            latent.append(j)
            n_active.append(depth)
            if depth < max_active:
                grow(j + 1, depth + 1)

    grow(0, 1)
    return StateTree(np.array(latent, np.int64), np.array(n_active, np.int64))


@njit(**JIT)
def add_product(out, a, b):
    for i in range(out.size):
        out[i] += a[i] * b[i]


@njit(**JIT)
def subtract_product(out, x, a, b):
    for i in range(out.size):
        out[i] = x[i] - a[i] * b[i]


@njit(**JIT)
def pivots(p, r, floor, inverse, mean, gain, determinant, gain_out, determinant_out, b):
    for i in range(p.size):
        d = maximum(p[i], floor[i])
        ip = 1.0 / d
        inverse[i] = ip
        t = r[i] * ip
        mean[i] = t
        gain_out[i] = gain[i] + b[i] + 0.5 * r[i] * t
        determinant_out[i] = determinant[i] * d


@njit(**JIT)
def enter(quadratic, fields, floors, biases, inverse, mean, gain, determinant, ratio, d, j, stop):
    pivots(
        quadratic[d, j, j],
        fields[d, j],
        floors[j],
        inverse[d],
        mean[d],
        gain[d],
        determinant[d],
        gain[d + 1],
        determinant[d + 1],
        biases[j],
    )
    r = fields[d]
    q = quadratic[d]
    for i in range(j + 1, stop):
        a = q[j, i]
        g = ratio
        for l in range(g.size):
            g[l] = a[l] * inverse[d, l]
        subtract_product(fields[d + 1, i], r[i], a, mean[d])
        for k in range(i, stop):
            subtract_product(quadratic[d + 1, i, k], q[i, k], g, q[j, k])


@njit(**JIT)
def leave(quadratic, inverse, mean, total, first, second, active, acc, d, j, stop):
    """Close the state that eliminated candidate j at slot d."""
    n_lanes = acc.size
    rho = first[d + 1]
    M = second[d + 1]
    q = quadratic[d]
    ip, t = inverse[d], mean[d]
    w = total[d + 1]
    out1, out2 = first[d], second[d]
    row = M[j]
    # row j of the second moments
    for i in range(j + 1, stop):
        acc[:] = 0.0
        for k in range(j + 1, i):
            add_product(acc, q[j, k], M[k, i])
        for k in range(i, stop):
            add_product(acc, q[j, k], M[i, k])
        m = row[i]
        f = rho[i]
        o = out2[j, i]
        for l in range(n_lanes):
            x = t[l] * f[l] - ip[l] * acc[l]
            m[l] = x
            o[l] += x
    acc[:] = 0.0
    for i in range(j + 1, stop):
        add_product(acc, q[j, i], rho[i])
    o, a = out1[j], active[j]
    up = total[d]
    f = rho[j]
    for l in range(n_lanes):
        x = t[l] * w[l] - ip[l] * acc[l]
        f[l] = x
        o[l] += x
        a[l] += w[l]
        up[l] += w[l]
    acc[:] = 0.0
    for i in range(j + 1, stop):
        add_product(acc, q[j, i], row[i])
    o = out2[j, j]
    for l in range(n_lanes):
        o[l] += ip[l] * (w[l] - acc[l]) + t[l] * f[l]
    for i in range(j + 1, stop):
        o, f = out1[i], rho[i]
        for l in range(n_lanes):
            o[l] += f[l]
        for k in range(i, stop):
            o, f = out2[i, k], M[i, k]
            for l in range(n_lanes):
                o[l] += f[l]


@njit(**JIT)
def tree_forward(tree, n, stop_at, work, energies, dets):
    quadratic, fields, floors, biases, inverse, mean, gain, determinant, ratio = work
    for s in range(tree.latent.size):
        j, d = tree.latent[s], tree.n_active[s]
        stop = n if d < stop_at else j + 1
        enter(
            quadratic,
            fields,
            floors,
            biases,
            inverse,
            mean,
            gain,
            determinant,
            ratio,
            d - 1,
            j,
            stop,
        )
        energies[s] = gain[d]
        dets[s] = determinant[d]


@njit(**JIT)
def tree_both(tree, n, stop_at, work, weights, total, first, second, active, acc):
    quadratic, fields, floors, biases, inverse, mean, gain, determinant, ratio = work
    top = 0
    for s in range(tree.latent.size):
        j, d = tree.latent[s], tree.n_active[s]
        while top >= d:
            jj = path_j(tree, s, top)
            top -= 1
    return


@njit(**JIT)
def path_j(tree, s, top):
    return 0
