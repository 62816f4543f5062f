"""gli: make face classifiers forget people, with Guided Loss-Increasing and its rivals."""

__version__ = "0.1.0"
