"""Probabilistic sparse coding with non-standard priors and superpositions."""

from importlib.metadata import PackageNotFoundError, version

from .models import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from .sparse_coding import SparseCoding

try:
    __version__ = version("skprosper")
except PackageNotFoundError:  # a copy of the source on the path, or a frozen program
    __version__ = "0+unknown"

__all__ = [
    "BinarySparseCoding",
    "DiscreteSparseCoding",
    "GaussianSparseCoding",
    "MaximalCausesAnalysis",
    "MaximumMagnitudeCausesAnalysis",
    "SparseCoding",
    "TernarySparseCoding",
]
