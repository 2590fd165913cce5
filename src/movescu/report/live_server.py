"""The server of a live page: HTTP on 127.0.0.1, for whoever has its address, which contains a token.

The page is that of ``page``; its data come as server-sent events, and orders go back as POST. Other programs of this
computer do not know the token; a foreign page in the same browser is kept out by the Host and Origin headers.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from movescu.errors import UsageError
from movescu.report.page import render

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from movescu.report.live_state import LiveState

_ADDRESS: Final = "127.0.0.1"
_INTERVAL: Final = 0.5
"""Seconds between two messages to a page, unless an entry begins or ends in between."""
_SOONEST: Final = 0.1
_READERS: Final = 16
"""Highest number of pages open at once."""
_LONGEST_ORDER: Final = 1000
_FAREWELL: Final = 3.0
"""Seconds that the end of the run waits until it has been sent to the pages."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Orders: TypeAlias = Mapping[str, Callable[[int], str]]
"""Functions that carry out an order, by its name: each takes an entry's number, or 0, and returns a message."""


class LiveServer:
    """Serves a live page; a context manager. ``port``: 0, a free one. Raise ``UsageError`` if it is taken."""

    def __init__(self, state: LiveState, orders: Orders, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(16)
        self._state = state
        try:
            self._server = _Server((_ADDRESS, port), _Handler)
        except OSError as error:
            raise UsageError(f"cannot listen on port {port} for --live: {error.strerror}") from error
        self._server.state, self._server.orders, self._server.token = state, orders, self.token
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="movescu-live", daemon=True
        )

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{_ADDRESS}:{self.port}/{self.token}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._state.end is None:
            self._state.conclude({"outcome": "failed"})
        self._server.all_told(_FAREWELL if kind is None else 0.0)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    state: LiveState
    orders: Orders
    token: str

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._reading = 0
        self._told = threading.Condition()
        super().__init__(address, handler)

    @contextlib.contextmanager
    def reading(self) -> Any:  # noqa: ANN401 - an iterator
        """Count a page."""
        with self._told:
            self._reading += 1
        try:
            yield self._reading <= _READERS
        finally:
            with self._told:
                self._reading -= 1
                self._told.notify_all()

    def all_told(self, seconds: float) -> None:
        """Wait until no page is connected, up to the given seconds."""
        with self._told:
            self._told.wait_for(lambda: not self._reading, seconds)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that closed its connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Do not write to standard error."""

    def do_GET(self) -> None:
        """Serve the page or its events."""
        match self._allowed():
            case "":
                data = "".join(render({"live": True})).encode()
                self._reply(HTTPStatus.OK, data, "text/html; charset=utf-8")
            case "events":
                self._events()
            case str():
                self._reply(HTTPStatus.NOT_FOUND)
            case None:
                pass

    def do_POST(self) -> None:
        """Carry out an order."""
        place = self._allowed(changing=True)
        if place is None:
            return
        try:
            size = int(self.headers.get("Content-Length", ""))
            order = json.loads(self.rfile.read(size)) if 0 <= size <= _LONGEST_ORDER else {}
            carry_out, number = self.server.orders[order["do"]], int(order.get("row", 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            self.close_connection = True
            self._reply(HTTPStatus.BAD_REQUEST)
            return
        if place != "do":
            self._reply(HTTPStatus.NOT_FOUND)
            return
        answer = json.dumps({"answer": carry_out(number)}).encode()
        self._reply(HTTPStatus.OK, answer, "application/json")

    def _allowed(self, *, changing: bool = False) -> str | None:
        """Return the path below the token; None if the request was refused. ``changing``: it is an order."""
        own = {f"{name}:{self.server.server_address[1]}" for name in (_ADDRESS, "localhost")}
        origin = self.headers.get("Origin")
        origins = {f"http://{host}" for host in own} | (set() if changing else {None})
        _, token, place = (*self.path.split("?")[0].split("/", 2), "", "")[:3]
        known = hmac.compare_digest(token.encode("latin-1", "replace"), self.server.token.encode())
        if self.headers.get("Host") not in own or origin not in origins or not known:
            self.close_connection = True
            self._reply(HTTPStatus.FORBIDDEN)
            return None
        return place

    def _reply(self, status: HTTPStatus, data: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        for name, value in (_HEADERS | {"Content-Type": kind, "Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _events(self) -> None:
        with self.server.reading() as has_room:
            if not has_room:
                self._reply(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            self.close_connection = True
            self.send_response(HTTPStatus.OK)
            for name, value in (_HEADERS | {"Content-Type": "text/event-stream", "Connection": "close"}).items():
                self.send_header(name, value)
            self.end_headers()
            reader, ended = self.server.state.reader(), False
            try:
                while not ended:
                    told = reader.next(_INTERVAL)
                    ended = told["ended"]
                    self.wfile.write(f"data: {json.dumps(told, separators=(',', ':'))}\n\n".encode())
                    if not ended:
                        threading.Event().wait(_SOONEST)
            except OSError:
                pass  # the browser went away
            finally:
                self.server.state.leave(reader)
