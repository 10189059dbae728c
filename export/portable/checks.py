"""The check of each rule in export/portable/rules.py: it yields every violation in a file, and what it breaks.

The file may come from anywhere: nothing outside it is read, and the descriptions are ASCII without control characters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnx import NodeProto, TensorProto, checker, defs, external_data_helper, helper

from export.portable import remedies
from export.portable.engines import (
    BOOLEANS,
    EVERYWHERE,
    EXTERNAL,
    FUNCTIONS,
    INTEGERS,
    MICROSOFT,
    ML,
    NONE,
    NOT_TENSORS,
    SIZES,
    SPARSE,
    VECTORS,
    Affected,
    affected,
    affected_by_type,
    reads,
)
from export.portable.parsed import File
from export.portable.remedies import Remedy
from study.onnx_graph import STANDARD, bodies, dimensions, has_subgraph, tensors
from study.onnx_graph import opsets as versions
from study.variants import OPSET

IR_VERSION = 8
"""The newest that every tested runtime loads; only a newer opset may need a newer one."""
REFUSED = ("Dropout", "BatchNormalization", "Identity", "Constant", "Shape", "ReduceMean")
WHOLE_NUMBERS = {TensorProto.INT64, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8}
LISTED = 5
"""Maximum number of items in a list of a description."""
CHECKER_ALONE = (
    "in initializer but not in graph input",
    "Field 'shape' of 'type' is required",
    "higher than the checker's",
)
"""Complaints of onnx's checker about files that some runtimes run."""
_FOLDERS = r"(?:home|Users|root|tmp|usr|opt|var|mnt|media|srv|private|etc|workspace|content)"
_DRIVE = r"\b[A-Za-z]:\\\w|\\\\\w+\\|file://"
PATH = re.compile(rf"(?<![\w:/.~-])/(?:[\w.@+~-]+/)+[\w.@+~-]|{_DRIVE}")
"""An absolute path in a text."""
PATH_IN_NAME = re.compile(rf"(?<![\w:/.~-])/{_FOLDERS}/[\w.@+~-]|{_DRIVE}")
"""An absolute path in a name. Older exporters give names such as /conv1/Conv, which only look like one."""


@dataclass(frozen=True)
class Finding:
    """A violation of a rule."""

    description: str
    remedy: Remedy
    affects: Affected = NONE
    """None if only its form differs."""


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


def external_tensors(file: File) -> Iterator[Finding]:
    for tensor in tensors(file.model):
        if external_data_helper.uses_external_data(tensor):
            yield Finding(f"tensor '{shown(tensor.name)}' lies in another file", remedies.INLINE, affected(EXTERNAL))


def opsets(file: File) -> Iterator[Finding]:
    found = versions(file.model.opset_import)
    version = found.pop("", None)
    if version is None:
        yield Finding("expected an opset of ai.onnx, found none", remedies.IMPORT, EVERYWHERE)
    elif version != file.opset:
        since, refused = reads(opset=version)
        yield Finding(f"expected opset {file.opset}, found {version}{since}", remedies.opset(file.opset), refused)
    unused = [shown(domain, 30) for domain in found.keys() - file.domains]
    if unused:
        listed = ", ".join(sorted(unused)[:LISTED]) + (", ..." if len(unused) > LISTED else "")
        yield Finding(f"no node uses the domains {listed}", remedies.DOMAINS)


def ir_version(file: File) -> Iterator[Finding]:
    newest, found = least_ir_version(file.opset), file.model.ir_version
    if not 0 < found <= newest:
        since, refused = reads(ir=found)
        yield Finding(f"expected IR version {newest} or lower, found {found}{since}", remedies.ir(newest), refused)


