"""Components as a mosaic of images, or as signals."""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .axes import COLOR, import_pyplot, remember, take_away, without_logarithm
from .prior import probability_per_component

_FRAME_COLOR = (0.7, 0.7, 0.7)  # stands out from black, from white and from zero
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
        image_shape = check_image_shape(image_shape, components.shape[1])
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
        pyplot = import_pyplot()
        if len(self.image_shape) == 1:
            return self._plot_signals(ax)
        mosaic, tile_side = _mosaic(self.components, self.image_shape)
        if ax is None:
            shape = np.array(mosaic.shape[1::-1])
            # As large as 6 inches, but a tile no larger than a square inch.
            inches = shape * min(6 / shape.max(), 1 / tile_side)
            _, ax = pyplot.subplots(figsize=inches, layout="constrained")
        take_away(ax, type(self))
        without_logarithm(ax, "xy")
        low, colors = (-1, "RdBu_r") if self.components.min() < 0 else (0, "gray")
        cmap = pyplot.get_cmap(colors).with_extremes(under=_FRAME_COLOR)
        self.lines_ = None
        self.im_ = ax.imshow(mosaic, cmap=cmap, vmin=low, vmax=1, interpolation="nearest")
        remember([self.im_], type(self))
        ax.set_axis_off()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _plot_signals(self, ax):
        if ax is None:
            height = min(8, 1 + 0.35 * len(self.components))
            _, ax = import_pyplot().subplots(figsize=(5, height), layout="constrained")
        take_away(ax, type(self))
        without_logarithm(ax, "xy")
        largest = np.abs(self.components).max(axis=1, keepdims=True)
        curves = 0.5 * self.components / np.where(largest > 0, largest, 1)
        curves -= np.arange(len(curves))[:, None]
        self.im_, self.lines_ = None, ax.plot(curves.T, color=COLOR, linewidth=1)
        remember(self.lines_, type(self))
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.set(xlabel="Feature", yticks=[], ylim=(0.4 - len(curves), 0.6))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _usage(estimator):
    """Share of the data points in which each component is active, or None if not known."""
    usage = getattr(estimator, "usage_", None)
    if usage is None:
        usage = probability_per_component(getattr(estimator, "prior_", None))
    if usage is None or np.shape(usage) != (len(estimator.components_),):
        return None
    return np.asarray(usage)


def check_image_shape(image_shape, n_features):
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
