"""Our own reader driver for pcscd (`onecard_ifd.c`), and the cards that plug into it."""

from simulators.ifd.library import LIBRARY, IfdBuildError, build, is_available
from simulators.ifd.link import IfdLink

__all__ = ["LIBRARY", "IfdBuildError", "IfdLink", "build", "is_available"]
