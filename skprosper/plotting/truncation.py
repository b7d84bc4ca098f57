"""What a truncated posterior leaves out."""

from copy import copy

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..posterior import n_states_of
from .axes import COLOR, DOTS, chart_axes, remember, take_away

_MOST_STATES = 20_000  # of a data point, in a picture of truncations


class TruncationDisplay:
    """The lower bound against the number of states kept: is the truncation wide enough?

    Where the curve is flat to the right of the dot, the truncation of the estimator, more
    states add nothing.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    n_states : ndarray of shape (n_truncations,)
        States kept of a data point.
    scores : ndarray of shape (n_truncations,)
        Lower bound of the log-likelihood, nats per data point.
    own : int
        Which of them is that of the estimator.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    dot_ : matplotlib Line2D
        The truncation of the estimator.
    ax_ : matplotlib Axes
        The axes they are in.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.datasets import make_bars
    >>> from skprosper.plotting import TruncationDisplay
    >>> X, codes, bars = make_bars(400, random_state=0)
    >>> model = BinarySparseCoding(10, random_state=0).fit(X)
    >>> display = TruncationDisplay.from_estimator(model, X)
    >>> int(display.n_states[display.own])  # 8 of 10 candidates, up to 5 of them changed
    221
    """

    def __init__(self, n_states, scores, own):
        self.n_states = n_states
        self.scores = scores
        self.own = own

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None):
        """Plot how the bound of a fitted estimator depends on its truncation.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator of this package.
        X : array-like of shape (n_samples, n_features)
            Data; of more than 500 rows 500 are looked at.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : TruncationDisplay
            The plotted display.
        """
        check_is_fitted(estimator)
        X = X[:: max(1, len(X) // 500)][:500]
        n_components = len(estimator.components_)
        own = estimator._truncation(n_components, estimator.prior_)
        n_values = estimator.prior_.n_values
        sizes = {(own.n_candidates, own.max_changes)}
        for step in range(-3, 3):
            n_candidates = min(own.n_candidates + 2 * step, n_components)
            max_changes = min(own.max_changes + step, n_candidates)
            if n_candidates > 0 and max_changes > 0:
                sizes.add((n_candidates, max_changes))
        points = []
        other = copy(estimator)
        for n_candidates, max_changes in sizes:
            truncation = own._replace(n_candidates=n_candidates, max_changes=max_changes)
            states = n_states_of(truncation, n_components, n_values)
            if states <= _MOST_STATES or truncation == own:
                other.set_params(n_candidates=n_candidates, max_changes=max_changes)
                points.append((states, other.score(X), truncation == own))
        states, scores, is_own = map(np.array, zip(*sorted(points)))
        return cls(states, scores, int(np.argmax(is_own))).plot(ax=ax)

    def plot(self, ax=None):
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : TruncationDisplay
            The display itself.
        """
        ax = chart_axes(ax)
        take_away(ax, type(self))
        (self.line_,) = ax.plot(self.n_states, self.scores, ".-", color=COLOR)
        place = self.n_states[self.own], self.scores[self.own]
        (self.dot_,) = ax.plot(*place, "o", color=DOTS, label="as it is")
        remember([self.line_, self.dot_], type(self))
        ax.set(xscale="log", xlabel="States kept of a data point", ylabel="Nats per data point")
        # a curve that is flat shall look flat
        middle, half = np.mean(ax.get_ylim()), max(np.ptp(self.scores), 0.1)
        ax.set_ylim(middle - half, middle + half)
        ax.legend(frameon=False)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
