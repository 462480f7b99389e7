"""What the project promises to be fast at, measured: `make bench`, results in docs/benchmarks.md."""
