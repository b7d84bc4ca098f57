"""Superpositions: how active components combine, which E-step and M-step serve them."""

from dataclasses import replace

import numpy as np
from scipy import linalg

from .kernels.order import kept_in_order
from .priors import SpikeSlabPrior

# Below this share of the largest a direction of the latents is not determined.
_RANK = 1e-12
_PROXIMAL = 1e-6
# A latent used by less than this share of the most used one keeps its component.
_UNUSED = 1e-10
# Start components vary as much as the data do in up to this many dimensions.
_START_DIMENSIONS = 25
# Magnitudes that differ by less, relatively, are equal but for rounding errors.
_TIED = 1e-8
# Missing values make steps of EM too short; up to 2 times as long a one raises the bound too.
_LONGEST_STEP = 1.9
# An entry of a component that wins less than this share of what the best one wins.
_UNATTAINED = 1e-12


class _Superposition:
    """A superposition that allows every component, prior, noise and offset."""

    linear = False  # in the codes
    alone = False  # whether to regress on what no stronger active latent explains

    @staticmethod
    def check(prior, noise, fit_offset):
        """Raise where prior, noise and offset do not go with the superposition."""

    @staticmethod
    def check_components(components):
        """Raise where the components are not allowed."""

    @staticmethod
    def allowed(components):
        """Return the allowed components next to those given."""
        return components

    @staticmethod
    def yielding(one, other):
        """Return one component such that it yields to the other where they compete."""
        return one

    @staticmethod
    def steadied(before, after, statistics):
        """Return the parameters of an M-step such that EM does not go round in circles."""
        return after


class LinearSuperposition(_Superposition):
    """ybar(s) = sum_h s_h W_h."""

    linear = True

    @staticmethod
    def initial_components(mean, deviations, prior, centred):
        """Return components that give the model the data's mean and covariance.

        With E[s] and E[s^2] of the prior, W_h = mean / (H E[s]) + deviation_h / sqrt(H E[s^2]);
        the deviations, (H, D), have the data's covariance.
        """
        first, second = prior.moments(len(deviations))
        components = deviations / np.sqrt(second.sum())
        if not centred and first.sum() != 0.0:
            components += mean / first.sum()
        return components

    @staticmethod
    def e_step(prior):
        """Return the class of the E-step for a prior."""
        # imported where first needed: to declare a kernel's functions takes numba its time
        if isinstance(prior, SpikeSlabPrior):
            from .inference.spike_slab import SpikeSlabEStep

            return SpikeSlabEStep
        from .inference.linear import LinearEStep

        return LinearEStep

    @staticmethod
    def superpose(codes, components):
        """Return ybar of each code, shape (n_samples, n_features)."""
        return codes @ components

    @staticmethod
    def updated(parameters, statistics, learn, rows=None):
        """Return new components, offset and residual second moment (exact M-step).

        Of all components, or of those of some ``rows`` with the others as they are.

        With an offset m the data of the statistics are y - m, and a latent that is
        always 1 carries the change of m.

        Missing values of a feature, taken at their expectation, hold its components where
        they are. Where the second moments of the rows that miss it are known it is left to
        the others; else its step is the longer the fewer rows observe it.
        """
        W, offset = parameters.components, parameters.offset
        observed, weight = statistics.get("observed"), statistics["weight"]
        amplitudes = parameters.prior.amplitudes(len(W))
        cross, second = statistics["cross"], statistics["second"]
        hidden = statistics.get("hidden_second")
        if offset is not None:
            codes = statistics["codes"]
            W = np.vstack([W, np.zeros(W.shape[1])])
            amplitudes = np.append(amplitudes, 1.0)
            cross = np.vstack([cross, statistics["data"]])
            second = np.block([[second, codes[:, None]], [codes, weight]])
            if hidden is not None:
                codes = statistics["hidden_codes"].T[:, :, None]
                left = (weight - observed)[:, None, None]
                hidden = np.block([[hidden, codes], [codes.transpose(0, 2, 1), left]])
        before, square = W, statistics["data_second"]
        if observed is not None:
            weight = np.where(observed > 0.0, observed, np.inf)
        if hidden is not None:
            # what the rows that observe a feature say of it
            at_missing = _times(hidden, W)
            second, cross = second - hidden, cross - at_missing
            square = square - np.sum(W * at_missing, axis=0)
            if offset is not None and "components" not in learn:
                rows = [len(W) - 1]
            if offset is not None or "components" in learn:
                W = _solved_by_feature(second, cross, W, amplitudes, rows)
            explained = np.sum(W * (2.0 * cross - _times(second, W)), axis=0)
        else:
            if "components" in learn:
                W = solve_semidefinite(second, cross, W, amplitudes, rows)
            elif offset is not None:
                W = W.copy()
                W[-1] = (cross[-1] - second[-1, :-1] @ W[:-1]) / second[-1, -1]
            if observed is not None:
                step = np.minimum(statistics["weight"] / weight, _LONGEST_STEP)
                W = np.where(step > 1.0, before + step * (W - before), W)
            explained = parameters.noise.explained(W, cross, second)
        residual = (square - explained) / weight
        if offset is None:
            return W, None, residual
        return W[:-1], offset + W[-1], residual


