"""Serve the page of a running study to this machine; the page asks the server for newer data."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recollect.errors import UserError
from recollect.reports.page.document import as_json, document

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Allowed host names. Other names come from foreign pages whose name was made to point here (DNS
rebinding)."""

REST = 2
"""After each read, wait this many times as long as it took."""

Studies = list[dict[str, Any]]


class PageSource:
    """The data of the page, read again when the store has changed.

    Reading a large study takes seconds that its training needs, so reads are limited to a share of
    the time.

    Args:
        read: returns the data of the studies, as `study_data` does.
        stand: returns a version of the data: a text that changes whenever they do.
    """

    def __init__(self, read: Callable[[], Studies], stand: Callable[[], str]) -> None:
        self._read, self._stand = read, stand
        self._lock = Lock()
        self._known: tuple[str, Studies] | None = None
        self._next = 0.0

    def data(self) -> tuple[str, Studies]:
        """The version and the data."""
        with self._lock:
            start = monotonic()
            if self._known is not None and start < self._next:
                return self._known
            stand = self._stand()  # before reading, so that a change during it is seen next time
            if self._known is None or self._known[0] != stand:
                self._known = stand, self._read()
            end = monotonic()
            self._next = end + REST * (end - start)
            return self._known


def page_server(source: PageSource, port: int) -> ThreadingHTTPServer:
    """Bind a server for the page, without starting it.

    Args:
        source: the data.
        port: the port; 0: any free one.

    Raises:
        UserError: for a port that is taken or not allowed.
    """

    class Handler(_Handler):
        pass

    Handler.source = source
    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot serve on port {port}: {error}; leave it out to use any free port"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    source: PageSource

    def do_GET(self) -> None:
        name = self.headers.get("Host", "").rpartition(":")[0]
        if name not in NAMES:
            self._send(HTTPStatus.FORBIDDEN, f"this page is served only to {HOST}")
            return
        asked = urlsplit(self.path)
        try:
            if asked.path == "/":
                stand, studies = self.source.data()
                self._send(HTTPStatus.OK, document(studies, stand=stand), "text/html")
            elif asked.path == "/data.json":
                self._send_newer(parse_qs(asked.query).get("stand", [""])[0])
            else:
                self._send(HTTPStatus.NOT_FOUND, f"{asked.path} does not exist")
        except UserError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _send_newer(self, known: str) -> None:
        stand, studies = self.source.data()
        if stand == known:
            self._send(HTTPStatus.NO_CONTENT, "")
        else:
            answer = as_json({"stand": stand, "studies": studies})
            self._send(HTTPStatus.OK, answer, "application/json")

    def _send(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing, to keep the terminal readable."""
