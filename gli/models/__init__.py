"""Backbones, checkpoints, and the blocks of a network."""

from gli.models.backbones import Classifier, build_classifier
from gli.models.checkpoints import load_classifier, load_weights, read_checkpoint
from gli.models.hub import HubClassifier

__all__ = ["Classifier", "HubClassifier", "build_classifier", "load_classifier", "load_weights", "read_checkpoint"]
