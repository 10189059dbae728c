"""The weights of recurrent layers, gate by gate: y of a gate = act(x @ W.T + h @ R.T + bias).

https://onnx.ai/onnx/operators/onnx__LSTM.html, and likewise for GRU and RNN.
"""

from collections.abc import Sequence
from dataclasses import replace

from analysis.weights.matrix import Matrix
from analysis.weights.node import Node, Product, as_product, only
from analysis.weights.tensors import Held, Source, UnreadableError
from study.onnx_data import BITS

GATES = {"LSTM": ("input", "output", "forget", "cell"), "GRU": ("update", "reset", "hidden"), "RNN": ("hidden",)}
"""In the order in which they are packed."""


def recurrent(node: Node) -> Sequence[Product]:
    """X, W [directions, gates * hidden, in], R [directions, gates * hidden, hidden]: a matrix for each gate.

    One of W and R may be computed, which is then no weight.
    """
    gates, found = GATES[node.operator], []
    weights = [each for each in ((1, "W"), (2, "R")) if node.scope.known(node.input(each[0])) is not None]
    for index, letter in weights or [(1, "W")]:
        constant = only(node, index)
        if len(constant.shape) != 3 or constant.shape[1] % len(gates):
            raise ValueError(f"{node.described} has a weight of shape {list(constant.shape)}")
        if constant.quantisation is not None and constant.quantisation.scale.size > 1:
            raise UnreadableError("a recurrent layer whose gates have several scales")
        directions, height, columns = constant.shape
        rows = height // len(gates)
        for number in range(directions * len(gates)):
            direction, gate = divmod(number, len(gates))
            source = _part(constant.source, number * rows * columns, rows * columns)
            words = [("forward", "backward")[direction % 2]] if directions > 1 else []
            weight = Matrix(source, rows, columns, columns, False, constant.quantisation, 1.0, constant.rounded)
            product = as_product(node, constant, index, weight, *words, f"{letter} of the {gates[gate]} gate")
            part = ".".join(("", *words, letter, gates[gate]))
            found.append(replace(product, role="recurrent", part=part))
    return found


def _part(source: Source, start: int, size: int) -> Source:
    if isinstance(source, Held):
        return Held(source.numbers[start : start + size], source.dtype, (source.key, start, size))
    if source.dtype.name in BITS:
        raise UnreadableError(f"a recurrent layer of type {source.dtype.name}")
    width = source.dtype.itemsize
    place = replace(source.place, offset=source.place.offset + start * width, length=size * width)
    return replace(source, place=place, size=size)
