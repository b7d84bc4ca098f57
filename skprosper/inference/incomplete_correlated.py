"""E-steps of rows with missing values under correlated noise, and of maxima without a bottom."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..kernels.holes import NOTHING, POINTS
from .base import BLOCK_ROWS, codes_of
from .incomplete import IncompleteRows, KernelRows, in_rows
from .incomplete_independent import HolesEStep, second_moments

# Rows of a chunk that make a pattern one of many rows, and most such patterns.
_MANY_ROWS, _MOST_KEPT = 16, 64
# What the E-step of a pattern takes besides its matrices, in multiplications.
_OVERHEAD = 5_000_000
# Numbers in the matrices of rows that are worked on at once.
_ROOM = 500_000
# Statistics that are of no features.
_SCALARS = ("weight", "log_evidence", "normaliser")


class PatternSums(dict):
    """Statistics of the observed features by pattern, the bytes of a mask."""

    def __add__(self, other):
        total = PatternSums(self)
        for key, own in other.items():
            mine = total.get(key)
            total[key] = own if mine is None else {k: mine[k] + v for k, v in own.items()}
        return total


def add(total, statistics):
    """Add to statistics, of which some may not be there yet."""
    for name, value in statistics.items():
        total[name] = total[name] + value if name in total else value


def _alike(X):
    """Return the rows that observe the same features, an array for each pattern."""
    packed = np.packbits(~np.isnan(X), axis=1)
    _, which, counts = np.unique(packed, axis=0, return_inverse=True, return_counts=True)
    return np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])


class PatternsEStep(IncompleteRows):
    """E-step of rows with missing values, a model of fewer features for each pattern.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        super().__init__(e_step)
        self._kept = {}  # E-steps of patterns of many rows

    @cached_property
    def _rows(self):
        return RowsEStep(self.e_step)

    def _few_and_patterns(self, X):
        """Return the rows whose pattern few others have, and what `_patterns` yields of the rest.

        Few are those whose matrices, of each row, take no longer than an E-step of their own
        and the matrices of the pattern. The maxima have none.
        """
        H, D = self.e_step.components.shape
        matrices = D * (D**2 + 2 * H * D + 2 * H**2)
        most = min(_MANY_ROWS - 1, 1 + _OVERHEAD // matrices) if self.e_step.linear else 0
        groups = _alike(X)
        few = [rows for rows in groups if len(rows) <= most]
        few = np.sort(np.concatenate(few)) if few else np.empty(0, np.int64)
        return few, self._patterns(X, (rows for rows in groups if len(rows) > most))

    def _patterns(self, X, groups):
        """Yield groups of rows, the features that they observe, and the E-step of these."""
        for rows in groups:
            seen = ~np.isnan(X[rows[0]])
            part = self._part(seen, len(rows) >= _MANY_ROWS)
            yield rows, seen, part, np.ascontiguousarray(X[rows][:, seen])

    def _part(self, seen, lasting):
        """Return the E-step of some features; of a pattern that comes again it is kept."""
        key = seen.tobytes()
        if (part := self._kept.get(key)) is not None:
            return part
        e_step = self.e_step
        part = e_step.parameters.restricted(seen)
        part = type(e_step)(part, e_step.truncation, e_step.dtype, e_step.temperature)
        if lasting and len(self._kept) < _MOST_KEPT:
            self._kept[key] = part
        return part

    def __getstate__(self):
        return {"e_step": self.e_step, "_kept": {}}

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points.

        Those of a pattern of many rows are kept apart, as "patterns": what the missing
        features add takes as long for all rows of a pattern as for one.
        """
        total, noise = {}, self.e_step.noise
        many = max(_MANY_ROWS, len(X) // _MOST_KEPT)
        few, patterns = self._few_and_patterns(X)
        if few.size:
            add(total, self._rows.statistics(X[few], weights[few]))
        for rows, seen, part, x in patterns:
            w = weights[rows]
            own = part.statistics(x, w)
            own["normaliser"] = w.sum() * part.noise.log_normaliser(x.shape[1])
            if not self.e_step.linear:
                for name in ("numerator", "denominator"):
                    array = np.zeros((len(own[name]), len(seen)))
                    array[:, seen] = own[name]
                    own[name] = array
            else:
                # what is missing adds its dimension to the squares of complete data
                own["normaliser"] += 0.5 * w.sum() * (~seen).sum()
                if len(rows) >= many:
                    scalars = {name: own[name] for name in _SCALARS}
                    own = scalars | {"patterns": PatternSums({seen.tobytes(): own})}
                else:
                    own = self._filled(own, part, seen)
            if noise.independent:
                own["observed"] = w.sum() * seen
            add(total, own)
        return total

    def with_patterns(self, statistics):
        """Return the statistics with those in that were kept apart."""
        statistics = dict(statistics)
        for key, own in statistics.pop("patterns").items():
            seen = np.frombuffer(key, bool)
            filled = self._filled(own, self._part(seen, True), seen)
            add(statistics, {k: v for k, v in filled.items() if k not in _SCALARS})
        return statistics

    def _filled(self, statistics, part, seen):
        """Return the statistics of complete data, given those of the observed features."""
        W, noise = self.e_step.parameters.components, self.e_step.noise
        named = part.complete(statistics)
        second, cross = named["second"], statistics["cross"]
        square, data = statistics["data_second"], statistics["data"]
        B, remaining = noise.regression(seen)
        U = W[:, ~seen] - W[:, seen] @ B.T  # what the observed features do not tell
        moved = second @ U
        half = B @ (cross.T @ U)
        added = U.T @ moved + half + half.T + statistics["weight"] * remaining
        square_of = square @ B.T
        # the observed features first, then back in their places
        place = np.argsort(np.concatenate([np.flatnonzero(seen), np.flatnonzero(~seen)]))
        mixed = square_of + cross.T @ U
        squares = np.block([[square, mixed], [mixed.T, B @ square_of + added]])
        told = B @ data
        if self.e_step.offset is not None:
            told += named["codes"] @ U
        return self.e_step.in_own_units(statistics, part) | {
            "cross": np.hstack([cross, cross @ B.T + moved])[:, place],
            "data": np.concatenate([data, told])[place],
            "data_second": squares[np.ix_(place, place)],
        }

    def _by_pattern(self, X, out, method, *arguments):
        few, patterns = self._few_and_patterns(X)
        if few.size:
            out[few] = getattr(self._rows, method)(X[few], *arguments)
        for rows, _, part, x in patterns:
            out[rows] = getattr(part, method)(x, *arguments)
        return out

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._by_pattern(X, np.empty(len(X)), "log_evidence")

    def codes(self, X, kind):
        """Return posterior "mean" or "probability" of being active."""
        out = np.empty((len(X), len(self.e_step.components)), self.e_step.dtype)
        return self._by_pattern(X, out, "codes", kind)

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        parts, index = [], []
        for rows, _, part, x in self._patterns(X, _alike(X)):
            parts.append(part.top_states(x, n_states))
            index.append(rows)
        return in_rows(parts, index)

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data, shape (n, n_features)."""
        parameters, dtype = self.e_step.parameters, self.e_step.dtype
        if not self.e_step.linear:
            return self._moments_of_states(X)[0].astype(dtype)
        result = self.codes(X, "mean") @ parameters.components
        if parameters.offset is not None:
            result += parameters.offset
        return result.astype(dtype)

    def impute(self, X):
        """Return the data with their posterior mean where missing, and its variance."""
        filled, variance = X.copy(), np.zeros(X.shape)
        parameters, noise = self.e_step.parameters, self.e_step.noise
        if not self.e_step.linear:
            mean, square = self._moments_of_states(X)
            missing = np.isnan(X)
            spread = np.maximum(square - mean**2, 0.0) + noise.variances(X.shape[1])
            return np.where(missing, mean, X).astype(X.dtype), np.where(missing, spread, 0.0)
        W, offset = parameters.components, parameters.offset
        offset = np.zeros(W.shape[1]) if offset is None else offset
        few, patterns = self._few_and_patterns(X)
        if few.size:
            filled[few], variance[few] = self._rows.impute(X[few])
        for rows, seen, part, x in patterns:
            B, remaining = noise.regression(seen)
            U = W[:, ~seen] - W[:, seen] @ B.T
            mean = part.codes(x, "mean") @ U
            square = HolesEStep(part).squares(x, U)
            place = np.ix_(rows, ~seen)
            filled[place] = offset[~seen] + mean + (x - offset[seen]) @ B.T
            left = np.maximum(np.diag(remaining), 0.0)
            variance[place] = np.maximum(square - mean**2, 0.0) + left
        return filled, variance

    def _moments_of_states(self, X):
        """Return E[ybar] and E[ybar^2] by the states themselves, each (n, n_features)."""
        e_step = self.e_step
        mean, square = np.empty(X.shape), np.empty(X.shape)
        for rows, _, part, x in self._patterns(X, _alike(X)):
            posteriors = part.top_states(x, part.n_states)
            q = np.exp(posteriors.log_probability)
            for n, row in enumerate(rows):
                codes = codes_of(
                    posteriors.support[n], posteriors.values[n], len(e_step.components), float
                )
                ybar = e_step.superpose(codes, e_step.parameters.components)
                mean[row], square[row] = q[n] @ ybar, q[n] @ ybar**2
        return mean, square


class _Given(NamedTuple):
    """What the noise makes of some rows; (n, D, D) matrices are 0 where a row misses features."""

    data: np.ndarray  # (n, D) x, less the offset and 0 where missing
    expected: np.ndarray  # (n, D) data, the missing ones as the observed ones tell by the noise
    precision: np.ndarray  # (n, D, D) Sigma_OO^-1
    untold: np.ndarray  # (n, H, D) components where missing, less what the observed ones tell
    projections: np.ndarray  # (n, H)
    constants: np.ndarray  # (n,) log-joint of the state 0
    normalisers: np.ndarray  # (n,) log density at the mean


class RowsEStep(KernelRows):
    """E-step of rows that each miss other features, under correlated noise.

    With P = Sigma_OO^-1 of a row, 0 elsewhere, its Gram matrix is W P W^T and
    E[y | y_O, s] = Sigma P (y - W^T s) + W^T s.

    Parameters
    ----------
    e_step : LinearGaussianEStep
        The E-step of complete rows.
    """

    def _rows_given(self, X):
        """Yield rows, what the noise makes of them, and their Gram matrices."""
        e_step = self.e_step
        W, offset, sigma = e_step.parameters.components, e_step.offset, e_step.noise.variance
        H, D = W.shape
        t_likelihood, t_prior = e_step.temperature
        log_zero = e_step.prior.log_zero(H) / t_prior
        at_once = min(BLOCK_ROWS, max(1, _ROOM // max(D * D, H * D, H * H)))
        for start in range(0, len(X), at_once):
            rows = slice(start, min(start + at_once, len(X)))
            seen = ~np.isnan(X[rows])
            x = X[rows].astype(np.float64)
            x = np.where(seen, x if offset is None else x - offset, 0.0)
            there = seen[:, :, None] & seen[:, None, :]
            own = np.where(there, sigma, 0.0)
            own[:, np.arange(D), np.arange(D)] += ~seen
            factor = np.linalg.cholesky(own)
            half = np.linalg.inv(factor)
            precision = np.where(there, half.transpose(0, 2, 1) @ half, 0.0)
            white = (precision @ x[:, :, None])[:, :, 0]
            log_det = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
            normalisers = -0.5 * np.log(2.0 * np.pi) * seen.sum(axis=1) - log_det
            likelihood = normalisers - 0.5 * np.sum(white * x, axis=1)
            weighted = W @ precision
            given = _Given(
                data=x,
                expected=np.where(seen, x, white @ sigma),
                precision=precision,
                untold=np.where(seen[:, None, :], 0.0, W - weighted @ sigma),
                projections=(white @ W.T / t_likelihood).astype(e_step.dtype),
                constants=likelihood / t_likelihood + log_zero,
                normalisers=normalisers,
            )
            yield rows, seen, given, weighted @ W.T / t_likelihood

    def _blocks(self, X, collect):
        """Yield rows, what the noise makes of them, and their `Holes`."""
        e_step, memory = self.e_step, self._memory(collect)
        unit = np.outer(e_step.unit_of_holes, e_step.unit_of_holes)
        for rows, seen, given, grams in self._rows_given(X):
            grams = (grams * unit).astype(e_step.dtype)
            squares = np.diagonal(grams, axis1=1, axis2=2).copy()
            yield rows, given, self._block(memory, collect, seen, squares, grams)

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence, as of complete data."""
        e_step = self.e_step
        unit = np.outer(e_step.unit_of_holes, e_step.unit_of_holes)
        H, D = e_step.components.shape
        sums = e_step._new_sums()
        cross, data, square = np.zeros((H, D)), np.zeros(D), np.zeros((D, D))
        precision, log_evidence, normaliser = np.zeros((D, D)), 0.0, 0.0
        for rows, given, holes in self._blocks(X, POINTS):
            w, codes, evidence = weights[rows], given.projections, np.empty(len(holes.seen))
            second = []
            for part, done in self._inferred(codes, w, sums, evidence, holes):
                second.append(unit * second_moments(part, codes[done], w[done], slice(None)))
            moved = np.concatenate(second) @ given.untold
            explained = np.einsum("nh,nhd->nd", codes, given.untold, dtype=np.float64)
            mixed = given.expected.T @ explained
            cross += codes.T @ given.expected + moved.sum(axis=0)
            data += w @ given.expected + explained.sum(axis=0)
            square += (given.expected * w[:, None]).T @ given.expected + mixed + mixed.T
            square += np.tensordot(given.untold, moved, ((0, 1), (0, 1)))
            precision += np.tensordot(w, given.precision, 1)
            log_evidence += w @ (evidence + given.constants)
            # what is missing adds its dimension to the squares of complete data
            normaliser += w @ (given.normalisers + 0.5 * np.sum(~holes.seen, axis=1))
        weight, sigma = weights.sum(), e_step.noise.variance
        return {
            "weight": weight,
            "log_evidence": log_evidence,
            "normaliser": normaliser,
            "cross": cross,
            "data": data if e_step.offset is not None else np.zeros(D),
            "data_second": square + weight * sigma - sigma @ precision @ sigma,
            **e_step._named(sums),
        }

    def _means(self, X, kind):
        e_step = self.e_step
        result = np.empty((len(X), len(e_step.components)), e_step.dtype)
        log_evidence = np.empty(len(X))
        for rows, given, holes in self._blocks(X, NOTHING):
            codes, evidence = given.projections, np.empty(len(holes.seen))
            ones, sums = np.ones(len(codes)), e_step._new_sums()
            e_step._infer(codes, ones, sums, evidence, kind == "probability", holes)
            result[rows], log_evidence[rows] = codes, evidence + given.constants
        return result, log_evidence

    def impute(self, X):
        """Return the data with their posterior mean where missing, and its variance."""
        e_step, sigma = self.e_step, self.e_step.noise.variance
        unit = np.outer(e_step.unit_of_holes, e_step.unit_of_holes)
        offset = 0.0 if e_step.offset is None else e_step.offset
        mean, variance = np.empty(X.shape), np.empty(X.shape)
        for rows, given, holes in self._blocks(X, POINTS):
            codes, ones = given.projections, np.ones(len(holes.seen))
            sums, evidence, second = e_step._new_sums(), np.empty(len(ones)), []
            for part, done in self._inferred(codes, ones, sums, evidence, holes):
                second.append(unit * second_moments(part, codes[done], ones[done], slice(None)))
            explained = np.einsum("nh,nhd->nd", codes, given.untold)
            mean[rows] = offset + given.expected + explained
            square = np.sum(given.untold * (np.concatenate(second) @ given.untold), axis=1)
            noise = np.diag(sigma) - np.sum((sigma @ given.precision) * sigma, axis=2)
            variance[rows] = np.maximum(square - explained**2, 0.0) + np.maximum(noise, 0.0)
        missing = np.isnan(X)
        filled = np.where(missing, mean, X).astype(X.dtype, copy=False)
        return filled, np.where(missing, variance, 0.0)
