"""E-steps of data with missing values: NaN is a feature that is not observed.

The likelihood of a data point is that of its observed features O, log N(y_O; ybar_O, Sigma_OO).
Complete rows go to the plain E-step. Of the others

- independent noise leaves all but the Gram matrix as it is, on rows that are 0 where they
  are missing (`HolesEStep`, kernels/holes.py);
- correlated noise makes a model of fewer features of each pattern of missing values
  (`PatternsEStep`);
- rows of which nothing is observed have the prior for their posterior, and say nothing of
  the parameters.

The statistics of a linear superposition are those of complete data, missing features taken
at their expectation given the rest, as latent variables of EM:

    <s y_M^T> = <s s^T> W_M + (<s y_O^T> - <s s^T> W_O) B^T,    B = Sigma_MO Sigma_OO^-1

Little, Rubin (2002). Statistical Analysis with Missing Data. Wiley.
"""

import numpy as np
from scipy import sparse

from ..kernels.holes import N_DONE, N_ROWS, NOTHING, POINTS, SUMS, Holes
from ..noise import IsotropicNoise
from .base import BLOCK_ROWS, Parameters, Posteriors, codes_of, widened

# Numbers in the dense rows of second moments that are collected together.
_ROOM = 1_000_000
# Most numbers in second moments of their own for each feature.
_MOST_BY_FEATURE = 300_000
# Rows of a chunk that make a pattern one of many rows, and most such patterns.
_MANY_ROWS, _MOST_KEPT = 16, 64
# Statistics that are of no features.
_SCALARS = ("weight", "log_evidence", "normaliser")


