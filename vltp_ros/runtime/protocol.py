"""What the node's process and the model's say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Start:
    """The first request: make a session."""

    factory: str  # import path, module:name
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    path: list[str]  # sys.path of who asks


@dataclass(frozen=True)
class Request:
    """A method of the session to call."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What the session says of itself after a request."""

    name: str
    device_name: str
    gpu_memory_mib: float | None
    fault: str
    missed_deadlines: int
    late_captures: int

    @classmethod
    def of(cls, session: Any) -> State:
        """Read a session's properties."""
        return cls(*(getattr(session, name) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    state: State | None  # None: as it was, or there is no session
    value: Any = None
    error: Exception | None = None
