"""Originals found or trained, and runs resumed."""

from gli.training.originals import find_or_train

__all__ = ["find_or_train"]
