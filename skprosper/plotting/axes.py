"""What the displays share: axes that they draw on again, ticks, colours."""

COLOR = "#2a6f97"  # one calm blue for every bar and line
DOTS = "#e07a5f"  # what is set against them


def has_drawn(ax, display):
    """Whether a kind of display has drawn on the axes."""
    return any(getattr(a, "_drawn_by", (None,))[0] == display for a in ax.get_children())


def chart_axes(ax):
    """The axes to draw a chart in, without the frame's idle sides."""
    if ax is None:
        _, ax = import_pyplot().subplots(figsize=(5, 3.2), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def without_logarithm(ax, names):
    """Make axes linear along which there are pixels, components or states."""
    for name in names:
        if getattr(ax, f"get_{name}scale")() != "linear":
            ax.set(**{f"{name}scale": "linear"})


def whole_ticks(ax):
    """Put ticks at whole numbers alone, unless they are set or the axis has a scale of its own."""
    locator = ax.xaxis.get_major_locator()
    if type(locator).__name__ in ("AutoLocator", "MaxNLocator"):
        locator.set_params(integer=True)


def remember(artists, display, what=None):
    """Mark what a kind of display has drawn, for `take_away`."""
    for artist in artists:
        artist._drawn_by = display, what


def take_away(ax, display, what=None):
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


def import_pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Plotting needs matplotlib: pip install skprosper[plot]") from error
    return pyplot
