"""Time of fit, transform, score and posterior of each model.

Bars are learned from the components they are made of, so that all commits do the same work.
"""

import warnings

import skprosper
from skprosper.datasets import make_bars

KINDS = {
    "BinarySparseCoding": {},
    "TernarySparseCoding": dict(prior="ternary"),
    "DiscreteSparseCoding": dict(prior="discrete"),
    "GaussianSparseCoding": dict(prior="spike-slab"),
    "MaximalCausesAnalysis": dict(superposition="maximum"),
    "MaximumMagnitudeCausesAnalysis": dict(superposition="magnitude-maximum"),
}
N_FITTED, N_ASKED = 2000, 500


class Models:
    """The methods of a model of 16 bars in 8 x 8 pixels."""

    params, param_names = list(KINDS), ["model"]
    number, repeat, rounds, warmup_time = 1, 3, 1, 0.0

    def setup(self, name):
        """Compile and fit, so that neither is timed."""
        warnings.simplefilter("ignore")
        X, _, bars = make_bars(N_FITTED, size=8, random_state=0, **KINDS[name])
        self.X = X
        self.model = getattr(skprosper, name)(
            len(bars), components_init=bars, annealing=None, max_iter=5, tol=0, random_state=0
        )
        self.model.fit(self.X)
        self.asked = self.X[:N_ASKED]

    def time_fit(self, name):
        """Five iterations of EM."""
        self.model.fit(self.X)

    def time_transform(self, name):
        """Posterior means."""
        self.model.transform(self.X)

    def time_score(self, name):
        """Lower bound of the log-likelihood."""
        self.model.score(self.X)

    def time_posterior(self, name):
        """The ten most probable states."""
        self.model.posterior(self.asked)
