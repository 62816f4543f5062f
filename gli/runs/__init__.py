"""The folder of a run: what writes it and what reads it. Reading loads neither torch nor Lightning."""
