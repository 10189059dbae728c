"""The page on which models run, in real browsers: from disk as try.html, and from `python -m analysis serve`."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis import serve
from analysis.inputs import web_runtime
from analysis.pages.try_it import page
from analysis.weights.layers import read
from study.artifacts import Artifacts
from study.data import arrays
from tests.browser.conftest import Visit
from tests.conftest import ROOT, Trained

MODELS = ("baseline", "gap")
IMAGES = 100


@pytest.fixture(scope="module")
def artifacts(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Two trained models, and the runtime, which is fetched once and kept."""
    kept, copy = Artifacts(ROOT / "artifacts"), trained.copy(tmp_path_factory.mktemp("try") / "artifacts")
    if not web_runtime.fetched(kept):
        web_runtime.fetch(kept)
    shutil.copytree(web_runtime.folder(kept), web_runtime.folder(copy))
    return copy


@pytest.fixture(params=["disk", "server"])
def address(request: pytest.FixtureRequest, artifacts: Artifacts, tmp_path: Path) -> Iterator[str]:
    """The URL of the page, in each of its two forms."""
    runs = [artifacts.run(model, 0) for model in MODELS]
    if request.param == "disk":
        path = tmp_path / "try.html"
        path.write_text(page(artifacts, runs, embedded=True).html, encoding="utf-8")
        yield path.as_uri()
        return
    with serve.open_server(page(artifacts, runs, embedded=False), 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.url
        server.shutdown()


def test_the_command_serves_until_ctrl_c(artifacts: Artifacts, tmp_path: Path) -> None:
    """To a browser that returns only once it has the page."""
    words = (sys.executable, "-m", "analysis", "serve", "--artifacts", artifacts.root)
    script = tmp_path / "browser.py"
    script.write_text(
        "import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[1], timeout=30).read().count(b'<h1>Try'))"
    )
    environment = {**os.environ, "DISPLAY": ":0", "BROWSER": f"{sys.executable} {script} %s", "no_proxy": "*"}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line, seen = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert line.startswith("serving baseline, gap on http://127.0.0.1:")
    assert seen == "1\n"
    assert (process.returncode, errors) == (130, "interrupted: the page is no longer served\n")


def probabilities(artifacts: Artifacts, model: str) -> Any:
    images, _ = arrays.read(artifacts.data, False)
    session = onnxruntime.InferenceSession(str(artifacts.run(model, 0).onnx))
    return session.run(None, {"image": images[:IMAGES].astype(np.float32) / 255})[0]


def test_computes_what_onnx_runtime_computes_in_python(visit: Visit, address: str, artifacts: Artifacts) -> None:
    """100 test images in both models, then a drawing by keyboard, and the latencies."""
    seen = visit("models", address, images=IMAGES, files=[], measure=True)

    assert seen["errors"] == seen["broken"] == seen["faults"] == []
    assert all(url.startswith(f"{address}parts/") for url in seen["requests"])
    for number, name in enumerate(MODELS):
        found, expected = np.array(seen["probabilities"])[:, number], probabilities(artifacts, name)
        assert found.shape == (IMAGES, 10)
        assert np.abs(found - expected).max() < 1e-4
        assert (found.argmax(1) == expected.argmax(1)).all()
    assert [latency.split()[-1] for latency in seen["latencies"]] == ["ms", "ms"]


def written(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> str:
    """A model that maps x, (batch, 6), to y, with these weights; returns its path."""
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None if name == "y" else 6]) for name in "xy"
    )
    initializers = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def test_reads_the_layers_of_any_file(visit: Visit, address: str, tmp_path: Path) -> None:
    """What Python reads from it; a file that is none is one line, and a name is never markup."""
    rng = np.random.default_rng(0)
    first, second, third = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 6), (4, 5), (3, 5)))
    for weights in (first, second, third):
        weights[np.abs(weights) < 0.7] = 0
    hostile = "<img src=x onerror=alert(1)>"
    make = helper.make_node
    good = written(
        tmp_path / f"{hostile}.onnx",
        [
            make("Gemm", ["x", hostile], ["a"], transB=1),
            make("Cast", ["a"], ["b"], to=TensorProto.FLOAT16),
            make("MatMul", ["b", "half"], ["c"]),
            make("MatMul", ["b", "integers"], ["unused"]),
            make("Cast", ["c"], ["d"], to=TensorProto.FLOAT),
            make("Transpose", ["stored"], ["turned"], perm=[1, 0]),
            make("MatMul", ["d", "turned"], ["y"]),
        ],
        {
            hostile: first,
            "half": second.astype(np.float16),
            "integers": helper.make_tensor("integers", TensorProto.FLOAT16, second.shape, second.flatten() / 2),
            "stored": third,
        },
    )
    content = Path(good).read_bytes()
    (tmp_path / "none.onnx").write_bytes(b"\xff" * 100)
    (tmp_path / "cut.onnx").write_bytes(content[:-30])
    (tmp_path / "empty.onnx").write_bytes(b"")
    cyclic = written(tmp_path / "unknown.onnx", [make("constructor", ["x"], ["y"])], {})
    names = ("none", "cut", "empty")
    seen = visit("models", address, images=1, files=[good, *(str(tmp_path / f"{name}.onnx") for name in names), cyclic])
    opened, none, cut, empty, unknown = seen["files"]

    expected = {layer.tensor: layer.weight.load().astype(np.float64) for layer in read(Path(good)).layers}
    assert set(expected) == {hostile, "half", "integers", "stored"}
    assert {row[0] for row in opened["rows"]} == set(expected)
    for name, operator, _, zeros, hoyer in opened["rows"]:
        matrix, root = expected[name], expected[name].size ** 0.5
        measure = (root - np.abs(matrix).sum() / np.linalg.norm(matrix)) / (root - 1)
        assert operator in {"Gemm", "MatMul"}
        assert zeros == f"{100 * (matrix == 0).mean():.2f} %"
        assert float(hoyer) == pytest.approx(measure, abs=5e-5)
    assert opened["title"] == f"{hostile}.onnx"
    assert " ms a call (median of 5 blocks of " in opened["latency"]
    assert none["status"].startswith("none.onnx: not an ONNX file")
    assert cut["status"].startswith("cut.onnx: the file ends")
    assert empty["status"] == "empty.onnx: not an ONNX file: it has no graph"
    assert unknown["status"].startswith("unknown.onnx does not run here: ")
    assert [error for error in seen["errors"] if "constructor" not in error] == []


