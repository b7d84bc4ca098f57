"""Preselection of candidate latents for one data point, linear superposition."""

import numpy as np

from .compiling import njit
from .vector_math import INLINE, argmax, exp, maximum


@njit(**INLINE)
def best_gains(projection, values, bias, gains):
    """gains[h] = max_k values[k] projection[h] + bias[k, h]."""
    v, b = values[0], bias[0]
    for h in range(projection.size):
        gains[h] = v * projection[h] + b[h]
    for k in range(1, values.size):
        v, b = values[k], bias[k]
        for h in range(projection.size):
            gains[h] = maximum(gains[h], v * projection[h] + b[h])


@njit(**INLINE)
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


@njit(**INLINE)
def select(projection, gram, values, bias, pursuit, residual, gains, work, candidates):
    """Write the candidates of one data point, best first.

    projection (H,) = W Sigma^-1 y; bias (K, H) = log odds of value k less
    v_k^2 G_hh / 2. On return gains (H,) holds the log-joint of every latent's best
    single-latent state, relative to the state 0.
    """
    best_gains(projection, values, bias, gains)
    candidates[0] = argmax(gains)
    work[:] = gains
    residual[:] = projection
    for j in range(1, candidates.size):
        last = candidates[j - 1]
        if pursuit:
            amplitude = posterior_amplitude(residual[last], values, bias, last)
            amplitude = residual.dtype.type(amplitude)
            row = gram[last]
            for h in range(residual.size):
                residual[h] -= amplitude * row[h]
            best_gains(residual, values, bias, work)
        for i in range(j):
            work[candidates[i]] = -np.inf
        candidates[j] = argmax(work)
