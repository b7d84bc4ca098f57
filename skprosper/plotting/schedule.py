"""The schedules of annealing."""

import numpy as np

from .axes import COLOR, chart_axes, import_pyplot, remember, take_away


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
            _, axes = import_pyplot().subplots(
                n, 1, figsize=(5, 1.6 * n), sharex=True, layout="constrained"
            )
        self.axes_ = list(np.ravel(axes))
        if len(self.axes_) != n:
            raise ValueError(f"axes holds {len(self.axes_)} Axes; give {n}, one per schedule.")
        for ax, (name, values) in zip(self.axes_, self.schedules.items()):
            take_away(chart_axes(ax), type(self))
            remember(ax.plot(self.positions, values, color=COLOR), type(self))
            ax.set_ylabel(name)
        self.axes_[-1].set_xlabel("Position in the run")
        self.figure_ = self.axes_[-1].figure
        return self
