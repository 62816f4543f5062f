"""Run training: build a run, find or train originals, execute many runs here or on a cluster."""
