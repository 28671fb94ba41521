"""Benchmarks: each prints a figure as a ratio against its reference, measured or given, in the same run."""
