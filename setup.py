"""Adds models and message definitions to the pip package; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup


def model_files() -> list[tuple[str, list[str]]]:
    """Return every directory under models/, as (directory under the prefix, files)."""
    directories = [Path("models"), *(p for p in Path("models").rglob("*") if p.is_dir())]
    files = {d: [str(f) for f in sorted(d.glob("*")) if f.is_file()] for d in sorted(directories)}
    return [(f"share/vltp_ros/{d}", found) for d, found in files.items() if found]


def message_files() -> list[tuple[str, list[str]]]:
    """Return the definitions that bags of the node's messages need."""
    return [("share/vltp_ros/msg", [str(path) for path in sorted(Path("msg").glob("*.msg"))])]


setup(data_files=model_files() + message_files())
