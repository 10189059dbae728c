"""Walk an ONNX model: its graphs and functions, the tensors stored in them, shapes and opsets.

A file may come from anywhere, so `checked_size` looks at it before anything in it is read.
"""

import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto

from study.errors import StudyError

STANDARD = ("", "ai.onnx")
"""The default domain, by both of its names."""
MAX_FILE_BYTES = 2 * 2**30
"""The most one protobuf message can hold; a larger file cannot be a model."""

MOST_NODES = 400_000
"""Nodes, those of a function once for each call: onnx infers shapes in every call."""

RANDOM = re.compile("Random(Normal|Uniform)(Like)?|Multinomial|Bernoulli|Sampling")
"""Operators that draw random numbers."""
UNNAMED = frozenset(("", "?", "*", "-1", "any", "dynamic", "none", "null", "undefined", "unk", "unknown", "variable"))
"""What exporters write for each dimension that has no name: two of one tensor need not be equal."""

Body = onnx.GraphProto | onnx.FunctionProto
Dimensions = tuple[int | str | None, ...]
"""A shape: a number, the name of a dimension that is not fixed, or None for one with neither."""


NO_MODEL = "expected an ONNX model, found other bytes or a part of one"
"""What every command says of a file that cannot be parsed."""


def checked_size(path: Path) -> int:
    """The bytes of a file that may be a model.

    Raises:
        StudyError: it is no plain file, empty or larger than any model can be; the message does not name it.
        OSError: it is missing or not accessible.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise StudyError(f"expected an ONNX file, found {'a folder' if path.is_dir() else 'no plain file'}")
    if not 0 < status.st_size <= MAX_FILE_BYTES:
        raise StudyError(f"expected an ONNX file of 1 to {MAX_FILE_BYTES} bytes, found {status.st_size}")
    return status.st_size


def bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """The main graph first, then the functions, then the graphs inside nodes of any of them."""
    waiting: list[Body] = [model.graph, *model.functions]
    for body in waiting:  # which grows
        yield body
        waiting += (graph for node in body.node for attribute in node.attribute for graph in subgraphs(attribute))


def check_calls(model: onnx.ModelProto) -> None:
    """Refuse functions that call each other without end, or so often that onnx would not end.

    Raises:
        StudyError: as said; the message does not name the file.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    called = {name: _operators(function) for name, function in functions.items()}
    calls = Counter(dict.fromkeys(functions, 1)) + _operators(
        model.graph
    )  # onnx looks at functions that nothing calls too
    total = len(model.graph.node)
    for _ in range(len(functions) + 1):  # the longest chain of calls
        calls = Counter({name: count for name, count in calls.items() if name in functions})
        total += sum(count * called[name].total() for name, count in calls.items())
        if not calls:
            return
        if total > MOST_NODES:
            break
        inner: Counter[tuple[str, str]] = Counter()
        for name, count in calls.items():
            inner.update({operator: count * number for operator, number in called[name].items()})
        calls = inner
    raise StudyError(f"expected a model of at most {MOST_NODES:,} nodes, calls included, found more or an endless call")


def _operators(body: Body) -> Counter[tuple[str, str]]:
    """How often each operator or function is in a body and in the graphs inside its nodes, by domain and name."""
    found: Counter[tuple[str, str]] = Counter()
    waiting = [body]
    for each in waiting:  # which grows
        found.update((node.domain, node.op_type) for node in each.node)
        waiting += (graph for node in each.node for attribute in node.attribute for graph in subgraphs(attribute))
    return found


def random_nodes(model: onnx.ModelProto) -> Iterator[str]:
    """The nodes that draw random numbers, those in functions and in graphs inside nodes too, each with its operator."""
    for node in (node for body in bodies(model) for node in body.node):
        trains = node.op_type == "Dropout" and any(node.input[2:3])
        if trains or RANDOM.fullmatch(node.op_type):
            yield f"{node.name or next(iter(node.output), '')!r} ({node.op_type})"


def subgraphs(attribute: AttributeProto) -> list[onnx.GraphProto]:
    """The graphs that an attribute holds, even if it declares another type."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def has_subgraph(node: onnx.NodeProto) -> bool:
    """Whether the node holds a graph, or names one of the function around it: such a node may use any value there."""
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return any(attribute.type in kinds or subgraphs(attribute) for attribute in node.attribute)


def initializers(body: Body) -> Iterator[onnx.TensorProto]:
    """The tensors stored in a graph, of a sparse one its values and their indices; a function has none."""
    if isinstance(body, onnx.GraphProto):
        yield from body.initializer
        for sparse in body.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors in the attributes of these nodes, but not in the graphs there; of a sparse one likewise both."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors
        for sparse in [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []:
            yield from (sparse.values, sparse.indices)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in a file, including those in functions and in graphs inside nodes."""
    for body in bodies(model):
        yield from initializers(body)
        yield from attribute_tensors(body.node)


def dimensions(kind: onnx.TypeProto) -> Dimensions | None:
    """A tensor's shape as far as the file declares it; older files leave a dimension open by a negative number."""
    if not kind.tensor_type.HasField("shape"):
        return None
    names = (None if size.dim_param.lower() in UNNAMED else size.dim_param for size in kind.tensor_type.shape.dim)
    numbers = (size.dim_value if size.HasField("dim_value") else -1 for size in kind.tensor_type.shape.dim)
    return tuple(number if number >= 0 else name for number, name in zip(numbers, names, strict=True))


def opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """The version of each domain; the standard one is called ""."""
    return {("" if each.domain in STANDARD else each.domain): each.version for each in imports}
