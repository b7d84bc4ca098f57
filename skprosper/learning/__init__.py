"""EM and what makes it succeed: starts, annealed iterations, moves, streams, diagnostics."""
