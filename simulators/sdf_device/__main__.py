"""`python -m simulators.sdf_device init FOLDER`: make a simulated cryptographic machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from simulators.sdf_device.library import SdfBuildError
from simulators.sdf_device.state import PASSWORD_FILE, init_device


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulators.sdf_device", description=__doc__)
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init", help="make a device in an empty folder")
    init.add_argument("folder", type=Path)
    init.add_argument("--seed", help="keys follow from this text; two devices with one seed are a cluster")
    init.add_argument("--old-vendor", action="store_true", help="structures and ids of a machine before the standard")
    given = parser.parse_args(arguments)
    try:
        device = init_device(given.folder, seed=given.seed, old_vendor=given.old_vendor)
    except (OSError, SdfBuildError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    print(f"library   {device.library}")
    print(f"password  {device.folder / PASSWORD_FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
