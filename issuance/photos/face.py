"""Faces by OpenCV's cascades, where OpenCV is installed (`requirements/photo.txt`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from PIL import Image

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels from the upper left corner."""
_SCALE = 1.05
_FACE_NEIGHBOURS = 5
_EYE_NEIGHBOURS = 4
_LEAST_FACE = 0.25
_DOUBTFUL = 0.6


@dataclass(frozen=True, slots=True)
class Face:
    """One face; `eyes` are the middles of the two eyes, left one of the picture first, or empty."""

    box: Box
    eyes: tuple[tuple[int, int], ...]


class FaceFinder(Protocol):
    def find(self, picture: Image.Image) -> list[Face]: ...


class CascadeFaceFinder:
    """Haar cascades; one instance is for one thread."""

    def __init__(self, cv2: Any, numpy: Any) -> None:
        self._cv2 = cv2
        self._numpy = numpy
        self._faces = self._cascade("haarcascade_frontalface_default.xml")
        self._eyes = self._cascade("haarcascade_eye.xml")

    def _cascade(self, name: str) -> Any:
        return self._cv2.CascadeClassifier(self._cv2.data.haarcascades + name)

    def find(self, picture: Image.Image) -> list[Face]:
        """Faces at least a quarter of the picture wide, the largest first; a small one within it counts for nothing."""
        grey = self._cv2.equalizeHist(self._numpy.asarray(picture.convert("L")))
        least = round(min(picture.size) * _LEAST_FACE)
        found = self._faces.detectMultiScale(grey, _SCALE, _FACE_NEIGHBOURS, minSize=(least, least))
        boxes = sorted(((int(x), int(y), int(w), int(h)) for x, y, w, h in found), key=lambda box: -box[2])
        kept = [box for box in boxes if box[2] >= boxes[0][2] * _DOUBTFUL or _apart(box, boxes[0])]
        return [Face(box, self._eye_pair(grey, box)) for box in kept]

    def _eye_pair(self, grey: Any, box: Box) -> tuple[tuple[int, int], ...]:
        """The best pair in the upper half of the face: one in each side, at about one height."""
        x, y, width, height = box
        top, bottom = y + height // 6, y + height * 11 // 20
        least = max(8, width // 10)
        part, most = grey[top:bottom, x : x + width], width // 2
        found = self._eyes.detectMultiScale(part, _SCALE, _EYE_NEIGHBOURS, minSize=(least, least), maxSize=(most, most))
        middles = [(x + int(a) + int(w) // 2, top + int(b) + int(h) // 2, int(w)) for a, b, w, h in found]
        centre = x + width // 2
        pairs = [
            (left, right)
            for left in middles
            for right in middles
            if left[0] < centre < right[0] and abs(left[1] - right[1]) <= height // 10
        ]
        if not pairs:
            return ()
        left, right = min(pairs, key=lambda two: abs(two[0][1] - two[1][1]) + abs(two[0][0] + two[1][0] - 2 * centre))
        return (left[:2], right[:2])


def _apart(box: Box, other: Box) -> bool:
    """Side by side, not one within the other: a second person, however small."""
    return box[0] + box[2] <= other[0] or other[0] + other[2] <= box[0]


@cache
def face_finder() -> CascadeFaceFinder | None:
    """None where OpenCV, or its cascades, are not installed: then a clerk looks at the photo."""
    try:
        cv2, numpy = import_module("cv2"), import_module("numpy")
    except ImportError:
        return None
    return CascadeFaceFinder(cv2, numpy) if hasattr(cv2, "CascadeClassifier") else None
