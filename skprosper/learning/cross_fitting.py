"""Components that predict each feature from posteriors that do not see it.

Where few features of a data point are observed its posterior goes by each one: a feature that
a component has wrong is explained by other latents, or makes the latent seem inactive, and EM
keeps the fault. The posterior given the others, y_(-d), is not misled by feature d. Of the
linear superposition

    E[y_d | y_(-d)] = sum_h E[s_h | y_(-d)] W_hd,

so that regression on these means gives W. Of the maximum the strongest active latent explains
a feature alone; taking latents for independent given y_(-d),

    E[y_d | y_(-d)] = sum_h E[s_h | y_(-d)] W_hd prod_(i stronger than h) P(s_i = 0 | y_(-d)),

and regression is repeated with the order that it gives. Of the magnitude maximum, where what
others win differs in sign and cancels on average, the first regression ends in higher bounds.

Batson, Royer (2019). Noise2Self: blind denoising by self-supervision. ICML.
"""

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

# Parts of the features, each of which is hidden in turn.
_FOLDS = 5
# Steps of conjugate gradients; few leave what the data do not determine as it is.
_STEPS = 20
# Share of what is to be explained that is not worth a step.
_NOTHING = 1e-10
# Regressions with an order of the latents.
_ORDERS = 3
# Data points with an active latent that its present component counts for.
_RIDGE = 1.0


def cross_fitted(problem, parameters, X, random_state):
    """Return what components add to the data where active, by codes that do not see it.

    (H, D), and the mean square of what they leave of the data.

    Parameters
    ----------
    problem : Problem
    parameters : Parameters
    X : ndarray of shape (n, n_features), float64
        Data points, NaN where missing; where none observes a feature its components stay.
    random_state : RandomState
    """
    W, offset = parameters.components, parameters.offset
    amplitudes = parameters.prior.amplitudes(len(W))
    effects = amplitudes[:, None] * W
    targets = X if offset is None else X - offset
    left = np.empty(X.shape)
    fold = random_state.permutation(X.shape[1]) % _FOLDS
    for k in np.unique(fold):
        hidden = fold == k
        others = problem.e_step(parameters.restricted(~hidden))
        rows = X[:, ~hidden].astype(others.dtype)
        codes, own = others.codes(rows, "mean") / amplitudes, targets[:, hidden]
        effects[:, hidden], left[:, hidden] = _regressed(codes, own, effects[:, hidden])
        if problem.superposition.alone:
            allowed = problem.superposition.allowed
            active = others.codes(rows, "probability").astype(np.float64)
            for d in np.flatnonzero(hidden):
                fitted = _competing(codes, active, targets[:, d], effects[:, d], allowed)
                effects[:, d], left[:, d] = fitted
    seen = ~np.isnan(left)
    return effects, np.mean(left[seen] ** 2) if seen.any() else 0.0


def _regressed(codes, targets, start):
    """Return least-squares weights (H, d) of codes (n, H) for targets (n, d), and what is left.

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
    residual = np.where(seen, targets - codes @ start, 0.0)
    # in its unit: products of tiny numbers would be 0
    unit = linalg.norm(residual) or 1.0
    z, _ = cg(operator, gradient(residual / unit, 0.0), atol=_NOTHING, maxiter=_STEPS)
    fitted = start + unit * weights(z)
    return fitted, targets - codes @ fitted


def _competing(codes, active, target, start, allowed):
    """Return weights (H,) where the strongest active latent explains a feature, what is left."""
    fitted, seen = allowed(start), ~np.isnan(target)
    codes, active, target = codes[seen], active[seen], target[seen]
    left = np.full(len(seen), np.nan)
    for _ in range(_ORDERS):
        order = np.argsort(-fitted, kind="stable")
        inactive = np.cumprod(np.maximum(1.0 - active[:, order[:-1]], 0.0), axis=1)
        alone = codes.copy()
        alone[:, order[1:]] *= inactive
        second = alone.T @ alone + _RIDGE * np.eye(len(start))
        fitted = linalg.solve(second, alone.T @ target + _RIDGE * start, assume_a="pos")
        fitted = allowed(fitted)
    left[seen] = target - alone @ fitted
    return fitted, left
