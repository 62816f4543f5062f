"""Backbones, checkpoints, and the blocks of a network."""

from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_classifier, load_weights, read_checkpoint

__all__ = ["Classifier", "build_classifier", "load_classifier", "load_weights", "read_checkpoint"]
