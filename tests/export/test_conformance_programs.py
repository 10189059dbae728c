"""The programs of docs/portability.md, taken out of it and run on a trained model, as far as their runtimes are here.

Of Python's packages nothing is installed for that: a runtime is had where the tests' own environment has its very
version, or where a conformance run has made it an environment in artifacts/. The JavaScript ones are installed, which
takes node, npm and a network. Any other must be "not run" and say why.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from export.conformance.cells import BATCHES, Subject, cell
from export.conformance.environments import MARK, prepare
from export.conformance.programs import DOCUMENT, PROGRAM
from export.conformance.runtimes import RUNTIMES, Runtime
from export.parity import run_torch
from study import catalogue, checkpoints
from study.data import tensors as images
from tests.conftest import ROOT, Trained

HERE = {"onnxruntime", "reference", "openvino", "opencv-5", "tract", "ncnn"}
"""The tests' environment has them."""
ABSENT = re.compile(
    r"no `g\+\+` or `clang\+\+` on PATH|no `node` and `npm` on PATH|no Chromium on PATH|npm error (network|code E)|"
    r"No matching distribution found for [\w-]+==[\d.]+"
)
"""Why a runtime may be missing where nothing is installed."""


@pytest.fixture(scope="module")
def subject(trained: Trained, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The baseline as the tests train and export it, and nine real images: with batches of 7 a second size remains."""
    files = trained.artifacts.run("baseline", 0)
    pixels = images.load(data, train=False)[0][:9]
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, pixels.float().div(255).numpy())
    entry = catalogue.entry("baseline")
    expected = dict.fromkeys(BATCHES, run_torch(checkpoints.load(entry, files), pixels))
    return Subject("baseline", 0, files.onnx, "0" * 64, path, expected, entry.largest_difference)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environment of all JavaScript runtimes is made, once."""
    return tmp_path_factory.mktemp("javascript") / "environment"


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_the_program_computes_what_pytorch_computes(
    runtime: Runtime, subject: Subject, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ROOT / "artifacts" / "environments" / (runtime.environment or runtime.name)
    own = modules if runtime.environment == "node" else tmp_path / "environment"
    folder = made if (made / MARK).is_file() else own
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_EXTRA_INDEX_URL": ""}.items():
        monkeypatch.setenv(name, value)
    prepared = prepare(runtime, folder, tmp_path)
    found = cell(runtime, prepared, subject, 7)
    if prepared.reason is None:
        assert (found["verdict"], found["reason"]) == ("passed", None)
        assert found["shape"] == [9, 10]
    else:
        assert (found["verdict"], found["reason"]) == ("not run", prepared.reason)
        assert ABSENT.search(prepared.reason), prepared.reason
        assert runtime.name not in HERE, prepared.reason


def test_a_batch_is_as_many_images_as_the_command_says(subject: Subject, tmp_path: Path) -> None:
    runtime = RUNTIMES[0]
    prepared = prepare(runtime, tmp_path / "environment", tmp_path)
    program = Path(prepared.command[-1])
    counting = "import onnxruntime\n" + program.read_text().replace("session.run(", "run(")
    program.write_text(
        counting.replace(
            "parts = ",
            "def run(names, feeds):\n"
            "    print(len(feeds['image']), file=sys.stderr)\n"
            "    return session.run(names, feeds)\n"
            "parts = ",
        )
        + "\nraise SystemExit(str([len(part) for part in parts]))\n"
    )
    for batch, parts in ((1, [1] * 9), (7, [7, 2]), (64, [9])):
        assert batch in BATCHES
        assert cell(runtime, prepared, subject, batch)["reason"] == f"exit code 1: {parts}"


def test_every_program_of_the_document_is_run() -> None:
    headings = {runtime.heading for runtime in RUNTIMES}
    assert len(PROGRAM.findall(DOCUMENT.read_text())) == len(headings)


def test_no_line_of_a_program_is_too_long_to_read() -> None:
    for _, program in PROGRAM.findall(DOCUMENT.read_text()):
        assert max(map(len, program.splitlines())) <= 120
