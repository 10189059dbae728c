"""The checks of an ONNX file that look at its shapes: reshapes, broadcasts and a free batch."""

from collections.abc import Iterator, Sequence

from onnx import NodeProto, TensorProto, external_data_helper, numpy_helper

from export.portable import remedies
from export.portable.checks import LISTED, Finding, folding, named, shown
from export.portable.engines import BATCHES, BROADCASTS, COMPUTED, KEEPS_BATCH, affected
from export.portable.parsed import File
from study.onnx_graph import STANDARD, Dimensions

BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Max", "Mean", "Min", "Sum", "Where", "Expand"}
BROADCASTING |= {"And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"}
BROADCASTING |= {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
"""Operators that broadcast their inputs to a common shape."""
MOST_AXES = 64
"""Axes of a tensor, at most: a longer list of numbers is no shape."""


def reshapes(file: File) -> Iterator[Finding]:
    fixed = []
    for node in file.graph.node:
        if node.op_type not in ("Reshape", "Expand") or node.domain not in STANDARD:
            continue
        computed = len(node.input) < 2 or node.input[1] not in file.constants
        if node.op_type == "Expand":
            if computed:
                yield Finding(f"{named(node)} has a computed shape", folding(file), affected(COMPUTED))
            continue
        if any(attribute.name == "allowzero" for attribute in node.attribute):
            yield Finding(f"{named(node)} has allowzero", remedies.ALLOWZERO)
        if node.input[:1] and node.input[0] in file.constants:
            continue
        if computed:
            yield Finding(f"{named(node)} has a computed shape", folding(file), affected(COMPUTED))
        elif (tensor := file.initializers.get(node.input[1])) and _fixes_batch(file, node, _numbers(tensor)):
            fixed.append((node, tensor))
    remedy = remedies.reshape(tensor.name for _, tensor in fixed)
    for node, tensor in fixed:
        yield Finding(f"{named(node)} has a fixed batch of {_numbers(tensor)[0]} in its shape", remedy)


def _fixes_batch(file: File, node: NodeProto, shape: Sequence[int]) -> bool:
    """Whether the first number of a Reshape's shape is a batch size, as far as the shapes in the file show."""
    if not shape or shape[0] <= 0:
        return False
    batches = {(file.shapes.get(value.name) or (None,))[0] for value in file.inputs}
    kept = (file.shapes.get(node.input[0]) or (None,))[0]
    if all(isinstance(batch, int) for batch in batches):
        return shape[0] in batches and shape[0] != kept  # otherwise another axis of fixed size came to the front
    if -1 in shape and kept is not None:
        return kept in batches  # of another first axis the batch is a part, and goes where the -1 is
    return shape[0] != kept


def broadcasts(file: File) -> Iterator[Finding]:
    for node in file.graph.node:
        if node.domain not in STANDARD:
            continue
        if node.op_type == "Mul" and len(node.input) == 2 and node.input[0] == node.input[1]:
            yield Finding(f"{named(node)} has the same value as both inputs", remedies.POW)
        elif node.op_type in BROADCASTING and node.output:
            data = node.input[:1] if node.op_type == "Expand" else node.input  # its second one is a shape
            variable = [name for name in data if name not in file.constants]
            output = file.shapes.get(node.output[0])
            if output and variable and all(_grows(file.shapes.get(name), output) for name in variable):
                inputs = " and ".join(_listed(file.shapes[name]) for name in variable[:LISTED])
                described = f"{named(node)} broadcasts {inputs} to {_listed(output)}"
                remedy = remedies.PRODUCT if node.op_type == "Sub" else remedies.RANK
                yield Finding(described, remedy, affected(BROADCASTS))


def _grows(shape: Dimensions | None, output: Dimensions) -> bool:
    """Whether a broadcast certainly enlarges a value of this shape, by another axis or a longer one."""
    if shape is None or len(shape) > len(output):
        return False
    return len(shape) < len(output) or any(a == 1 and b not in (1, None) for a, b in zip(shape, output, strict=True))


def free_batches(file: File) -> Iterator[Finding]:
    """A free batch, and the first node that was not tried with one, or may move it to another axis."""
    shapes = [file.shapes.get(value.name) for value in file.inputs]
    if not any(shape and not isinstance(shape[0], int) for shape in shapes):
        return
    for node in file.graph.node:
        variable = not file.constants.issuperset(node.output)
        if variable and node.domain in STANDARD and not _keeps_batch(file, node):
            yield Finding(
                f"the batch is free, and {named(node)} may not keep it", remedies.ONE_BATCH, affected(BATCHES)
            )
            return


def _keeps_batch(file: File, node: NodeProto) -> bool:
    """Whether the batch certainly stays the first axis of two or more."""
    if any(len(file.shapes.get(name) or ()) < 2 for name in node.output if name):
        return False
    if node.op_type != "Reshape":
        return node.op_type in KEEPS_BATCH
    shape = file.initializers.get(node.input[1]) if len(node.input) > 1 else None
    return shape is not None and list(shape.dims) == [2] and _numbers(shape)[:1] in ([-1], [0])


def _numbers(tensor: TensorProto) -> list[int]:
    """The numbers of a shape; none for a tensor that is no shape, is damaged or lies outside the file."""
    if tensor.data_type != TensorProto.INT64 or len(tensor.dims) != 1 or tensor.dims[0] > MOST_AXES:
        return []
    if external_data_helper.uses_external_data(tensor):
        return []
    try:
        return [int(each) for each in numpy_helper.to_array(tensor)]
    except ValueError:  # fewer numbers than its size says
        return []


def _listed(shape: Dimensions) -> str:
    sizes = ", ".join("?" if size is None else shown(str(size), 20) for size in shape[:8])
    return f"[{sizes}{', ...' if len(shape) > 8 else ''}]"
