"""Components that predict each feature from posteriors that do not see it.

Where few features of a data point are observed its posterior goes by each one: a feature that
a component has wrong is explained by other latents, or makes the latent seem inactive, and EM
keeps the fault. The posterior given the others, y_(-d), is not misled by feature d. Of the
linear superposition

    E[y_d | y_(-d)] = sum_h E[s_h | y_(-d)] W_hd,

so that regression on these means gives W. For the maxima it is next to what they need.

Batson, Royer (2019). Noise2Self: blind denoising by self-supervision. ICML.
"""

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

# Parts of the features, each of which is hidden in turn.
_FOLDS = 5
# Steps of conjugate gradients; few leave what the data do not determine as it is.
_STEPS = 20
# Data points with an active latent that its present component counts for.
_RIDGE = 1.0


def cross_fitted(e_step, parameters, X, random_state):
    """Return what components add to the data where active, by codes that do not see it.

    (H, D), and the mean square of what they leave of the data.

    Parameters
    ----------
    e_step : callable
        Returns the E-step of parameters.
    parameters : Parameters
    X : ndarray of shape (n, n_features), float64
        NaN where missing; where no row observes a feature its components stay.
    random_state : RandomState
    """
    W, offset = parameters.components, parameters.offset
    amplitudes = parameters.prior.amplitudes(len(W))
    effects = amplitudes[:, None] * W
    targets = X if offset is None else X - offset
    fitted, left = np.empty(W.shape), np.empty(X.shape)
    fold = random_state.permutation(X.shape[1]) % _FOLDS
    for k in np.unique(fold):
        hidden = fold == k
        others = e_step(parameters.restricted(~hidden))
        codes = others.codes(X[:, ~hidden].astype(others.dtype), "mean") / amplitudes
        fitted[:, hidden] = _regressed(codes, targets[:, hidden], effects[:, hidden])
        left[:, hidden] = targets[:, hidden] - codes @ fitted[:, hidden]
    return fitted, np.nanmean(left**2)


def _regressed(codes, targets, start):
    """Return least-squares weights (H, d) of codes (n, H) for targets (n, d) where observed.

    All targets at once, by conjugate gradients from ``start``, in units in which all
    directions would be alike were values missing at random.
    """
    seen = ~np.isnan(targets)
    second = seen.mean() * (codes.T @ codes) + _RIDGE * np.eye(len(start))
    root = linalg.cholesky(second, lower=True)  # second = root root^T

    def weights(z):
        return linalg.solve_triangular(root, z.reshape(start.shape), trans=1, lower=True)

    def gradient(residual, step):
        whole = codes.T @ np.where(seen, residual, 0.0) + _RIDGE * step
        return linalg.solve_triangular(root, whole, lower=True).ravel()

    def normal(z):
        step = weights(z)
        return gradient(codes @ step, step)

    operator = LinearOperator((start.size, start.size), normal)
    z, _ = cg(operator, gradient(targets - codes @ start, 0.0), maxiter=_STEPS)
    return start + weights(z)
