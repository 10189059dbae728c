"""The check of each rule in export/portable/rules.py: it yields a description of every violation in a file.

The file may come from anywhere: nothing outside it is read, and the descriptions are ASCII without control characters.
"""

import re
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto, TensorProto, ValueInfoProto, checker, defs, external_data_helper, helper, shape_inference

from study.onnx_graph import STANDARD, Dimensions, attribute_tensors, bodies, dimensions, has_subgraph, initializers
from study.onnx_graph import opsets as versions
from study.variants import OPSET

IR_VERSION = 8
"""The newest that every tested runtime loads; only a newer opset may need a newer one."""
REFUSED = ("Dropout", "BatchNormalization", "Identity", "Constant", "Shape", "ReduceMean")
BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Max", "Mean", "Min", "Sum", "Where", "Expand"}
BROADCASTING |= {"And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"}
BROADCASTING |= {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
"""Operators that broadcast their inputs to a common shape."""
LISTED = 5
"""Maximum number of items in a list of a description."""
_FOLDERS = r"(?:home|Users|root|tmp|usr|opt|var|mnt|media|srv|private|etc|workspace|content)"
_DRIVE = r"\b[A-Za-z]:\\\w|\\\\\w+\\|file://"
PATH = re.compile(rf"(?<![\w:/.~-])/(?:[\w.@+~-]+/)+[\w.@+~-]|{_DRIVE}")
"""An absolute path in a text."""
PATH_IN_NAME = re.compile(rf"(?<![\w:/.~-])/{_FOLDERS}/[\w.@+~-]|{_DRIVE}")
"""An absolute path in a name. Older exporters give names such as /conv1/Conv, which only look like one."""


class File:
    """A parsed file and the facts that several rules need; `opset` is the expected one.

    Raises:
        DecodeError: the bytes are not an ONNX model, or a text in it is not UTF-8.
    """

    def __init__(self, content: bytes, opset: int) -> None:
        self.content = content
        self.opset = opset
        self.model = onnx.ModelProto.FromString(content)
        if any(isinstance(text, bytes) for text in _texts(self.model)):  # which the parser accepts
            raise DecodeError("a text in it is not UTF-8")
        self.graph = self.model.graph
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}

    @cached_property
    def inputs(self) -> list[ValueInfoProto]:
        return [value for value in self.graph.input if value.name not in self.initializers]

    @cached_property
    def constants(self) -> set[str]:
        """Names of the values that do not depend on the input."""
        names = {"", *self.initializers, *(tensor.values.name for tensor in self.graph.sparse_initializer)}
        for node in self.graph.node:  # in the order in which they are computed
            if not has_subgraph(node) and names.issuperset(node.input):
                names.update(node.output)
        return names

    @cached_property
    def shapes(self) -> dict[str, Dimensions]:
        """The shapes that the file declares or onnx infers, by value."""
        try:
            graph = shape_inference.infer_shapes(self.content).graph
        except Exception:  # of any kind: thrown by onnx's C++; the full check reports it
            graph = self.graph
        values = (*graph.value_info, *graph.input, *graph.output)
        shapes = {value.name: shape for value in values if (shape := dimensions(value.type)) is not None}
        return shapes | {name: tuple(tensor.dims) for name, tensor in self.initializers.items()}


