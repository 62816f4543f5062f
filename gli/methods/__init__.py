"""Unlearning methods: each a subclass of :class:`~gli.methods.base.Method`, one file per method or family."""

from gli.data.loading import Pass
from gli.methods.bad_teaching import BadTeaching
from gli.methods.base import Method
from gli.methods.cfk import CFk
from gli.methods.euk import EUk
from gli.methods.fine_tune import FineTune
from gli.methods.gli import GLI, LI
from gli.methods.neg_grad import AdvancedNegGrad, NegGrad
from gli.methods.original import Original
from gli.methods.retrained import Retrained
from gli.methods.scrub import SCRUB
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
