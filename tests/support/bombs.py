"""Files that would take all memory or time of who reads them carelessly; most of UNFOLDING pass `onnx.checker`."""

from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, TensorProto, helper

from tests.support.hostile import (
    KERNEL,
    SMALL_WEIGHT,
    call,
    chain,
    doubled,
    exponential,
    external,
    field,
    function,
    graph,
    made_of,
    many_calls,
    matmul,
    model,
    nested,
    node,
    ones,
    raw_input,
    raw_node,
    raw_nodes,
    raw_tensor,
    reference,
    several,
    sparse,
    spread,
    tensor,
    unfolded,
    wide,
    with_attributes,
)

Bombs = dict[str, Callable[[], bytes]]
HUGE = [200_000, 200_000]
ONE = np.ones((1, 1), np.float32)
LONG = [0] * 2**18
HALF, WHOLE, DOUBLE = (tensor(np.ones(1, dtype)) for dtype in (np.float16, np.int64, np.float64))


def _referring() -> bytes:
    """A graph handed to a function refers to itself by the function's attribute."""
    branches = [reference(name, AttributeProto.GRAPH, "g") for name in ("then_branch", "else_branch")]
    inner = with_attributes(node("If", ["x"], ["z"]), *branches)
    handed = helper.make_graph([inner], "g", [], [helper.make_tensor_value_info("z", 1, None)])
    body = [with_attributes(node("If", ["x"], ["y"]), branches[0])]
    return model([call("F", g=handed)], [], [function("F", body, ["g"])])


def _long_records() -> bytes:
    """Products with a record of their modules that is long to read."""
    made = matmul()
    made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="[" + ",".join(["'a.b'"] * 1400) + "]")
    return many_calls(several(made, 200), 200, SMALL_WEIGHT)


def _consumers(count: int) -> bytes:
    """A product of integers whose scale could be behind any of many nodes."""
    casts = several(node("Cast", ["y"], ["c"], to=TensorProto.FLOAT), count)
    muls = several(node("Mul", ["c0", "d"], ["z"]), count)
    return model([node("MatMulInteger", ["x", "w"], ["y"]), *casts, *muls], [tensor(np.ones((2, 2), np.int8), "w")])


def _factors(count: int, side: int) -> bytes:
    """One constant of side x side, a layer for each of many factors."""
    gemms = [node("Gemm", ["x", "w"], [f"y{i}"], alpha=1 + i / 8) for i in range(count)]
    return model([*ones([side, side], "w"), *gemms])


def _products(times: int, side: int, value: TensorProto | None) -> bytes:
    """Products of constants, summed up."""
    names = [f"m{i}" for i in range(times)]
    products = [matmul("b", "a", name) for name in names]
    square = [side, side]
    return model([*ones(square, "a", value), *ones(square, "b", value), *products, node("Sum", names, ["w"]), matmul()])


UNFOLDING: Bombs = {
    "sparse initializer": lambda: sparse(HUGE),
    "ConstantOfShape": lambda: unfolded("ConstantOfShape", HUGE),
    "Expand": lambda: unfolded("Expand", np.float32(1), HUGE),
    "Expand to many axes": lambda: unfolded("Expand", np.float32(1), [8] * 12),
    "Tile": lambda: unfolded("Tile", ONE, HUGE),
    "Range": lambda: unfolded("Range", 0, 10**11, 1),
    "Range of doubles": lambda: unfolded("Range", 0.0, 1e11, 1.0),
    "Pad": lambda: unfolded("Pad", ONE, [0, 0, *HUGE]),
    "EyeLike": lambda: made_of(HUGE, "EyeLike"),
    "broadcast Mul": lambda: spread("Mul", 200_000),
    "broadcast Sum": lambda: spread("Sum", 200_000),
    "broadcast Less": lambda: spread("Less", 200_000),
    "outer product": lambda: spread("MatMul", 200_000),
    "outer product by Gemm": lambda: spread("Gemm", 200_000),
    "doubling Concat": lambda: doubled("Concat", 60, axis=0),
    "Gather of rows again and again": lambda: made_of([2**12, 2**11], "Gather", "a", "i"),
}
"""Each asks for more than 2^32 elements of a weight, in some hundred bytes, and has to be skipped."""

