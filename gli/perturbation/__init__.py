"""Algorithm 1: perturb retained faces away from the features of the faces to be forgotten."""

from gli.perturbation.class_weight import ClassWeight
from gli.perturbation.distances import DISTANCES
from gli.perturbation.noise import maximise_error
from gli.perturbation.perturb import features, perturb
from gli.perturbation.scale_free import scale_free

__all__ = ["DISTANCES", "ClassWeight", "features", "maximise_error", "perturb", "scale_free"]
