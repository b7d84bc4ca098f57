"""What a fit shows of itself: which components are used, whether the truncation binds."""

import numpy as np

from ..messages import warn_user

# Data points of a chunk whose best state is looked at.
_ROWS = 256
# Share of data points at the limit above which a fit is called biased.
_BIASED = 0.05


def diagnose(problem, parameters):
    """Return the usage of each component and the share of data points at the limit."""
    e_step = problem.e_step(parameters)
    max_changes = problem.truncation.max_changes
    limit = max_changes if max_changes < len(parameters.components) else None
    sums = problem.workers.sum(_Diagnosis(e_step, limit), problem.X, problem.weights)
    usage = sums["active"] / sums["weight"]
    return usage, float(sums["at_limit"] / max(sums["looked_at"], np.finfo(np.float64).tiny))


def warn_of_bias(share, truncation):
    """Warn where the truncation holds back many data points."""
    if share > _BIASED:
        warn_user(
            f"{share:.0%} of the data points have max_changes={truncation.max_changes} active "
            "latents in their most probable state: the truncation may bias the fit. Raise "
            "max_changes (and n_candidates), or leave such data out with "
            "Annealing(data_cut=1.0)."
        )


class _Diagnosis:
    """The sums of a chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step, limit):
        self.e_step, self.limit = e_step, limit

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        active = self.e_step.codes(X, "probability").astype(np.float64)
        sums = {"weight": w.sum(), "active": w @ active, "at_limit": 0.0, "looked_at": 0.0}
        if self.limit is not None:
            rows = slice(None, None, -(-len(X) // _ROWS))
            best = self.e_step.top_states(X[rows], 1)
            n_active = (best.support[:, 0] >= 0).sum(axis=1)
            sums["at_limit"] = w[rows] @ (n_active >= self.limit)
            sums["looked_at"] = w[rows].sum()
        return sums
