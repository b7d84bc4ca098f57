"""Probabilistic sparse coding with non-standard priors and superpositions."""

from .models import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from .sparse_coding import SparseCoding
from .version import __version__

__all__ = [
    "BinarySparseCoding",
    "DiscreteSparseCoding",
    "GaussianSparseCoding",
    "MaximalCausesAnalysis",
    "MaximumMagnitudeCausesAnalysis",
    "SparseCoding",
    "TernarySparseCoding",
    "__version__",
]
