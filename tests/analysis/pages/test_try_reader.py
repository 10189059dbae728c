"""The ONNX reader of the page on which models run, in Node.js: every storage of weights, as Python reads them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis.pages.try_it import FOLDER, READER
from analysis.weights.layers import read
from analysis.weights.protobuf import varint
from study.errors import StudyError

NODE = shutil.which("node")
SCRIPT = "".join((FOLDER / name).read_text(encoding="utf-8") for name in READER)
RUN = "\nconsole.log(JSON.stringify(layers(readModel(new Uint8Array(require('fs').readFileSync(process.argv[1]))))));"

pytestmark = pytest.mark.skipif(not NODE, reason="Node.js is not installed")


def layers(path: Path) -> list[dict[str, Any]]:
    """What the page knows of the layers in a file."""
    assert NODE
    done = subprocess.run([NODE, "-e", SCRIPT + RUN, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def matrix() -> NDArray[np.float32]:
    weights = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    weights[np.abs(weights) < 0.7] = 0
    return weights


def element(field: int, kind: int, value: bytes) -> bytes:
    """An element with a tag of its own, as some writers store it."""
    return varint(field << 3 | kind) + value


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(kind: int, *elements: bytes) -> bytes:
    declared: bytes = TensorProto(name="w", dims=(5, 7), data_type=kind).SerializeToString()
    return declared + b"".join(elements)


def sparse(places: NDArray[np.int64] | TensorProto, values: NDArray[Any]) -> onnx.SparseTensorProto:
    indices = places if isinstance(places, TensorProto) else numpy_helper.from_array(places)
    return onnx.SparseTensorProto(dims=(5, 7), values=numpy_helper.from_array(values, "w"), indices=indices)


DENSE, SPARSE = 5, 15
"""The fields of a graph that hold initializers."""


def forms() -> Iterator[tuple[str, int, bytes]]:
    """Each storage of the same matrix: its name, the field of the graph, and the bytes there."""
    flat = matrix().ravel()
    bits = [varint(int(one)) for one in flat.astype(np.float16).view(np.uint16)]
    yield "packed", DENSE, helper.make_tensor("w", TensorProto.FLOAT, (5, 7), flat).SerializeToString()
    yield "floats", DENSE, tensor(TensorProto.FLOAT, *(element(4, 5, one.tobytes()) for one in flat))
    doubles = flat.astype(np.float64)
    yield "doubles", DENSE, tensor(TensorProto.DOUBLE, *(element(10, 1, one.tobytes()) for one in doubles))
    yield "halves", DENSE, tensor(TensorProto.FLOAT16, *(element(5, 0, one) for one in bits))
    parts = (message(5, b"".join(bits[:20])), *(element(5, 0, one) for one in bits[20:30]))
    yield "mixed", DENSE, tensor(TensorProto.FLOAT16, *parts, message(5, b"".join(bits[30:])))
    places, values = np.flatnonzero(flat), flat[flat != 0]
    listed = TensorProto(dims=places.shape, data_type=TensorProto.INT64, int64_data=places)
    yield "sparse", SPARSE, sparse(places, values).SerializeToString()
    yield "sparse by axis", SPARSE, sparse(np.argwhere(matrix()), values).SerializeToString()
    yield "sparse with listed places", SPARSE, sparse(listed, values).SerializeToString()
    yield "sparse halves", SPARSE, sparse(places, values.astype(np.float16)).SerializeToString()
    yield "all zero", SPARSE, sparse(places[:0], values[:0]).SerializeToString()


def saved(path: Path, field: int, content: bytes, *nodes: onnx.NodeProto) -> Path:
    """A model of one MatMul, after `nodes`; the content of that field of its graph keeps its bytes."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph([*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", [x], [y])
    model = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)])
    stored = message(field, content) if content else b""
    path.write_bytes(model.SerializeToString() + message(7, graph.SerializeToString() + stored))
    return path


def compare(path: Path) -> None:
    ((layer,), (expected,)) = layers(path), read(path).layers
    weights = expected.weight.load().astype(np.float64)
    assert (layer["reason"], sorted(layer["shape"])) == ("", [5, 7])
    assert layer["zeros"] == (weights == 0).mean()
    root, size = weights.size**0.5, np.linalg.norm(weights)
    assert layer["hoyer"] == (pytest.approx((root - np.abs(weights).sum() / size) / (root - 1)) if size else None)


@pytest.mark.parametrize(("field", "content"), [pytest.param(*form, id=name) for name, *form in forms()])
def test_weights_are_what_python_reads(field: int, content: bytes, tmp_path: Path) -> None:
    compare(saved(tmp_path / "model.onnx", field, content))


def test_a_sparse_constant_is_read_too(tmp_path: Path) -> None:
    value = sparse(np.argwhere(matrix()), matrix()[matrix() != 0])
    compare(saved(tmp_path / "model.onnx", DENSE, b"", helper.make_node("Constant", [], ["w"], sparse_value=value)))


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        (np.array([35]), "damaged: w has a value outside its shape"),
        (np.array([-1]), "damaged: w has a value outside its shape"),
        (np.array([[0, 7]]), "damaged: w has a value outside its shape"),
        (np.array([1, 2]), "damaged: w has 1 values and 2 places"),
        (np.array([1], np.int32), "damaged: w has no places for its values"),
    ],
)
def test_sparse_weights_that_python_refuses_are_damaged(places: Any, reason: str, tmp_path: Path) -> None:
    content = sparse(places, np.ones(1, np.float32)).SerializeToString()
    path = saved(tmp_path / "model.onnx", SPARSE, content)
    assert layers(path)[0]["reason"] == reason
    with pytest.raises(StudyError, match="found a malformed file"):
        read(path)


def test_a_sparse_tensor_larger_than_memory_is_one_line(tmp_path: Path) -> None:
    made = sparse(np.array([1]), np.ones(1, np.float32))
    made.dims[:] = (2**20, 2**20)
    path = saved(tmp_path / "model.onnx", SPARSE, made.SerializeToString())
    assert layers(path)[0]["reason"] == f"w has {2**40:,} values, more than this page makes"