SLOW: Bombs = {
    "Range to infinity": lambda: unfolded("Range", np.float32(0), np.float32(np.inf), np.float32(1)),
    "Erf": lambda: made_of([2**12, 2**12], "Erf"),
    "ScatterElements": lambda: made_of([2**12, 2**11], "ScatterElements", "a", "i", "a"),
    "ScatterND": lambda: model(
        [
            *ones([2**11, 2**11], "a"),
            *ones([2**11, 2**11, 2], "i", tensor(np.zeros(1, np.int64))),
            node("ScatterND", ["a", "i", "a"], ["w"]),
            matmul(),
        ]
    ),
    "Cast to strings": lambda: made_of([2**12, 2**12], "Cast", to=TensorProto.STRING),
    "Cast to complex": lambda: made_of([2**12, 2**12], "Cast", to=TensorProto.COMPLEX128),
    "product of float16": lambda: _products(1, 2**11, HALF),
    "product of int64": lambda: _products(1, 2**11, WHOLE),
    "many products of int64": lambda: _products(100, 500, WHOLE),
    "many products of doubles": lambda: _products(10, 2**11, DOUBLE),
    "ConstantOfShape of 2^26 doubles": lambda: unfolded("ConstantOfShape", [2**13, 2**13], value=DOUBLE),
    "Split in many": lambda: unfolded("Split", np.ones((4, 4), np.float32), num_outputs=2**28),
    "broadcast Add of opset 6": lambda: spread("Add", 24_000, opset=6),
    "broadcast Less of opset 1": lambda: spread("Less", 24_000, opset=1),
    "Tile of opset 1": lambda: unfolded("Tile", ONE, np.int64(10**10), np.int64(0), opset=1),
    "factors of one constant": lambda: _factors(20_000, 2**12),
    "a weight given to a graph": lambda: model([node("Abs", ["w"], ["v"], g=_graph()), matmul("v")], [SMALL_WEIGHT]),
}
"""Each takes long, or more memory than its size suggests."""

CALLING: Bombs = {
    "functions that call twice": lambda: exponential(60, matmul()),
    "functions that call twice, of no product": lambda: exponential(60, node("Relu", ["x"], ["y"])),
    "functions that call twice, beside a convolution": lambda: exponential(
        60, matmul("x"), [node("Relu", ["x"], ["h"]), node("Conv", ["h", "w"], ["z"])]
    ),
    "a function that calls itself": lambda: model([call("F")], functions=[function("F", [call("F")])]),
    "a function that calls itself, beside a convolution": lambda: model(
        [node("Relu", ["x"], ["h"]), node("Conv", ["h", "w"], ["z"]), call("F")], [KERNEL], [function("F", [call("F")])]
    ),
    "functions that call each other": lambda: model(
        [call("F")],
        functions=[function("F", [call("G")]), function("G", [call("F", "x", "h"), call("F", "h", "y")])],
    ),
    "a graph that refers to itself": _referring,
    "a long name": lambda: many_calls([node("MatMul", ["x", "w"], ["y"], name="n" * 10**6)], 2000, SMALL_WEIGHT),
    "long records of modules": _long_records,
    "a long constant": lambda: many_calls([node("Constant", [], ["c"], value_floats=LONG), matmul("c")], 1000),
    "long pads": lambda: many_calls([node("Conv", ["x", "w"], ["y"], pads=LONG)], 2000),
    "long pads of the call": lambda: many_calls(
        several(with_attributes(node("Conv", ["x", "w"], ["y"]), reference("pads", AttributeProto.INTS, "p")), 500),
        4,
        p=LONG,
    ),
    "long coefficients of the call": lambda: many_calls(
        several(
            with_attributes(
                node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml"),
                reference("coefficients", AttributeProto.FLOATS, "p"),
            ),
            500,
        ),
        4,
        p=[0.5] * 2**18,
    ),
    "many attributes": lambda: many_calls(
        [with_attributes(node("Relu", ["x"], ["y"]), *[AttributeProto(name="a")] * 100_000)], 2000
    ),
}
"""Little in the file, and much of it in the calls."""

