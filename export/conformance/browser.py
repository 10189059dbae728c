"""Run the page of docs/portability.md in a headless Chromium, with the command line that all the programs have.

`browser.py CHROMIUM FOLDER PAGE MODEL.onnx IMAGES.npy BATCH PROBABILITIES.npy`, where FOLDER has the files of
onnxruntime-web. The caller kills the remaining processes of Chromium, which belong to the same process group.
"""

import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-breakpad", "--disable-dev-shm-usage", "--password-store=basic"),
)
REPORT = """
<script type="module">
  const send = (path, body) => fetch(path, { method: "POST", body });
  Promise.resolve(window.classified).then(
    (rows) => send("probabilities", new Blob(rows)),
    (error) => send("error", String(error)),
  ).catch((error) => send("error", `the page has no result: ${error}`));
</script>
"""
"""Added to the page: sends the result, or the reason why there is none."""
MAX_RESULT_BYTES = 1 << 26


def main(chromium: str, folder: str, page: str, model: str, images: str, batch: str, probabilities: str) -> None:
    received: dict[str, bytes] = {}
    finished = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            received[self.path] = self.rfile.read(min(length, MAX_RESULT_BYTES))
            self.send_response(204)
            self.end_headers()
            finished.set()

        def log_message(self, *_: Any) -> None:
            """Print nothing: the output is taken for an error message."""

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary, tempfile.TemporaryFile() as output:
        site = Path(temporary) / "site"
        site.mkdir()
        (site / "index.html").write_text(Path(page).read_text(encoding="utf-8") + REPORT, encoding="utf-8")
        for name, file in {"model.onnx": model, "images.npy": images}.items():
            (site / name).symlink_to(Path(file).absolute())
        for library in Path(folder).absolute().iterdir():
            (site / library.name).symlink_to(library)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/?batch={batch}"
        words = (chromium, *OPTIONS, f"--user-data-dir={temporary}/profile", address)
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while not finished.wait(0.1):
                if process.poll() is not None:
                    output.seek(0)
                    lines = output.read().decode(errors="replace").strip().splitlines()
                    sys.exit(f"Error: the browser ended with {process.returncode}: {lines[-1] if lines else ''}")
        finally:
            process.kill()
            process.wait()
    if "/error" in received:
        sys.exit(f"Error: {received['/error'].decode(errors='replace')}")
    count = len(np.load(images, mmap_mode="r"))
    np.save(probabilities, np.frombuffer(received["/probabilities"], np.float32).reshape(count, -1))


if __name__ == "__main__":
    main(*sys.argv[1:])