class PartlyObserved:
    """An E-step that takes NaN for a feature that is not observed.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        self.complete_rows = e_step
        self.prior, self.noise, self.dtype = e_step.prior, e_step.noise, e_step.dtype
        self.components = e_step.components
        self.temperature = e_step.temperature
        whole = e_step.noise.independent and not e_step.bottom
        self.rows_with_holes = (HolesEStep if whole else PatternsEStep)(e_step)

    def _parts(self, X):
        """Return the numbers of the rows that are complete, of those with holes, of the rest."""
        seen = ~np.isnan(X)
        n_seen = seen.sum(axis=1)
        with_holes = (n_seen > 0) & (n_seen < X.shape[1])
        return (
            np.flatnonzero(n_seen == X.shape[1]),
            np.flatnonzero(with_holes),
            np.flatnonzero(n_seen == 0),
        )

    def _by_rows(self, X, out, method, blank, *arguments):
        """Fill ``out`` with what a method of the E-steps returns of the rows."""
        complete, holes, empty = self._parts(X)
        if complete.size:
            out[complete] = getattr(self.complete_rows, method)(X[complete], *arguments)
        if holes.size:
            out[holes] = getattr(self.rows_with_holes, method)(X[holes], *arguments)
        if empty.size:
            out[empty] = blank()
        return out

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points.

        Besides those of complete data: "observed" (D,), the weight of the rows that observe
        a feature, "normaliser", the sum of their log densities at the mean, and "blank",
        the weight of rows of which nothing is observed.
        """
        complete, holes, empty = self._parts(X)
        statistics = self.complete_rows.statistics(X[complete], weights[complete])
        n_features = X.shape[1]
        weight = statistics["weight"]
        statistics["normaliser"] = weight * self.noise.log_normaliser(n_features)
        statistics["blank"] = weights[empty].sum()
        if self.noise.independent:
            statistics["observed"] = np.full(n_features, weight)
            if self.rows_with_holes.by_feature:
                statistics |= _nothing_hidden(*self.components.shape)
        else:
            statistics["patterns"] = PatternSums()
        if holes.size:
            other = self.rows_with_holes.statistics(X[holes], weights[holes])
            _add(statistics, other)
        return statistics

    def complete(self, statistics):
        """Return the summed statistics with what follows from them filled in."""
        if "patterns" in statistics:
            statistics = self.rows_with_holes.with_patterns(statistics)
        return self.complete_rows.complete(statistics)

    def bound(self, statistics):
        """Return the lower bound of the log-likelihood, summed over the data points."""
        n_features = self.components.shape[1]
        of_all = statistics["weight"] * self.noise.log_normaliser(n_features)
        # the log densities that the expected log-joint of complete data has too many
        surplus = (1.0 - 1.0 / self.temperature[0]) * (statistics["normaliser"] - of_all)
        return self.complete_rows.bound(statistics) + surplus

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._by_rows(X, np.empty(len(X)), "log_evidence", lambda: 0.0)

    def codes(self, X, kind):
        """Return posterior "mean", "map" state or "probability" of being active."""
        H = len(self.components)
        if kind == "map":
            best = self.top_states(X, 1)
            return codes_of(best.support[:, 0], best.values[:, 0], H, self.dtype)

        def blank():
            return self.prior.activity(H) if kind == "probability" else self.prior.moments(H)[0]

        return self._by_rows(X, np.empty((len(X), H), self.dtype), "codes", blank, kind)

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data, shape (n, n_features)."""
        out = np.empty(X.shape, self.dtype)
        moments = self.rows_with_holes.moments_of_prior
        return self._by_rows(X, out, "reconstruct", lambda: moments()[0])

    def residuals(self, X):
        """Return the data less the posterior mean of the noiseless data, 0 where missing."""
        return self._by_rows(X, np.empty(X.shape), "residuals", lambda: 0.0)

    def impute(self, X):
        """Return the data with their posterior mean where they are missing, and its variance.

        Both (n, n_features), the variance float64 and 0 where data are observed.
        """
        _, holes, empty = self._parts(X)
        filled, variance = X.copy(), np.zeros(X.shape)
        if holes.size:
            filled[holes], variance[holes] = self.rows_with_holes.impute(X[holes])
        if empty.size:
            mean, spread = self.rows_with_holes.moments_of_prior()
            filled[empty], variance[empty] = mean, spread + self.noise.variances(X.shape[1])
        return filled, variance

    def imputed(self, X):
        """Return the same side by side, means and standard deviations, in the dtype."""
        filled, variance = self.impute(X)
        return np.hstack([filled, np.sqrt(variance).astype(self.dtype)])

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        complete, holes, empty = self._parts(X)
        parts, rows = [], []
        if complete.size:
            parts.append(self.complete_rows.top_states(X[complete], n_states))
            rows.append(complete)
        if holes.size:
            parts.append(self.rows_with_holes.top_states(X[holes], n_states))
            rows.append(holes)
        if empty.size:
            # their posterior does not depend on the noise
            parts.append(self.rows_with_holes.of_prior().top_states(X[empty], n_states))
            rows.append(empty)
        result = in_rows(parts, rows)
        result.log_evidence[empty] = 0.0
        return result


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


class _IncompleteRows:
    """What the E-steps of rows with missing values share."""

    by_feature = False  # whether there are second moments of each feature

    def __init__(self, e_step):
        self.e_step = e_step

    def of_prior(self):
        """Return an E-step of rows of which nothing is observed."""
        e_step = self.e_step
        parameters = e_step.parameters
        noise = parameters.noise if parameters.noise.independent else IsotropicNoise(1.0)
        parameters = Parameters(parameters.components, parameters.prior, noise, None)
        return HolesEStep(type(e_step)(parameters, e_step.truncation, e_step.dtype))

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


class HolesEStep(_IncompleteRows):
    """E-step of rows with missing values under independent noise.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        super().__init__(e_step)
        self.units = e_step.units_of_holes()
        H, D = self.units[0].shape
        self.by_feature = e_step.linear and D * H**2 <= _MOST_BY_FEATURE

    def _blocks(self, X, collect):
        """Yield rows, data that are 0 where they are missing, and their `Holes`."""
        e_step = self.e_step
        fields, weighted, odds, _ = self.units
        discrete = e_step.linear and len(odds) > 0
        width = len(fields) if discrete and collect != NOTHING else 0
        squares = np.ascontiguousarray((weighted * fields).T)
        memory = self._memory(collect)
        for start in range(0, len(X), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(X)))
            seen = ~np.isnan(X[rows])
            x = X[rows] if e_step.offset is None else X[rows] - e_step.offset
            x = np.where(seen, x, 0.0).astype(e_step.dtype, copy=False)
            memory.tally[:] = 0, 0, 0, collect, 0, 0, 0
            memory.place[:] = -1
            yield (
                rows,
                x,
                memory._replace(
                    seen=seen,
                    squares=seen.astype(e_step.dtype) @ squares,
                    diagonals=np.zeros((len(x), len(fields)), e_step.dtype),
                    centres=np.zeros((len(x), width), e_step.dtype),
                ),
            )

    def _memory(self, collect):
        fields, weighted, odds, kinds = self.units
        (H, D), dtype = fields.shape, fields.dtype
        n_candidates = self.e_step.truncation.n_candidates
        linear = collect != NOTHING and self.e_step.linear
        room = max(H + n_candidates, _ROOM // H) if linear else 0
        return Holes(
            seen=np.empty((0, D), bool),
            squares=np.empty((0, H), dtype),
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
        own = _nothing_hidden(H, D) if self.by_feature else {}
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

    def _inferred(self, codes, weights, sums, evidence, holes, probability=False):
        """Infer the posteriors of a block, as many data points at once as there is room for.

        Yields their `Holes` and which they are. Codes are weighted ones then.
        """
        start = 0
        while start < len(codes):
            part = holes._replace(
                seen=holes.seen[start:],
                squares=holes.squares[start:],
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
        H, n_rows = codes.shape[1], holes.tally[N_ROWS]
        at_once = max(1, _ROOM // H**2)
        point = holes.point[:n_rows]
        diagonal = np.arange(H)
        for start in range(0, len(codes), at_once):
            some = slice(start, start + at_once)
            second = np.zeros((len(codes[some]), H, H), codes.dtype)
            rows = slice(*np.searchsorted(point, (start, start + at_once)))
            second[point[rows] - start, holes.latent[rows]] = holes.rows[rows]
            second += second.transpose(0, 2, 1)
            if holes.centres.size:
                centres, code = holes.centres[some], codes[some]
                changes = code - weights[some, None].astype(code.dtype) * centres
                second += centres[:, :, None] * code[:, None, :]
                second += changes[:, :, None] * centres[:, None, :]
            second[:, diagonal, diagonal] = holes.diagonals[some]
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

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._means(X, "mean")[1]

    def codes(self, X, kind):
        """Return posterior "mean" or "probability" of being active."""
        return self._means(X, kind)[0]

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
            sums, start = e_step._new_sums(), rows.start
            ones = np.ones(len(x))
            for part, done in self._inferred(codes, ones, sums, evidence, holes):
                squares = self._squares_of(part, codes[done], ones[done], fields)
                result[start : start + len(squares)] = squares
                start += len(squares)
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


def _about_centres(holes, codes, weights):
    """Return the discrete values s* of the centres, and the weighted mean changes from them.

    With codes c + w s* and s* c^T + c s*^T + w s* s*^T = s* codes^T + c s*^T, both (n, H), the
    former sparse.
    """
    changes = codes - weights[:, None].astype(codes.dtype) * holes.centres
    return sparse.csr_array(holes.centres), changes


def _nothing_hidden(H, D):
    """Return sums over the rows that miss a feature, of none."""
    return {"hidden_second": np.zeros((D, H, H)), "hidden_codes": np.zeros((H, D))}


class PatternSums(dict):
    """Statistics of the observed features by pattern, the bytes of a mask."""

    def __add__(self, other):
        total = PatternSums(self)
        for key, own in other.items():
            mine = total.get(key)
            total[key] = own if mine is None else {k: mine[k] + v for k, v in own.items()}
        return total


def _add(total, statistics):
    """Add to statistics, of which some may not be there yet."""
    for name, value in statistics.items():
        total[name] = total[name] + value if name in total else value


class PatternsEStep(_IncompleteRows):
    """E-step of rows with missing values, a model of fewer features for each pattern.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        super().__init__(e_step)
        self._kept = {}  # E-steps of patterns of many rows

    def _patterns(self, X):
        """Yield rows that observe the same features, these, and the E-step of these."""
        patterns, which = np.unique(np.packbits(~np.isnan(X), axis=1), axis=0, return_inverse=True)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(patterns) + 1))
        for i, packed in enumerate(patterns):
            seen = np.unpackbits(packed, count=X.shape[1]).astype(bool)
            rows = order[bounds[i] : bounds[i + 1]]
            part = self._part(seen, len(rows) >= _MANY_ROWS)
            yield rows, seen, part, np.ascontiguousarray(X[rows][:, seen])

    def _part(self, seen, lasting):
        """Return the E-step of some features; of a pattern that comes again it is kept."""
        key = seen.tobytes()
        if (part := self._kept.get(key)) is not None:
            return part
        e_step, parameters = self.e_step, self.e_step.parameters
        part = Parameters(
            parameters.components[:, seen],
            parameters.prior,
            parameters.noise.restricted(seen),
            None if parameters.offset is None else parameters.offset[seen],
        )
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
        for rows, seen, part, x in self._patterns(X):
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
            _add(total, own)
        return total

    def with_patterns(self, statistics):
        """Return the statistics with those in that were kept apart."""
        statistics = dict(statistics)
        for key, own in statistics.pop("patterns").items():
            seen = np.frombuffer(key, bool)
            filled = self._filled(own, self._part(seen, True), seen)
            _add(statistics, {k: v for k, v in filled.items() if k not in _SCALARS})
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
        for rows, _, part, x in self._patterns(X):
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
        for rows, _, part, x in self._patterns(X):
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
        for rows, seen, part, x in self._patterns(X):
            B, remaining = noise.regression(seen)
            U = W[:, ~seen] - W[:, seen] @ B.T
            mean = part.codes(x, "mean") @ U
            square = HolesEStep(part).squares(x, U)
            place = np.ix_(rows, ~seen)
            filled[place] = offset[~seen] + mean + (x - offset[seen]) @ B.T
            variance[place] = np.maximum(square - mean**2, 0.0) + np.diag(remaining)
        return filled, variance

    def _moments_of_states(self, X):
        """Return E[ybar] and E[ybar^2] by the states themselves, each (n, n_features)."""
        e_step = self.e_step
        mean, square = np.empty(X.shape), np.empty(X.shape)
        for rows, _, part, x in self._patterns(X):
            posteriors = part.top_states(x, part.n_states)
            q = np.exp(posteriors.log_probability)
            for n, row in enumerate(rows):
                codes = codes_of(
                    posteriors.support[n], posteriors.values[n], len(e_step.components), float
                )
                ybar = e_step.superpose(codes, e_step.parameters.components)
                mean[row], square[row] = q[n] @ ybar, q[n] @ ybar**2
        return mean, square
