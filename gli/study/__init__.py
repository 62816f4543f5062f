"""Search for settings: what may vary, Optuna's study, the trials on the seam of the jobs, and their table."""
