"""What workers do with a chunk of data under a fitted model.

Classes, so that processes can unpickle them.
"""

import numpy as np
from sklearn.utils import assert_all_finite

from ..validation import check_chunk, check_reach
from .missing import PartlyObserved


class MethodOnChunk:
    """A method of an E-step with its arguments."""

    def __init__(self, e_step, method, arguments=()):
        self.e_step, self.method, self.arguments = e_step, method, arguments

    def __call__(self, X, weights=None):
        e_step = e_step_of(X, None, self.e_step)
        result = getattr(e_step, self.method)(X, *self.arguments)
        return result if self.method == "log_evidence" else result.astype(X.dtype, copy=False)


def e_step_of(X, weights, e_step):
    """Return the E-step for a chunk, of which it is seen here first whether it is valid."""
    missing = check_chunk(X, weights)
    check_reach(X, e_step.noise)
    return PartlyObserved(e_step) if missing else e_step


class EvidenceOfChunk:
    """The sums of the weighted log-evidence and of the weights."""

    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        e_step = e_step_of(X, weights, self.e_step)
        weights = np.ones(len(X)) if weights is None else weights
        return {"weight": weights.sum(), "log_evidence": weights @ e_step.log_evidence(X)}


class SuperposedChunk:
    """Codes superposed to data."""

    def __init__(self, superposition, components, offset):
        self.superposition = superposition
        self.components, self.offset = components, offset

    def __call__(self, codes, weights=None):
        assert_all_finite(codes, input_name="X")
        with np.errstate(over="ignore", invalid="ignore"):
            superposed = self.superposition.superpose(codes, self.components) + self.offset
        if not np.all(np.isfinite(superposed)):
            raise ValueError(
                f"X holds codes of up to {np.abs(codes).max():.3g}, whose superposition is outside "
                f"the range of {superposed.dtype}; give smaller codes."
            )
        return superposed
