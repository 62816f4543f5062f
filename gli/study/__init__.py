"""Studies: a list of runs and a reduction of their records: benchmark, search, fleet, references."""
