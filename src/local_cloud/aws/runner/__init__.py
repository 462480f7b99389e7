"""Functions: run as Lambda runs them, with their logs and metrics."""
