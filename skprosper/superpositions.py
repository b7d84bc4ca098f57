"""Superpositions: how active components combine, which E-step and M-step serve them."""

import numpy as np
from scipy import linalg

from .inference.linear import LinearEStep

# Below this share of the largest a direction of the data is not determined.
_RANK = 1e-12


class LinearSuperposition:
    """ybar(s) = sum_h s_h W_h."""

    @staticmethod
    def e_step(prior):
        """Return the class of the E-step for a prior."""
        return LinearEStep

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
        cross, second = statistics["cross"], statistics["second"]
        if offset is not None:
            codes, weight = statistics["codes"], statistics["weight"]
            W = np.vstack([W, np.zeros(W.shape[1])])
            cross = np.vstack([cross, statistics["data"]])
            second = np.block([[second, codes[:, None]], [codes, weight]])
        if "components" in learn:
            W = solve_semidefinite(second, cross, W)
        elif offset is not None:
            W[-1] = (cross[-1] - second[-1, :-1] @ W[:-1]) / second[-1, -1]
        explained = parameters.noise.explained(W, cross, second)
        residual = (statistics["data_second"] - explained) / statistics["weight"]
        if offset is None:
            return W, None, residual
        return W[:-1], offset + W[-1], residual


def solve_semidefinite(second, cross, previous):
    """Solve ``second @ W = cross``; keep ``previous`` where second has no say.

    second is positive semi-definite, (H, H); a latent that no data point uses is a
    zero row of it. W, cross and previous are (H, D).
    """
    scale = np.sqrt(np.diag(second))
    used = scale > _RANK * scale.max(initial=0.0)
    W = previous.copy()
    if not used.any():
        return W
    scale = scale[used]
    matrix = second[np.ix_(used, used)] / np.outer(scale, scale)
    right = (cross - second[:, ~used] @ previous[~used])[used] / scale[:, None]
    try:
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        if np.diag(factor[0]).min() ** 2 > np.sqrt(_RANK):
            W[used] = linalg.cho_solve(factor, right) / scale[:, None]
            return W
    except linalg.LinAlgError:
        pass
    eigenvalues, vectors = linalg.eigh(matrix)
    kept = eigenvalues > _RANK * eigenvalues[-1]
    vectors = vectors[:, kept]
    start = previous[used] * scale[:, None]
    step = vectors.T @ (right - matrix @ start) / eigenvalues[kept, None]
    W[used] = (start + vectors @ step) / scale[:, None]
    return W


SUPERPOSITIONS = {"linear": LinearSuperposition()}
