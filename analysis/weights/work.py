"""Multiply-accumulates of a model for one item, and those of them whose weight is not zero.

What a perfect engine could leave out by skipping zeros, over the whole network: convolutions are counted too. Each
element of an output takes as many as the filter has weights, so padding is counted as if it were data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper

from analysis.weights.matrix import BLOCK
from analysis.weights.protobuf import skeleton
from analysis.weights.shapes import Shape, shapes
from analysis.weights.tensors import Opened, Source, shape_of
from study.onnx_data import plain
from study.onnx_graph import STANDARD, has_subgraph, opsets

PRODUCTS = ("Conv", "Gemm", "MatMul")
OTHERS = {"Attention", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "MatMulInteger"}
OTHERS |= {"QLinearConv", "QLinearMatMul", "RNN"}
"""Operators with products that are not counted; a file with one of them, or one of another domain, has no count."""


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates for one item of a batch."""

    macs: int
    nonzero: int
    """Those with a weight that is not zero; products of two computed values count in full."""


def work(path: Path, allow_root: Path | None = None) -> Work | None:
    """The multiply-accumulates of an ONNX file; None where they are not certain: a shape is unknown, a product is in
    a branch or function, or an operator may contain other products.

    Raises:
        StudyError: the file cannot be read; `analysis.weights.layers.read` says more of such a file.
    """
    try:
        file = plain(path)
        with file.open() as content:
            bare = skeleton(content, file.size)
        opened = Opened(file, bare.marker, allow_root)
        return _counted(bare.model, opened)
    except (OSError, DecodeError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError):
        return None


def _counted(model: onnx.ModelProto, opened: Opened) -> Work | None:
    graph = model.graph
    if model.functions or any(has_subgraph(node) or node.domain not in STANDARD for node in graph.node):
        return None
    if any(node.op_type in OTHERS for node in graph.node):
        return None
    for tensor in graph.sparse_initializer:  # whose shapes are inferred from like those of inputs
        kind = helper.make_tensor_value_info(tensor.values.name, tensor.values.data_type, shape_of(tensor))
        graph.input.append(kind)
    known = shapes(graph, opsets(model.opset_import).get("", 1))
    stored: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
    quantised = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    total = nonzero = 0
    shares: dict[str, float] = {}
    for node in graph.node:
        if node.op_type not in PRODUCTS:
            continue
        name = node.input[1]
        shape = known.get(name)
        if name in stored:
            shape = tuple(stored[name].dims)
            shares[name] = shares.get(name) or _share(opened.source(stored[name], (None, name)))
        elif name in sparse:
            shape = shape_of(sparse[name])
            shares[name] = shape_of(sparse[name].values)[0] / max(1, prod(shape))
        elif name in quantised:
            codes, *others = (stored.get(one) for one in (quantised[name].input[0], *quantised[name].input[2:]))
            if codes is None or None in others:
                return None
            zeros = [opened.source(one, (None, one.name)).read(0, prod(one.dims)) for one in others if one is not None]
            zero = zeros[0].reshape(-1) if zeros else np.zeros(1)
            if (zero != zero[0]).any():
                return None
            shape = tuple(codes.dims)
            shares[name] = _share(opened.source(codes, (None, codes.name)), zero[0])
        macs = _macs(node, known, shape)
        if macs is None:
            return None
        total += macs
        nonzero += round(macs * shares.get(name, 1.0))
    return Work(total, nonzero)


def _macs(node: onnx.NodeProto, known: Mapping[str, Shape], weight: Shape | None) -> int | None:
    """Of one node; the first axis of its output is the batch."""
    output = known.get(node.output[0])
    if weight is None or output is None or not output:
        return None
    if node.op_type == "Conv":
        sizes = (*output[1:], *weight[1:])
    elif node.op_type == "Gemm":
        sizes = weight
    else:
        sizes = (*output[1:], weight[-2] if len(weight) > 1 else weight[0])
    return None if None in sizes else prod(size for size in sizes if size is not None)


def _share(source: Source, zero: Any = 0) -> float:
    """The share of the numbers that is not `zero`."""
    found = sum(
        int(np.count_nonzero(source.read(start, min(start + BLOCK, source.size)) != zero))
        for start in range(0, source.size, BLOCK)
    )
    return found / source.size if source.size else 0.0
