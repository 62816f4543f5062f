"""Find or train original models, and resume runs."""

from gli.training.originals import find_or_train

__all__ = ["find_or_train"]
