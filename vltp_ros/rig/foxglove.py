"""A server of the protocol in which the Foxglove app asks for topics over a WebSocket.

foxglove-sdk has one too, which sends every page that a browser on this machine shows what it asks
for: it does not look at the request's origin. What is here is the part of the protocol that showing
topics needs (https://docs.foxglove.dev/docs/sdk/websocket-server), on top of websockets.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin, Subprotocol

PROTOCOL = Subprotocol("foxglove.sdk.v1")
APP = "https://app.foxglove.dev"
DATA = 1  # opcode of a message of a topic
MAX_VIEWERS = 16  # each has two threads
WAITING = 16  # messages for a viewer that is slow; the oldest is dropped
OPEN_SECONDS = CLOSE_SECONDS = 2.0  # for the handshakes of a viewer


@dataclass(frozen=True)
class Channel:
    """A topic that viewers are offered."""

    id: int
    topic: str
    kind: str  # of the messages, such as sensor_msgs/msg/Image
    schema: str  # their definition, in the form "ros2msg"

    def offer(self) -> dict:
        """Return what viewers are told of it."""
        return {
            "id": self.id,
            "topic": self.topic,
            "encoding": "cdr",
            "schemaName": self.kind,
            "schema": self.schema,
            "schemaEncoding": "ros2msg",
        }


class Viewer:
    """One connected app."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._texts: deque[str] = deque()
        self._data: deque[bytes] = deque(maxlen=WAITING)
        self._is_closed = False
        self._subscriptions: dict[int, int] = {}  # number of a subscription -> id of its channel

    def run(self) -> None:
        """Take what the app asks for until it is gone."""
        sender = threading.Thread(target=self._send_all, name="viewer", daemon=True)
        sender.start()
        try:
            for message in self._connection:
                self._take(message)
        except ConnectionClosed:
            pass
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify()
            sender.join()

    def tell(self, **message: object) -> None:
        """Send a message of the protocol."""
        with self._changed:
            self._texts.append(json.dumps(message))
            self._changed.notify()

    def show(self, channel: Channel, content: bytes, nanoseconds: int) -> None:
        """Send a message of a topic, where the app shows it."""
        with self._changed:
            for number, shown in self._subscriptions.items():
                if shown == channel.id:
                    self._data.append(struct.pack("<BIQ", DATA, number, nanoseconds) + content)
                    self._changed.notify()

    def shows(self, channel: Channel) -> bool:
        """Return whether the app shows a topic."""
        with self._changed:
            return channel.id in self._subscriptions.values()

    def _take(self, message: str | bytes) -> None:
        """Do what the app asks for; anything but subscriptions it is told is not understood."""
        try:
            asked = json.loads(message)
            operation = asked["op"]
            if operation == "subscribe":
                wanted = {int(one["id"]): int(one["channelId"]) for one in asked["subscriptions"]}
                with self._changed:
                    self._subscriptions |= wanted
                return
            if operation == "unsubscribe":
                with self._changed:
                    for number in asked["subscriptionIds"]:
                        self._subscriptions.pop(int(number), None)
                return
            reason = f"{operation!r} is not offered"
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"not understood: {error!r}"
        self.tell(op="status", level=1, message=reason[:200])

    def _send_all(self) -> None:
        """Send what waits, texts first: they say what the rest is of."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed or self._texts or self._data)
                    if self._is_closed:
                        return
                    waiting = self._texts or self._data
                    message = waiting.popleft()
                self._connection.send(message)
        except ConnectionClosed:
            pass


class FoxgloveServer:
    """Offers topics to apps, until it is stopped.

    Args:
        host: address to serve at.
        port: to serve at; 0: any free one.
        origins: of the pages that may connect, beside programs that are no page.

    Raises:
        OSError: for an address that cannot be served at.
    """

    def __init__(self, host: str, port: int, origins: Sequence[str]) -> None:
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._channels: dict[int, Channel] = {}
        self._viewers: list[Viewer] = []
        self._server = serve(
            self._handle,
            host,
            port,
            subprotocols=[PROTOCOL],
            origins=[None, *map(Origin, origins)],
            process_request=self._limit,
            compression=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_size=2**20,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"ws://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def app_url(self) -> str:
        """Where a browser opens the app with this server."""
        return f"{APP}?{urlencode({'ds': 'foxglove-websocket', 'ds.url': self.url})}"

    def open(self, topic: str, kind: str, schema: str) -> Channel:
        """Offer a topic."""
        channel = Channel(next(self._ids), topic, kind, schema)
        with self._lock:
            self._channels[channel.id] = channel
            for viewer in self._viewers:
                viewer.tell(op="advertise", channels=[channel.offer()])
        return channel

    def close(self, channel: Channel) -> None:
        """Take an offer back."""
        with self._lock:
            del self._channels[channel.id]
            for viewer in self._viewers:
                viewer.tell(op="unadvertise", channelIds=[channel.id])

    def is_shown(self, channel: Channel) -> bool:
        """Return whether any app shows a topic."""
        with self._lock:
            return any(viewer.shows(channel) for viewer in self._viewers)

    def show(self, channel: Channel, content: bytes) -> None:
        """Send a message to the apps that show its topic."""
        now = time.time_ns()
        with self._lock:
            for viewer in self._viewers:
                viewer.show(channel, content, now)

    def stop(self) -> None:
        """End all connections, within seconds whatever the apps do."""
        self._server.shutdown()
        self._thread.join()

    def _limit(self, connection: ServerConnection, request: Request) -> Response | None:
        with self._lock:
            is_full = len(self._viewers) >= MAX_VIEWERS
        return connection.respond(503, f"{MAX_VIEWERS} viewers at most\n") if is_full else None

    def _handle(self, connection: ServerConnection) -> None:
        # One that reads no more is given up, and does not keep the server from ending.
        limit = struct.pack("ll", int(CLOSE_SECONDS), 0)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        viewer = Viewer(connection)
        with self._lock:
            viewer.tell(op="serverInfo", name="vltp_ros", capabilities=[])
            if self._channels:
                offers = [channel.offer() for channel in self._channels.values()]
                viewer.tell(op="advertise", channels=offers)
            self._viewers.append(viewer)
        try:
            viewer.run()
        finally:
            with self._lock:
                self._viewers.remove(viewer)
