"""The lower bound over the iterations."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .axes import chart_axes, has_drawn, remember, take_away, whole_ticks


class BoundDisplay:
    """The lower bound of the log-likelihood over the iterations of EM.

    Where annealing held the temperature above 1 the ground is shaded: the bound is then
    that of a flatter posterior, and rises with a falling temperature too.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    lower_bounds : ndarray of shape (n_iter,)
        Lower bound after each iteration, in nats per sample.
    first : int, default=1
        The iteration of the first of them.
    n_annealed : int, default=0
        The last iteration at a temperature above 1; 0: there was none.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        The axes it is in.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.plotting import BoundDisplay
    >>> display = BoundDisplay(np.array([-90.0, -70.0, -65.0])).plot()
    >>> display.figure_.savefig("bound.png")  # doctest: +SKIP
    """

    def __init__(self, lower_bounds, first=1, n_annealed=0):
        self.lower_bounds = lower_bounds
        self.first = first
        self.n_annealed = n_annealed

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Plot the lower bounds of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with `lower_bounds_`.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure. Give that of another display to
            compare estimators.
        **kwargs : dict
            Passed to matplotlib's `plot`, for instance a `label`.

        Returns
        -------
        display : BoundDisplay
            The plotted display.
        """
        check_is_fitted(estimator)
        lower_bounds = np.asarray(estimator.lower_bounds_)
        # a long stream knows its last bounds alone
        n_iter = getattr(estimator, "n_iter_", len(lower_bounds))
        first = n_iter - len(lower_bounds) + 1
        return cls(lower_bounds, first, _n_annealed(estimator, n_iter)).plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`, for instance a `label`.

        Returns
        -------
        display : BoundDisplay
            The display itself.
        """
        ax = chart_axes(ax)
        iteration = self.first + np.arange(len(self.lower_bounds))
        curve = (iteration.tolist(), np.asarray(self.lower_bounds).tolist(), kwargs.get("label"))
        if (earlier := take_away(ax, type(self), curve)) and not {"color", "c"} & set(kwargs):
            kwargs["color"] = earlier[0].get_color()
        (self.line_,) = ax.plot(iteration, self.lower_bounds, **kwargs)
        remember([self.line_], type(self), curve)
        if self.n_annealed >= self.first and not has_drawn(ax, "annealed"):
            ground = ax.axvspan(self.first, self.n_annealed, color="0.93", zorder=0)
            remember([ground], "annealed")
        ax.set(xlabel="EM iteration", ylabel="Lower bound (nats per sample)")
        whole_ticks(ax)
        if "label" in kwargs:
            ax.legend(frameon=False)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _n_annealed(estimator, n_iter):
    """Return the last iteration at a temperature above 1, as far as the estimator tells."""
    annealing = getattr(estimator, "annealing", None)
    if annealing is None or not hasattr(estimator, "usage_") or estimator.warm_start:
        return 0
    annealing, last = estimator._annealing(), max(estimator.max_iter - 1, 1)
    hot = [annealing.at(n / last).temperature > 1 for n in range(n_iter)]
    return int(np.flatnonzero(hot)[-1]) + 1 if any(hot) else 0
