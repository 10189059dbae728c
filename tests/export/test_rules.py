"""The rules of a portable file: each is broken by hand in a file that holds to all, and is alone in being told."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.portable.rules import MOST, RULES, violations
from tests.support.bombs import BOMBS

Change = Callable[[ModelProto], object]
node, value = helper.make_node, helper.make_tensor_value_info


def good() -> ModelProto:
    """A small network that holds to every rule: a constant of lower rank and a Pow are no break of any."""
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
        node("Sub", ["image", "mean"], ["centred"], name="/conv/Sub"),  # a name as older exporters give
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
    """Another value for a constant."""
    (found,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    found.CopyFrom(numpy_helper.from_array(np.asarray(array), name))


def insert(model: ModelProto, made: onnx.NodeProto) -> None:
    """A node between the features and their product."""
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


def conditional(model: ModelProto) -> None:
    insert(model, subgraph())
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))


def distances(model: ModelProto) -> None:
    """(x - c) of every x and c, as a broadcast."""
    insert(model, node("Unsqueeze", ["features", "axis"], ["row"]))
    model.graph.node.insert(6, node("Sub", ["row", "all"], ["differences"]))
    model.graph.node.insert(7, node("ReduceMax", ["differences", "axis"], ["inserted"], keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((5, 4), np.float32), "all"))


def computed_shape(model: ModelProto) -> None:
    model.graph.node.insert(4, node("Size", ["average"], ["n"]))
    model.graph.node.insert(5, node("Reshape", ["n", "axis"], ["list"]))
    model.graph.node.insert(6, node("Concat", ["list", "list"], ["size"], axis=0))
    model.graph.node[7].input[1] = "size"


def function(model: ModelProto) -> None:
    made = helper.make_function("", "f", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    made.domain = "ai.onnx"
    model.functions.append(made)


BREAKS: dict[str, tuple[str, Change]] = {
    "weights elsewhere": ("R1", external),
    "a second domain": ("R2", lambda m: m.opset_import.add(domain="com.microsoft", version=1)),
    "IR version 9": ("R3", lambda m: setattr(m, "ir_version", 9)),
    "two inputs": ("R4", lambda m: m.graph.input.append(value("other", TensorProto.FLOAT, ["batch"]))),
    "batches of two names": ("R4", lambda m: set_batch(m, "n")),
    "a fixed batch": ("R4", lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2)),
    "an image of any width": (
        "R4",
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[3], "dim_param", "w"),
    ),
    "a weight that is an input": ("R5", lambda m: m.graph.input.append(value("mean", TensorProto.FLOAT, []))),
    "Identity": ("R6", lambda m: insert(m, node("Identity", ["features"], ["inserted"]))),
    "Dropout": ("R6", lambda m: insert(m, node("Dropout", ["features"], ["inserted"]))),
    "a graph in a node": ("R6", conditional),
    "an operator of a later opset": ("R6", lambda m: insert(m, node("Gelu", ["features"], ["inserted"]))),
    "allowzero": ("R7", lambda m: m.graph.node[4].attribute.append(helper.make_attribute("allowzero", 1))),
    "a computed shape": ("R7", computed_shape),
    "a batch in a shape": ("R7", lambda m: put(m, "shape", [1, 4])),
    "a broadcast of rows": ("R8", distances),
    "x * x": ("R8", lambda m: insert(m, node("Mul", ["features", "features"], ["inserted"]))),
    "a trace at a node": ("R9", lambda m: m.graph.node[0].metadata_props.add(key="trace", value="line 3")),
    "a doc string": ("R9", lambda m: setattr(m.graph.initializer[0], "doc_string", "mine")),
    "a path of the model's": ("R9", lambda m: m.metadata_props.add(key="source", value="in /home/me/net.py")),
    "a path of Windows": ("R9", lambda m: m.metadata_props.add(key="source", value=r"C:\Users\me")),
    "a path as a name": ("R9", lambda m: setattr(m.graph, "name", "/tmp/x/model")),  # noqa: S108
    "a shape that cannot be": ("R10", lambda m: put(m, "codes", np.ones((5, 3), np.float32))),
    "no nodes": ("R13", lambda m: m.graph.ClearField("node")),
}
ALSO = {"an operator of a later opset": {"R10"}, "no nodes": {"R10"}}
"""Rules that are broken with the one that is meant."""


def test_a_good_file_breaks_none() -> None:
    assert violations(good().SerializeToString()) == []


@pytest.mark.parametrize("case", BREAKS)
def test_each_break_is_told_and_no_other(case: str) -> None:
    rule, change = BREAKS[case]
    model = good()
    change(model)
    found = broken(model)
    assert rule in found
    assert set(found) <= {rule} | ALSO.get(case, set())


def test_every_rule_is_broken_by_a_case() -> None:
    assert [rule.name for rule in RULES] == [*(f"R{n}" for n in range(1, 11)), "R13"]
    assert {rule for rule, _ in BREAKS.values()} == {rule.name for rule in RULES}


def test_functions_and_sparse_weights_break_r5() -> None:
    model = good()
    function(model)
    indices = numpy_helper.from_array(np.array([0]), "indices")
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    found = [violation.found for violation in violations(model.SerializeToString()) if violation.rule == "R5"]
    assert found == ["initializer 'sparse' is sparse", "function 'f'"]


def test_an_opset_that_was_asked_for_may_need_a_newer_ir_version() -> None:
    model = good()
    model.opset_import[0].version = 22
    model.ir_version = 10
    assert broken(model, 22) == []
    model.ir_version = 11
    assert broken(model, 22) == ["R3"]
    model.ir_version = 10
    assert broken(model) == ["R2", "R3"]


def test_a_node_is_named_in_ascii_without_control_characters() -> None:
    model = good()
    model.graph.node[6].name = "\x1b[2J\n\u00fc" + "x" * 1000
    model.graph.node[6].doc_string = "mine"
    (violation,) = violations(model.SerializeToString())
    assert violation.found == rf"node '\x1b[2J\n\xfc{'x' * 54}...' (Pow) has a doc string"


def test_of_many_findings_a_few_are_told_and_the_others_counted() -> None:
    model = good()
    for each in model.graph.node:
        each.doc_string = "mine"
    found = violations(model.SerializeToString())
    assert len(found) == MOST + 1
    assert found[-1].found == f"and {len(model.graph.node) - MOST} more"


@pytest.mark.parametrize(
    "name",
    [
        *("Split in many", "ConstantOfShape", "a function that calls itself", "a graph that refers to itself"),
        *("functions that call twice", "six million fields unknown to ONNX", "graphs in graphs, 33 levels"),
        *(
            "a location of 2 MB",
            "a convolution behind a shape of 2^40 axes",
            "chain of 20,000 Neg",
            "200,000 dimensions",
        ),
    ],
)
def test_a_bomb_is_told_of_and_does_no_harm(name: str) -> None:
    """All of tests/support/bombs.py were tried, the slowest taking five seconds."""
    assert violations(BOMBS[name]())


def test_bytes_that_are_no_model_are_told_of() -> None:
    assert [violation.rule for violation in violations(b"hello")] == ["R13"]
    assert [violation.rule for violation in violations(good().SerializeToString()[:-9])] == ["R13"]


@pytest.mark.parametrize("text", ["/conv/Sub", "kernel_shape", "classes", "weight", "batch", "Softmax"])
def test_a_text_that_is_not_utf_8_is_told_of(text: str) -> None:
    content = good().SerializeToString()
    assert text.encode() in content
    spoilt = content.replace(text.encode(), text[:-1].encode() + b"\xff")
    assert [violation.rule for violation in violations(spoilt)] == ["R13"]
