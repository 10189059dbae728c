"""Units are removed where they decide nothing, and what the rest computes stays the same."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.compact.removal import NothingError, refuse_nothing, remove_dead_units
from study.records.compact import RemovedUnits

Arrays = dict[str, NDArray[Any]]


def network(nodes: list[onnx.NodeProto], tensors: Arrays, shape: list[Any], outputs: tuple[str, ...] = ("y",)) -> Any:
    """A model from `x` of this shape to these outputs."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def weights(model: ModelProto) -> Arrays:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def reduced(model: ModelProto, shape: tuple[int, ...]) -> tuple[ModelProto, tuple[RemovedUnits, ...]]:
    """The model without its dead units, which onnx's reference evaluator finds to compute the same."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    made = ModelProto.FromString(model.SerializeToString())
    removed = remove_dead_units(made)
    onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True)
    for one, other in zip(expected, ReferenceEvaluator(made).run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6 * np.abs(one).max())
    return made, removed


def f(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def two_layers(first: Any, bias: Any, second: Any, activation: str = "Relu") -> ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["h"], transB=1),
        helper.make_node(activation, ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "b.weight", "b.bias"], ["y"], transB=1),
    ]
    tensors = {"a.weight": f(first), "a.bias": f(bias), "b.weight": f(second), "b.bias": f([10, 20])}
    model: ModelProto = network(nodes, tensors, ["batch", 2])
    return model


def test_a_unit_without_incoming_weights_becomes_a_part_of_the_bias_behind_it() -> None:
    model, removed = reduced(two_layers([[1, 2], [0, 0], [3, 4]], [5, 6, 7], [[1, 2, 3], [4, 5, 6]]), (3, 2))
    assert weights(model)["a.weight"].tolist() == [[1, 2], [3, 4]]
    assert weights(model)["a.bias"].tolist() == [5, 7]
    assert weights(model)["b.weight"].tolist() == [[1, 3], [4, 6]]
    assert weights(model)["b.bias"].tolist() == [10 + 6 * 2, 20 + 6 * 5]
    assert removed == (RemovedUnits(layer="a", before=3, after=2, constant=1, unused=0),)


def test_the_constant_is_that_behind_the_activation() -> None:
    model, _ = reduced(two_layers([[1, 2], [0, 0]], [5, -0.5], [[1, 2], [4, 5]], "Sigmoid"), (3, 2))
    constant = 1 / (1 + np.exp(0.5))
    assert weights(model)["b.bias"] == pytest.approx([10 + 2 * constant, 20 + 5 * constant])


def test_a_unit_without_outgoing_weights_goes_without_a_trace() -> None:
    model, removed = reduced(two_layers([[1, 2], [8, 9]], [5, 6], [[1, 0], [4, 0]]), (3, 2))
    assert weights(model)["a.weight"].tolist() == [[1, 2]]
    assert weights(model)["b.bias"].tolist() == [10, 20]
    assert (removed[0].constant, removed[0].unused) == (0, 1)


@pytest.mark.parametrize(
    ("activation", "bias", "left"), [("Relu", 6, 1), ("Exp", 6, 2), ("Sqrt", 6, 2), ("Relu", np.inf, 2)]
)
def test_a_unit_that_may_be_infinite_or_nan_stays_although_its_outgoing_weights_are_zero(
    activation: str, bias: float, left: int
) -> None:
    """0 * Inf is NaN: exp(8 * 100) and sqrt(-9) reach the outputs of the original."""
    model = two_layers([[1, 2], [8, 9]], [5, bias], [[1, 0], [4, 0]], activation)
    with np.errstate(invalid="ignore"):
        remove_dead_units(model)
    assert weights(model)["a.weight"].shape == (left, 2)


def test_a_finite_constant_goes_although_its_activation_may_be_infinite() -> None:
    _, removed = reduced(two_layers([[0.1, 0.2], [0, 0]], [5, 6], [[1, 0], [4, 0]], "Exp"), (3, 2))
    assert (removed[0].constant, removed[0].unused) == (1, 0)


def test_removal_goes_on_while_it_leaves_others_without_a_weight() -> None:
    nodes = [
        *two_layers([[0, 0]], [0], [[0]]).graph.node[:2],
        helper.make_node("Gemm", ["r", "b.weight"], ["s"], transB=1),
        helper.make_node("Tanh", ["s"], ["t"]),
        helper.make_node("Gemm", ["t", "c.weight"], ["y"], transB=1),
    ]
    tensors = {
        "a.weight": f([[1, 1], [1, 2], [0, 0]]),
        "a.bias": f([1, 2, 3]),
        "b.weight": f([[1, 5, 0], [0, 0, 2]]),  # the second unit has weights from the dead one alone
        "c.weight": f([[1, 7]]),
    }
    model, removed = reduced(network(nodes, tensors, ["batch", 2]), (3, 2))
    assert {one.layer: (one.before, one.after) for one in removed} == {"a": (3, 2), "b": (2, 1)}
    assert weights(model)["y_bias"] == pytest.approx([7 * np.tanh(6)])


def test_one_unit_stays_where_all_are_dead() -> None:
    model, _ = reduced(two_layers([[0, 0], [0, 0]], [5, 6], [[1, 2], [3, 4]]), (3, 2))
    assert weights(model)["a.weight"].shape == (1, 2)


def test_a_product_with_a_transposed_weight_gets_an_addition_of_its_own() -> None:
    """MatMul and Add, on three axes, with the weight behind a Transpose."""
    nodes = [
        helper.make_node("Transpose", ["a"], ["a_t"]),
        helper.make_node("MatMul", ["x", "a_t"], ["p"]),
        helper.make_node("Add", ["bias", "p"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    tensors = {"a": f([[1, 2], [0, 0], [3, 4]]), "bias": f([5, 6, 7]), "b": f([[1, 2], [3, 4], [5, 6]])}
    model, removed = reduced(network(nodes, tensors, ["batch", "n", 2]), (3, 4, 2))
    assert removed[0].after == 2
    assert sorted(node.op_type for node in model.graph.node) == ["Add", "Add", "MatMul", "MatMul", "Relu"]
    assert weights(model)["bias"].tolist() == [5, 7]


MAX_POOL = helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2])


def convolutions(pads: list[int], pool: onnx.NodeProto = MAX_POOL, side: int = 5, bias: float = 4.0) -> ModelProto:
    """Three channels, the second of weights that are zero, into a second convolution, then into a layer of rows.

    `side` is that of the maps behind the pooling.
    """
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        pool,
        helper.make_node("Conv", ["m", "b.weight"], ["n"], pads=pads),
        helper.make_node("Flatten", ["n"], ["flat"]),
        helper.make_node("Gemm", ["flat", "c.weight", "c.bias"], ["y"], transB=1),
    ]
    random = np.random.default_rng(1)
    a, b = (random.normal(size=shape).astype(np.float32) for shape in ((3, 1, 3, 3), (2, 3, 3, 3)))
    a[1] = 0
    size = side - 2 + sum(pads) // 2
    c = random.normal(size=(2, 2 * size * size)).astype(np.float32)
    c[:, : size * size] = 0  # all places of the first channel
    tensors = {"a.weight": a, "a.bias": f([1, bias, 2]), "b.weight": b, "c.weight": c, "c.bias": f([0, 0])}
    model: ModelProto = network(nodes, tensors, ["batch", 1, 6, 6])
    return model


def test_channels_go_through_pooling_and_flattening() -> None:
    model, removed = reduced(convolutions([0, 0, 0, 0]), (2, 1, 6, 6))
    assert {one.layer: (one.after, one.constant, one.unused) for one in removed} == {"a": (2, 1, 0), "b": (1, 0, 1)}
    assert weights(model)["b.weight"].shape == (1, 2, 3, 3)
    assert weights(model)["c.weight"].shape == (2, 9)


@pytest.mark.parametrize(("bias", "left"), [(4.0, 3), (-4.0, 2)])
def test_before_a_convolution_with_padding_only_a_channel_of_zeros_is_removed(bias: float, left: int) -> None:
    """At the border the zeros around the map are not the channel's constant."""
    _, removed = reduced(convolutions([1, 1, 1, 1], bias=bias), (2, 1, 6, 6))
    assert removed[0].after == left


