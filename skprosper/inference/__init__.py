"""E-steps: from parameters and data to expectations, one class per kernel."""
