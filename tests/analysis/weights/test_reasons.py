"""The reason of each node that looks like a fully-connected layer and is none, or is not read."""

from pathlib import Path

import numpy as np
import pytest

from analysis.weights.layers import read
from tests.support.notation import save

SQUARE = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
BRANCHES = (
    "then_branch = a () => (float[3,3] k) { k = Identity(v) }, else_branch = b () => (float[3,3] l) { l = Neg(u) }"
)
IF = f"w = If(yes)<{BRANCHES}>"
COMPUTED, EMBEDDING = "both operands are computed", "an embedding: rows are picked, not multiplied"
PICKED = f"{COMPUTED}, one of them is picked from constants by"
REASONS: dict[str, tuple[str, str, str, str]] = {
    "attention": ("3, 3", "t = Transpose(x) y = MatMul(x, t)", "MatMul", COMPUTED),
    "attention by Einsum": ("3, 3", 'y = Einsum<equation = "ij,kj->ik">(x, x)', "Einsum", COMPUTED),
    "the rows of a table": ("3, 3", "i = Cast<to = 7>(x) y = Gather(v, i)", "Gather", EMBEDDING),
    "an embedding before a layer": (
        "3, 3",
        "i = Cast<to = 7>(x) e = Gather(v, i) t = Transpose(u) y = MatMul(e, t)",
        "Gather",
        EMBEDDING,
    ),
    "a matrix of rows that are picked": (
        "3",
        "i = Cast<to = 7>(x) e = Gather(v, i) y = MatMul(x, e)",
        "MatMul",
        f"{PICKED} Gather",
    ),
    "a matrix that If picks": ("n, 3", f"{IF} y = MatMul(x, w)", "MatMul", f"{PICKED} If"),
    "a matrix that Where picks": (
        "3, 3",
        "c = Cast<to = 9>(x) w = Where(c, u, v) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} Where",
    ),
    "a slice of a constant": (
        "3, 3",
        "i = Cast<to = 7>(x) s = Shape<start = 0, end = 1>(x) w = Slice(v, zeros, s) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} Slice",
    ),
    "a matrix of a sequence": (
        "n, 3",
        "s = SequenceConstruct(u, v) l = Shape<end = 1>(x) w = SequenceAt(s, l) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} SequenceAt",
    ),
    "a matrix that is picked and becomes columns": (
        "n, 3",
        "i = Cast<to = 7>(x) p = Gather(cube, i) w = Unsqueeze(p, last) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} Gather",
    ),
    "rows that are picked and become a matrix": (
        "1, 3",
        "i = Cast<to = 7>(x) p = Gather(rows, i) w = Squeeze(p) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} Gather",
    ),
    "a matrix that is picked and dequantised": (
        "1",
        "i = Cast<to = 7>(x) p = Gather(small, i) w = DequantizeLinear(p, half) y = MatMul(x, w)",
        "MatMul",
        f"{PICKED} Gather",
    ),
    "Dropout in training": (
        "n, 3",
        "w = Dropout(v, half, yes) y = MatMul(x, w)",
        "MatMul",
        "it is made by Dropout as in training, which is random",
    ),
    "an Einsum without a sum": (
        "3, 3",
        'y = Einsum<equation = "ij,ij->ij">(x, v)',
        "Einsum",
        "an Einsum that sums over no axis of its constant",
    ),
    "an Einsum of three": (
        "3, 3",
        'y = Einsum<equation = "ij,jk,kl->il">(x, v, u)',
        "Einsum",
        "an Einsum whose operands are not two",
    ),
    "an Einsum with a diagonal": (
        "3, 3",
        'y = Einsum<equation = "ij,jj->i">(x, v)',
        "Einsum",
        "an Einsum that takes a diagonal",
    ),
    "an Einsum with a vector a head": (
        "n, 3, 3",
        'y = Einsum<equation = "bhd,hd->bh">(x, v)',
        "Einsum",
        "an Einsum with vectors, not a matrix",
    ),
    "an Einsum that sums the constant": (
        "3, 3",
        'y = Einsum<equation = "ij,jk->i">(x, v)',
        "Einsum",
        "an Einsum that sums over axes of its constant alone",
    ),
    "an Einsum with an ellipsis": (
        "3, 3",
        'y = Einsum<equation = "bi,...i->b...">(x, v)',
        "Einsum",
        "an Einsum whose constant has axes without a letter",
    ),
    "a vector": ("n, 3", "y = MatMul(x, row)", "MatMul", "its constant is a vector, not a matrix"),
    "a mixture of experts": (
        "n, 3",
        "y = com.microsoft.MoE<k = 1>(x, x, stack, , stack)",
        "MoE",
        "a mixture of experts in one operator, which is not read",
    ),
    "an embedding in blocks": (
        "n, 3",
        "i = Cast<to = 7>(x) y = com.microsoft.GatherBlockQuantized(v, i, v)",
        "GatherBlockQuantized",
        EMBEDDING,
    ),
    "embeddings in one operator": (
        "2, 3",
        "i = Cast<to = 6>(x) y, m = com.microsoft.EmbedLayerNormalization(i, , v, u, , row, row)",
        "EmbedLayerNormalization",
        "embeddings: rows are picked, not multiplied",
    ),
    "a rotation by positions": (
        "1, 2, 3",
        "i = Cast<to = 7>(x) y = com.microsoft.RotaryEmbedding(x, i, v, u)",
        "RotaryEmbedding",
        "a rotation by tables of positions",
    ),
    "a recurrent layer of integers": (
        "1, 2, 3",
        "y = com.microsoft.DynamicQuantizeLSTM<hidden_size = 3>(x, stack, stack)",
        "DynamicQuantizeLSTM",
        "a recurrent layer of integers, which is not read",
    ),
    "weights that are packed for one processor": (
        "n, 32",
        "y = com.microsoft.MatMulNBits<K = 32, N = 3, bits = 4, block_size = 32, weight_prepacked = 1>(x, packed, row)",
        "MatMulNBits",
        "its weights are packed for one processor (weight_prepacked)",
    ),
    "a convolution of a branch's own map, called as one outside that the kernel covers": (
        "1, 2, 3, 3",
        "t = Relu(x) y = If(yes)<then_branch = a () => (float[] k) { t = Concat<axis = 2>(x, x) k = Conv(t, map) }, "
        "else_branch = b () => (float[] l) { l = Neg(t) }>",
        "Conv",
        "a convolution over a map of unknown size",
    ),
    "a convolution in blocks of channels": (
        "1, 2, 3, 3",
        "y = com.microsoft.nchwc.Conv(x, map)",
        "Conv",
        "a convolution laid out for one processor; optimise the file only up to ONNX Runtime's level extended",
    ),
    "standard attention with constant keys": (
        "1, 2, 3, 3",
        "y = Attention(x, map, map)",
        "Attention",
        "attention, whose products are of computed operands",
    ),
    "an operator of another domain": (
        "n, 3",
        "y = acme.MatMul(x, v)",
        "MatMul",
        "the operator acme.MatMul is not read",
    ),
    "an integer convolution": (
        "1, 2, 3, 3",
        "q = Cast<to = 2>(x) i = ConvInteger(q, bytes) y = Cast<to = 1>(i)",
        "ConvInteger",
        "a convolution of integers, which is not read",
    ),
}
"""The shape of x, nodes, and the only operator that must be named, with its reason."""


@pytest.mark.parametrize("name", REASONS)
def test_a_node_that_is_no_layer_has_a_true_reason(tmp_path: Path, name: str) -> None:
    sizes, nodes, operator, reason = REASONS[name]
    constants = {"v": SQUARE, "u": SQUARE.T, "half": np.float32(0.5), "yes": np.array(True), "row": SQUARE[0]}
    constants |= {"stack": np.stack([SQUARE] * 4), "map": np.stack([[SQUARE] * 2]), "zeros": np.array([0])}
    constants |= {
        "cube": np.ones((3, 3, 3), np.float32),
        "rows": np.ones((3, 1, 3), np.float32),
        "last": np.array([-1]),
    }
    constants |= {"packed": np.ones((3, 1, 16), np.uint8)}
    constants |= {"small": np.ones((3, 3, 3), np.int8), "bytes": np.ones((2, 2, 3, 3), np.uint8)}
    weights = read(save(tmp_path, nodes, constants, x=f"float[{sizes}]"))
    assert {(each.operator, each.reason) for each in weights.skipped} == {(operator, reason)}
