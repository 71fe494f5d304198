"""A software cryptographic machine with the interface of GM/T 0018 (SDF), for use where no machine is.

`init_device` makes one in a folder: library, keys, password; devices made with the same seed hold the same keys, as
the machines of a cluster do. All keys are invented.
"""

from simulators.sdf_device.library import SdfBuildError, build, is_available
from simulators.sdf_device.state import PAIRS, SimSdfDevice, init_device

__all__ = ["PAIRS", "SdfBuildError", "SimSdfDevice", "build", "init_device", "is_available"]
