"""Benchmarks: cells of a file, done once each by any number of processes, and their table."""