@pytest.mark.parametrize("address", ["server"], indirect=True)
def test_can_be_started_again(visit: Visit, address: str) -> None:
    seen = visit("startedAgain", address)
    assert seen["status"] == "the server has gone"
    assert (seen["shown"][:13], seen["after"]) == ("test image 0:", "")


@pytest.mark.parametrize("address", ["disk"], indirect=True)
def test_a_latency_is_that_of_the_file_above_it(visit: Visit, address: str, tmp_path: Path) -> None:
    """The first file has a vector as its input, the second one a matrix; one is opened while the other is measured."""
    files = []
    for name, shape in (("first", [3]), ("second", [2, 2])):
        values = [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value in "xy"]
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
            tmp_path / f"{name}.onnx",
        )
        files.append(str(tmp_path / f"{name}.onnx"))
    seen = visit("twoFiles", address, files=files)
    assert seen["errors"] == []
    assert seen["title"] == "second.onnx"
    assert seen["latency"].endswith("; x [2, 2])")


@pytest.mark.parametrize("address", ["disk", "server"], indirect=True)
def test_an_endless_file_stops_neither_the_page_nor_the_browser(visit: Visit, address: str, tmp_path: Path) -> None:
    """A loop without a last turn, while its condition holds, which it hands on."""
    make, value = helper.make_node, helper.make_tensor_value_info
    turn, holds = value("turn", TensorProto.INT64, []), [value(n, TensorProto.BOOL, []) for n in ("holds", "goes_on")]
    states = [value(name, TensorProto.FLOAT, ["batch", 6]) for name in ("state", "next")]
    steps = [make("Identity", ["holds"], ["goes_on"]), make("Sin", ["state"], ["next"])]
    body = helper.make_graph(steps, "body", [turn, holds[0], states[0]], [holds[1], states[1]])
    path = written(
        tmp_path / "endless.onnx", [make("Loop", ["", "yes", "x"], ["y"], body=body)], {"yes": np.array(True)}
    )
    seen = visit("endless", address, files=[path])
    assert seen["errors"] == []
    assert seen["byHand"] == "endless.onnx does not run here: it was stopped"
    assert seen["byItself"] == "endless.onnx does not run here: no sign of it for 30 seconds, so it was stopped"


@pytest.mark.parametrize("address", ["disk"], indirect=True)
@pytest.mark.parametrize("look", [{"width": 390}, {"width": 1280, "dark": True}])
def test_is_readable_on_a_phone_and_in_the_dark(visit: Visit, address: str, look: dict[str, object]) -> None:
    seen = visit("models", address, images=1, files=[], **look)
    assert seen["errors"] == seen["faults"] == []
    assert seen["overflow"] <= 0, "the page is wider than the window"
