"""The programs of docs/portability.md, run on a trained model in every runtime that is available here.

No Python package is installed for that: a runtime is available if the tests' own environment has its exact version, or
if a conformance run has made its environment in artifacts/. The JavaScript runtimes are installed, which takes node,
npm and a network. Any other must be "not run" with a reason.
"""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.conformance.cells import BATCHES, Subject, run_cell
from export.conformance.environments import MARK, prepare
from export.conformance.processes import run
from export.conformance.programs import DOCUMENT, PROGRAM
from export.conformance.runtimes import RUNTIMES, Runtime, select
from export.parity import run_torch
from study import catalogue, checkpoints
from study.data import tensors
from tests.conftest import ROOT, Trained

INSTALLED = {"onnxruntime", "reference", "openvino", "opencv-5", "tract", "ncnn"}
"""Runtimes that the tests' environment has."""
MISSING = re.compile(
    r"no `g\+\+` or `clang\+\+` on PATH|no `node` and `npm` on PATH|no Chromium on PATH|npm error (network|code E)|"
    r"No matching distribution found for [\w-]+==[\d.]+"
)
"""Valid reasons for any other."""


@pytest.fixture(scope="module")
def subject(trained: Trained, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The tests' own baseline and nine real images: batches of 7 leave a second size."""
    files = trained.artifacts.run("baseline", 0)
    images = tensors.load(data, train=False)[0][:9]
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, images.float().div(255).numpy())
    entry = catalogue.entry("baseline")
    expected = dict.fromkeys(BATCHES, run_torch(checkpoints.load(entry, files), images))
    return Subject(
        model="baseline",
        onnx=files.onnx,
        onnx_sha256="0" * 64,
        largest_difference=entry.largest_difference,
        images=path,
        expected=expected,
    )


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of all JavaScript runtimes, which is made once."""
    return tmp_path_factory.mktemp("javascript") / "environment"


@pytest.mark.parametrize("runtime", [pytest.param(runtime, id=runtime.name) for runtime in RUNTIMES])
def test_the_program_computes_the_same_as_pytorch(
    runtime: Runtime, subject: Subject, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ROOT / "artifacts" / "environments" / (runtime.environment or runtime.name)
    own = modules if runtime.environment == "node" else tmp_path / "environment"
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_EXTRA_INDEX_URL": ""}.items():
        monkeypatch.setenv(name, value)
    prepared = prepare(runtime, made if (made / MARK).is_file() else own, tmp_path)
    cell = run_cell(runtime, prepared, subject, 7)
    if prepared.reason is None:
        assert (cell.verdict, cell.reason, cell.shape) == ("passed", None, (9, 10))
    else:
        assert (cell.verdict, cell.reason) == ("not run", prepared.reason)
        assert MISSING.search(prepared.reason), prepared.reason
        assert runtime.name not in INSTALLED, prepared.reason


def test_a_batch_is_as_many_images_as_the_command_says(subject: Subject, tmp_path: Path) -> None:
    runtime = RUNTIMES[0]
    prepared = prepare(runtime, tmp_path / "environment", tmp_path)
    program = Path(prepared.command[-1])
    counting = "sizes = []\ndef run(names, feeds):\n    sizes.append(len(feeds['image']))\n"
    counting += "    return session.run(names, feeds)\nparts = "
    text = program.read_text().replace("session.run(", "run(").replace("parts = ", counting)
    program.write_text(f"{text}\nraise SystemExit(str(sizes))\n")
    for batch, sizes in ((1, [1] * 9), (7, [7, 2]), (64, [9])):
        assert batch in BATCHES
        assert run_cell(runtime, prepared, subject, batch).reason == f"exit code 1: {sizes}"


def test_every_program_of_the_document_is_run_and_readable() -> None:
    programs = [program for _, program in PROGRAM.findall(DOCUMENT.read_text())]
    assert len(programs) == len({runtime.heading for runtime in RUNTIMES})
    for program in programs:
        assert max(map(len, program.splitlines())) <= 120


@pytest.mark.parametrize("name", ["node", "web-node"])
def test_any_model_runs_in_node(name: str, modules: Path, tmp_path: Path) -> None:
    """Two inputs of two types, an integer of 64 bits and a scalar among the outputs."""
    (runtime,) = select(name)
    made = ROOT / "artifacts" / "environments" / "node"
    prepared = prepare(runtime, made if (made / MARK).is_file() else modules, tmp_path, None)
    if prepared.reason is not None:
        assert MISSING.search(prepared.reason), prepared.reason
        return
    ids, floats = np.array([[3, -(2**40)], [5, 7]]), np.array([0.5, 2], np.float32)
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Neg", ["ids"], ["negative"]),
        onnx.helper.make_node("ReduceSum", ["floats"], ["sum"], keepdims=0),
        onnx.helper.make_node("Greater", ["floats", "sum"], ["greater"]),
    ]
    outputs = [value("negative", 7, [2, 2]), value("sum", 1, []), value("greater", 9, [2])]
    graph = onnx.helper.make_graph(nodes, "g", [value("ids", 7, [2, 2]), value("floats", 1, [2])], outputs)
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx")
    inputs, results = tmp_path / "inputs", tmp_path / "outputs"
    inputs.mkdir()
    results.mkdir()
    np.save(inputs / "0.npy", ids)
    np.save(inputs / "1.npy", floats)
    names = {"inputs": ["ids", "floats"], "outputs": ["negative", "sum", "greater"]}
    (inputs / "names.json").write_text(json.dumps(names))
    run((*prepared.command, tmp_path / "model.onnx", inputs, results), tmp_path, 60)
    for number, expected in enumerate((-ids, np.float32(2.5), np.array([False, False]))):
        result = np.load(results / f"{number}.npy")
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.asarray(expected).dtype
