"""Parts of ONNX files that nobody writes by accident; what is made of them is in `tests.support.bombs`.

x goes through a product with w, which is what has to be found out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from analysis.weights.layers import read
from study.errors import StudyError

node = helper.make_node
LOCAL = helper.make_opsetid("local", 1)


def tensor(array: Any, name: str = "") -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


SMALL_WEIGHT = tensor(np.ones((2, 2), np.float32), "w")
KERNEL = tensor(np.ones((2, 2, 1, 1), np.float32), "w")
WHOLE_ZERO = tensor(np.zeros(1, np.int64))


def model(
    nodes: Sequence[NodeProto],
    tensors: Sequence[TensorProto] = (),
    functions: Sequence[FunctionProto] = (),
    sparse: Sequence[SparseTensorProto] = (),
    opset: int = 18,
) -> bytes:
    """A file of these parts, x -> y."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph(list(nodes), "g", [x], [y], list(tensors), sparse_initializer=list(sparse))
    opsets = [helper.make_opsetid("", opset), *([LOCAL] if functions else [])]
    made = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)
    return bytes(made.SerializeToString())


def matmul(weight: str = "w", x: str = "x", y: str = "y") -> NodeProto:
    return node("MatMul", [x, weight], [y])


def unfolded(op_type: str, *arrays: Any, opset: int = 18, **attributes: Any) -> bytes:
    """A product with what one operator makes of some small constants."""
    names = [f"c{index}" for index in range(len(arrays))]
    tensors = [tensor(array, name) for name, array in zip(names, arrays, strict=True)]
    return model([node(op_type, names, ["w"], **attributes), matmul()], tensors, opset=opset)


def ones(shape: Sequence[int], name: str, value: TensorProto | None = None) -> list[NodeProto]:
    """Nodes that make a constant of this shape, in little room."""
    sizes = node("Constant", [], [f"{name}_shape"], value_ints=list(shape))
    return [sizes, node("ConstantOfShape", [f"{name}_shape"], [name], **({"value": value} if value else {}))]


def made_of(shape: Sequence[int], op_type: str, *inputs: str, value: TensorProto | None = None, **words: Any) -> bytes:
    """A product with what the operator makes of `a`, of this shape; the others are `a` too, or `i`, its zeros."""
    indices = ones(shape, "i", WHOLE_ZERO) if "i" in inputs else []
    return model([*ones(shape, "a", value), *indices, node(op_type, inputs or ["a"], ["w"], **words), matmul()])


def spread(op_type: str, n: int, opset: int = 18, **attributes: Any) -> bytes:
    """(n, 1) and (1, n) become (n, n)."""
    made = node(op_type, ["a", "b"], ["w"], **attributes)
    if opset < 13:  # which has no way to unfold the two
        pair = [tensor(np.ones(shape, np.float32), name) for name, shape in (("a", (n, 1)), ("b", (1, n)))]
        return model([made, matmul()], pair, opset=opset)
    return model([*ones([n, 1], "a"), *ones([1, n], "b"), made, matmul()], opset=opset)


def doubled(op_type: str, levels: int, **attributes: Any) -> bytes:
    """Each node makes twice as much of what the one before made."""
    nodes = [node(op_type, [f"v{i}", f"v{i}"], [f"v{i + 1}"], **attributes) for i in range(levels)]
    return model([*nodes, matmul(f"v{levels}")], [tensor(np.ones((2, 2), np.float32), "v0")])


def chain(op_type: str, length: int) -> bytes:
    nodes = [node(op_type, [f"v{i}"], [f"v{i + 1}"]) for i in range(length)]
    return model([*nodes, matmul(f"v{length}")], [tensor(np.ones((2, 2), np.float32), "v0")])


def wide(op_type: str, count: int) -> bytes:
    """Many small nodes, all of which one product needs."""
    second = {"Reshape": ["shape"], "Identity": []}.get(op_type, ["c"])
    nodes = [node(op_type, ["c", *second], [f"v{i}"]) for i in range(count)]
    joined = node("Concat", [f"v{i}" for i in range(count)], ["w"], axis=0)
    tensors = [tensor(np.ones((2, 2), np.float32), "c"), tensor(np.array([2, 2]), "shape")]
    return model([*nodes, joined, matmul()], tensors)


