"""Measures what the project promises to do fast. `make bench` runs it; docs/benchmarks.md has the results."""
