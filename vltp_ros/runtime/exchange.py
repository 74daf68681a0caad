"""What connects a process with the model's: messages through a socket, arrays in shared memory."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

LARGE = 2**14
"""Bytes from which on an array goes through the memory; a smaller one is part of its message."""


class SharedMemory:
    """Memory that one process writes and another reads.

    It has no name: nothing is left of it when both have ended, however they did, and it takes
    nothing of /dev/shm, of which a container has 64 MB.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._view = memoryview(b"")

    @classmethod
    def new(cls) -> SharedMemory:
        """Return memory that nothing is in yet."""
        return cls(os.memfd_create("vltp"))

    def put(self, parts: Iterable[memoryview]) -> list[int]:
        """Copy some bytes into the memory, over those of the last time; return their sizes."""
        parts = list(parts)
        sizes = [part.nbytes for part in parts]
        if sum(sizes) > len(self._view):
            os.ftruncate(self.descriptor, sum(sizes))
        for part, place in zip(parts, self.get(sizes), strict=True):
            place[:] = part
        return sizes

    def get(self, sizes: Sequence[int]) -> list[memoryview]:
        """Return what was put, by its sizes; it holds until something else is."""
        if sum(sizes) > len(self._view):  # it has grown, here or on the other side
            size = os.fstat(self.descriptor).st_size
            self._view = memoryview(mmap.mmap(self.descriptor, size))
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [self._view[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def close(self) -> None:
        """Let go of the memory; what somebody holds of it stays."""
        os.close(self.descriptor)
        self._view = memoryview(b"")


class Exchange:
    """One end of the connection: sends and receives messages; their arrays go through memory.

    Args:
        connection: of a pair of sockets.
        own: what this end writes.
        other: what the other end writes.
    """

    def __init__(self, connection: Connection, own: SharedMemory, other: SharedMemory) -> None:
        self._connection = connection
        self._own = own
        self._other = other

    def send(self, message: Any) -> None:
        """Send a message. Raises OSError when the other end is gone."""
        large: list[memoryview] = []

        def stays_inside(buffer: pickle.PickleBuffer) -> bool:
            content = buffer.raw()
            if content.nbytes >= LARGE:
                large.append(content)
            return content.nbytes < LARGE

        content = pickle.dumps(message, protocol=5, buffer_callback=stays_inside)
        sizes = self._own.put(large)
        self._connection.send_bytes(struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + content)

    def receive(self, copy: bool = False) -> Any:
        """Wait for a message; unless they are copied, its arrays hold until the next one.

        Raises EOFError or OSError when the other end is gone.
        """
        data = self._connection.recv_bytes()
        (count,) = struct.unpack_from("<I", data)
        buffers = self._other.get(struct.unpack_from(f"<{count}Q", data, 4))
        content = memoryview(data)[4 + 8 * count :]
        return pickle.loads(content, buffers=map(bytearray, buffers) if copy else buffers)

    def close(self) -> None:
        """End the connection; closing twice does no harm."""
        if not self._connection.closed:
            self._connection.close()
            self._own.close()
            self._other.close()
