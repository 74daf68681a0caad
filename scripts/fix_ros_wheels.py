"""Point the CMake files of ROS's wheels at this environment's include directories.

The wheels carry the paths of the machine they were built on, and CMake refuses paths that do not
exist. Run with the Python of the virtual environment that holds the wheels; safe to run again.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

BUILD_MACHINE = re.compile(r"/opt/python/[^;\"\s]*?/(numpy/_?core/include|include/python3\.\d+)")


def replacement(match: re.Match) -> str:
    """Return the include directory here of what ``match`` names on the build machine."""
    if match[1].startswith("numpy"):
        return numpy.get_include()
    return sysconfig.get_paths()["include"]


def main() -> None:
    """Rewrite every CMake file under the environment's share/ that names such a path."""
    for path in sorted(Path(sys.prefix, "share").glob("*/cmake/*.cmake")):
        text = path.read_text()
        fixed = BUILD_MACHINE.sub(replacement, text)
        if fixed != text:
            path.write_text(fixed)


if __name__ == "__main__":
    main()