def signature(file: File) -> Iterator[Finding]:
    for kind, values in (("input", file.inputs), ("output", file.graph.output)):
        if len(values) != 1:
            yield Finding(f"it has {len(values)} {kind}s", remedies.SEVERAL)
    batches: dict[str, None] = {}
    each = (value.type.tensor_type.shape.dim[1:] for value in (*file.inputs, *file.graph.output))
    sizes = remedies.sizes([size.dim_param for sizes in each for size in sizes if not size.HasField("dim_value")])
    for value in (*file.inputs, *file.graph.output):
        kind = value.type.WhichOneof("value")
        if kind not in ("tensor_type", None):
            kind = kind.removesuffix("_type")
            described = f"'{shown(value.name)}' is no tensor but {'an' if kind[0] == 'o' else 'a'} {kind}"
            yield Finding(described, remedies.TENSORS, affected(NOT_TENSORS))
            continue
        shape = dimensions(value.type)
        if not shape or not isinstance(shape[0], str):
            yield Finding(f"'{shown(value.name)}' has no named batch dimension", remedies.BATCH)
        else:
            batches.setdefault(shape[0])
        free = [axis for axis, size in enumerate(shape or ()) if axis and not isinstance(size, int)]
        if free:
            listed = f"{'axes' if len(free) > 1 else 'axis'} {', '.join(map(str, free[:LISTED]))}"
            yield Finding(f"'{shown(value.name)}' has no fixed size in {listed}", sizes, affected(SIZES))
    if len(batches) > 1:
        listed = ", ".join(shown(batch) for batch in list(batches)[:LISTED])
        yield Finding(f"the batch dimensions have several names: {listed}", remedies.BATCH)


def constants(file: File) -> Iterator[Finding]:
    for value in file.graph.input:
        if value.name in file.initializers:
            yield Finding(f"initializer '{shown(value.name)}' is also an input", remedies.WEIGHTS)
    for tensor in file.graph.sparse_initializer:
        yield Finding(f"initializer '{shown(tensor.values.name)}' is sparse", remedies.DENSE, affected(SPARSE))
    for function in file.model.functions:
        yield Finding(f"function '{shown(function.name)}'", remedies.FUNCTIONS, affected(FUNCTIONS))


def operators(file: File) -> Iterator[Finding]:
    opset = versions(file.model.opset_import).get("", file.opset)
    local = {(function.domain, function.name) for function in file.model.functions}
    for node in file.graph.node:
        if node.domain not in STANDARD:
            described = f"{named(node)} belongs to the domain '{shown(node.domain)}'"
            if (node.domain, node.op_type) in local:
                yield Finding(described, remedies.FUNCTIONS, affected(FUNCTIONS))
            elif node.domain in (MICROSOFT, ML):
                remedy = remedies.VENDOR if node.domain == MICROSOFT else remedies.SPLIT
                yield Finding(described, remedy, affected(node.domain, f"{node.domain}.{node.op_type}"))
            else:
                yield Finding(described, remedies.VENDOR, EVERYWHERE)
        elif node.op_type in REFUSED:
            yield Finding(named(node), folding(file))
        elif has_subgraph(node):
            yield Finding(f"{named(node)} contains a graph", folding(file))
        elif not _known(node.op_type, opset):
            yield Finding(
                f"{named(node)} is not an operator of opset {opset}", remedies.since(node.op_type), EVERYWHERE
            )


def lacking_operators(file: File) -> Iterator[Finding]:
    """Operators of the default domain that a runtime lacks, wherever they are in the file: each once."""
    used = {node.op_type for body in bodies(file.model) for node in body.node if node.domain in STANDARD}
    for operator in sorted(used):
        if (affects := affected(operator)) != NONE:
            yield Finding(f"operator {shown(operator)}", remedies.SPLIT, affects)


def element_types(file: File) -> Iterator[Finding]:
    """Element types that a runtime lacks, or in which nothing was tried there, and matrix products of other forms."""
    nodes = [node for body in bodies(file.model) for node in body.node if node.domain in STANDARD]
    casts = [each.i for node in nodes if node.op_type == "Cast" for each in node.attribute if each.name == "to"]
    found = {*file.types.values(), *(tensor.data_type for tensor in tensors(file.model)), *casts}
    for number in sorted(found.intersection(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}):
        kind = TensorProto.DataType.Name(number).lower()
        if (affects := affected_by_type(kind)) != NONE:
            yield Finding(f"element type {kind}", remedies.FLOAT32, affects)
    for value in file.inputs:
        if value.type.tensor_type.elem_type == TensorProto.BOOL:
            yield Finding(f"input '{shown(value.name)}' is boolean", remedies.NUMBERS, affected(BOOLEANS))
    for node in file.graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.domain in STANDARD:
            if any(file.types.get(name) in WHOLE_NUMBERS for name in node.input[:2]):
                yield Finding(f"{named(node)} multiplies integers", remedies.FLOAT32, affected(INTEGERS))
            if any(len(file.shapes.get(name) or (0, 0)) == 1 for name in node.input[:2]):
                yield Finding(f"{named(node)} multiplies a vector", remedies.MATRIX, affected(VECTORS))


