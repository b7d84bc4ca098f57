"""Probabilistic sparse coding with non-standard priors and superpositions."""

from importlib.metadata import version

from .models import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from .sparse_coding import SparseCoding

__version__ = version("skprosper")

__all__ = [
    "BinarySparseCoding",
    "DiscreteSparseCoding",
    "GaussianSparseCoding",
    "MaximalCausesAnalysis",
    "MaximumMagnitudeCausesAnalysis",
    "SparseCoding",
    "TernarySparseCoding",
]
