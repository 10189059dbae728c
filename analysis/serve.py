"""The exported models in a browser, on a page of this machine: choose or draw an image, or drop any ONNX file in.

    python -m analysis fetch-onnxruntime-web    once: the runtime, 33 MB from the npm registry
    python -m analysis serve                    then this prints the page's address and opens it
    python -m analysis serve --models gap,l1-1e-3 --port 8000 --no-browser

The page runs onnxruntime-web in WebAssembly on one thread. A file that is dropped in never leaves the browser. Only
this machine can reach the page. Ctrl-C ends it.
"""

import argparse
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import stopping
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.catalogue import DEFAULT_STUDY, STUDIES
from study.command_line import Parser
from study.errors import StudyError, escaped

if TYPE_CHECKING:
    from analysis.pages.try_it import Page

ADDRESS = "127.0.0.1"
BLOCK = 2**18
"""Bytes that are sent at a time, each within the timeout: they may go through a slow tunnel."""
MOST_WAITING = 64
"""Connections that have asked for nothing yet: a browser opens some ahead; a process may have only 256 open files."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # which also make the browser's clock finer
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, found {text!r}")
    return int(text)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", metavar="A,B", default="", help="trained models (default: those of the study that are exported)")
    add("--study", metavar="NAME", default=DEFAULT_STUDY, help=f"{', '.join(STUDIES)} (default: %(default)s)")
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--port", type=port, default=0, metavar="N", help="default: a free one")
    add("--no-browser", action="store_true", help="print the address, and open nothing")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[2:] if words is None else words)

    from analysis.inputs.files import models_of
    from analysis.pages.try_it import page
    from study.finished import finished

    artifacts = Artifacts(options.artifacts)
    named = [name for name in options.models.split(",") if name]
    models = models_of(artifacts, named, options.study)
    if named:
        finished(artifacts, models, options, named=True)
    runs = [run for model in models for run in artifacts.runs(model) if named or run.onnx.is_file()]
    with open_server(page(artifacts, runs, embedded=False), options.port) as server:
        shown = escaped(", ".join(dict.fromkeys(run.model for run in runs)))
        print(f"serving {shown or 'a page without models'} on {server.url} until Ctrl-C", flush=True)
        stopping.watch("the page is no longer served")
        if not options.no_browser and has_desktop():
            # some browsers return once they are closed, others after five seconds; they need the page now
            threading.Thread(target=webbrowser.open_new_tab, args=(server.url,), daemon=True).start()
        server.serve_forever()
    return 0


def fetch(words: Sequence[str]) -> int:
    """`python -m analysis fetch-onnxruntime-web`."""
    parser = Parser(
        prog="python -m analysis fetch-onnxruntime-web",
        description="Fetch onnxruntime-web, with which `python -m analysis serve` and report/try.html run models in a "
        "browser: 33 MB from the npm registry, or from the one that the variable npm_config_registry names. Its "
        "SHA-512 is checked before it is unpacked.",
    )
    parser.add_argument("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(words)

    from analysis.inputs import web_runtime

    artifacts = Artifacts(options.artifacts)
    try:
        web_runtime.read(artifacts)
    except StudyError:  # it is missing or damaged
        for path in web_runtime.fetch(artifacts):
            print(f"wrote {path}")
    else:
        print(f"nothing to do: {web_runtime.folder(artifacts)} has it")
    return 0


def has_desktop() -> bool:
    """Whether a browser can open a window; in a terminal alone, `webbrowser` would start one of text."""
    return sys.platform in {"darwin", "win32"} or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Server(ThreadingHTTPServer):
    """Gives out a page and its parts, to this machine alone."""

    daemon_threads = True
    request_queue_size = 64
    """A browser asks for several parts at once; one that finds the queue full tries again only after a second."""

    def __init__(self, files: Mapping[str, tuple[str, bytes, bool]], number: int) -> None:
        super().__init__((ADDRESS, number), Handler)
        self.files = files
        """By path: the type, the content, and whether that is compressed by gzip."""
        self._waiting: dict[Any, None] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A new connection is always served; if too many are waiting, the first of them is closed."""
        with self._lock:
            self._waiting[request] = None
            first = next(iter(self._waiting)) if len(self._waiting) > MOST_WAITING else None
            self._waiting.pop(first, None)
        if first is not None:
            with suppress(OSError):  # it has gone by itself
                first.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def has_asked(self, request: Any) -> None:
        """The connection waits no longer, as one that is closed does not."""
        with self._lock:
            self._waiting.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        self.has_asked(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing if a browser has gone before it had everything: a tab was closed, or its page loaded again."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which a browser may ask: a page elsewhere could let its own name lead here."""
        return tuple(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30
    server_version, sys_version = "fashionbench", ""

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, with_content: bool) -> None:
        self.server.has_asked(self.request)
        if self.headers.get("Host", "") not in self.server.hosts:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "expected the address that the command printed")
            return
        file = self.server.files.get(self.path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content, compressed = file
        self.send_response(HTTPStatus.OK)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if compressed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if with_content:
            for start in range(0, len(content), BLOCK):
                self.wfile.write(content[start : start + BLOCK])

    def log_message(self, *_: object) -> None:
        """Nothing: the page says what fails."""


def open_server(page: "Page", number: int) -> Server:
    """
    Raises:
        StudyError: the port is taken, or only for root.
    """
    files = {f"/parts/{name}": ("application/octet-stream", content, True) for name, content in page.parts.items()}
    files["/"] = ("text/html; charset=utf-8", page.html.encode(), False)
    try:
        return Server(files, number)
    except OSError as error:
        raise StudyError(f"--port {number}: {error.strerror}; leave it out for a free one") from None
