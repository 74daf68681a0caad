"""Where the files are that ship with the code, and what installs the rest."""

from __future__ import annotations

from pathlib import Path

DEFAULT_MODEL = Path("models") / "tabletop"


def shipped(path: Path | str) -> Path:
    """Return where a file or folder is that a checkout has at ``path``.

    It lies in the checkout, or under share/vltp_ros/ of the prefix that pip or colcon installed
    this module into. Raises FileNotFoundError naming these places.
    """
    here = Path(__file__).resolve()
    checkout = here.parents[1] / path
    installed = [prefix / "share" / "vltp_ros" / path for prefix in here.parents[1:]]
    for candidate in (checkout, *installed):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"{path} is in neither {checkout.parent} nor a share/vltp_ros above {here.parent}; "
        "install the package with its data files"
    )


def pip_command(extra: str) -> str:
    """Return the command that installs an extra of this package, which no index has."""
    checkout = Path(__file__).resolve().parents[1]
    is_checkout = (checkout / "pyproject.toml").exists()
    return f"pip install '{checkout if is_checkout else 'PATH/TO/vltp_ros'}[{extra}]'"


def default_model() -> Path:
    """Return the tabletop model's directory. Raises FileNotFoundError when it did not ship."""
    return shipped(DEFAULT_MODEL)
