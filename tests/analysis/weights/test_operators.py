"""Which nodes are fully-connected layers, and with which matrix."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.weights.layers import Layer, read
from analysis.weights.proof import verify
from tests.support.notation import FUNCTION, run, save

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def one(path: Path) -> Layer:
    """The only layer of a file, proved by ONNX Runtime."""
    (layer,) = read(path).layers
    (proof,) = verify(path, [layer])
    assert (proof.verified, proof.reason) == (True, "")
    return layer


# Einsum

A, B, C = normal(3, 3), normal(3, 3, 3), normal(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("equation", "x", "constant", "left", "matrix"),
    [
        ("bi,ij->bj", "n,3", A, False, A.T),
        ("bi,ji->bj", "n,3", A, False, A),
        ("ij,bj->bi", "n,3", A, True, A),
        ("...i,ij->...j", "n,7,3", A, False, A.T),
        ("bi,ij", "n,3", A, False, A.T),
        (" b i , i j -> j b ", "n,3", A, False, A.T),
        ("bhd,hdo->bo", "n,3,3", B, False, B.reshape(9, 3).T),
        ("bhd,ohd->bo", "n,3,3", B, False, B.reshape(3, 9)),
        ("bhd,dho->bo", "n,3,3", B, False, B.transpose(1, 0, 2).reshape(9, 3).T),
        ("btd,dhk->bthk", "n,7,3", B, False, B.reshape(3, 9).T),
        ("btd,hdk->bthk", "n,7,3", B, False, B.transpose(0, 2, 1).reshape(9, 3)),
        ("bhd,hdo->bho", "n,3,3", B, False, B.transpose(0, 2, 1).reshape(9, 3)),
        ("gbi,goi->gbo", "3,n,3", B, False, B.reshape(9, 3)),
        ("gobi,zgb->zio", "n,2,4", C, True, C.transpose(3, 1, 0, 2).reshape(15, 8)),
        ("bhd,hd->b", "n,3,3", A, False, A.reshape(1, 9)),
    ],
)
def test_an_einsum_is_a_layer(
    tmp_path: Path, equation: str, x: str, constant: NDArray[Any], left: bool, matrix: NDArray[Any]
) -> None:
    """Columns are the summed axes in x's order, rows the others in y's; ONNX Runtime multiplies with the same."""
    nodes = f'["/fc/Einsum"] y = Einsum<equation = "{equation}">({"w, x" if left else "x, w"})'
    layer = one(save(tmp_path, nodes, {"w": constant}, x=f"float[{x}]"))
    np.testing.assert_array_equal(layer.weight.load(), matrix)
    assert (layer.name, layer.operator, layer.operand) == ("fc", "Einsum", 0 if left else 1)


# Matrices that are picked

STACK = normal(4, 3, 5)
TURNED = STACK.transpose(0, 2, 1).reshape(20, 3)
"""(4 * 5, 3): the matrices of the experts, each (out, in)."""
SCAN = "body (float[2,3] s, float[3,3] w) => (float[2,3] t) { t = MatMul(s, w) }"
LOOP = "body (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] t) { on = Identity(go) PICK t = MatMul(s, w) }"
CARRIED = """body (int64 i, bool go, float[2,3] s, float[3,3] w) => (bool on, float[2,3] t, float[3,3] v)
    { on = Identity(go) t = MatMul(s, w) v = Identity(w) }"""
SQUARES = normal(4, 3, 3)
PICKED: dict[str, tuple[str, dict[str, Any], NDArray[Any]]] = {
    "one": ("p = Gather(stack, i) w = Squeeze(p, first) y = MatMul(x, w)", {"stack": STACK}, TURNED),
    "one for each row": ("w = Gather<axis = 0>(stack, i) y = MatMul(x, w)", {"stack": STACK}, TURNED),
    "by Slice": (
        "e = Add(i, step) p = Slice(stack, i, e, first) w = Squeeze(p, first) y = MatMul(x, w)",
        {"stack": STACK, "step": np.array([1])},
        TURNED,
    ),
    "turned": (
        "p = Gather(stack, i) t = Transpose<perm = [0, 2, 1]>(p) w = Squeeze(t, first) y = MatMul(x, w)",
        {"stack": np.ascontiguousarray(STACK.transpose(0, 2, 1))},
        TURNED,
    ),
    "of a Gemm": (
        "p = Gather(stack, i) w = Squeeze(p, first) y = Gemm<transB = 1, alpha = 2.0>(x, w)",
        {"stack": np.ascontiguousarray(STACK.transpose(0, 2, 1))},
        TURNED * 2,
    ),
    "of an Einsum": (
        'w = Gather(stack, i) y = Einsum<equation = "bi,eio->ebo">(x, w)',
        {"stack": STACK},
        TURNED,
    ),
    "from rows": (
        "p = Gather(stack, i) w = Reshape(p, sides) y = MatMul(x, w)",
        {"stack": STACK.reshape(4, 15), "sides": np.array([3, 5])},
        TURNED,
    ),
    "in a function": ("p = Gather(stack, i) w = Squeeze(p, first) y = local.Linear(x, w)", {"stack": STACK}, TURNED),
    "rounded to half floats": (
        "p = Gather(stack, i) h = Cast<to = 10>(p) w = Cast<to = 1>(h) y = MatMul(x, w)",
        {"stack": STACK},
        TURNED.astype(np.float16).astype(np.float32),
    ),
    "rounded to integers": (
        "p = Gather(stack, i) h = Cast<to = 6>(p) w = Cast<to = 1>(h) y = MatMul(x, w)",
        {"stack": STACK * 9},
        np.trunc(TURNED * 9),
    ),
    "of more axes": ("p = Gather(stack, i) w = Unsqueeze(p, first) y = MatMul(x, w)", {"stack": STACK}, TURNED),
    "by the body of a loop": (
        f"y = Loop(rounds, , x)<body = {LOOP.replace('PICK', 'w = Gather(stack, i)')}>",
        {"stack": SQUARES, "rounds": np.array(4)},
        SQUARES.transpose(0, 2, 1).reshape(12, 3),
    ),
    "by Scan": (
        f"y = Scan<num_scan_inputs = 1, body = {SCAN}>(x, stack)",
        {"stack": SQUARES},
        SQUARES.transpose(0, 2, 1).reshape(12, 3),
    ),
    "none, but carried by a loop": (
        f"y, v = Loop(rounds, , x, w)<body = {CARRIED}>",
        {"w": SQUARES[0], "rounds": np.array(2)},
        SQUARES[0].T,
    ),
}


@pytest.mark.parametrize("name", PICKED)
def test_a_product_with_a_matrix_that_is_picked_is_a_layer_of_all_that_can_be(tmp_path: Path, name: str) -> None:
    nodes, constants, matrix = PICKED[name]
    function = f"{FUNCTION} Linear (x, w) => (y) {{ y = MatMul(x, w) }}"
    more = {"first": np.array([0])}
    path = save(tmp_path, nodes, constants | more, x="int64[1] i, float[2, 3]", functions=function)
    layer = one(path)
    np.testing.assert_array_equal(layer.weight.load(), matrix)

    x = normal(2, 3)
    y = run(path, x=x, i=np.array([2]))[0]
    for step in [2] if "body" not in nodes else [0, 1, 2, 3] if len(matrix) > 3 else [0, 0]:
        x = x @ matrix.reshape(-1, y.shape[-1], 3)[step].T
    np.testing.assert_allclose(y.reshape(x.shape), x, rtol=1e-5)
    assert read(path).skipped == ()


# Recurrent layers and attention


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", "iofc"), ("GRU", "zrh"), ("RNN", "h")])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_gates_of_a_recurrent_layer_are_layers_on_request(
    tmp_path: Path, operator: str, gates: str, direction: str
) -> None:
    directions = 1 + (direction == "bidirectional")
    weights = {"w": normal(directions, len(gates) * 5, 3), "r": normal(directions, len(gates) * 5, 5)}
    nodes = f'["/rnn/{operator}"] y = {operator}<hidden_size = 5, direction = "{direction}">(x, w, r)'
    path = save(tmp_path, nodes, weights, x="float[4, 2, 3]")
    assert [each.reason for each in read(path).skipped] == ["a recurrent layer (--recurrent reads it)"]
    layers = read(path, recurrent=True).layers
    expected = [part for array in weights.values() for half in array for part in np.split(half, len(gates))]
    for layer, matrix in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(layer.weight.load(), matrix)
        assert layer.role == "recurrent"
    assert len({layer.name for layer in layers}) == len(layers)
    assert all(layer.name.startswith("rnn.") for layer in layers)
    reasons = {proof.reason for proof in verify(path, layers)}
    assert reasons == {f"ONNX Runtime cannot run the product of {operator} by itself"}


def test_of_a_recurrent_layer_with_a_computed_matrix_the_other_is_read(tmp_path: Path) -> None:
    w = normal(1, 20, 3)
    path = save(tmp_path, "y = LSTM<hidden_size = 5>(x, w, r)", {"w": w}, x="float[1, 20, 5] r, float[1, 2, 3]")
    layers = read(path, recurrent=True).layers
    np.testing.assert_array_equal(np.concatenate([layer.weight.load() for layer in layers]), w[0])


def test_the_gates_are_those_that_onnx_runtime_computes_with(tmp_path: Path) -> None:
    """One step of an LSTM from its definition, with the matrices by their names."""
    weights = {"w": normal(1, 20, 3), "r": normal(1, 20, 5), "h": normal(1, 2, 5), "c": normal(1, 2, 5)}
    path = save(tmp_path, '["/l/LSTM"] s, y = LSTM<hidden_size = 5>(x, w, r, , , h, c)', weights, x="float[1, 2, 3]")
    read_here = {layer.name: layer.weight.load() for layer in read(path, recurrent=True).layers}
    x = normal(1, 2, 3)
    i, o, f, c = (
        x[0] @ read_here[f"l.W.{gate}"].T + weights["h"][0] @ read_here[f"l.R.{gate}"].T
        for gate in ("input", "output", "forget", "cell")
    )
    cell = weights["c"][0] / (1 + np.exp(-f)) + np.tanh(c) / (1 + np.exp(-i))
    expected = np.tanh(cell) / (1 + np.exp(-o))
    np.testing.assert_allclose(run(path, x=x)[0][0], expected, atol=1e-6)


def test_the_packed_weights_of_an_attention_are_a_layer(tmp_path: Path) -> None:
    """Attention by hand from the matrix that was read, one head, against ONNX Runtime's operator."""
    packed = normal(4, 12)
    nodes = '["/self/Attention"] y = com.microsoft.Attention<num_heads = 1>(x, w, bias)'
    path = save(tmp_path, nodes, {"w": packed, "bias": np.zeros(12, np.float32)}, x="float[1, 6, 4]")
    layer = one(path)
    assert (layer.name, layer.weight.shape) == ("self", (12, 4))
    x = normal(1, 6, 4)
    q, k, v = np.split(x[0] @ layer.weight.load().T, 3, axis=1)
    scores = np.exp(q @ k.T / 2)
    expected = scores / scores.sum(axis=1, keepdims=True) @ v
    np.testing.assert_allclose(run(path, x=x)[0][0], expected, atol=1e-5)