def folding(file: File) -> Remedy:
    """onnxslim fails at outputs that are no tensors, and at operators of ai.onnx.ml."""
    tensors_alone = all(value.type.WhichOneof("value") in ("tensor_type", None) for value in file.graph.output)
    return remedies.FOLD if tensors_alone and ML not in file.domains else remedies.FOLDED


def annotations(file: File) -> Iterator[Finding]:
    model, graph = file.model, file.graph
    if model.doc_string:
        yield Finding("the model has a doc string", remedies.STRIP)
    for key, value in ((each.key, each.value) for each in model.metadata_props):
        if PATH.search(key) or PATH.search(value):
            yield Finding(f"the model's metadata '{shown(key)}' contains a path", remedies.METADATA)
    if PATH_IN_NAME.search(model.producer_name):
        yield Finding("the producer's name is a path", remedies.RENAME)
    annotated: list[tuple[str, Any]] = [("the graph", graph)]
    annotated += [(named(node), node) for node in graph.node]
    annotated += [(f"'{shown(v.name)}'", v) for v in (*graph.input, *graph.output, *graph.value_info)]
    annotated += [(f"tensor '{shown(tensor.name)}'", tensor) for tensor in graph.initializer]
    annotated += [(f"function '{shown(function.name)}'", function) for function in model.functions]
    annotated += [(named(node), node) for function in model.functions for node in function.node]
    for label, message in annotated:
        if message.doc_string:
            yield Finding(f"{label} has a doc string", remedies.STRIP)
        if message.metadata_props:
            yield Finding(f"{label} has metadata", remedies.STRIP)
        if PATH_IN_NAME.search(message.name):
            yield Finding(f"{label}: its name is a path", remedies.RENAME)
    for node in graph.node:
        texts = (text for attribute in node.attribute for text in (attribute.s, *attribute.strings))
        if any(PATH.search(text.decode(errors="replace")) for text in texts):
            yield Finding(f"{named(node)} has a path in an attribute", remedies.RENAME)


def full_check(file: File) -> Iterator[Finding]:
    if any(external_data_helper.uses_external_data(tensor) for tensor in tensors(file.model)):
        return  # the checker would look for them on the disk; R1 reports them
    try:
        checker.check_model(file.content, full_check=True)
    except Exception as error:  # of any kind: thrown by onnx's C++
        message = " ".join(str(error).split())
        # onnx may be at fault in its own definition of an operator, and with sparse weights, which it does not find
        doubtful = message.count("Inference error(s)") > 1 or bool(file.graph.sparse_initializer)
        doubtful |= any(text in message for text in CHECKER_ALONE)
        affects = Affected(perhaps=EVERYWHERE.breaks) if doubtful else EVERYWHERE
        yield Finding(shown(message, 200) or type(error).__name__, remedies.VALID, affects)


def not_whole(file: File) -> Iterator[Finding]:
    if not file.graph.node or not file.graph.output:
        yield Finding("the graph has no nodes or no outputs", remedies.WHOLE, EVERYWHERE)


@cache
def _known(op_type: str, opset: int) -> bool:
    try:
        return not defs.get_schema(op_type, max(1, min(opset, 2**31 - 1)), "").deprecated
    except defs.SchemaError:
        return False


def named(node: NodeProto) -> str:
    name = node.name or next(iter(node.output), "")
    return f"node '{shown(name)}' ({shown(node.op_type)})"
