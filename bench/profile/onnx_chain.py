"""A graph of small operators of known number, as an ONNX file: what a profiler is calibrated on.

Their kinds, names and shapes are those of small networks, because recording costs more where they are longer and where
more different code runs in between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bench.cases import Case, Engine, opened
from bench.models import Model
from study.files import sha256

CHANNELS, SIZE = 8, 10


@contextmanager
def opened_chain(plain: Engine, folder: Path, length: int) -> Iterator[Engine]:
    """The engine of a case with such a graph."""
    path = folder / f"chain{length}.onnx"
    path.write_bytes(chain(length))
    model = Model(path.stem, path, sha256(path))
    case = Case(model, plain.case.runtime, 1, plain.case.threads)
    with opened(case, model.pool(1)) as engine:
        yield engine


def chain(length: int) -> bytes:
    """`length` times a convolution, an activation, a pooling, a sum and two reshapes."""
    shape = [1, CHANNELS, SIZE, SIZE]
    nodes: list[NodeProto] = []
    value = "image"

    def add(kind: str, *others: str, **attributes: Any) -> None:
        nonlocal value
        name = f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, [value, *others], [name], name=f"node_{name}", **attributes))
        value = name

    for _ in range(length):
        add("Conv", "conv.weight", "conv.bias", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        add("Sigmoid")
        add("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        add("Add", "offset")
        add("Flatten")
        add("Reshape", "shape")
    nodes.append(helper.make_node("Identity", [value], ["result"], name="node_result"))
    weights = {
        "conv.weight": np.full((CHANNELS, CHANNELS, 3, 3), 0.01, np.float32),
        "conv.bias": np.full(CHANNELS, 0.1, np.float32),
        "offset": np.full(shape, 0.1, np.float32),
        "shape": np.array(shape),
    }
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
