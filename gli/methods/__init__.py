"""Unlearning methods: one subclass of :class:`~gli.methods.base.Method` each."""

from gli.data.loading import Pass
from gli.methods.bad_teaching import BadTeaching
from gli.methods.base import Method
from gli.methods.fine_tune import CFk, EUk, FineTune
from gli.methods.gradient_ascent import AdvancedNegGrad, NegGrad
from gli.methods.guided_loss import GLI, LI
from gli.methods.scrub import SCRUB
from gli.methods.supervised import Original, Retrained
from gli.methods.unsir import UNSIR

__all__ = [
    "GLI",
    "LI",
    "SCRUB",
    "UNSIR",
    "AdvancedNegGrad",
    "BadTeaching",
    "CFk",
    "EUk",
    "FineTune",
    "Method",
    "NegGrad",
    "Original",
    "Pass",
    "Retrained",
]
