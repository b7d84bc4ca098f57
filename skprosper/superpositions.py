"""Superpositions: how active components combine, which E-step and M-step serve them."""

import numpy as np
from scipy import linalg

from .inference.linear import LinearEStep
from .inference.spike_slab import SpikeSlabEStep
from .priors import SpikeSlabPrior

# Below this share of the largest a direction of the latents is not determined.
_RANK = 1e-12
_PROXIMAL = 1e-10
# A latent used by less than this share of the most used one keeps its component.
_UNUSED = 1e-10


class LinearSuperposition:
    """ybar(s) = sum_h s_h W_h."""

    @staticmethod
    def e_step(prior):
        """Return the class of the E-step for a prior."""
        return SpikeSlabEStep if isinstance(prior, SpikeSlabPrior) else LinearEStep

    @staticmethod
    def superpose(codes, components):
        """Return ybar of each code, shape (n_samples, n_features)."""
        return codes @ components

    @staticmethod
    def updated(parameters, statistics, learn):
        """Return new components, offset and residual second moment (exact M-step).

        With an offset m the data of the statistics are y - m, and a latent that is
        always 1 carries the change of m.
        """
        W, offset = parameters.components, parameters.offset
        amplitudes = parameters.prior.amplitudes(len(W))
        cross, second = statistics["cross"], statistics["second"]
        if offset is not None:
            codes, weight = statistics["codes"], statistics["weight"]
            W = np.vstack([W, np.zeros(W.shape[1])])
            amplitudes = np.append(amplitudes, 1.0)
            cross = np.vstack([cross, statistics["data"]])
            second = np.block([[second, codes[:, None]], [codes, weight]])
        if "components" in learn:
            W = solve_semidefinite(second, cross, W, amplitudes)
        elif offset is not None:
            W[-1] = (cross[-1] - second[-1, :-1] @ W[:-1]) / second[-1, -1]
        explained = parameters.noise.explained(W, cross, second)
        residual = (statistics["data_second"] - explained) / statistics["weight"]
        if offset is None:
            return W, None, residual
        return W[:-1], offset + W[-1], residual


def solve_semidefinite(second, cross, previous, amplitudes):
    """Solve ``second @ W = cross``; keep ``previous`` where second has no say.

    second is positive semi-definite, (H, H); a latent that no data point uses is a
    zero row of it. W, cross and previous are (H, D). ``amplitudes`` (H,) are the units
    in which the latents compare.
    """
    square = np.diag(second)
    usage = square / amplitudes**2
    used = usage > _UNUSED * usage.max(initial=0.0)
    W = previous.copy()
    if not used.any():
        return W
    scale = np.sqrt(square[used])
    matrix = second[np.ix_(used, used)] / np.outer(scale, scale)
    right = (cross - second[:, ~used] @ previous[~used])[used] / scale[:, None]
    start = previous[used] * scale[:, None]
    try:
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        determined = np.diag(factor[0]).min() ** 2 > np.sqrt(_RANK)
    except linalg.LinAlgError:
        determined = False
    if not determined:
        # A proximal step: it moves only where the data say so, and cannot lower the
        # bound; its fixed points are those of the plain step.
        matrix[np.diag_indices_from(matrix)] += _PROXIMAL
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        right = right + _PROXIMAL * start
    W[used] = linalg.cho_solve(factor, right) / scale[:, None]
    return W


SUPERPOSITIONS = {"linear": LinearSuperposition()}
