"""Pictures of a fitted model: its components, its prior, its way to the bound."""

from copy import copy

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .posterior import n_states_of

__all__ = [
    "BoundDisplay",
    "ComponentsDisplay",
    "ExplanationsDisplay",
    "PosteriorDisplay",
    "PriorDisplay",
    "ScheduleDisplay",
    "TruncationDisplay",
]

_COLOR = "#2a6f97"  # one calm blue for every bar and line
_DOTS = "#e07a5f"  # what is set against them
_FRAME_COLOR = (0.7, 0.7, 0.7)  # stands out from black, from white and from zero
_MISSING = "#f6e3a1"  # a value that is not known: no grey, no red, no blue
_MOST_STATES = 20_000  # of a data point, in a picture of truncations
_FRAME = -2.0  # value of the frame in a mosaic: below the range of every tile


class ComponentsDisplay:
    """Components as a mosaic of small images, or signals one above the other.

    Each tile is scaled by its own largest magnitude. Grey components of one sign run
    from black (zero) to white; those of both signs from blue (negative) over white
    (zero) to red. Colour components show zero as mid grey where there are both signs.
    Signals are lines, each scaled by its own largest magnitude, the first on top.

    It is recommended to use :meth:`from_estimator` or :meth:`from_components`.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        The components, in the order of the tiles.
    image_shape : tuple of one, two or three ints
        Height, width and, for colour, 3 channels of a tile; the length of a signal.

    Attributes
    ----------
    im_ : matplotlib AxesImage or None
        The mosaic, None for signals.
    lines_ : list of matplotlib Line2D or None
        The signals, None for images.
    ax_ : matplotlib Axes
        The axes it is in.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from skprosper.datasets import make_bars_components
    >>> from skprosper.plotting import ComponentsDisplay
    >>> display = ComponentsDisplay.from_components(make_bars_components(5))
    >>> display.figure_.savefig("components.png")  # doctest: +SKIP
    """

    def __init__(self, components, image_shape):
        self.components = components
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, image_shape=None, *, order="usage", ax=None):
        """Plot the components of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with `components_`.
        image_shape : tuple of one, two or three ints, default=None
            Height, width and, for colour, 3 channels of a component, or the length of a
            signal. None: a square image, or a signal where the features make none.
        order : "usage", array-like of int or None, default="usage"
            The components to show, in order of the tiles. With "usage" all, those that
            are active in most data points first: by ``usage_``, or where there is none,
            as after `partial_fit`, by the prior's probability of each component, which
            may be the same for all. None: all as they are.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : ComponentsDisplay
            The plotted display.

        Raises
        ------
        ValueError
            If `image_shape` or `order` does not fit the components.
        """
        check_is_fitted(estimator)
        if isinstance(order, str):
            if order != "usage":
                raise ValueError(
                    f"order must be 'usage', an array of indices or None, got {order!r}."
                )
            usage = _usage(estimator)
            order = None if usage is None else np.argsort(-usage, kind="stable")
        return cls.from_components(estimator.components_, image_shape, order=order, ax=ax)

    @classmethod
    def from_components(cls, components, image_shape=None, *, order=None, ax=None):
        """Plot components given as an array.

        Parameters
        ----------
        components : array-like of shape (n_components, n_features)
            The components, or patches, or anything else made of images.
        image_shape : tuple of one, two or three ints, default=None
            Height, width and, for colour, 3 channels of a component, or the length of a
            signal. None: a square image, or a signal where the features make none.
        order : array-like of int, default=None
            The components to show, in order of the tiles.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : ComponentsDisplay
            The plotted display.

        Raises
        ------
        ValueError
            If `image_shape` or `order` does not fit the components.
        """
        components = check_array(components, dtype=np.float64, input_name="components")
        image_shape = _check_image_shape(image_shape, components.shape[1])
        if order is not None:
            order = np.asarray(order)
            n_components = len(components)
            if (
                order.ndim != 1
                or not np.issubdtype(order.dtype, np.integer)
                or not np.isin(order, np.arange(n_components)).all()
            ):
                raise ValueError(
                    f"order must hold indices from 0 to {n_components - 1}, got {order.tolist()}."
                )
            components = components[order]
        return cls(components, image_shape).plot(ax=ax)

    def plot(self, ax=None):
        """Plot the mosaic.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : ComponentsDisplay
            The display itself.
        """
        pyplot = _import_pyplot()
        if len(self.image_shape) == 1:
            return self._plot_signals(ax)
        mosaic, tile_side = _mosaic(self.components, self.image_shape)
        if ax is None:
            shape = np.array(mosaic.shape[1::-1])
            # As large as 6 inches, but a tile no larger than a square inch.
            inches = shape * min(6 / shape.max(), 1 / tile_side)
            _, ax = pyplot.subplots(figsize=inches, layout="constrained")
        _take_away(ax, type(self))
        _without_logarithm(ax, "xy")
        low, colors = (-1, "RdBu_r") if self.components.min() < 0 else (0, "gray")
        cmap = pyplot.get_cmap(colors).with_extremes(under=_FRAME_COLOR)
        self.lines_ = None
        self.im_ = ax.imshow(mosaic, cmap=cmap, vmin=low, vmax=1, interpolation="nearest")
        _remember([self.im_], type(self))
        ax.set_axis_off()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _plot_signals(self, ax):
        if ax is None:
            height = min(8, 1 + 0.35 * len(self.components))
            _, ax = _import_pyplot().subplots(figsize=(5, height), layout="constrained")
        _take_away(ax, type(self))
        _without_logarithm(ax, "xy")
        largest = np.abs(self.components).max(axis=1, keepdims=True)
        curves = 0.5 * self.components / np.where(largest > 0, largest, 1)
        curves -= np.arange(len(curves))[:, None]
        self.im_, self.lines_ = None, ax.plot(curves.T, color=_COLOR, linewidth=1)
        _remember(self.lines_, type(self))
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.set(xlabel="Feature", yticks=[], ylim=(0.4 - len(curves), 0.6))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _usage(estimator):
    """Share of the data points in which each component is active, or None if not known."""
    usage = getattr(estimator, "usage_", None)
    if usage is None:
        usage = _probability_per_component(getattr(estimator, "prior_", None))
    if usage is None or np.shape(usage) != (len(estimator.components_),):
        return None
    return np.asarray(usage)


