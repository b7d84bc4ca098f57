"""The states of one data point, and what each makes of it."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .axes import COLOR, chart_axes, import_pyplot, remember, take_away, without_logarithm
from .components import check_image_shape

_MISSING = "#f6e3a1"  # a value that is not known: no grey, no red, no blue


class PosteriorDisplay:
    """The most probable states of one data point, as bars of their probabilities.

    It is recommended to use :meth:`~skprosper.posterior.Posterior.plot`.

    Parameters
    ----------
    names : list of str
        What is active in each state, best first.
    probabilities : ndarray of shape (n_states,)
        Posterior probability of each state.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        The bars.
    ax_ : matplotlib Axes
        The axes they are in.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.plotting import PosteriorDisplay
    >>> display = PosteriorDisplay(["3", "3, 5"], np.array([0.8, 0.2])).plot()
    >>> display.figure_.savefig("posterior.png")  # doctest: +SKIP
    """

    def __init__(self, names, probabilities):
        self.names = names
        self.probabilities = probabilities

    def plot(self, ax=None):
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : PosteriorDisplay
            The display itself.
        """
        ax = chart_axes(ax)
        take_away(ax, type(self))
        without_logarithm(ax, "y")
        place = np.arange(len(self.names))
        self.bars_ = ax.barh(place, self.probabilities, color=COLOR)
        remember(self.bars_, type(self))
        ax.set_yticks(place, self.names)
        ax.set(xlabel="Posterior probability", ylabel="Active components")
        ax.set_ylim(len(place) - 0.4, -0.6)  # best state on top
        if ax.get_xscale() == "linear":
            ax.set_xlim(0, 1)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


class ExplanationsDisplay:
    """A data point, and what each of its most probable explanations makes of it.

    Panels side by side: the data point, then for each state of its posterior the
    noiseless data point that the state stands for, with its probability and what is
    active in it. Missing values are yellow, or gaps.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    sample : ndarray of shape (n_features,)
        The data point.
    explanations : ndarray of shape (n_states, n_features)
        What each state explains, best first.
    probabilities : ndarray of shape (n_states,)
        Posterior probability of each state.
    names : list of str
        What is active in each state.
    image_shape : tuple of one or two ints
        Height and width of an image, or the length of a signal.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.datasets import make_bars
    >>> from skprosper.plotting import ExplanationsDisplay
    >>> X, codes, bars = make_bars(400, size=3, random_state=0)
    >>> model = BinarySparseCoding(6, random_state=0).fit(X)
    >>> display = ExplanationsDisplay.from_estimator(model, X[0], n_states=2)
    >>> len(display.axes_)
    3
    """

    def __init__(self, sample, explanations, probabilities, names, image_shape):
        self.sample = sample
        self.explanations = explanations
        self.probabilities = probabilities
        self.names = names
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, x, image_shape=None, *, n_states=4, axes=None):
        """Plot the explanations that a fitted estimator has for a data point.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator of this package.
        x : array-like of shape (n_features,) or (1, n_features)
            The data point, NaN where a value is missing.
        image_shape : tuple of one or two ints, default=None
            Height and width of an image, or the length of a signal. None: a square image,
            or a signal where the features make none.
        n_states : int, default=4
            Most explanations to show.
        axes : array-like of matplotlib Axes, default=None
            Where to plot, one more than there are explanations. None: a new figure.

        Returns
        -------
        display : ExplanationsDisplay
            The plotted display.

        Raises
        ------
        ValueError
            If `x` is not one data point, or `image_shape` or `axes` does not fit.
        """
        check_is_fitted(estimator)
        x = np.atleast_2d(np.asarray(x))
        if len(x) != 1 or x.ndim != 2:
            raise ValueError(f"x holds {len(x)} data points; give one.")
        image_shape = check_image_shape(image_shape, x.shape[1])
        posterior = estimator.posterior(x, n_states=n_states)
        there = np.flatnonzero(posterior.probabilities[0] > 0)
        explanations = [estimator.inverse_transform(posterior.codes(rank))[0] for rank in there]
        return cls(
            x[0],
            np.array(explanations),
            posterior.probabilities[0][there],
            [name or "none" for name in posterior.names(0)[: len(there)]],
            image_shape,
        ).plot(axes=axes)

    def plot(self, axes=None):
        """Plot the panels.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            Where to plot, one more than there are explanations. None: a new figure.

        Returns
        -------
        display : ExplanationsDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `axes` does not hold as many.
        """
        pyplot = import_pyplot()
        n = 1 + len(self.explanations)
        if axes is None:
            _, axes = pyplot.subplots(
                1, n, figsize=(1.7 * n, 2.3), layout="constrained", squeeze=False
            )
        self.axes_ = list(np.ravel(axes))
        if len(self.axes_) != n:
            raise ValueError(
                f"axes holds {len(self.axes_)} Axes; give {n}, one for the data point and one "
                "for each explanation."
            )
        curves = np.vstack([self.sample, self.explanations])
        titles = ["data point"] + [
            f"{p:.1%}\n{name}" for p, name in zip(self.probabilities, self.names)
        ]
        limit = np.nanmax(np.abs(curves), initial=0) or 1
        low = -limit if np.nanmin(curves) < -limit / 8 else 0
        for ax, curve, title in zip(self.axes_, curves, titles):
            take_away(ax, type(self))
            if len(self.image_shape) == 1:
                drawn = ax.plot(curve, color=COLOR, linewidth=1)
                ax.spines[["top", "right"]].set_visible(False)
                ax.set_ylim(-1.05 * limit if low else -0.05 * limit, 1.05 * limit)
            else:
                cmap = pyplot.get_cmap("RdBu_r" if low else "gray").with_extremes(bad=_MISSING)
                image = np.ma.masked_invalid(curve.reshape(self.image_shape))
                drawn = [ax.imshow(image, cmap=cmap, vmin=low, vmax=limit)]
                ax.set(xticks=[], yticks=[])
            remember(drawn, type(self))
            ax.set_title(title, fontsize="small")
        self.figure_ = self.axes_[0].figure
        return self
