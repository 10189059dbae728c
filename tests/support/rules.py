"""A portable file, and changes by hand that each break one of its rules."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.portable.remedies import Remedy
from export.portable.rules import FOREIGN, Violation, parse, violated, violations

Change = Callable[[ModelProto], object]
node, value = helper.make_node, helper.make_tensor_value_info


def good() -> ModelProto:
    """A small network that keeps every rule; a constant of lower rank and a Pow break none."""
    constants = {
        "mean": np.float32(0.3),
        "weight": np.ones((4, 1, 3, 3), np.float32),
        "per_map": np.ones((4, 1, 1), np.float32),
        "shape": np.array([-1, 4]),
        "two": np.float32(2),
        "codes": np.ones((4, 3), np.float32),
        "axis": np.array([1]),
    }
    nodes = [
        node("Sub", ["image", "mean"], ["centred"], name="/conv/Sub"),  # as older exporters name it
        node("Conv", ["centred", "weight"], ["maps"], kernel_shape=[3, 3]),
        node("Mul", ["maps", "per_map"], ["scaled"]),
        node("GlobalAveragePool", ["scaled"], ["average"]),
        node("Reshape", ["average", "shape"], ["features"]),
        node("Gemm", ["features", "codes"], ["products"]),
        node("Pow", ["features", "two"], ["squares"]),
        node("ReduceSum", ["squares", "axis"], ["norm"]),
        node("Sub", ["products", "norm"], ["scores"]),
        node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [value("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"classes": "T-shirt/top, Bag", "from": "https://example.org/a/b", "n/a": "1/2/3"})
    return model


def broken(model: ModelProto, opset: int = 18) -> list[str]:
    return list(dict.fromkeys(violation.rule for violation in violations(model.SerializeToString(), opset)))


def put(model: ModelProto, name: str, array: object) -> None:
    """Change the value of a constant."""
    (constant,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    constant.CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def insert(model: ModelProto, made: onnx.NodeProto) -> None:
    """Insert a node between the features and their product."""
    model.graph.node[5].input[0] = "inserted"
    model.graph.node[6].input[0] = "inserted"
    model.graph.node.insert(5, made)


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def set_batch(model: ModelProto, name: str) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = name


def subgraph() -> onnx.NodeProto:
    branch = helper.make_graph([node("Relu", ["features"], ["r"])], "b", [], [value("r", TensorProto.FLOAT, None)])
    return node("If", ["condition"], ["inserted"], then_branch=branch, else_branch=branch)


def sequence() -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info("probabilities", TensorProto.FLOAT, None)


def conditional(model: ModelProto) -> None:
    insert(model, subgraph())
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))


def other_domain(model: ModelProto, domain: str) -> None:
    insert(model, node("Gelu", ["features"], ["inserted"], domain=domain))
    model.opset_import.add(domain=domain, version=1)


def distances(model: ModelProto) -> None:
    """x - c for every x and c, as a broadcast."""
    insert(model, node("Unsqueeze", ["features", "axis"], ["row"]))
    model.graph.node.insert(6, node("Sub", ["row", "all"], ["differences"]))
    model.graph.node.insert(7, node("ReduceMax", ["differences", "axis"], ["inserted"], keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((5, 4), np.float32), "all"))


def computed_shape(model: ModelProto) -> None:
    model.graph.node.insert(4, node("Size", ["average"], ["n"]))
    model.graph.node.insert(5, node("Reshape", ["n", "axis"], ["list"]))
    model.graph.node.insert(6, node("Concat", ["list", "list"], ["size"], axis=0))
    model.graph.node[7].input[1] = "size"


def sparse(model: ModelProto) -> None:
    indices = numpy_helper.from_array(np.array([0]), "indices")
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def function(model: ModelProto) -> None:
    made = helper.make_function("", "f", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    made.domain = "ai.onnx"
    model.functions.append(made)


BREAKS: dict[str, dict[str, Change]] = {
    "R1": {"weights in another file": external},
    "R2": {
        "a second domain": lambda m: m.opset_import.add(domain="com.microsoft", version=1),
        "another opset": lambda m: setattr(m.opset_import[0], "version", 17),
    },
    "R3": {"IR version 9": lambda m: setattr(m, "ir_version", 9)},
    "R4": {
        "two inputs": lambda m: m.graph.input.append(value("other", TensorProto.FLOAT, ["batch"])),
        "two names for the batch": lambda m: set_batch(m, "n"),
        "a fixed batch": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2),
        "a sequence as output": lambda m: m.graph.output[0].CopyFrom(sequence()),
        "any width": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[3], "dim_param", "w"),
    },
    "R5": {
        "a weight that is an input": lambda m: m.graph.input.append(value("mean", TensorProto.FLOAT, [])),
        "a function": function,
        "a sparse weight": sparse,
    },
    "R6": {
        "Identity": lambda m: insert(m, node("Identity", ["features"], ["inserted"])),
        "Dropout": lambda m: insert(m, node("Dropout", ["features"], ["inserted"])),
        "a graph in a node": conditional,
        "an operator of ONNX Runtime": lambda m: other_domain(m, "com.microsoft"),
        "an operator of somebody's": lambda m: other_domain(m, "mine"),
        "an operator of a later opset": lambda m: insert(m, node("Gelu", ["features"], ["inserted"])),
    },
    "R7": {
        "allowzero": lambda m: m.graph.node[4].attribute.append(helper.make_attribute("allowzero", 1)),
        "a computed shape": computed_shape,
        "a batch in a shape": lambda m: put(m, "shape", [1, 4]),
    },
    "R8": {
        "a broadcast of rows": distances,
        "x * x": lambda m: insert(m, node("Mul", ["features", "features"], ["inserted"])),
    },
    "R9": {
        "a trace at a node": lambda m: m.graph.node[0].metadata_props.add(key="trace", value="line 3"),
        "a doc string": lambda m: setattr(m.graph.initializer[0], "doc_string", "mine"),
        "a path in the metadata": lambda m: m.metadata_props.add(key="source", value="in /home/me/net.py"),
        "a path of Windows": lambda m: m.metadata_props.add(key="source", value=r"C:\Users\me"),
        "a path as a name": lambda m: setattr(m.graph, "name", "/tmp/x/model"),  # noqa: S108
    },
    "R10": {"contradictory shapes": lambda m: put(m, "codes", np.ones((5, 3), np.float32))},
    "R13": {"no nodes": lambda m: m.graph.ClearField("node")},
}
ALSO = {"an operator of a later opset": {"R10"}, "a sequence as output": {"R10"}, "no nodes": {"R10"}}
"""Rules that cannot be kept at the same time."""


def foreign(model: ModelProto) -> list[Violation]:
    file = parse(model.SerializeToString())
    assert file is not None
    return violated(file, FOREIGN)


def applied(remedy: Remedy, model: ModelProto) -> ModelProto:
    names = {"onnx": onnx, "numpy": np, "model": model}
    exec(remedy.code.replace("'w': 224", "'w': 8"), names)  # noqa: S102
    result = names["model"]
    assert isinstance(result, ModelProto)
    return result
