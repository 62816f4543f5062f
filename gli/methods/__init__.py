"""Unlearning methods: one subclass of :class:`~gli.methods.base.Method` each."""

from gli.methods.base import Method
from gli.methods.fine_tune import FineTune
from gli.methods.gradient_ascent import NegGrad
from gli.methods.guided_loss import GLI, LI
from gli.methods.supervised import Original, Retrained

__all__ = ["GLI", "LI", "FineTune", "Method", "NegGrad", "Original", "Retrained"]
