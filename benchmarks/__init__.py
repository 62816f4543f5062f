"""Benchmarks of gli: speed and memory as ratios to a baseline that is measured in turn in the same run."""
