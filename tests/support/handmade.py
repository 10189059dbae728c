"""Models in onnx's own notation, in patterns that no exporter here writes, each with the weight that its file holds.

Every entry of PATTERNS and WITHOUT_LAYERS writes one file into an empty folder, in which x (2, 12) goes through one
layer `fc` unless it says otherwise. W is (16, 12) and SQUARE (12, 12), of halves of small integers, which every type
here holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.exported import Builder, Expected, Matrix, run
from tests.support.notation import FUNCTION, literal, model, tensor

IN, OUT = 12, 16
W = np.random.default_rng(0).integers(-6, 7, (OUT, IN)).astype(np.float32) / 2
SQUARE = np.random.default_rng(1).integers(-6, 7, (IN, IN)).astype(np.float32) / 2
OTHER = SQUARE[::-1].copy()
HALF, BRAIN, FLOAT8 = np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn
ONE_MATMUL: dict[str, Any] = {"weights": {"fc": W}, "operators": ("MatMul",)}


@dataclass(frozen=True)
class Handmade:
    """A graph x -> y, and what must be found in it; y must be x times these weights, one after another.

    `tensors` are initializers, `own` those of the subgraph of that name; `edit` adds what has no notation. `product` is
    how each weight multiplies: `right`: y = x W^T; `left`: y = W x; `stack` and `stack left`: each matrix of a stack;
    `none`: not checked.
    """

    nodes: str
    tensors: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    x: str = "float[2,12]"
    product: str = "right"
    functions: str = ""
    own: Mapping[str, Mapping[str, Matrix]] = field(default_factory=dict)
    edit: Callable[[onnx.ModelProto], object] = lambda model: None

    def write(self, folder: Path) -> Expected:
        kind = self.x.partition("[")[0]
        made = model(self.nodes, self.tensors, self.x, f"{kind}[]", functions=self.functions, own=self.own)
        self.edit(made)
        path = folder / "model.onnx"
        path.write_bytes(made.SerializeToString())
        expected = Expected(path, **{**ONE_MATMUL, **self.expected})
        self.prove(made, expected)
        return expected

    def prove(self, made: onnx.ModelProto, expected: Expected) -> None:
        """Run the file: whole numbers in, so that the outputs are exact."""
        if self.product == "none":
            return
        kind = made.graph.input[-1].type.tensor_type
        shape = [size.dim_value for size in kind.shape.dim]
        x = np.random.default_rng(2).integers(-4, 5, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        (found,) = run(expected, x=x)
        y = x.astype(np.float32)
        for weight in expected.weights.values():
            blocks = np.stack(np.split(weight, len(y))) if "stack" in self.product else weight
            y = blocks @ y if "left" in self.product else y @ blocks.swapaxes(-1, -2)
        np.testing.assert_allclose(found.astype(np.float32), y, rtol=1e-5, atol=1e-5)


def matmul(weight: str = '"fc.weight"', x: str = "x", y: str = "y", name: str = "fc") -> str:
    return f'["/{name}/MatMul"] {y} = MatMul({x}, {weight})'


def products(left: str, right: str) -> str:
    """One after the other, with fc1 and then fc2."""
    return f"{matmul(left, 'x', 'h', 'fc1')} {matmul(right, 'h', 'y', 'fc2')}"


def gemm(stored: Matrix, weight: Matrix, attributes: str = "", left: bool = False) -> Handmade:
    inputs = '"fc.weight", x' if left else 'x, "fc.weight"'
    return Handmade(
        f'["/fc/Gemm"] y = Gemm{attributes}({inputs})',
        {"fc.weight": stored},
        {"weights": {"fc": weight}, "operators": ("Gemm",)},
        x="float[12,2]" if left else "float[2,12]",
        product="left" if left else "right",
    )


def left(weight: Matrix) -> Handmade:
    nodes = '["/fc/MatMul"] y = MatMul("fc.weight", x)'
    return Handmade(nodes, {"fc.weight": weight}, {"weights": {"fc": weight}}, x="float[12,2]", product="left")


def stored(array: Any, chain: str = "", x: str = "float[2,12]", **expected: Any) -> Handmade:
    """Nodes from `fc.weight` to `w`, (in, out), which is multiplied by; without nodes it is `fc.weight` itself."""
    constants = {"axis": np.array([0]), "shape": np.array([IN, OUT])}
    tensors = {name: constant for name, constant in constants.items() if name in chain}
    nodes = f"{chain} {matmul('w')}" if chain else matmul()
    return Handmade(nodes, {"fc.weight": array, **tensors}, expected, x)


def in_int32(array: Matrix, kind: int) -> TensorProto:
    """16-bit floats as integers of their bits."""
    return TensorProto(data_type=kind, dims=array.shape, int32_data=array.view(np.uint16).ravel().tolist())


MOVED = {
    "Gemm": gemm(W.T, W),
    "Gemm with transB": gemm(W, W, "<transB=1>"),
    "square Gemm": gemm(SQUARE.T, SQUARE),
    "square Gemm with transB": gemm(SQUARE, SQUARE, "<transB=1>"),
    "Gemm, constant left": gemm(W, W, left=True),
    "Gemm, constant left, transA": gemm(W.T, W, "<transA=1>", left=True),
    "square Gemm, constant left": gemm(SQUARE, SQUARE, left=True),
    "square Gemm, constant left, transA": gemm(SQUARE.T, SQUARE, "<transA=1>", left=True),
    "Gemm with alpha": gemm(W, W / 2, "<transB=1, alpha=0.5>"),
    "MatMul": stored(W.T),
    "square MatMul": stored(SQUARE.T, weights={"fc": SQUARE}),
    "MatMul, constant left": left(W),
    "square MatMul, constant left": left(SQUARE),
    "behind Identity": stored(W.T, 'w = Identity("fc.weight")'),
    "behind Transpose": stored(W, 'w = Transpose<perm=[1,0]>("fc.weight")'),
    "behind Transpose without perm": stored(W, 'w = Transpose("fc.weight")'),
    "square behind Transpose": stored(SQUARE, 'w = Transpose<perm=[1,0]>("fc.weight")', weights={"fc": SQUARE}),
    "square behind two Transposes": stored(
        SQUARE.T, 'v = Transpose("fc.weight") w = Transpose(v)', weights={"fc": SQUARE}
    ),
    "behind Cast from float16": stored(W.T.astype(HALF), 'w = Cast<to=1>("fc.weight")', dtype="float16"),
    "behind Cast from bfloat16": stored(W.T.astype(BRAIN), 'w = Cast<to=1>("fc.weight")', dtype="bfloat16"),
    "behind Reshape": stored(W.T.reshape(-1), 'w = Reshape("fc.weight", shape)'),
    "behind Squeeze": stored(W.T.reshape(1, IN, 1, OUT), 'w = Squeeze("fc.weight")'),
    "behind a chain": stored(
        W.astype(HALF),
        """a = Identity("fc.weight") b = Unsqueeze(a, axis) c = Cast<to=1>(b) d = Transpose<perm=[0,2,1]>(c)
        e = Squeeze(d, axis) w = Reshape(e, shape)""",
        dtype="float32",
    ),
}
"""A weight on either side, and behind nodes that only move, rename or widen it."""

_thin = SQUARE * (np.abs(SQUARE) > 1)
_rows, _columns = np.nonzero(_thin.T)
_kept = tensor(_thin.T[_rows, _columns], "fc.weight")


def _sparse(indices: Matrix) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(_kept, tensor(indices, "indices"), [IN, IN])


_pairs = _sparse(np.stack([_rows, _columns], axis=1))
_zeroed = {"weights": {"fc": _thin}}
STORED = {
    "initializer that is also an input": Handmade(
        matmul(), {"fc.weight": W.T}, x='float[12,16] "fc.weight", float[2,12]'
    ),
    "Constant with value": Handmade(f'"fc.weight" = Constant<value = {literal(W.T)}>() {matmul()}'),
    "Constant with value_floats": Handmade(
        f"flat = Constant<value_floats = [{','.join(map(str, W.T.ravel()))}]>() "
        f"shape = Constant<value_ints = [{IN}, {OUT}]>() w = Reshape(flat, shape) {matmul('w')}"
    ),
    "sparse initializer, pairs of indices": Handmade(
        matmul(), expected=_zeroed, edit=lambda model: model.graph.sparse_initializer.append(_pairs)
    ),
    "sparse initializer, one index each": Handmade(
        matmul(),
        expected=_zeroed,
        edit=lambda model: model.graph.sparse_initializer.append(_sparse(_rows * IN + _columns)),
    ),
    "sparse initializer that is also an input": Handmade(
        matmul(),
        expected=_zeroed,
        x='float[12,12] "fc.weight", float[2,12]',
        edit=lambda model: model.graph.sparse_initializer.append(_pairs),
    ),
    "Constant with sparse_value": Handmade(
        matmul(),
        expected=_zeroed,
        edit=lambda model: model.graph.node.insert(
            0, helper.make_node("Constant", [], ["fc.weight"], sparse_value=_pairs)
        ),
    ),
    "float_data": stored(helper.make_tensor("", TensorProto.FLOAT, [IN, OUT], W.T.ravel())),
    "double_data": stored(
        helper.make_tensor("", TensorProto.DOUBLE, [IN, OUT], W.T.ravel()), x="double[2,12]", dtype="float64"
    ),
    "float16 in int32_data": stored(
        in_int32(W.T.astype(HALF, order="C"), TensorProto.FLOAT16), x="float16[2,12]", dtype="float16"
    ),
    "float16 raw": stored(W.T.astype(HALF), x="float16[2,12]", dtype="float16"),
    "bfloat16 in int32_data": stored(
        in_int32(W.T.astype(BRAIN, order="C"), TensorProto.BFLOAT16),
        x="bfloat16[2,12]",
        dtype="bfloat16",
        runtime="onnx.reference",
    ),
    "bfloat16 raw": stored(W.T.astype(BRAIN), x="bfloat16[2,12]", dtype="bfloat16", runtime="onnx.reference"),
}
"""Where and how the numbers of a weight lie in the file."""


def quantised() -> dict[str, Handmade]:
    """DequantizeLinear in the layouts that the runtime's tools do not write."""
    random = np.random.default_rng(3)
    rows, columns = (random.integers(1, 9, n).astype(np.float32) / 8 for n in (IN, OUT))
    blocks = random.integers(1, 9, (IN // 4, OUT)).astype(np.float32) / 8
    points = random.integers(0, 8, (IN // 4, OUT))
    signed, unsigned = random.integers(-128, 128, (IN, OUT)), random.integers(0, 256, (IN, OUT))
    small, nibbles = random.integers(-8, 8, (IN, OUT)), random.integers(0, 16, (IN, OUT))
    zero, eighth = random.integers(0, 256, OUT), np.float32(0.125)
    per_block, points_per_block = np.repeat(blocks, 4, axis=0), np.repeat(points, 4, axis=0)

    def of(kind: Any, integers: Matrix, scale: Any, zero: Matrix | None, wide: Matrix, how: str = "") -> Handmade:
        """`wide` is the (in, out) matrix that comes out."""
        tensors = {"fc.weight_quantized": integers.astype(kind), "scale": scale}
        tensors |= {} if zero is None else {"zero": zero.astype(kind)}
        inputs = ", ".join(f'"{name}"' for name in tensors)
        expected = {"weights": {"fc": wide.T.astype(np.float32)}, "dtype": str(np.dtype(kind)), "exact": False}
        return Handmade(f"w = DequantizeLinear{how}({inputs}) {matmul('w')}", tensors, expected)

    by_column = unsigned, columns, zero, (unsigned - zero) * columns
    by_row = signed, rows, np.ones(IN), (signed - 1) * rows[:, None]
    in_blocks = "<axis=0, block_size=4>"
    return {
        "int8 per tensor without zero point": of(np.int8, signed, eighth, None, signed * eighth),
        "int8 per tensor, scale in a list": of(np.int8, signed, np.array([eighth]), np.ones(1), (signed - 1) * eighth),
        "int8 per axis 0": of(np.int8, *by_row, "<axis=0>"),
        "uint8 per axis 1": of(np.uint8, *by_column),
        "uint8 per axis -1": of(np.uint8, *by_column, "<axis=-1>"),
        "int8 in blocks": of(np.int8, signed, blocks, points, (signed - points_per_block) * per_block, in_blocks),
        "int4 per tensor": of(ml_dtypes.int4, small, eighth, None, small * eighth),
        "int4 per axis 1": of(ml_dtypes.int4, small, columns, None, small * columns, "<axis=1>"),
        "uint4 in blocks": of(
            ml_dtypes.uint4, nibbles, blocks, points, (nibbles - points_per_block) * per_block, in_blocks
        ),
        "float8 with a scale": of(FLOAT8, W.T, np.float32(2), None, W.T.astype(FLOAT8).astype(np.float32) * 2),
    }


BOTH = {"fc1.weight": SQUARE.T, "fc2.weight": OTHER.T}
PAIR: dict[str, Any] = {"weights": {"fc1": SQUARE, "fc2": OTHER}}
UNNAMED = {"named": False}
LINEAR = f"{FUNCTION} Linear (x, w) => (y) {{ [product] y = MatMul(x, w) }}"
INSIDE = f"{FUNCTION} Inside (x) => (y) {{ w = Constant<value = {literal(SQUARE.T)}>() [p] y = MatMul(x, w) }}"
TWICE = f"{FUNCTION} Twice (x, v) => (y) {{ [first] h = local.Linear(x, v) [second] y = local.Linear(h, v) }}"
KERNEL = f"{FUNCTION} Kernel <kernel> (x) => (y) {{ w = Constant<value: tensor = @kernel>() [p] y = MatMul(x, w) }}"
FUNCTIONS = {
    "function called with two weights": Handmade(
        '["/fc1/Linear"] h = local.Linear(x, "fc1.weight") ["/fc2/Linear"] y = local.Linear(h, "fc2.weight")',
        BOTH,
        PAIR,
        functions=LINEAR,
    ),
    "function with its own weight": Handmade(
        "y = local.Inside(x)", expected={"weights": {"fc": SQUARE}, **UNNAMED}, functions=INSIDE
    ),
    "function with its own weight, called twice": Handmade(
        "h = local.Inside(x) y = local.Inside(h)",
        expected={"weights": {"fc1": SQUARE, "fc2": SQUARE}, "tied": {1: 0}, **UNNAMED},
        functions=INSIDE,
    ),
    "function that calls a function twice": Handmade(
        'y = local.Twice(x, "fc1.weight")',
        {"fc1.weight": SQUARE.T},
        {"weights": {"first": SQUARE, "second": SQUARE}, "tied": {1: 0}, **UNNAMED},
        functions=f"{LINEAR} {TWICE}",
    ),
    "function with its weight as an attribute": Handmade(
        f"h = local.Kernel<kernel = {literal(SQUARE.T)}>(x) y = local.Kernel<kernel = {literal(OTHER.T)}>(h)",
        expected={**PAIR, **UNNAMED},
        functions=KERNEL,
    ),
}
"""Local functions: the weight from outside, inside, or as an attribute."""

FIRST, SECOND = '"fc1.weight"', '"fc2.weight"'
OUTER = {"fc1.weight": SQUARE.T}
CHOICE = {**OUTER, "yes": np.array(True)}
ELSE = f"other () => (float[] b) {{ {matmul(SECOND, y='b', name='fc2')} }}"
THEN = f"then () => (float[] a) {{ {matmul(FIRST, y='a', name='fc1')} }}"
NEST = f"inner () => (float[] c) {{ {matmul(SECOND, 'h', 'c', 'fc2')} }}"
STEPS = f"{matmul(FIRST, 's', 't', 'fc1')} {matmul(SECOND, 't', 'u', 'fc2')}"
BODIES = {
    "branches": Handmade(  # the parser keeps the order of the attributes
        f"y = If(yes)<else_branch = {ELSE}, then_branch = {THEN}>",
        CHOICE,
        {"weights": {"fc2": OTHER, "fc1": SQUARE}},
        product="none",
        own={"other": {"fc2.weight": OTHER.T}},
    ),
    "branch inside a branch": Handmade(
        f"""y = If(yes)<
            then_branch = outer () => (float[] d) {{
                {matmul(FIRST, y="h", name="fc1")} d = If(yes)<then_branch = {NEST}, else_branch = {NEST}>
            }}, else_branch = same () => (float[] e) {{ e = Identity(x) }}>""",
        CHOICE,
        {"weights": {"fc1": SQUARE, "fc2": OTHER, "fc2 again": OTHER}, "tied": {2: 1}, **UNNAMED},
        product="none",
        own={"outer": {"fc2.weight": OTHER.T}},
    ),
    "body of a loop": Handmade(
        f"""y = Loop(rounds, , x)<body = steps (int64 i, bool go, float[2,12] s) => (bool on, float[2,12] u)
            {{ on = Identity(go) {STEPS} }}>""",
        {**OUTER, "rounds": np.array(1)},
        PAIR,
        own={"steps": {"fc2.weight": OTHER.T}},
    ),
    "body of a scan": Handmade(
        f"""y, z = Scan<num_scan_inputs = 1, body = steps (float[2,12] s, float e) => (float[2,12] u, float f)
            {{ {STEPS} f = Identity(e) }}>(x, steps)""",
        {**OUTER, "steps": np.zeros(1, np.float32)},
        PAIR,
        own={"steps": {"fc2.weight": OTHER.T}},
    ),
}
"""Graphs inside nodes, with weights of the graph around them or their own."""

_stack = np.stack([SQUARE, OTHER, SQUARE * 2])
STACKS = {
    "stack of matrices": replace(
        stored(_stack.transpose(0, 2, 1), x="float[3,2,12]", weights={"fc": _stack.reshape(-1, IN)}), product="stack"
    ),
    "stack of matrices on the left": replace(
        left(_stack), x="float[3,12,2]", expected={"weights": {"fc": _stack.reshape(-1, IN)}}, product="stack left"
    ),
    "stack of one": stored(W.T[None], x="float[1,2,12]"),
}
NONE = partial(Handmade, product="none")
NO_LAYERS = {
    "vector": NONE(matmul(), {"fc.weight": W[0]}),
    "vector on the left": NONE('y = MatMul("fc.weight", x)', {"fc.weight": W[0]}, x="float[12,2]"),
    "two constants": NONE(f"""{matmul("v", '"fc.weight"', "c")} y = Identity(c)""", {"fc.weight": W, "v": SQUARE}),
    "no constant": NONE('t = Transpose(x) ["/product"] y = MatMul(x, t)', {}, {"skipped": (("/product", "MatMul"),)}),
    "table of an embedding": NONE(
        'i = Cast<to=7>(x) ["/rows"] y = Gather("fc.weight", i)',
        {"fc.weight": W},
        {"operators": (), "skipped": (("/rows", "Gather"),)},
    ),
}
PATTERNS: dict[str, Builder] = {
    name: pattern.write
    for group in (MOVED, STORED, quantised(), FUNCTIONS, BODIES, STACKS)
    for name, pattern in group.items()
}
WITHOUT_LAYERS: dict[str, Builder] = {
    name: replace(pattern, expected={"weights": {}, **pattern.expected}).write for name, pattern in NO_LAYERS.items()
}
