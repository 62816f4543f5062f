"""Unlearning methods: each a subclass of :class:`~gli.methods.base.Method`, one file per method or family.

A new method is its file and a line here.
"""

from gli.data.loading import Pass as Pass
from gli.methods.bad_teaching import BadTeaching as BadTeaching
from gli.methods.base import Method as Method
from gli.methods.cfk import CFk as CFk
from gli.methods.ct import CT as CT
from gli.methods.euk import EUk as EUk
from gli.methods.fine_tune import FineTune as FineTune
from gli.methods.from_scratch import Original as Original
from gli.methods.from_scratch import Retrained as Retrained
from gli.methods.gli import GLI as GLI
from gli.methods.gli import LI as LI
from gli.methods.l1_sparse import L1Sparse as L1Sparse
from gli.methods.lo_tus import LoTUS as LoTUS
from gli.methods.msg import MSG as MSG
from gli.methods.neg_grad import AdvancedNegGrad as AdvancedNegGrad
from gli.methods.neg_grad import NegGrad as NegGrad
from gli.methods.noisy_fine_tune import NoisyFineTune as NoisyFineTune
from gli.methods.out_of_fold import OutOfFold as OutOfFold
from gli.methods.out_of_fold import Served as Served
from gli.methods.random_labels import RandomLabels as RandomLabels
from gli.methods.retrain_briefly import RetrainBriefly as RetrainBriefly
from gli.methods.sal_un import SalUn as SalUn
from gli.methods.scrub import SCRUB as SCRUB
from gli.methods.sfron import SFRon as SFRon
from gli.methods.ssd import SSD as SSD
from gli.methods.transpose_distil import TransposeDistil as TransposeDistil
from gli.methods.unsir import UNSIR as UNSIR


def shipped() -> dict[str, type[Method]]:
    """Return the methods of gli by name."""
    named = {name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, Method)}
    return {name: method for name, method in named.items() if method is not Method}
