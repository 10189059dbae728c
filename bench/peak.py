"""The machine's peak: how many floating-point operations a second its fastest float32 product of matrices makes.

An engine's own rate stands beside it. The product is of square matrices, by numpy's BLAS and by the engines that the
process has loaded, with as many threads as the cases; the fastest library and size count. Each of the first processes
of a session measures for some 0.1 s, after everything else and at full speed, and the fastest call of all counts.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from bench.full_speed import Patience, timed
from study.records.bench import MatrixProduct

PROCESSES = 3
"""How many processes of a session measure it, so that one slow stretch of the machine does not decide."""
SIZES = (512, 1024, 2048)
"""Rows and columns; 512 already reaches the peak of one thread, and many threads need more."""
SECONDS = 0.02
"""Time of the calls of one library and size; a size whose single call would take longer is left out."""
FEWEST_CALLS = 2
PATIENCE_SECONDS = 0.3
Matrix = NDArray[np.float32]
Product = Callable[[Matrix], object]
"""The product of a matrix with itself."""


def matrix_products(threads: Sequence[int], patience: Patience) -> list[MatrixProduct]:
    """The peak with each number of threads.

    Args:
        patience: for the machine's full speed.
    """
    return [fastest(n, patience) for n in threads]


def fastest(threads: int, patience: Patience) -> MatrixProduct:
    """The fastest library with the smallest matrices, and the fastest of it with larger ones."""
    first = max((once(library, SIZES[0], threads, patience) for library in there()), key=_rate)
    found = [first]
    for size in SIZES[1:]:
        if 2 * size**3 / max(map(_rate, found)) > SECONDS:
            break
        found.append(once(first.library, size, threads, patience))
    return max(found, key=_rate)


def there() -> list[str]:
    """numpy, and the engines that this process has loaded."""
    return [library for library in LIBRARIES if library in sys.modules]


def once(library: str, size: int, threads: int, patience: Patience) -> MatrixProduct:
    """The fastest call of a library with matrices of this size."""
    matrix = np.random.default_rng(0).random((size, size), dtype=np.float32)
    with LIBRARIES[library](size, threads) as product:
        inputs = itertools.repeat(matrix)
        seconds = min(timed(product, inputs, 1, SECONDS, Patience(None, 0))[0])
        calls = max(FEWEST_CALLS, int(SECONDS / seconds))
        samples, _ = timed(product, inputs, calls, seconds, patience)
    return MatrixProduct(threads=threads, flops_per_second=2 * size**3 / min(samples), size=size, library=library)


def _rate(product: MatrixProduct) -> float:
    return product.flops_per_second


@contextmanager
def _numpy(size: int, threads: int) -> Iterator[Product]:
    from threadpoolctl import threadpool_limits

    out = np.empty((size, size), dtype=np.float32)
    with threadpool_limits(threads, "blas"):
        yield lambda matrix: np.matmul(matrix, matrix, out=out)


@contextmanager
def _torch(size: int, threads: int) -> Iterator[Product]:
    import torch

    before, out = torch.get_num_threads(), torch.empty(size, size)
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield lambda matrix: torch.mm(torch.from_numpy(matrix), torch.from_numpy(matrix), out=out)
    finally:
        torch.set_num_threads(before)


@contextmanager
def _onnxruntime(size: int, threads: int) -> Iterator[Product]:
    import onnxruntime
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    yield lambda matrix: session.run(None, {"x": matrix})


LIBRARIES = {"numpy": _numpy, "torch": _torch, "onnxruntime": _onnxruntime}
