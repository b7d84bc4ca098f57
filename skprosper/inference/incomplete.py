"""What the E-steps of rows with missing values share."""

import numpy as np

from ..kernels.holes import N_DONE, N_ROWS, NOTHING, Holes
from .base import Posteriors, widened

# Numbers in the dense rows of second moments that are collected together.
ROOM = 1_000_000


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


class KernelRows(IncompleteRows):
    """Rows that the kernels of complete rows work on, being told of `Holes`."""

    def __init__(self, e_step):
        super().__init__(e_step)
        self.units = e_step.units_of_holes()

    def _memory(self, collect):
        fields, weighted, odds, kinds = self.units
        (H, D), dtype = fields.shape, fields.dtype
        n_candidates = self.e_step.truncation.n_candidates
        linear = collect != NOTHING and self.e_step.linear
        room = max(H + n_candidates, ROOM // H) if linear else 0
        return Holes(
            seen=np.empty((0, D), bool),
            squares=np.empty((0, H), dtype),
            grams=np.empty((0, H, H), dtype),
            odds=odds,
            fields=fields,
            columns=np.ascontiguousarray(fields.T),
            weighted=weighted,
            features=np.empty(D, np.int64),
            gram=np.empty((H, H), dtype),
            place=np.full(H, -1),
            asked=np.empty(H, np.int64),
            tally=np.zeros(7, np.int64),
            second=np.zeros((kinds if linear else 0, H, H)),
            diagonal=np.zeros((self.e_step.n_diagonals, H)),
            rows=np.empty((room, H), dtype),
            latent=np.empty(room, np.int64),
            point=np.empty(room, np.int64),
            diagonals=np.empty((0, H), dtype),
            centres=np.empty((0, 0), dtype),
            cross=np.zeros((H if linear else 0, D)),
            mixed=np.empty(D),
        )

    def _block(self, memory, collect, seen, squares, grams=None):
        """Return the `Holes` of some rows, with G_hh (n, H) and, where given, Gram matrices."""
        n, H = squares.shape
        discrete = self.e_step.linear and len(self.units[2]) > 0
        memory.tally[:] = 0, 0, 0, collect, 0, 0, 0
        memory.place[:] = -1
        return memory._replace(
            seen=seen,
            squares=squares,
            grams=memory.grams if grams is None else grams,
            diagonals=np.zeros((n, H), squares.dtype),
            centres=np.zeros((n, H if discrete and collect != NOTHING else 0), squares.dtype),
        )

    def _inferred(self, codes, weights, sums, evidence, holes, probability=False):
        """Infer the posteriors of a block, as many data points at once as there is room for.

        Yields their `Holes` and which they are. Codes are weighted ones then.
        """
        start = 0
        while start < len(codes):
            part = holes._replace(
                seen=holes.seen[start:],
                squares=holes.squares[start:],
                grams=holes.grams[start:],
                diagonals=holes.diagonals[start:],
                centres=holes.centres[start:],
            )
            part.tally[N_ROWS] = part.tally[N_DONE] = 0
            rows = slice(start, None)
            self.e_step._infer(codes[rows], weights[rows], sums, evidence[rows], probability, part)
            n = part.tally[N_DONE]
            part = part._replace(
                seen=part.seen[:n], diagonals=part.diagonals[:n], centres=part.centres[:n]
            )
            yield part, slice(start, start + n)
            start += n

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._means(X, "mean")[1]

    def codes(self, X, kind):
        """Return posterior "mean" or "probability" of being active."""
        return self._means(X, kind)[0]
