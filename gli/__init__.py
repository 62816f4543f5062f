"""gli: make face classifiers forget people, with Guided Loss-Increasing and other unlearning methods."""

__version__ = "0.1.0"
