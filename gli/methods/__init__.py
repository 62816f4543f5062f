"""Unlearning methods: each a subclass of :class:`~gli.methods.base.Method`, one file per method or family."""

from gli.data.loading import Pass
from gli.methods.bad_teaching import BadTeaching
from gli.methods.base import Method
from gli.methods.cfk import CFk
from gli.methods.ct import CT
from gli.methods.euk import EUk
from gli.methods.fine_tune import FineTune
from gli.methods.gli import GLI, LI
from gli.methods.l1_sparse import L1Sparse
from gli.methods.lo_tus import LoTUS
from gli.methods.msg import MSG
from gli.methods.neg_grad import AdvancedNegGrad, NegGrad
from gli.methods.noisy_fine_tune import NoisyFineTune
from gli.methods.original import Original
from gli.methods.random_labels import RandomLabels
from gli.methods.retrain_briefly import RetrainBriefly
from gli.methods.retrained import Retrained
from gli.methods.sal_un import SalUn
from gli.methods.scrub import SCRUB
from gli.methods.sfron import SFRon
from gli.methods.ssd import SSD
from gli.methods.transpose_distil import TransposeDistil
from gli.methods.unsir import UNSIR

__all__ = [
    "CT",
    "GLI",
    "LI",
    "MSG",
    "SCRUB",
    "SSD",
    "UNSIR",
    "AdvancedNegGrad",
    "BadTeaching",
    "CFk",
    "EUk",
    "FineTune",
    "L1Sparse",
    "LoTUS",
    "Method",
    "NegGrad",
    "NoisyFineTune",
    "Original",
    "Pass",
    "RandomLabels",
    "RetrainBriefly",
    "Retrained",
    "SFRon",
    "SalUn",
    "TransposeDistil",
]
