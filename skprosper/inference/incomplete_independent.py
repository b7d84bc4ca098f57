"""E-steps of rows with missing values under independent noise."""

import numpy as np
from scipy import sparse

from ..kernels.holes import N_ROWS, NOTHING, POINTS, SUMS
from .base import BLOCK_ROWS
from .incomplete import ROOM, KernelRows, in_rows

# Statistics of the rows that miss a feature: of the second moments and of the codes.
BY_FEATURE = ("hidden_second", "hidden_codes")
# Most numbers in second moments of their own for each feature.
_MOST_BY_FEATURE = 300_000


class HolesEStep(KernelRows):
    """E-step of rows with missing values under independent noise.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        super().__init__(e_step)
        H, D = self.units[0].shape
        self.by_feature = e_step.linear and D * H**2 <= _MOST_BY_FEATURE

    def _blocks(self, X, collect):
        """Yield rows, data that are 0 where they are missing, and their `Holes`."""
        e_step = self.e_step
        fields, weighted, _, _ = self.units
        squares = np.ascontiguousarray((weighted * fields).T)
        memory = self._memory(collect)
        for start in range(0, len(X), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(X)))
            seen = ~np.isnan(X[rows])
            x = X[rows] if e_step.offset is None else X[rows] - e_step.offset
            x = np.where(seen, x, 0.0).astype(e_step.dtype, copy=False)
            own = seen.astype(e_step.dtype) @ squares
            yield rows, x, self._block(memory, collect, seen, own)

    def _normalisers(self, seen):
        """Return the log density of each row at the mean, (n,)."""
        e_step = self.e_step
        return seen @ e_step.noise.log_normalisers(seen.shape[1])

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points."""
        seen = ~np.isnan(X)
        statistics = (self._linear if self.e_step.linear else self._maximum)(X, weights)
        normaliser = float(weights @ self._normalisers(seen))
        of_all = weights.sum() * self.e_step.noise.log_normaliser(X.shape[1])
        statistics["log_evidence"] += (normaliser - of_all) / self.e_step.temperature[0]
        return statistics | {
            "normaliser": normaliser,
            "blank": 0.0,
            "observed": weights @ seen,
        }

    def _linear(self, X, weights):
        e_step, (fields, _, _, _) = self.e_step, self.units
        (H, D), unit = fields.shape, e_step.unit_of_holes
        sums, cross, hidden = e_step._new_sums(), np.zeros((H, D)), np.zeros((H, D))
        data, square, log_evidence = np.zeros(D), np.zeros(D), 0.0
        own = nothing_hidden(H, D) if self.by_feature else {}
        for rows, x, holes in self._blocks(X, POINTS if own else SUMS):
            w = weights[rows]
            codes = x @ e_step.projection.T
            evidence = np.empty(len(x))
            for part, done in self._inferred(codes, w, sums, evidence, holes):
                if own:
                    self._add_hidden(part, codes[done], w[done], own)
                else:
                    hidden += self._at_missing(part, codes[done], w[done])
            hidden += holes.cross
            holes.cross[:] = 0.0
            cross += codes.T @ x
            square += e_step.noise.second_moment(x, w)
            log_evidence += w @ (evidence + e_step._constant(x))
            if e_step.offset is not None:
                explained = np.where(holes.seen, 0.0, codes @ e_step.components)
                data += w @ x + explained.sum(axis=0)
        # in units of the data, from those of the kernel
        hidden *= unit[:, None]
        W = e_step.components.astype(np.float64)
        if own:
            own["hidden_second"] *= np.outer(unit, unit)
            hidden = np.einsum("dhg,gd->hd", own["hidden_second"], W)
        return {
            "weight": weights.sum(),
            "log_evidence": log_evidence,
            "cross": cross + hidden,
            "data": data,
            # the noise of what is missing is left out: it says nothing of the noise
            "data_second": square + np.sum(W * hidden, axis=0),
            **e_step._named(sums),
            **own,
        }

    def _at_missing(self, holes, codes, weights):
        """Return sum_n (<s s^T> W)_n at missing features, but what candidates share, (H, D)."""
        fields, n_rows = self.units[0], holes.tally[N_ROWS]
        gone = (~holes.seen).astype(fields.dtype)
        diagonals, out = holes.diagonals, np.zeros(fields.shape)
        if holes.centres.size:
            centres, changes = _about_centres(holes, codes, weights)
            diagonals = diagonals - holes.centres * (codes + changes)
            out += centres.T @ ((codes @ fields) * gone)
            out += changes.T @ ((centres @ fields) * gone)
        out += fields * (diagonals.T @ gone)
        if n_rows:
            rows, latent = holes.rows[:n_rows], holes.latent[:n_rows]
            there = gone[holes.point[:n_rows]]
            out += rows.T @ (fields[latent] * there)
            order = np.argsort(latent, kind="stable")
            own = ((rows @ fields) * there)[order]
            first = np.flatnonzero(np.diff(latent[order], prepend=-1))
            out[latent[order][first]] += np.add.reduceat(own, first, axis=0)
        return out

    @staticmethod
    def _add_hidden(holes, codes, weights, hidden):
        """Add the first and second moments of the points that miss a feature, of each feature."""
        gone = (~holes.seen).astype(codes.dtype)
        hidden["hidden_codes"] += codes.T @ gone
        H = codes.shape[1]
        at_once = max(1, ROOM // H**2)
        for start in range(0, len(codes), at_once):
            some = slice(start, start + at_once)
            second = second_moments(holes, codes, weights, some)
            flat = second.reshape(len(second), -1)
            hidden["hidden_second"] += (gone[some].T @ flat).reshape(-1, H, H)

    def _maximum(self, X, weights):
        e_step, H = self.e_step, len(self.units[0])
        sums = e_step.new_sums()
        evidence, zero_filled = np.empty(len(X)), np.empty(X.shape, e_step.dtype)
        surplus = np.zeros((H, X.shape[1]))
        for rows, x, holes in self._blocks(X, SUMS):
            zero_filled[rows] = x
            e_step.add(x, weights[rows], sums, evidence[rows], holes)
            # where nothing is seen all terms are 0, and each active latent has its share
            surplus += holes.diagonals.T @ (~holes.seen).astype(e_step.dtype)
        statistics = e_step.named(sums, zero_filled, weights, evidence)
        statistics["denominator"] = np.maximum(statistics["denominator"] - surplus, 0.0)
        return statistics

    def _means(self, X, kind):
        e_step = self.e_step
        result = np.empty((len(X), len(e_step.components)), e_step.dtype)
        log_evidence = np.empty(len(X))
        n_features = X.shape[1]
        for rows, x, holes in self._blocks(X, NOTHING):
            codes, evidence = e_step.means_of_block(x, kind == "probability", holes)
            result[rows] = codes
            constant = self._normalisers(holes.seen) - e_step.noise.log_normaliser(n_features)
            log_evidence[rows] = evidence + e_step._constant(x)
            log_evidence[rows] += constant / e_step.temperature[0]
        return result, log_evidence

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data, shape (n, n_features)."""
        e_step = self.e_step
        result = np.empty(X.shape, e_step.dtype)
        for rows, x, holes in self._blocks(X, NOTHING):
            result[rows] = e_step.reconstruct_block(x, holes)
        if e_step.offset is not None:
            result = (result + e_step.offset).astype(e_step.dtype, copy=False)
        return result

    def impute(self, X):
        """Return the data with their posterior mean where missing, and its variance."""
        e_step = self.e_step
        mean = self.reconstruct(X)
        centred = mean if e_step.offset is None else mean - e_step.offset
        variance = self.squares(X) - np.square(centred, dtype=np.float64)
        variance = np.maximum(variance, 0.0) + e_step.noise.variances(X.shape[1])
        missing = np.isnan(X)
        return np.where(missing, mean, X), np.where(missing, variance, 0.0)

    def squares(self, X, fields=None):
        """Return the posterior mean of the square of the noiseless data less the offset.

        Or, of a linear superposition, of (s @ fields)^2.
        """
        e_step = self.e_step
        if not e_step.linear:
            result = np.empty(X.shape)
            for rows, x, holes in self._blocks(X, NOTHING):
                result[rows] = e_step.reconstruct_block(x, holes, square=True)
            return result
        fields = e_step.components if fields is None else fields
        fields = fields * e_step.unit_of_holes[:, None]
        result = np.empty((len(X), fields.shape[1]))
        for rows, x, holes in self._blocks(X, POINTS):
            codes, evidence = x @ e_step.projection.T, np.empty(len(x))
            sums, ones, of_block = e_step._new_sums(), np.ones(len(x)), result[rows]
            for part, done in self._inferred(codes, ones, sums, evidence, holes):
                of_block[done] = self._squares_of(part, codes[done], ones[done], fields)
        return result

    @staticmethod
    def _squares_of(holes, codes, weights, fields):
        diagonals, out = holes.diagonals, np.zeros((len(codes), fields.shape[1]))
        if holes.centres.size:
            centres, changes = _about_centres(holes, codes, weights)
            diagonals = diagonals - holes.centres * (codes + changes)
            out += (centres @ fields) * ((codes + changes) @ fields)
        out += diagonals @ fields**2
        if n_rows := holes.tally[N_ROWS]:
            own = (holes.rows[:n_rows] @ fields) * fields[holes.latent[:n_rows]]
            point = holes.point[:n_rows]
            first = np.flatnonzero(np.diff(point, prepend=-1))
            out[point[first]] += 2.0 * np.add.reduceat(own, first, axis=0)
        return out

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        e_step, parts, index = self.e_step, [], []
        n_features = X.shape[1]
        for rows, x, holes in self._blocks(X, NOTHING):
            part = e_step.top_states_of_block(x, n_states, holes)
            constant = self._normalisers(holes.seen) - e_step.noise.log_normaliser(n_features)
            constant = constant / e_step.temperature[0]
            parts.append(part._replace(log_evidence=part.log_evidence + constant))
            index.append(np.arange(rows.start, rows.stop))
        return in_rows(parts, index)


def second_moments(holes, codes, weights, some):
    """Return the weighted <s s^T> of some data points, (n, H, H), in the kernel's units."""
    code, n_rows, H = codes[some], holes.tally[N_ROWS], codes.shape[1]
    start, stop, _ = some.indices(len(codes))
    second = np.zeros((len(code), H, H), code.dtype)
    rows = slice(*np.searchsorted(holes.point[:n_rows], (start, stop)))
    second[holes.point[rows] - start, holes.latent[rows]] = holes.rows[rows]
    second += second.transpose(0, 2, 1)
    if holes.centres.size:
        centres = holes.centres[some]
        changes = _mean_changes(centres, code, weights[some])
        second += centres[:, :, None] * code[:, None, :]
        second += changes[:, :, None] * centres[:, None, :]
    diagonal = np.arange(H)
    second[:, diagonal, diagonal] = holes.diagonals[some]
    return second


def _about_centres(holes, codes, weights):
    """Return the discrete values s* of the centres, and the weighted mean changes from them.

    With codes c + w s* and s* c^T + c s*^T + w s* s*^T = s* codes^T + c s*^T, both (n, H), the
    former sparse.
    """
    return sparse.csr_array(holes.centres), _mean_changes(holes.centres, codes, weights)


def _mean_changes(centres, codes, weights):
    """Return the weighted mean changes from the centres, (n, H)."""
    return codes - weights[:, None].astype(codes.dtype) * centres


def nothing_hidden(H, D):
    """Return sums over the rows that miss a feature, of none."""
    return dict(zip(BY_FEATURE, (np.zeros((D, H, H)), np.zeros((H, D))), strict=True))