LARGE: Bombs = {
    "500,000 empty nodes": lambda: graph(b"\x0a\x00" * 500_000),
    "two million empty nodes": lambda: graph(b"\x0a\x00" * 2_000_000),
    "300,000 empty initializers": lambda: graph(b"\x2a\x00" * 300_000, raw_node("Relu", "x")),
    "a node of 500,000 empty attributes": lambda: graph(field(1, b"\x2a\x00" * 500_000)),
    "a node of 500,000 inputs": lambda: graph(field(1, b"\x0a\x00" * 500_000)),
    "a graph in two million pieces": lambda: b"\x08\x08" + b"\x3a\x00" * 2_000_000,
    "six million fields unknown to ONNX": lambda: b"\x08\x08" + b"\xf8\x3f\x01" * 6_000_000,
    "20,000 products": lambda: graph(raw_tensor(SMALL_WEIGHT), raw_nodes("MatMul", "x", "w", count=20_000)),
    "160,000 products of nothing": lambda: graph(raw_nodes("MatMul", "x", "x", count=160_000)),
    "chain of 20,000 Identity": lambda: chain("Identity", 20_000),
    "chain of 20,000 Neg": lambda: chain("Neg", 20_000),
    "20,000 Add": lambda: wide("Add", 20_000),
    "50,000 Reshape": lambda: wide("Reshape", 50_000),
    "50,000 Identity": lambda: wide("Identity", 50_000),
    "200,000 dimensions": lambda: model(
        [matmul()], [TensorProto(name="w", data_type=1, dims=[2**62] * 200_000, raw_data=b"1234")]
    ),
    "integers that a thousand products want": lambda: model(
        [node("MatMul", ["x", "w"], [f"y{i}"]) for i in range(1000)],
        [TensorProto(name="w", data_type=TensorProto.INT8, dims=[2**12, 2**11], int32_data=[1] * 2**23)],
    ),
    "a name of 16 MB": lambda: model([node("MatMul", ["x", "w"], ["y"], name="a/" * 2**23)], [SMALL_WEIGHT]),
    "a location of 2 MB": lambda: model([matmul()], [external("a/" * 2**20)]),
    "graphs in graphs, 20 levels": lambda: nested(20),
    "graphs in graphs, 33 levels": lambda: nested(33),
    "graphs in graphs, 10,000 levels": lambda: nested(10_000),
    "consumers of consumers": lambda: _consumers(20_000),
    "a convolution behind values of 100,000 axes": lambda: graph(
        raw_input("r0", 100_000),
        *[raw_node("Relu", f"r{i}", output=f"r{i + 1}") for i in range(20_000)],
        raw_node("Conv", "r20000", "w"),
        raw_tensor(KERNEL),
    ),
    "a convolution behind a shape of 2^40 axes": lambda: model(
        [
            node("Shape", ["w"], ["v0"]),
            *[node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(40)],
            node("Reshape", ["x", "v40"], ["h"]),
            node("Conv", ["h", "w"], ["y"]),
        ],
        [KERNEL],
    ),
    "a convolution behind Split in 2^28": lambda: model(
        [node("Split", ["x"], ["h"], num_outputs=2**28), node("Conv", ["h", "w"], ["y"])], [KERNEL]
    ),
}
"""Many, long or deep."""

BOMBS: Bombs = UNFOLDING | SLOW | CALLING | LARGE
"""Each has to end, read or refused, in bounded time and memory."""


def _graph() -> object:
    return helper.make_graph([node("Relu", ["x"], ["y"])], "g", [], [])