def _check_image_shape(image_shape, n_features):
    if image_shape is None:
        side = round(np.sqrt(n_features))
        image_shape = (side, side) if side * side == n_features else (n_features,)
    image_shape = tuple(np.atleast_1d(image_shape).tolist())
    if (
        np.prod(image_shape) != n_features
        or len(image_shape) not in (1, 2, 3)
        or image_shape[2:] not in ((), (3,))
    ):
        raise ValueError(
            f"image_shape={image_shape} does not fit {n_features} features. Give "
            "(height, width) or (height, width, 3) with as many pixels as features, or "
            f"({n_features},) for signals."
        )
    return image_shape


def _mosaic(components, image_shape):
    """Framed tiles side by side, and the side of a square as large as a tile.

    Places without a tile are transparent.
    """
    signed = components.min() < 0
    largest = np.abs(components).max(axis=1, keepdims=True)
    tiles = components / np.where(largest > 0, largest, 1)
    tiles = tiles.reshape(-1, *image_shape)
    # Pixels of small tiles are repeated, so that the frame around them can be thin.
    side = np.sqrt(np.prod(image_shape[:2]))
    zoom = max(1, int(32 / side))
    tiles = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    frame_value, empty, n_channels = _FRAME, np.nan, ()
    if len(image_shape) == 3:
        tiles = (1 + tiles) / 2 if signed else tiles
        opaque = np.ones((*tiles.shape[:-1], 1))
        tiles = np.concatenate([tiles, opaque], axis=-1)
        frame_value, empty, n_channels = (*_FRAME_COLOR, 1), 0.0, (4,)
    frame = max(1, round(zoom * side / 16))
    step = np.array(tiles.shape[1:3]) + frame
    rows, columns = _grid(len(tiles), step[0] / step[1])
    shape = np.array([rows, columns]) * step + frame
    mosaic = np.full((*shape, *n_channels), empty)
    for place, tile in enumerate(tiles):
        top, left = step * divmod(place, columns)
        bottom, right = step + (top, left)
        mosaic[top : bottom + frame, left : right + frame] = frame_value
        mosaic[top + frame : bottom, left + frame : right] = tile
    return mosaic, np.sqrt(step.prod())


