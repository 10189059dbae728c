"""`python -m analysis serve` and `fetch-onnxruntime-web`, without a browser; tests/browser has the rest."""

import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tarfile
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis import serve as commands
from analysis.inputs import web_runtime
from analysis.pages.try_it import Page, page
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.conftest import ROOT, Serve
from tests.support.study import edit_json

Fetch = Callable[..., int]
Capture = pytest.CaptureFixture[str]

PAGE = Page("<h1>page</h1>", {"model0.onnx": gzip.compress(b"model"), "large": bytes(2**24)})


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that gives out PAGE."""
    with commands.open_server(PAGE, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def asked(port: int, path: str, host: str = "", method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    return connection.getresponse()


class TestServer:
    def test_gives_out_the_page_and_its_parts(self, port: int) -> None:
        response = asked(port, "/")
        assert (response.status, response.read()) == (200, b"<h1>page</h1>")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        part = asked(port, "/parts/model0.onnx")
        assert part.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(part.read()) == b"model"

    @pytest.mark.parametrize(
        "path",
        [
            "/../README.md",
            "/parts/../../README.md",
            "/parts/%2e%2e/README.md",
            "//etc/passwd",
            "/etc/passwd",
            "/parts/",
            "*",
        ],
    )
    def test_has_nothing_else(self, port: int, path: str) -> None:
        assert asked(port, path).status == 404

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:{}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{}"]
    )
    def test_refuses_the_names_of_other_hosts(self, port: int, host: str) -> None:
        """A page elsewhere can let its own name lead to this machine, and read the answer (DNS rebinding)."""
        assert asked(port, "/", host.format(port)).status == 421

    def test_refuses_to_be_written_to(self, port: int) -> None:
        assert asked(port, "/", method="POST").status == 501

    def test_idle_connections_keep_nobody_waiting(self, port: int) -> None:
        """They would use up the files or the threads that a process may have; the oldest ones are closed."""
        with contextlib.ExitStack() as opened:
            first, *_, last = [
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(255)
            ]
            assert asked(port, "/").status == 200
            assert first.recv(1) == b""
            last.sendall(f"GET / HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert last.recv(100).startswith(b"HTTP/1.0 200 ")

    def test_an_answer_goes_on_however_many_are_idle(self, port: int) -> None:
        with contextlib.ExitStack() as opened:
            response = asked(port, "/parts/large")
            for _ in range(100):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            assert len(response.read()) == 2**24

    def test_a_browser_that_leaves_is_no_error(self, port: int, capsys: Capture) -> None:
        """A tab that is closed while it loads resets the connection."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"GET /parts/large HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert client.recv(1)
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join()
        assert capsys.readouterr().err == ""

    def test_a_taken_port_is_one_line(self, port: int) -> None:
        with pytest.raises(StudyError, match=f"--port {port}: Address already in use; leave it out for a free one"):
            commands.open_server(PAGE, port)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small package with the files of onnxruntime-web, and its hashes in place of the published ones."""
    contents = {member: f"content of {name}".encode() for name, (member, _) in web_runtime.FILES.items()}
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w:gz") as tar:
        for member, content in contents.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    files = {
        name: (member, hashlib.sha256(contents[member]).hexdigest()) for name, (member, _) in web_runtime.FILES.items()
    }
    monkeypatch.setattr(web_runtime, "FILES", files)
    monkeypatch.setattr(web_runtime, "SHA512", b64encode(hashlib.sha512(file.getvalue()).digest()).decode())
    return file.getvalue()


class TestFetch:
    """From a mirror, as npm's own variable names it."""

    NAME = f"onnxruntime-web/-/onnxruntime-web-{web_runtime.VERSION}.tgz"

    @pytest.fixture
    def fetch(self, serve: Serve, package: bytes, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> Fetch:
        """A function that runs the command on a mirror with the given file, or with `package`."""

        def fetched(content: bytes = package) -> int:
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            monkeypatch.setenv(web_runtime.VARIABLE, serve({self.NAME: content}))
            return commands.fetch(["--artifacts", str(artifacts.root)])

        return fetched

    def test_keeps_two_files_and_fetches_once(self, fetch: Fetch, artifacts: Artifacts, capsys: Capture) -> None:
        assert fetch() == 0
        assert capsys.readouterr().out.count("wrote ") == 2
        files = web_runtime.read(artifacts)
        assert gzip.decompress(files["onnxruntime.wasm"]) == b"content of onnxruntime.wasm"
        assert fetch(b"not the package") == 0
        assert capsys.readouterr().out.startswith("nothing to do: ")

    def test_unpacks_nothing_but_the_published_package(
        self, fetch: Fetch, package: bytes, artifacts: Artifacts
    ) -> None:
        damaged = bytearray(package)
        damaged[len(damaged) // 2] ^= 1
        for content in (bytes(damaged), package[:-1], b"", package + b"0"):
            with pytest.raises(StudyError, match=r"expected .* bytes with sha512|does not arrive"):
                fetch(content)
        assert not web_runtime.folder(artifacts).exists()

    def test_a_password_in_the_address_is_used_and_not_printed(
        self, package: bytes, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        class Private(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers["Authorization"] == f"Basic {b64encode(b'me:sec@ret').decode()}"
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(package)))
                self.end_headers()
                self.wfile.write(package)

            def log_message(self, *_: object) -> None:
                """Nothing: the test looks at standard error."""

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with http.server.HTTPServer(("127.0.0.1", 0), Private) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            place, words = f"127.0.0.1:{server.server_port}/npm", ["--artifacts", str(artifacts.root)]
            monkeypatch.setenv(web_runtime.VARIABLE, f"http://me:wrong-one@{place}")
            with pytest.raises(StudyError, match=f"^http://{place}/{self.NAME} does not arrive .*401") as refused:
                commands.fetch(words)
            monkeypatch.setenv(web_runtime.VARIABLE, f"http://me:sec%40ret@{place}")
            assert commands.fetch(words) == 0
            server.shutdown()
        printed = "".join(capsys.readouterr()) + str(refused.value)
        assert place in printed
        assert not re.search("me:|wrong|ret@", printed)

    def test_a_full_disk_is_found_before_anything_is_fetched(self, artifacts: Artifacts) -> None:
        """A limit of 1 MB a file stands for it; the address leads nowhere."""
        script = (
            "import resource, signal, sys\n"
            "from analysis.__main__ import main\nfrom study.errors import exit_with\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
            "exit_with(lambda: main(['fetch-onnxruntime-web', '--artifacts', sys.argv[1]]))"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", script, artifacts.root],  # or half of a compiled module is kept
            env={**os.environ, web_runtime.VARIABLE: "http://127.0.0.1:1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        folder = web_runtime.folder(artifacts)
        assert done.stderr.startswith(
            f"error: {folder} cannot be written (File too large): expected room for 4,194,304"
        )
        assert not folder.exists()

    def test_a_file_that_was_changed_is_fetched_again(self, fetch: Fetch, artifacts: Artifacts) -> None:
        fetch()
        path = web_runtime.folder(artifacts) / "onnxruntime.mjs.gz"
        for content in (gzip.compress(b"alert(1)"), b"no gzip", path.read_bytes()[:-5], b""):
            path.write_bytes(content)
            again = f"run `python -m analysis fetch-onnxruntime-web --artifacts {artifacts.root}`"
            with pytest.raises(StudyError, match=re.escape(again)):
                web_runtime.read(artifacts)
            assert fetch() == 0
            assert web_runtime.read(artifacts)

    def test_a_model_that_was_trained_again_is_not_shown(self, fetch: Fetch, artifacts: Artifacts) -> None:
        """Its file is of the training before, its test error that of the last one."""
        fetch()
        edit_json(artifacts.run("baseline", 0).record, checkpoint_sha256="0" * 64)
        with pytest.raises(StudyError, match=r"made from another checkpoint .*; run `python -m export baseline`"):
            commands.main(["--no-browser", "--artifacts", str(artifacts.root)])

    def test_a_name_is_shown_as_it_is(self, fetch: Fetch, artifacts: Artifacts) -> None:
        fetch()
        name = "\"'<!--<script> `a` script-hash"
        (artifacts.root / "models/baseline").rename(artifacts.root / "models" / name)
        html = page(artifacts, artifacts.runs(name), embedded=True).html
        data = html.partition('id="study">')[2].partition("</script>")[0]
        assert json.loads(data)["models"][0]["name"] == name

    def test_without_it_there_is_no_page(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"is missing; run `python -m analysis fetch-onnxruntime-web --artifacts"):
            commands.main(["--artifacts", str(artifacts.root)])


def test_the_command_that_fetches_it_has_the_folder_only_if_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for root, words in ((Path("artifacts"), ""), (Path("of mine"), " --artifacts 'of mine'")):
        with pytest.raises(StudyError, match=f"; run `python -m analysis fetch-onnxruntime-web{words}`$"):
            web_runtime.read(Artifacts(root))