def _times(second, W):
    """Return second[d] @ W[:, d] of each feature, (H, D)."""
    return np.einsum("dhg,gd->hd", second, W)


def _solved_by_feature(second, cross, W, amplitudes, rows):
    """Solve ``second[d] @ W[:, d] = cross[:, d]`` for each feature."""
    solved = [
        solve_semidefinite(own, cross[:, d, None], W[:, d, None], amplitudes, rows)
        for d, own in enumerate(second)
    ]
    return np.hstack(solved)


def solve_semidefinite(second, cross, previous, amplitudes, rows=None):
    """Solve ``second @ W = cross``; keep ``previous`` where second has no say.

    For all rows of W, or for some with the others as they were. second is positive
    semi-definite, (H, H); a latent that no data point uses is a zero row of it. W, cross
    and previous are (H, D). ``amplitudes`` (H,) are the units in which the latents compare.
    """
    square = np.diag(second)
    usage = square / amplitudes**2
    used = usage > _UNUSED * usage.max(initial=0.0)
    if rows is not None:
        used &= np.isin(np.arange(len(used)), rows)
    W = previous.copy()
    if not used.any():
        return W
    scale = np.sqrt(square[used])
    matrix = second[np.ix_(used, used)] / np.outer(scale, scale)
    right = (cross - second[:, ~used] @ previous[~used])[used] / scale[:, None]
    start = previous[used] * scale[:, None]
    try:
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        determined = np.diag(factor[0]).min() ** 2 > np.sqrt(_RANK)
    except linalg.LinAlgError:
        determined = False
    if not determined:
        # A proximal step: it moves only where the data say so, and cannot lower the
        # bound; its fixed points are those of the plain step.
        # As long a step as leaves the matrix definite.
        least = linalg.eigvalsh(matrix, subset_by_index=(0, 0), check_finite=False)[0]
        proximal = _PROXIMAL + 2.0 * max(-least, 0.0)
        matrix[np.diag_indices_from(matrix)] += proximal
        factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        right = right + proximal * start
    W[used] = linalg.cho_solve(factor, right) / scale[:, None]
    return W


def superposed(codes, components, magnitude):
    """Return ybar of each code, shape (n_samples, n_features).

    The maximum of s_h W_hd over all latents, inactive ones taking part with 0, or, with
    ``magnitude``, the s_h W_hd of largest magnitude.
    """
    codes = np.asarray(codes)
    shape, dtype = (len(codes), components.shape[1]), np.result_type(codes, components)
    result = np.zeros(shape, dtype)
    if not magnitude:
        result[np.all(codes != 0, axis=1)] = -np.inf
    for h in range(len(components)):
        rows = np.flatnonzero(codes[:, h])
        term, best = np.multiply.outer(codes[rows, h], components[h]), result[rows]
        wins = np.abs(term) > np.abs(best) if magnitude else term > best
        result[rows] = np.where(wins, term, best)
    return result


def check_components(components):
    """Raise where components of the maximum superposition are negative."""
    if components.min() < 0.0:
        raise ValueError(
            "components of superposition='maximum' must not be negative; the smallest entry "
            f"is {components.min():g}. Use superposition='magnitude-maximum' for components "
            "of any sign."
        )


