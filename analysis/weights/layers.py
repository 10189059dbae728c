"""The fully-connected layers of any ONNX file, read from the file alone.

Nodes are walked, not initializers: a two-dimensional initializer may as well be an embedding. The file is data from
anywhere: any fault in it ends in one `StudyError` that names it, and the cost of reading it is bounded
(docs/method.md, "Hostile files").
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from analysis.weights import names
from analysis.weights.matrix import Matrix
from analysis.weights.node import Node
from analysis.weights.protobuf import skeleton
from analysis.weights.tensors import Opened, Stored
from analysis.weights.walk import Found, Skipped, Walk
from study.errors import StudyError, escaped, one_line
from study.onnx_data import plain
from study.onnx_graph import NO_MODEL
from study.records.analysis import Role

OLDEST_ONNX = (1, 21)
"""Those before follow paths out of a model's folder: CVE-2022-25882, 2024-27318, 2024-5187, 2026-27489, 2026-34445."""
MOST_USES = 8
"""How often a stored tensor, or a byte of a file, is read on average: products may use it with other factors."""


@dataclass(frozen=True)
class Layer:
    """One fully-connected layer: y = x @ weight.T (+ bias); `weight` is (out, in), all scales applied.

    `name` is its module's path where the exporter left one, and unique in the file; `node` is the node's path there.
    `operand` is the input of the node that holds the weight, -1 for an attribute; 0 is y = weight @ x. `tensor` is the
    stored tensor, `pattern` the operators that make a weight of it, `role` one of fc, conv-as-fc, pointwise and
    recurrent.
    `tied_to` is the first layer with the same stored numbers, or "".
    """

    name: str
    node: str
    operator: str
    operand: int
    tensor: str
    weight: Matrix
    pattern: str
    role: Role
    in_graph: Node = field(repr=False)
    tied_to: str = ""


@dataclass(frozen=True)
class Weights:
    """The layers of a file, and the nodes that look like one, in the order of its nodes."""

    layers: tuple[Layer, ...]
    skipped: tuple[Skipped, ...]


def read(path: Path, *, allow_root: Path | None = None, pointwise: bool = False, recurrent: bool = False) -> Weights:
    """The fully-connected layers of the ONNX file at `path`; their numbers are read when needed.

    Weights in other files lie in the model's folder or below, or below the folder `allow_root` (`study.onnx_data`).
    With `pointwise` 1x1 convolutions are layers too, with `recurrent` the gates of LSTM, GRU and RNN.

    Raises:
        StudyError: the file is missing, no ONNX model or malformed, its weights lie where they may not, or it would
            take more memory or time than any model does.
    """
    if tuple(map(int, onnx.__version__.split(".")[:2])) < OLDEST_ONNX:
        raise StudyError(f"expected onnx 1.21 or newer, found the unsafe {onnx.__version__}; run `pip install -U onnx`")
    try:
        file = plain(path)
        with file.open() as content:
            bare = skeleton(content, file.size)
        if bare.model.ir_version < 1 or not bare.model.graph.node:
            raise ValueError("a file without IR version or nodes")
        optional = frozenset(["pointwise"] * pointwise + ["recurrent"] * recurrent)
        walk = Walk(bare.model, Opened(file, bare.marker, allow_root), optional).run()
        _refuse_overlaps([found.product.weight for found in walk.found])
        return Weights(tuple(_layers(walk.found, walk.uses)), tuple(walk.skipped))
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise StudyError(f"{path}: expected an ONNX model, found one that takes more memory than there is") from None
    except RecursionError:
        raise StudyError(f"{path}: expected an ONNX model, found one nested too deeply") from None
    except StudyError as error:
        message = one_line(error, 800)
        raise StudyError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    except DecodeError:
        raise StudyError(f"{path}: {NO_MODEL}") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise StudyError(
            f"{path}: expected an ONNX model, found a malformed file ({escaped(one_line(error))})"
        ) from None


def _layers(found: Sequence[Found], uses: Counter[object]) -> Iterator[Layer]:
    """Each with a name of its own, and the first of those that share its tensor."""
    sources = Counter(each.product.weight.source.key for each in found)
    taken: dict[str, int] = {}
    first: dict[object, str] = {}
    for each in found:
        product, proto = each.product, each.product.node.proto
        key = product.weight.source.key
        parameter = next((name for name in map(names.parameter, reversed(product.names)) if name), "")
        module = names.module(each.trail)
        shared = sources[key] > 1 or uses[product.literal] > 1  # then its tensor has the name of another module too
        called = (module or parameter) if shared else (parameter or module)
        path = names.path(each.trail)
        name = names.unique(escaped(called or proto.name or product.tensor or path) + product.part, taken)
        tied = first.setdefault(key, name)
        yield Layer(
            name=name,
            node=path,
            operator=proto.op_type,
            operand=product.operand,
            tensor=product.tensor,
            weight=product.weight,
            pattern=product.pattern,
            role=product.role,
            in_graph=product.node,
            tied_to="" if tied == name else tied,
        )


def _refuse_overlaps(weights: Sequence[Matrix]) -> None:
    """Refuse weights that overlap many times in a file, or are made of the same tensors again and again, differently.

    To read them all would take far longer than to read the file.
    """
    distinct = {weight.key: weight for weight in weights}
    stored = {weight.source.key: weight.source.size for weight in distinct.values()}
    if sum(weight.size for weight in distinct.values()) > MOST_USES * sum(stored.values()) + 2**22:
        raise ValueError(f"{len(distinct)} different weights made of {len(stored)} tensors")
    places = {weight.source.place for weight in weights if isinstance(weight.source, Stored)}
    for path in {place.path for place in places}:
        wanted = sum(place.length for place in places if place.path == path)
        if wanted > MOST_USES * path.stat().st_size:
            raise ValueError(f"{wanted} bytes of weights in {path.name}, which has {path.stat().st_size}")