def least_ir_version(opset: int) -> int:
    """The IR version of a file of this opset: 8, or the minimum of a newer opset."""
    if opset <= OPSET:
        return IR_VERSION
    try:
        return max(IR_VERSION, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
    except ValueError:  # an opset that onnx does not know yet
        return IR_VERSION


def shown(text: str, most: int = 60) -> str:
    """A text from a file in ASCII, without control characters, cut to `most` characters."""
    return ascii(text[:most])[1:-1] + ("..." if len(text) > most else "")


def external_tensors(file: File) -> Iterator[str]:
    for tensor in _tensors(file.model):
        if external_data_helper.uses_external_data(tensor):
            yield f"tensor '{shown(tensor.name)}' lies in another file"


def opsets(file: File) -> Iterator[str]:
    found = [(shown(each.domain) or "ai.onnx", each.version) for each in file.model.opset_import]
    if found != [("ai.onnx", file.opset)]:
        listed = ", ".join(f"{domain} {version}" for domain, version in found[:LISTED]) or "none"
        yield f"expected opset {file.opset} of ai.onnx alone, found {listed}{', ...' if len(found) > LISTED else ''}"


def ir_version(file: File) -> Iterator[str]:
    newest = least_ir_version(file.opset)
    if not 0 < file.model.ir_version <= newest:
        yield f"expected IR version {newest} or lower, found {file.model.ir_version}"


def signature(file: File) -> Iterator[str]:
    for kind, values in (("input", file.inputs), ("output", file.graph.output)):
        if len(values) != 1:
            yield f"expected one {kind}, found {len(values)}"
    batches: list[int | str | None] = []
    for value in (*file.inputs, *file.graph.output):
        shape = dimensions(value.type)
        if not shape or not isinstance(shape[0], str):
            yield f"'{shown(value.name)}' has no named batch dimension"
        elif any(not isinstance(size, int) or size < 1 for size in shape[1:]):
            yield f"'{shown(value.name)}' has another dimension that is not a positive constant"
        batches += (shape or ())[:1]
    if len({batch for batch in batches if isinstance(batch, str)}) > 1:
        yield f"the batch dimensions differ: {', '.join(shown(str(batch or '')) for batch in batches[:LISTED])}"


def constants(file: File) -> Iterator[str]:
    for value in file.graph.input:
        if value.name in file.initializers:
            yield f"initializer '{shown(value.name)}' is also an input"
    for tensor in file.graph.sparse_initializer:
        yield f"initializer '{shown(tensor.values.name)}' is sparse"
    for function in file.model.functions:
        yield f"function '{shown(function.name)}'"


def operators(file: File) -> Iterator[str]:
    opset = versions(file.model.opset_import).get("", file.opset)
    for node in file.graph.node:
        if node.domain not in STANDARD:
            yield f"{_named(node)} belongs to the domain '{shown(node.domain)}'"
        elif node.op_type in REFUSED:
            yield _named(node)
        elif has_subgraph(node):
            yield f"{_named(node)} contains a graph"
        elif not _known(node.op_type, opset):
            yield f"{_named(node)} is not an operator of opset {opset}"


def reshapes(file: File) -> Iterator[str]:
    for node in file.graph.node:
        if node.op_type != "Reshape" or node.domain not in STANDARD:
            continue
        if any(attribute.name == "allowzero" for attribute in node.attribute):
            yield f"{_named(node)} has allowzero"
        if node.input[:1] and node.input[0] in file.constants:
            continue
        if len(node.input) < 2 or node.input[1] not in file.constants:
            yield f"{_named(node)} has a computed shape"
            continue
        tensor = file.initializers.get(node.input[1])
        first = _first_number(tensor) if tensor else -1
        if first > 0:
            yield f"{_named(node)} has a fixed batch of {first} in its shape"


def broadcasts(file: File) -> Iterator[str]:
    for node in file.graph.node:
        if node.domain not in STANDARD:
            continue
        if node.op_type == "Mul" and len(node.input) == 2 and node.input[0] == node.input[1]:
            yield f"{_named(node)} has the same value as both inputs"
        elif node.op_type in BROADCASTING and node.output:
            variable = [name for name in node.input if name not in file.constants]
            output = file.shapes.get(node.output[0])
            if output and variable and all(_grows(file.shapes.get(name), output) for name in variable):
                inputs = " and ".join(_listed(file.shapes[name]) for name in variable[:LISTED])
                yield f"{_named(node)} broadcasts {inputs} to {_listed(output)}"


def _grows(shape: Dimensions | None, output: Dimensions) -> bool:
    """Whether a broadcast certainly enlarges a value of this shape, by another axis or a longer one."""
    if shape is None or len(shape) > len(output):
        return False
    return len(shape) < len(output) or any(a == 1 and b not in (1, None) for a, b in zip(shape, output, strict=True))


def annotations(file: File) -> Iterator[str]:
    model, graph = file.model, file.graph
    if model.doc_string:
        yield "the model has a doc string"
    for key, value in ((each.key, each.value) for each in model.metadata_props):
        if PATH.search(key) or PATH.search(value):
            yield f"the model's metadata '{shown(key)}' contains a path"
    if PATH_IN_NAME.search(model.producer_name):
        yield "the producer's name is a path"
    annotated: list[tuple[str, Any]] = [("the graph", graph)]
    annotated += [(_named(node), node) for node in graph.node]
    annotated += [(f"'{shown(v.name)}'", v) for v in (*graph.input, *graph.output, *graph.value_info)]
    annotated += [(f"tensor '{shown(tensor.name)}'", tensor) for tensor in graph.initializer]
    annotated += [(f"function '{shown(function.name)}'", function) for function in model.functions]
    annotated += [(_named(node), node) for function in model.functions for node in function.node]
    for label, message in annotated:
        if message.doc_string:
            yield f"{label} has a doc string"
        if message.metadata_props:
            yield f"{label} has metadata"
        if PATH_IN_NAME.search(message.name):
            yield f"{label}: its name is a path"
    for node in graph.node:
        texts = (text for attribute in node.attribute for text in (attribute.s, *attribute.strings))
        if any(PATH.search(text.decode(errors="replace")) for text in texts):
            yield f"{_named(node)} has a path in an attribute"


def full_check(file: File) -> Iterator[str]:
    if any(external_data_helper.uses_external_data(tensor) for tensor in _tensors(file.model)):
        return  # the checker would look for them on the disk; R1 reports them
    try:
        checker.check_model(file.content, full_check=True)
    except Exception as error:  # of any kind: thrown by onnx's C++
        yield shown(" ".join(str(error).split()), 200) or type(error).__name__


def not_whole(file: File) -> Iterator[str]:
    if not file.graph.node or not file.graph.output:
        yield "the graph has no nodes or no outputs"


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every string field of the file; as bytes where it is not UTF-8."""
    messages: list[Any] = [model]
    while messages:
        for field, value in messages.pop().ListFields():
            if field.type == field.TYPE_STRING:
                yield from [value] if isinstance(value, str | bytes) else value
            elif field.type == field.TYPE_MESSAGE:
                messages += [value] if hasattr(value, "ListFields") else value


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file, including those in subgraphs and functions."""
    for body in bodies(model):
        yield from initializers(body)
        yield from attribute_tensors(body.node)


@cache
def _known(op_type: str, opset: int) -> bool:
    try:
        return not defs.get_schema(op_type, max(1, min(opset, 2**31 - 1)), "").deprecated
    except defs.SchemaError:
        return False


def _first_number(tensor: TensorProto) -> int:
    """The first number of an int64 tensor; -1 where it has none."""
    if tensor.data_type != TensorProto.INT64:
        return -1
    if tensor.raw_data:
        return int.from_bytes(tensor.raw_data[:8], "little", signed=True)
    return tensor.int64_data[0] if tensor.int64_data else -1


def _listed(shape: Dimensions) -> str:
    sizes = ", ".join("?" if size is None else shown(str(size), 20) for size in shape[:8])
    return f"[{sizes}{', ...' if len(shape) > 8 else ''}]"


def _named(node: NodeProto) -> str:
    name = node.name or next(iter(node.output), "")
    return f"node '{shown(name)}' ({shown(node.op_type)})"