def _grid(n_tiles, aspect):
    """Rows and columns of a mosaic: square or a bit wider, few places left empty."""
    square = np.sqrt(n_tiles * aspect)
    limits = np.minimum(np.ceil([square, 1.6 * square]), n_tiles).astype(int)
    columns = np.arange(limits[0], limits[1] + 1)
    rows = -(-n_tiles // columns)
    best = np.argmin(rows * columns)
    return int(rows[best]), int(columns[best])


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
        per_component = _probability_per_component(prior)
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
        ax = _axes(ax)
        _take_away(ax, type(self))
        _without_logarithm(ax, "x")
        place = np.arange(len(self.probabilities))
        self.bars_ = ax.bar(place, self.probabilities, width=0.8, color=_COLOR)
        drawn, self.dots_ = [*self.bars_], None
        if self.posterior is not None:
            (self.dots_,) = ax.plot(place, self.posterior, "o", color=_DOTS, markersize=4)
            self.bars_.set_label("prior")
            self.dots_.set_label("posterior")
            ax.legend(frameon=False, fontsize="small", loc="upper right", ncols=2)
            drawn.append(self.dots_)
        if self.labels is None:
            ax.set(xlabel="Component", ylabel="Probability of being active")
            _whole_ticks(ax)
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
        _remember(drawn, type(self))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _probability_per_component(prior):
    """Probability of being active, (n_components,), or None where it is shared."""
    probability = np.asarray(getattr(prior, "probability", 0.0))
    return probability if probability.ndim == 1 else None


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
        ax = _axes(ax)
        iteration = self.first + np.arange(len(self.lower_bounds))
        curve = (iteration.tolist(), np.asarray(self.lower_bounds).tolist(), kwargs.get("label"))
        if (earlier := _take_away(ax, type(self), curve)) and not {"color", "c"} & set(kwargs):
            kwargs["color"] = earlier[0].get_color()
        (self.line_,) = ax.plot(iteration, self.lower_bounds, **kwargs)
        _remember([self.line_], type(self), curve)
        if self.n_annealed >= self.first and not _drawn(ax, "annealed"):
            ground = ax.axvspan(self.first, self.n_annealed, color="0.93", zorder=0)
            _remember([ground], "annealed")
        ax.set(xlabel="EM iteration", ylabel="Lower bound (nats per sample)")
        _whole_ticks(ax)
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


class ScheduleDisplay:
    """Annealing schedules over the position in a run, one panel for each.

    It is recommended to use :meth:`from_annealing`.

    Parameters
    ----------
    positions : ndarray of shape (n_positions,)
        Positions in the run, 0 to 1.
    schedules : dict of str to ndarray of shape (n_positions,)
        Values of each schedule there, by its name.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from skprosper.annealing import Annealing
    >>> from skprosper.plotting import ScheduleDisplay
    >>> display = ScheduleDisplay.from_annealing(Annealing())
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['temperature', 'noise on components']
    """

    def __init__(self, positions, schedules):
        self.positions = positions
        self.schedules = schedules

    @classmethod
    def from_annealing(cls, annealing, *, axes=None):
        """Plot the schedules that differ from plain EM.

        Parameters
        ----------
        annealing : Annealing
            The schedules.
        axes : array-like of matplotlib Axes, default=None
            Where to plot, one for each schedule. None: a new figure.

        Returns
        -------
        display : ScheduleDisplay
            The plotted display.
        """
        positions = np.linspace(0.0, 1.0, 201)
        return cls(positions, annealing.schedules(positions)).plot(axes=axes)

    def plot(self, axes=None):
        """Plot the panels.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            Where to plot, one for each schedule. None: a new figure.

        Returns
        -------
        display : ScheduleDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `axes` does not hold one for each schedule.
        """
        n = max(1, len(self.schedules))
        if axes is None:
            _, axes = _import_pyplot().subplots(
                n, 1, figsize=(5, 1.6 * n), sharex=True, layout="constrained"
            )
        self.axes_ = list(np.ravel(axes))
        if len(self.axes_) != n:
            raise ValueError(f"axes holds {len(self.axes_)} Axes; give {n}, one per schedule.")
        for ax, (name, values) in zip(self.axes_, self.schedules.items()):
            _take_away(_axes(ax), type(self))
            _remember(ax.plot(self.positions, values, color=_COLOR), type(self))
            ax.set_ylabel(name)
        self.axes_[-1].set_xlabel("Position in the run")
        self.figure_ = self.axes_[-1].figure
        return self


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
        ax = _axes(ax)
        _take_away(ax, type(self))
        _without_logarithm(ax, "y")
        place = np.arange(len(self.names))
        self.bars_ = ax.barh(place, self.probabilities, color=_COLOR)
        _remember(self.bars_, type(self))
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
        image_shape = _check_image_shape(image_shape, x.shape[1])
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
        pyplot = _import_pyplot()
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
            _take_away(ax, type(self))
            if len(self.image_shape) == 1:
                drawn = ax.plot(curve, color=_COLOR, linewidth=1)
                ax.spines[["top", "right"]].set_visible(False)
                ax.set_ylim(-1.05 * limit if low else -0.05 * limit, 1.05 * limit)
            else:
                cmap = pyplot.get_cmap("RdBu_r" if low else "gray").with_extremes(bad=_MISSING)
                image = np.ma.masked_invalid(curve.reshape(self.image_shape))
                drawn = [ax.imshow(image, cmap=cmap, vmin=low, vmax=limit)]
                ax.set(xticks=[], yticks=[])
            _remember(drawn, type(self))
            ax.set_title(title, fontsize="small")
        self.figure_ = self.axes_[0].figure
        return self


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
        ax = _axes(ax)
        _take_away(ax, type(self))
        (self.line_,) = ax.plot(self.n_states, self.scores, ".-", color=_COLOR)
        place = self.n_states[self.own], self.scores[self.own]
        (self.dot_,) = ax.plot(*place, "o", color=_DOTS, label="as it is")
        _remember([self.line_, self.dot_], type(self))
        ax.set(xscale="log", xlabel="States kept of a data point", ylabel="Nats per data point")
        # a curve that is flat shall look flat
        middle, half = np.mean(ax.get_ylim()), max(np.ptp(self.scores), 0.1)
        ax.set_ylim(middle - half, middle + half)
        ax.legend(frameon=False)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _drawn(ax, display):
    """Whether a kind of display has drawn on the axes."""
    return any(getattr(a, "_drawn_by", (None,))[0] == display for a in ax.get_children())


def _axes(ax):
    """The axes to draw a chart in, without the frame's idle sides."""
    if ax is None:
        _, ax = _import_pyplot().subplots(figsize=(5, 3.2), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _without_logarithm(ax, names):
    """Make axes linear along which there are pixels, components or states."""
    for name in names:
        if getattr(ax, f"get_{name}scale")() != "linear":
            ax.set(**{f"{name}scale": "linear"})


def _whole_ticks(ax):
    """Put ticks at whole numbers alone, unless they are set or the axis has a scale of its own."""
    locator = ax.xaxis.get_major_locator()
    if type(locator).__name__ in ("AutoLocator", "MaxNLocator"):
        locator.set_params(integer=True)


def _remember(artists, display, what=None):
    """Mark what a kind of display has drawn, for `_take_away`."""
    for artist in artists:
        artist._drawn_by = display, what


def _take_away(ax, display, what=None):
    """Remove what this kind of display drew before, and return it.

    Drawn again on the same Axes it gives the same picture, not one over the other. ``what``
    tells those apart that go together in one picture.
    """
    earlier = [a for a in ax.get_children() if getattr(a, "_drawn_by", None) == (display, what)]
    for artist in earlier:
        artist.remove()
    if earlier:
        ax.relim()
    return earlier


def _import_pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Plotting needs matplotlib: pip install skprosper[plot]") from error
    return pyplot
