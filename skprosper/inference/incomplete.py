"""What the E-steps of rows with missing values share."""

import numpy as np

from .base import Posteriors, widened


def in_rows(parts, rows):
    """Return the `Posteriors` of all data points from those of parts of their rows."""
    width = max(part.support.shape[2] for part in parts)
    order = np.argsort(np.concatenate(rows))
    arrays = []
    for name in Posteriors._fields:
        own = [getattr(part, name) for part in parts]
        if own[0].ndim == 3:
            own = [widened(array, width, -1 if name == "support" else 0) for array in own]
        arrays.append(np.concatenate(own)[order])
    return Posteriors(*arrays)


class IncompleteRows:
    """What the E-steps of rows with missing values share."""

    by_feature = False  # whether there are second moments of each feature

    def __init__(self, e_step):
        self.e_step = e_step

    def residuals(self, X):
        """Return the data less the posterior mean of the noiseless data, 0 where missing."""
        residual = np.subtract(X, self.reconstruct(X), dtype=np.float64)
        return np.where(np.isnan(residual), 0.0, residual)

    def moments_of_prior(self):
        """Return mean and variance of the noiseless data under the prior, each (D,)."""
        parameters = self.e_step.parameters
        mean, square = self.e_step.moments_of_prior(parameters.prior, parameters.components)
        offset = 0.0 if parameters.offset is None else parameters.offset
        return mean + offset, np.maximum(square - mean**2, 0.0)
