"""Drawn faces: pictures of artificial people that need no real data.

A :class:`Person` holds what stays the same in all pictures of one person, a :class:`Picture` holds what differs between
them, and :func:`draw_face` renders the pair. These two objects determine every pixel, so a face can be drawn again at
any time and at any size.
"""

from gli.data.drawing.draw import contact_sheet, draw_face
from gli.data.drawing.person import AGE_CLASSES, Person, sample_person
from gli.data.drawing.picture import Picture, sample_picture

__all__ = ["AGE_CLASSES", "Person", "Picture", "contact_sheet", "draw_face", "sample_person", "sample_picture"]