# Maps behind operators of ONNX Runtime's

HEAD, KERNEL = normal(5, 4, 1, 1), normal(4, 2, 3, 3)
BEFORE_HEADS = {
    "FusedConv": 'm = com.microsoft.FusedConv<activation = "Relu">(x, kernel)',
    "FusedConv and a sum": 'c = Conv(x, kernel) m = com.microsoft.FusedConv<activation = "Relu">(x, kernel, , c)',
    "the layout of one processor": """b = com.microsoft.nchwc.Conv(x, kernel)
        q = com.microsoft.nchwc.MaxPool<kernel_shape = [2, 2]>(b)
        m = com.microsoft.nchwc.ReorderOutput<channels = 4>(q)""",
    "QuickGelu": "c = Conv(x, kernel) m = com.microsoft.QuickGelu(c)",
    "com.microsoft's QDQ": """c = Conv(x, kernel) q = com.microsoft.QuantizeLinear(c, one, zero)
        m = com.microsoft.DequantizeLinear(q, one, zero)""",
}


@pytest.mark.parametrize("name", BEFORE_HEADS)
def test_the_size_of_a_map_is_known_behind_operators_of_onnx_runtime(tmp_path: Path, name: str) -> None:
    nodes = f'{BEFORE_HEADS[name]} p = GlobalAveragePool(m) ["/head/Conv"] y = Conv(p, head)'
    constants = {"kernel": KERNEL, "head": HEAD, "one": np.float32(1), "zero": np.uint8(0)}
    layer = one(save(tmp_path, nodes, constants, x="float[n, 2, 8, 8]"))
    assert (layer.name, layer.role) == ("head", "conv-as-fc")