class MagnitudeMaximumSuperposition(_Superposition):
    """ybar_d(s) is the s_h W_hd of largest magnitude, with its sign."""

    name = "magnitude-maximum"
    magnitude = True

    @classmethod
    def check(cls, prior, noise, fit_offset):
        """Raise where prior, noise and offset do not go with the superposition."""
        if isinstance(prior, SpikeSlabPrior):
            raise ValueError(
                f"superposition={cls.name!r} has no posterior in closed form under a "
                "spike-and-slab prior; take a binary, ternary or discrete prior, or "
                "superposition='linear'."
            )
        if noise != "isotropic":
            raise ValueError(
                f"noise={noise!r} needs superposition='linear'; superposition={cls.name!r} "
                "has isotropic noise alone."
            )
        if fit_offset:
            raise ValueError(
                "fit_offset=True needs superposition='linear'; subtract the offset from X, "
                f"or set fit_offset=False for superposition={cls.name!r}."
            )

    @classmethod
    def initial_components(cls, mean, deviations, prior, centred):
        """Return components around what the data are where a latent is active.

        Their mean is the data's over P(any latent is active), their deviations, (H, D), have
        the data's covariance, both in the unit of an active value. In many dimensions the
        deviations are made smaller: what a component says at random costs
        |W_h|^2 / (2 sigma^2) nats, and if that is much no latent is ever active.
        """
        n_components = len(deviations)
        first, second = prior.moments(n_components)
        any_active = -np.expm1(prior.log_zero(n_components))
        amplitude = prior.amplitudes(n_components)[:, None]
        shift = (first.sum() / second.sum()) * mean / any_active
        spread = min(1.0, np.sqrt(_START_DIMENSIONS / len(mean)))
        return cls.allowed(shift + spread * deviations / amplitude)

    @staticmethod
    def e_step(prior):
        """Return the class of the E-step for a prior."""
        from .inference.maximum import MagnitudeMaximumEStep

        return MagnitudeMaximumEStep

    @classmethod
    def superpose(cls, codes, components):
        """Return ybar of each code, shape (n_samples, n_features)."""
        return superposed(codes, components, cls.magnitude)

    @staticmethod
    def steadied(before, after, statistics):
        """Return the parameters of an M-step such that EM does not go round in circles.

        Which component is the largest at a feature does not change by chance alone.
        """
        attained = statistics["denominator"]
        least = max(_UNATTAINED * attained.max(initial=0.0), np.finfo(np.float64).tiny)
        # which component is the largest at a feature was taken for granted in the E-step
        W = kept_in_order(
            np.ascontiguousarray(before.components.T),
            np.ascontiguousarray(after.components.T),
            np.ascontiguousarray(np.maximum(attained, least).T),
            before.noise.variance,
        )
        return replace(after, components=np.ascontiguousarray(W.T))

    @staticmethod
    def yielding(one, other):
        """Return one component such that it yields to the other where they compete.

        Where magnitudes are alike and signs are not, the larger one explains the data of
        both alone: if it is the wrong one, the two are never found active together.
        """
        magnitude, rival = np.abs(one), np.abs(other)
        larger = (1.0 + _TIED) * magnitude >= rival
        wins = (one * other < 0.0) & larger & (rival > (0.5 + _TIED) * magnitude)
        return np.where(wins, 0.9 * np.sign(one) * rival, one)

    @classmethod
    def updated(cls, parameters, statistics, learn, rows=None):
        """Return new components, no offset and the mean squared error.

        Of all components, or of those of some ``rows`` with the others as they are.

        An entry of a component becomes the mean of the data that it explains alone,
        W_hd = sum <A_hd s_h y_d> / sum <A_hd s_h^2>, or the nearest value allowed; one
        that no state attains keeps its value.
        """
        W = parameters.components
        observed = statistics.get("observed")
        size = statistics["weight"] * W.shape[1] if observed is None else observed.sum()
        residual = statistics["squared_error"] / size
        if "components" in learn:
            attained = statistics["denominator"]
            used = attained > _UNATTAINED * attained.max(initial=0.0)
            if rows is not None:
                used &= np.isin(np.arange(len(W)), rows)[:, None]
            W = W.copy()
            np.divide(statistics["numerator"], attained, out=W, where=used)
            W = cls.allowed(W)
        return W, None, residual


class MaximumSuperposition(MagnitudeMaximumSuperposition):
    """ybar_d(s) = max_h s_h W_hd with W >= 0; inactive latents take part with 0."""

    name = "maximum"
    magnitude = False
    alone = True
    check_components = staticmethod(check_components)

    @staticmethod
    def allowed(components):
        """Return the allowed components next to those given."""
        return np.maximum(components, 0.0)

    @staticmethod
    def e_step(prior):
        """Return the class of the E-step for a prior."""
        from .inference.maximum import MaximumEStep

        return MaximumEStep


SUPERPOSITIONS = {
    "linear": LinearSuperposition(),
    "maximum": MaximumSuperposition(),
    "magnitude-maximum": MagnitudeMaximumSuperposition(),
}