def sparse(shape: Sequence[int]) -> bytes:
    values, places = tensor(np.ones(1, np.float32), "w"), tensor(np.zeros(1, np.int64), "i")
    return model([matmul()], sparse=[helper.make_sparse_tensor(values, places, shape)])


def function(name: str, nodes: Sequence[NodeProto], attributes: Sequence[str] = ()) -> FunctionProto:
    opsets = [helper.make_opsetid("", 18), LOCAL]
    return helper.make_function("local", name, ["x", "w"], ["y"], list(nodes), opsets, list(attributes))


def call(name: str, x: str = "x", y: str = "y", **attributes: Any) -> NodeProto:
    return node(name, [x, "w"], [y], domain="local", **attributes)


def exponential(levels: int, innermost: NodeProto, before: Sequence[NodeProto] = ()) -> bytes:
    """Functions of which each calls the one below it twice."""
    functions = [function("F0", [innermost])]
    for level in range(1, levels):
        below = f"F{level - 1}"
        functions.append(function(f"F{level}", [call(below, "x", "h"), call(below, "h", "y")]))
    return model([*before, call(f"F{levels - 1}")], [KERNEL if before else SMALL_WEIGHT], functions)


def many_calls(body: Sequence[NodeProto], calls: int, weight: TensorProto = KERNEL, **attributes: Any) -> bytes:
    """A function called often from one graph."""
    made = function("F", body, list(attributes))
    return model([call("F", "x", f"y{i}", **attributes) for i in range(calls)], [weight], [made])


def reference(attribute: str, kind: Any, name: str) -> AttributeProto:
    """An attribute that is what the function is called with."""
    return AttributeProto(name=attribute, ref_attr_name=name, type=kind)


def with_attributes(made: NodeProto, *attributes: AttributeProto) -> NodeProto:
    made.attribute.extend(attributes)
    return made


def external(location: str, length: Any = 16, offset: Any = 0, dims: Sequence[int] = (2, 2)) -> TensorProto:
    """A tensor that names another file for its numbers; an entry that is None is left out."""
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            made.external_data.add(key=key, value=str(value))
    return made


def several(made: NodeProto, count: int) -> list[NodeProto]:
    """The node so many times, each with a result of its own."""
    nodes = [NodeProto.FromString(made.SerializeToString()) for _ in range(count)]
    for index, each in enumerate(nodes):
        each.output[:] = [f"{made.output[0]}{index}"]
    return nodes


# What follows is written by hand, since onnx.helper would take longer than the reader.


def field(number: int, content: bytes) -> bytes:
    """A field of bytes of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def graph(*fields: bytes) -> bytes:
    """A model with a graph of these fields: IR version 8, opset 18."""
    return b"\x08\x08" + field(7, b"".join(fields)) + field(8, b"\x10\x12")


def raw_node(op_type: str, *inputs: str, output: str = "y") -> bytes:
    """The field of a graph that holds such a node."""
    return field(1, bytes(node(op_type, inputs, [output]).SerializeToString()))


def raw_nodes(op_type: str, *inputs: str, count: int) -> bytes:
    """So many of these fields, each of a result of its own."""
    return b"".join(raw_node(op_type, *inputs, output=f"y{index}") for index in range(count))


def raw_tensor(made: TensorProto) -> bytes:
    """The field of a graph that holds such an initializer."""
    return field(5, bytes(made.SerializeToString()))


def raw_input(name: str, rank: int) -> bytes:
    """The field of a graph that declares an input of so many axes."""
    return field(11, bytes(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1] * rank).SerializeToString()))


def nested(levels: int) -> bytes:
    """A graph in an attribute of a node in a graph in an attribute: protobuf itself refuses to write it."""
    content = field(4, b"Relu")
    for _ in range(levels):
        content = field(4, b"If") + field(5, field(1, b"g") + field(6, field(1, content)) + b"\xa0\x01\x05")
    return graph(field(1, content))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def refused(path: Path, content: bytes, allow_root: Path | None = None) -> str:
    """The one line with which a file of this content is refused, by its path."""
    path.write_bytes(content)
    with pytest.raises(StudyError) as error:
        read(path, allow_root=allow_root)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message