def test_the_head_of_a_network_of_integers_is_read_with_its_scales(tmp_path: Path) -> None:
    """The output of the whole network, by ONNX Runtime, is the pooled map times the matrix, rounded to 8 bits."""
    integers = RANDOM.integers(-9, 9, (5, 4, 1, 1)).astype(np.int8)
    steps = RANDOM.uniform(0.01, 0.02, 5).astype(np.float32)
    nodes = """q = QuantizeLinear(x, one, zero) p = com.microsoft.QLinearGlobalAveragePool(q, one, zero, one, zero)
        ["/head/Conv"] r = QLinearConv(p, one, zero, head, steps, zeros, one, zero)
        y = DequantizeLinear(r, one, zero)"""
    constants = {"head": integers, "steps": steps, "zeros": np.zeros(5, np.int8)}
    constants |= {"one": np.float32(1), "zero": np.uint8(0)}
    path = save(tmp_path, nodes, constants, x="float[2, 4, 3, 3]")
    (layer,) = read(path).layers
    np.testing.assert_allclose(layer.weight.load(), integers[:, :, 0, 0] * steps[:, None], rtol=1e-6)
    assert (layer.name, layer.role, layer.weight.dtype) == ("head", "conv-as-fc", "int8")
    (proof,) = verify(path, [layer])
    assert (proof.verified, proof.reason) == (None, "ONNX Runtime cannot run the product of QLinearConv by itself")

    x = RANDOM.integers(0, 200, (2, 4, 1, 1)).astype(np.float32)
    y = run(path, x=np.broadcast_to(x, (2, 4, 3, 3)).copy())[0]
    np.testing.assert_allclose(y[:, :, 0, 0], np.maximum(x[:, :, 0, 0] @ layer.weight.load().T, 0), atol=0.51)


def test_the_map_of_a_convolution_of_integers_with_the_channels_last(tmp_path: Path) -> None:
    integers = RANDOM.integers(-9, 9, (5, 4, 2, 3)).astype(np.int8)
    nodes = """q = QuantizeLinear(x, one, zero) y = DequantizeLinear(r, one, zero)
        r = com.microsoft.QLinearConv<channels_last = 1>(q, one, zero, head, one, point, one, zero)"""
    constants = {"head": integers, "point": np.int8(0), "one": np.float32(1), "zero": np.uint8(0)}
    path = save(tmp_path, nodes, constants, x="float[1, 2, 3, 4]")
    (layer,) = read(path).layers
    x = RANDOM.integers(0, 9, (1, 2, 3, 4)).astype(np.float32)
    y = x.transpose(0, 3, 1, 2).reshape(1, -1) @ layer.weight.load().T
    np.testing.assert_array_equal(run(path, x=x)[0].reshape(1, -1), np.clip(y, 0, 255))

    other = save(tmp_path, nodes, constants | {"head": np.ones((5, 3, 4, 3), np.int8)}, x="float[1, 8, 4, 3]")
    assert [each.reason for each in read(other).skipped] == ["a convolution over parts of its map"]