@pytest.mark.parametrize(("counted", "left"), [(1, 3), (0, 2)])
def test_an_average_that_counts_zeros_beyond_the_border_leaves_no_constant(counted: int, left: int) -> None:
    size, pads = [2, 2], [1, 1, 0, 0]
    pool = helper.make_node("AveragePool", ["r"], ["m"], kernel_shape=size, pads=pads, count_include_pad=counted)
    _, removed = reduced(convolutions([0, 0, 0, 0], pool, side=6), (2, 1, 6, 6))
    assert removed[0].after == left


@pytest.mark.parametrize(
    ("bias", "left"), [(4.0, 3), (-1.0, 2)], ids=["0 in the middle alone, 3 or 2 at the border", "0 before the average"]
)
@pytest.mark.parametrize("kind", ["pads", "ceil_mode", "auto_pad"])
def test_a_unit_that_is_zero_in_the_middle_of_an_average_alone_stays(kind: str, bias: float, left: int) -> None:
    """Behind the average max(0, 4 - average) is 0 in the middle, and more where zeros of the border are counted."""
    kinds: dict[str, dict[str, Any]] = {
        "pads": {"pads": [1, 1, 0, 0], "strides": [2, 2]},
        "ceil_mode": {"ceil_mode": 1, "strides": [4, 4]},
        "auto_pad": {"auto_pad": "SAME_UPPER"},
    }
    size = {"kernel_shape": [2, 2], "count_include_pad": 1, **kinds[kind]}
    nodes = [
        helper.make_node("Conv", ["x", "a", "c"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["m"], **size),
        helper.make_node("Sub", ["four", "m"], ["s"]),
        helper.make_node("Relu", ["s"], ["t"]),
        helper.make_node("Flatten", ["t"], ["flat"]),
        helper.make_node("Gemm", ["flat", "b"], ["y"], transB=1),
    ]
    random = np.random.default_rng(1)
    a = random.normal(size=(3, 1, 2, 2)).astype(np.float32)
    a[1] = 0
    places = {"pads": 9, "ceil_mode": 4, "auto_pad": 25}[kind]
    b = random.normal(size=(2, 3 * places)).astype(np.float32)
    tensors = {"a": a, "c": f([1, bias, 2]), "b": b, "four": f([4])}
    _, removed = reduced(network(nodes, tensors, ["batch", 1, 6, 6]), (2, 1, 6, 6))
    assert removed[0].after == left


def test_what_has_a_number_for_each_unit_is_cut_too() -> None:
    """A normalisation, a factor for each channel, x * sigmoid(x), and a reshape with the number of elements in it."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "scale", "offset", "mean", "variance"], ["n"]),
        helper.make_node("Mul", ["factor", "n"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["s"]),
        helper.make_node("Mul", ["m", "s"], ["silu"]),
        helper.make_node("Reshape", ["silu", "shape"], ["rows"]),
        helper.make_node("Gemm", ["rows", "b"], ["y"]),
    ]
    random = np.random.default_rng(2)
    tensors: Arrays = {name: random.uniform(0.5, 2, 3).astype(np.float32) for name in nodes[1].input[1:]}
    tensors |= {"a": random.normal(size=(3, 1, 3, 3)).astype(np.float32), "factor": f([1, 2, 3]).reshape(3, 1, 1)}
    tensors |= {"b": random.normal(size=(3 * 16, 2)).astype(np.float32), "shape": np.array([-1, 48])}
    tensors["a"][0] = 0
    model, removed = reduced(network(nodes, tensors, ["batch", 1, 6, 6]), (2, 1, 6, 6))
    assert (removed[0].before, removed[0].after) == (3, 2)
    assert weights(model)["scale"].tolist() == tensors["scale"][1:].tolist()
    assert weights(model)["factor"].reshape(-1).tolist() == [2, 3]
    assert weights(model)["shape"].tolist() == [-1, 32]


def test_a_weight_that_is_cut_for_some_of_its_layers_alone_stays_whole() -> None:
    """The rows of `w` would go for the first layer and its columns for the second; the third needs all of it."""
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
        helper.make_node("Gemm", ["h", "w"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["p"]),
        helper.make_node("Gemm", ["p", "w"], ["y"], transB=1),
    ]
    model = network(nodes, {"w": f([[1, 2], [0, 0]])}, ["batch", 2])
    before = model.SerializeToString()
    with pytest.raises(NothingError, match="the dead units are those of w, which other nodes share and need whole"):
        remove_dead_units(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_of_two_branches_are_cut_for_both_and_stay_shared(transposed: bool) -> None:
    """Two items of an input go through the same two layers; the Transpose, too, is shared."""
    nodes = [helper.make_node("Transpose", ["w"], ["turned"])] if transposed else []
    weight = "turned" if transposed else "w"
    for branch, sign in (("a", "Neg"), ("b", "Identity")):
        nodes += [
            helper.make_node(sign, ["x"], [f"x_{branch}"]),
            helper.make_node("Gemm", [f"x_{branch}", weight, "c"], [f"h_{branch}"], transB=not transposed),
            helper.make_node("Relu", [f"h_{branch}"], [f"r_{branch}"]),
            helper.make_node("Gemm", [f"r_{branch}", "v", "d"], [f"y_{branch}"], transB=1),
        ]
    nodes += [helper.make_node("Sub", ["y_a", "y_b"], ["y"])]
    tensors = {"w": f([[1, 2], [0, 0], [3, 4]]), "c": f([5, 6, 7]), "v": f([[1, 2, 3], [4, 5, 6]]), "d": f([10, 20])}
    model, removed = reduced(network(nodes, tensors, ["batch", 2]), (3, 2))
    assert [one.after for one in removed] == [2, 2]
    assert transposed or set(weights(model)) == {"w", "c", "v", "d"}
    first = [[1, 3], [2, 4]] if transposed else [[1, 2], [3, 4]]
    found = sorted((array.tolist() for array in weights(model).values()), key=str)
    assert found == sorted([[5, 7], [10 + 12, 20 + 30], first, [[1, 3], [4, 6]]], key=str)


def test_a_table_that_a_layer_shares_is_not_stored_twice() -> None:
    """The rows of `w` are looked up, and `w` is the last layer: tied weights. Elsewhere a unit goes."""
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["w", "ids"], ["e"]),
        helper.make_node("Flatten", ["e"], ["rows"]),
        helper.make_node("Gemm", ["rows", "a"], ["g"], transB=1),
        helper.make_node("Gemm", ["g", "b"], ["h"], transB=1),
        helper.make_node("Gemm", ["h", "w"], ["y"], transB=1),
    ]
    tensors = {"w": f([[1, 2], [3, 4], [5, 6]]), "a": f([[1, 2], [0, 0]]), "b": f([[1, 2], [0, 0]])}
    model, removed = reduced(network(nodes, tensors, ["batch", 1]), (3, 1))
    assert [one.after for one in removed] == [1]
    assert {name: array.shape for name, array in weights(model).items()} == {"w": (3, 2), "a": (1, 2), "b": (2, 1)}


def test_a_reshape_is_followed_again_after_its_first_cut() -> None:
    """The second unit of the second layer dies with the first one of the first; both layers lie before a reshape."""
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["h"], transB=1),
        helper.make_node("Gemm", ["h", "b"], ["g"], transB=1),
        helper.make_node("Reshape", ["g", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "c"], ["y"], transB=1),
    ]
    tensors: Arrays = {"a": f([[0, 0], [1, 2]]), "b": f([[1, 3], [4, 0], [0, 0]]), "c": f([[1, 2, 3]])}
    tensors["shape"] = np.array([-1, 3])
    model, removed = reduced(network(nodes, tensors, ["batch", 2]), (3, 2))
    assert {one.layer: one.after for one in removed} == {"h": 1, "g": 1}
    assert weights(model)["shape"].tolist() == [-1, 1]


@pytest.mark.parametrize("kind", ["output", "softmax", "residual", "computed bias", "bias of rows"])
def test_units_that_something_else_needs_stay(kind: str) -> None:
    model = two_layers([[1, 2], [0, 0]], [5, 6], [[1, 2], [3, 4]])
    nodes = list(model.graph.node)
    if kind == "softmax":
        nodes[1] = helper.make_node("Softmax", ["h"], ["r"])
    elif kind == "residual":
        nodes[1] = helper.make_node("Add", ["h", "x"], ["r"])
    elif kind == "computed bias":
        nodes[0].input[2] = "x_row"
        nodes.insert(0, helper.make_node("ReduceMean", ["x"], ["x_row"], keepdims=1))
    elif kind == "bias of rows":
        nodes[0].input[2] = "rows"  # of a batch of two
    outputs = ("y", "r") if kind == "output" else ("y",)
    rows = 2 if kind == "bias of rows" else 3
    tensors = {**weights(model), "rows": f([[5], [6]])}
    made, removed = reduced(network(nodes, tensors, ["batch", 2], outputs), (rows, 2))
    assert removed == ()
    assert weights(made)["a.weight"].shape == (2, 2)
    with pytest.raises(NothingError, match="nothing to remove: no layer leads to another"):
        refuse_nothing(removed)


def test_networks_with_random_zeros_compute_the_same() -> None:
    """Of these 20 networks some lose most units."""
    lost = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        sizes = [4, *random.integers(1, 7, 4), 3]
        nodes, value = [], "x"
        tensors: Arrays = {}
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            weight = random.normal(size=(outputs, inputs)) * (random.random((outputs, inputs)) < 0.3)
            tensors |= {f"w{i}": f(weight), f"b{i}": f(random.normal(size=outputs))}
            nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"h{i}"], transB=1, alpha=0.5, beta=2.0))
            value = f"r{i}" if i < 4 else f"h{i}"
            operator = ("Relu", "Tanh", "LeakyRelu", "Elu")[i % 4]
            nodes += [helper.make_node(operator, [f"h{i}"], [value])] if i < 4 else []
        _, removed = reduced(network(nodes, tensors, ["batch", 4], (value,)), (5, 4))
        lost += sum(one.before - one.after for one in removed)
    assert lost > 50


def test_a_file_that_is_not_as_it_was_proven_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.compact import command, files

    model = two_layers([[1, 2], [0, 0]], [5, 6], [[1, 2], [3, 4]])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    def wrong(model: ModelProto) -> tuple[RemovedUnits, ...]:
        removed = remove_dead_units(model)
        (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "b.bias"]
        bias.CopyFrom(numpy_helper.from_array(f([10, 20]), "b.bias"))  # without the constant
        return removed

    monkeypatch.setattr(files, "remove_dead_units", wrong)
    assert command.main([str(tmp_path / "m.onnx")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_outputs_without_a_finite_value_prove_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from export.compact import command

    model = two_layers([[1, 2], [0, 0]], [5, 6], [[np.nan, 2], [np.nan, 4]])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert command.main([str(tmp_path / "m.onnx")]) == 1
    assert "output 'y' has no finite value for these inputs" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_outputs_of_zeros_get_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from export.compact import command

    model = two_layers(np.eye(9, 2), np.zeros(9), np.zeros((2, 9)))
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(f([0, 0]), "b.bias"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert command.main([str(tmp_path / "m.onnx")]) == 0
    assert "note: output 'y' is 0 throughout, so its proof says little" in capsys.readouterr().out
