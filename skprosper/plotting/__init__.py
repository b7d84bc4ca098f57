"""Pictures of a fitted model: its components, its prior, its way to the bound."""

from .bound import BoundDisplay
from .components import ComponentsDisplay
from .posterior import ExplanationsDisplay, PosteriorDisplay
from .prior import PriorDisplay
from .schedule import ScheduleDisplay
from .truncation import TruncationDisplay

__all__ = [
    "BoundDisplay",
    "ComponentsDisplay",
    "ExplanationsDisplay",
    "PosteriorDisplay",
    "PriorDisplay",
    "ScheduleDisplay",
    "TruncationDisplay",
]
