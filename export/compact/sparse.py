"""Store the weights of products as their nonzero values, where ONNX's form of that is smaller.

A `sparse_initializer` holds the values and, as int64, the position of each: 12 bytes for a float32 that is not zero,
against 4 bytes for any weight otherwise. So it is smaller only where more than two thirds are zero. ONNX Runtime makes
such a weight dense when it loads the file, and computes as before.
"""

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from export.compact.graph import FLOATS, Graph
from export.compact.removal import NothingError
from study.errors import StudyError
from study.records.compact import SparseTensor

OLDEST_IR = 5
"""The first IR version with sparse initializers."""
PRODUCTS = ("Gemm", "MatMul", "Conv")


def store_sparsely(model: ModelProto) -> tuple[SparseTensor, ...]:
    """Turn the weights of `model` into sparse initializers, in place, where that takes fewer bytes.

    Returns:
        One for each weight of rank 2 or more of a product; those that are smaller densely have `sparse_bytes` of at
        least `dense_bytes`, and are left as they are.

    Raises:
        NothingError: none is smaller.
        StudyError: the IR version has no sparse initializers.
    """
    if model.ir_version < OLDEST_IR:
        raise StudyError(f"expected IR version {OLDEST_IR} or later for sparse weights, found {model.ir_version}")
    graph = Graph(model)
    found = []
    names = {name for node in graph.nodes if node.op_type in PRODUCTS for name in node.input[1:2]}
    for name in [tensor.name for tensor in model.graph.initializer]:
        if name not in names or name not in graph.initializers:
            continue
        array = numpy_helper.to_array(graph.initializers[name])
        if array.ndim < 2 or array.dtype not in FLOATS:
            continue
        flat = array.reshape(-1)
        positions = np.flatnonzero(flat)
        one = SparseTensor(
            tensor=name,
            elements=flat.size,
            nonzero=positions.size,
            dense_bytes=flat.nbytes,
            sparse_bytes=positions.size * (flat.itemsize + 8),
        )
        found.append(one)
        if one.sparse_bytes < one.dense_bytes:
            values = numpy_helper.from_array(flat[positions], name)
            indices = numpy_helper.from_array(positions.astype(np.int64))
            model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, array.shape))
            model.graph.initializer.remove(graph.initializers[name])
    if not model.graph.sparse_initializer:
        zeros = max((1 - one.nonzero / one.elements for one in found if one.elements), default=0.0)
        raise NothingError(
            f"nothing to store sparsely: the sparsest weight has {zeros:.0%} zeros, and ONNX's sparse form, with 8 "
            "bytes for each position, is smaller only beyond two thirds"
        )
    return tuple(found)
