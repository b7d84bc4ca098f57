"""E-step of the linear superposition with a spike-and-slab prior: GSC."""

import numpy as np

from ..kernels import spike_slab as kernel
from ..kernels.active_set import Slabs
from .base import LinearGaussianEStep, Posteriors, Precision, resolving

# What float32 holds with room for the products: the units of codes and components are free.
_LARGEST_IN_FLOAT32 = 1e30


class SpikeSlabEStep(LinearGaussianEStep):
    """Truncated posteriors over active sets, exact in the slabs.

    See `LinearGaussianEStep` for the parameters; the prior has ``probability`` and
    ``mean``, (H,) or a number each, and ``covariance`` (H, H), (H,) or a number.

    Temperatures act on the likelihood and on the probability of being active. The slab
    p(z | b) keeps its density: a power of it would depend on the unit of the codes.
    """

    def _resolving(self, dtype, projection, gram):
        amplitudes = self.prior.amplitudes(len(gram))
        largest = max(np.abs(projection).max(), np.abs(gram).max(), amplitudes.max() ** 2)
        if max(largest, 1.0 / amplitudes.min()) > _LARGEST_IN_FLOAT32:
            return np.dtype(np.float64)
        # what a slab far from 0 takes from the log-joint of the prior it gives back in that of
        # the data; like slabs are told from each other by a share of the inverse of what they add
        return resolving(dtype, [*np.diag(gram) * amplitudes**2, self.prior.distance()])

    def _prepare(self):
        H = len(self.components)
        prior = self.prior
        covariance = prior.covariance
        self.mean, self.covariance = prior.mean, covariance
        self.full = covariance.ndim == 2
        variance = np.diag(covariance) if self.full else covariance
        deviation = np.sqrt(variance)
        self.log_odds = prior.log_odds(H)[0]
        # a latent that is active alone has the posterior precision (c^2 v)^-1
        precision = np.diag(self.gram).astype(np.float64) + 1.0 / variance
        scale = 1.0 / np.sqrt(precision)
        mean = self.mean / deviation
        bias = self.log_odds / self.temperature[1]
        bias = bias + np.log(scale / deviation) - 0.5 * mean**2
        correlation = np.empty((0, 0))
        if self.full:
            correlation = covariance / np.outer(deviation, deviation)
        self.slabs = Slabs(
            kinds=(0, 0) if self.full else (0,),
            scale=scale.astype(self.dtype),
            shift=(scale / deviation * mean).astype(self.dtype),
            bias=bias.astype(self.dtype),
            precision=(self.gram * np.outer(scale, scale)).astype(self.dtype),
            # slabs that are nearly determined by each other need more digits
            coupling=(scale / deviation).astype(np.float64 if self.full else self.dtype),
            mean=mean,
            correlation=correlation,
        )
        n_candidates, max_changes, *_ = self.truncation
        self.tree = kernel.state_tree(n_candidates, max_changes)
        self.negligible = Precision.of(self.dtype, 1).negligible

    @property
    def n_kinds(self):
        """Variables of a latent; see `Slabs`."""
        return len(self.slabs.kinds)

    n_diagonals = n_kinds
    odds_of_holes = np.empty((0, 0))

    @property
    def unit_of_holes(self):
        """What the kernel's latents are in; see `Slabs`."""
        return self.slabs.scale.astype(np.float64)

    def in_own_units(self, statistics, part):
        """Return statistics of the E-step of some features as those of all."""
        unit = part.unit_of_holes / self.unit_of_holes
        factor = np.ones((self.n_kinds, len(unit)))
        factor[-1] = unit
        return statistics | {
            "first": factor * statistics["first"],
            "square": factor**2 * statistics["square"],
            "second": factor[:, :, None] * factor[:, None, :] * statistics["second"],
        }

    def _new_sums(self):
        H, kinds = len(self.components), 2 if self.full else 1
        return kernel.Sums(
            active=np.zeros(H),
            first=np.zeros((kinds, H)),
            square=np.zeros((kinds, H)),
            second=np.zeros((kinds, H, H)),
        )

    def _infer(
        self, codes, weights, sums, evidence, probability=False, holes=None, with_second=True
    ):
        return kernel.expectations(
            codes,
            weights,
            self.slabs,
            self.tree,
            *self.truncation,
            probability,
            self.negligible,
            with_second,
            sums,
            evidence,
            holes,
        )

    def _named(self, sums):
        return sums._asdict()

    def complete(self, statistics):
        """Return the summed statistics with what follows from them filled in.

        Adds "active" (H,), "codes" (H,) and "second" (H, H). For a full covariance Psi
        also "mean_step" (H,) and "covariance_step" (H, H): with inactive slabs as latent
        variables too, z in R^H,

            sum w <z - mu> = mean_step
            sum w <(z - mu)(z - mu)^T> = weight Psi + covariance_step
        """
        statistics = dict(statistics)
        scale = self.slabs.scale.astype(np.float64)
        first, square = statistics.pop("first"), statistics.pop("square")
        half = statistics.pop("second")
        second = half + np.swapaxes(half, 1, 2)
        second[:, *np.diag_indices(len(scale))] = square
        statistics["codes"] = scale * first[-1]
        statistics["second"] = np.outer(scale, scale) * second[-1]
        if self.full:
            root = self.covariance / np.sqrt(np.diag(self.covariance))
            statistics["mean_step"] = root @ first[0]
            statistics["covariance_step"] = root @ second[0] @ root.T
        return statistics

    def _expected_log_prior(self, statistics):
        """Return <log p(b)>, summed over the data points."""
        zero = statistics["weight"] * self.prior.log_zero(len(self.components))
        return zero + self.log_odds @ statistics["active"]

    def _top_states(self, projections, n_states, holes=None):
        n_candidates, max_changes, best, pursuit = self.truncation
        n, H = len(projections), len(self.components)
        most = kernel.most_active(projections, self.slabs, best, pursuit, n_candidates, holes)
        log_probability = np.empty((n, n_states))
        support = np.empty((n, n_states, min(H, most + max_changes)), np.int64)
        entropy, evidence = np.empty(n), np.empty(n)
        kernel.top_states(
            projections,
            self.slabs,
            self.tree,
            *self.truncation,
            log_probability,
            support,
            entropy,
            evidence,
            holes,
        )
        gram, covariance = self._slabs_given(support, holes)
        inactive = support < 0
        rows = np.arange(n)[:, None, None]
        pull = np.where(inactive, 0.0, projections[rows, support])
        mean = np.where(inactive, 0.0, self.mean[support])
        pull -= (gram @ mean[..., None])[..., 0]
        values = (mean + (covariance @ pull[..., None])[..., 0]).astype(self.dtype)
        variances = np.diagonal(covariance, axis1=-2, axis2=-1)
        variances = np.where(inactive, 0.0, variances).astype(self.dtype)
        return Posteriors(support, values, variances, log_probability, evidence, entropy)

    def _slabs_given(self, support, holes):
        """Return Gram matrix and posterior covariance of each active set.

        Both (..., width, width); latents that are not there have unit covariance.
        """
        rows, columns = support[..., :, None], support[..., None, :]
        there = (rows >= 0) & (columns >= 0)
        if holes is None:
            gram = self.gram[rows, columns]
        else:
            gram = np.empty(there.shape)
            for n, seen in enumerate(holes.seen):
                latents, place = np.unique(support[n], return_inverse=True)
                place = place.reshape(support[n].shape)
                own = (self.projection[latents] * seen) @ self.components[latents].T
                gram[n] = own[place[:, :, None], place[:, None, :]]
        gram = np.where(there, gram, 0.0)
        unit = np.eye(support.shape[-1])
        if self.full:
            root = np.linalg.cholesky(np.where(there, self.covariance[rows, columns], unit))
        else:
            root = unit * np.sqrt(np.where(support < 0, 1.0, self.covariance[support]))[..., None]
        # (Psi^-1 + G)^-1 with Psi = R R^T, by eigenvalues that are 1 at least: slabs may be
        # far wider than what the data leave of them
        transposed = np.swapaxes(root, -1, -2)
        precision, vectors = np.linalg.eigh(unit + transposed @ gram @ root)
        half = root @ vectors / np.sqrt(np.maximum(precision, 1.0))[..., None, :]
        return gram, half @ np.swapaxes(half, -1, -2)
