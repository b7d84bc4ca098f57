"""The learned prior against the posterior's frequencies."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .axes import COLOR, DOTS, chart_axes, remember, take_away, whole_ticks, without_logarithm


class PriorDisplay:
    """What a prior has learned, as bars of probabilities.

    With one probability per component: how probably each component is active. With
    probabilities that all components share: those of the values of a code. Dots are what
    the posterior says of the data: where they part from the bars, as they do when the
    prior is held, the data are not as the prior has them.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    probabilities : ndarray of shape (n_bars,)
        Height of each bar.
    labels : list of str, default=None
        What each bar stands for. None: the component of that index.
    posterior : ndarray of shape (n_bars,), default=None
        What the posterior says in place of each probability. None: not known.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        The bars.
    dots_ : matplotlib Line2D or None
        The posterior's, None where it is not known.
    ax_ : matplotlib Axes
        The axes they are in.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.plotting import PriorDisplay
    >>> display = PriorDisplay(np.array([0.2, 0.1, 0.3])).plot()
    >>> display.figure_.savefig("prior.png")  # doctest: +SKIP
    """

    def __init__(self, probabilities, labels=None, posterior=None):
        self.probabilities = probabilities
        self.labels = labels
        self.posterior = posterior

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the prior of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with `prior_`.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : PriorDisplay
            The plotted display.
        """
        check_is_fitted(estimator)
        prior, usage = estimator.prior_, getattr(estimator, "usage_", None)
        per_component = probability_per_component(prior)
        if per_component is not None:
            return cls(per_component, posterior=usage).plot(ax=ax)
        if hasattr(prior, "probabilities"):
            labels = [f"{value:g}" for value in prior.values]
            shared = np.asarray(prior.probabilities)
            return cls(shared if shared.ndim == 1 else shared.mean(axis=1), labels).plot(ax=ax)
        active = float(np.squeeze(prior.probability))
        posterior = None if usage is None else np.array([1 - usage.mean(), usage.mean()])
        labels = ["inactive", "active"]
        return cls(np.array([1 - active, active]), labels, posterior).plot(ax=ax)

    def plot(self, ax=None):
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : PriorDisplay
            The display itself.
        """
        ax = chart_axes(ax)
        take_away(ax, type(self))
        without_logarithm(ax, "x")
        place = np.arange(len(self.probabilities))
        self.bars_ = ax.bar(place, self.probabilities, width=0.8, color=COLOR)
        drawn, self.dots_ = [*self.bars_], None
        if self.posterior is not None:
            (self.dots_,) = ax.plot(place, self.posterior, "o", color=DOTS, markersize=4)
            self.bars_.set_label("prior")
            self.dots_.set_label("posterior")
            ax.legend(frameon=False, fontsize="small", loc="upper right", ncols=2)
            drawn.append(self.dots_)
        if self.labels is None:
            ax.set(xlabel="Component", ylabel="Probability of being active")
            whole_ticks(ax)
            if self.posterior is not None and ax.get_yscale() == "linear":
                # room for the legend
                ax.set_ylim(0, 1.2 * max(np.max(self.probabilities), np.max(self.posterior)))
        else:
            ax.set(xlabel="Code of a component", ylabel="Probability")
            if ax.get_yscale() == "linear":
                ax.set_ylim(0, 1)
            ax.set_xticks(place, self.labels)
            drawn += ax.bar_label(self.bars_, fmt="%.3g", padding=2)
        ax.set_xlim(-0.6, len(place) - 0.4)
        remember(drawn, type(self))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def probability_per_component(prior):
    """Probability of being active, (n_components,), or None where it is shared."""
    probability = np.asarray(getattr(prior, "probability", 0.0))
    return probability if probability.ndim == 1 else None
