"""What a fit shows of itself: which components are used, what the truncation costs."""

from dataclasses import replace

import numpy as np

from ..messages import warn_user

# Data points of a chunk for which a wider truncation is tried, and most states it may have.
_ROWS, _MOST_STATES = 128, 50_000
# What a wider truncation adds to the bound, in nats per data point, above which a fit may be
# biased: around the best state, and around 0, where a little more says little of what is missing.
_BIASED, _BIASED_ZERO = 0.5, 0.1


def diagnose(problem, parameters):
    """Return the usage of each component and the truncation gap in nats per data point."""
    truncation = problem.truncation
    shape = len(parameters.components), parameters.prior.n_values
    wider = truncation.wider(*shape, _MOST_STATES)
    if wider is not None:
        wider = replace(problem, truncation=wider).e_step(parameters)
    diagnosis = _Diagnosis(problem.e_step(parameters), wider)
    sums = problem.workers.sum(diagnosis, problem.X, problem.weights)
    usage = sums["active"] / sums["weight"]
    return usage, float(sums["gap"] / max(sums["looked_at"], np.finfo(np.float64).tiny))


def warn_of_gap(gap, truncation):
    """Warn where a wider truncation would add much to the bound."""
    if gap > (_BIASED if truncation.best else _BIASED_ZERO):
        remedy = "Raise n_candidates and max_changes"
        if not truncation.best:
            remedy += ", or take center='best'"
        warn_user(
            f"A wider truncation would add {gap:.2g} nats per data point to the lower bound: "
            f"n_candidates={truncation.n_candidates} and max_changes={truncation.max_changes} "
            f"may bias the fit. {remedy}."
        )


class _Diagnosis:
    """The sums of a chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step, wider):
        self.e_step, self.wider = e_step, wider

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        active = self.e_step.codes(X, "probability").astype(np.float64)
        sums = {"weight": w.sum(), "active": w @ active, "gap": 0.0, "looked_at": 0.0}
        if self.wider is not None:
            rows = slice(None, None, max(1, -(-len(X) // _ROWS)))
            gap = self.wider.log_evidence(X[rows]) - self.e_step.log_evidence(X[rows])
            # a wider truncation holds all states of the narrower one but for other candidates
            sums["gap"] = w[rows] @ np.maximum(gap, 0.0)
            sums["looked_at"] = w[rows].sum()
        return sums
