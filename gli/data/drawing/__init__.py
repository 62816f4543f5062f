"""Drawn faces: pictures of artificial people that need no real data.

A :class:`Person` holds what stays the same in all pictures of one person, a :class:`Picture` holds what differs between
them, and :func:`draw` renders the pair. These two objects determine every pixel, so a face can be drawn again at any
time and at any size.
"""

from gli.data.drawing.people import AGE_CLASSES, Person, Picture, sample_person, sample_picture
from gli.data.drawing.scene import draw

__all__ = ["AGE_CLASSES", "Person", "Picture", "draw", "sample_person", "sample_picture"]
