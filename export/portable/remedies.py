"""How to mend each violation, in any file: Python on `model`, and what to ask of the exporter instead.

After `import numpy, onnx`, `model` is `onnx.load(FILE)`, and `onnx.save(model, FILE)` follows. Tests run each of them
on a file that needs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from onnx import defs

LONGEST = 60
"""The longest name of a size that a remedy repeats."""


@dataclass(frozen=True)
class Remedy:
    """A remedy for a violation; either part may be empty."""

    code: str
    """Python statements on `model`."""
    advice: str = ""
    """In words: an exporter's options, or what a person has to do."""

    def __str__(self) -> str:
        return "; or ".join(filter(None, (self.code, self.advice)))


INLINE = Remedy("onnx.save(onnx.load(FILE), FILE)", "torch.onnx.export(..., external_data=False)")
DOMAINS = Remedy(
    "used = [i for i in model.opset_import if i.domain in {'', *(n.domain for n in model.graph.node)}]\n"
    "del model.opset_import[:]; model.opset_import.extend(used)"
)
IMPORT = Remedy("model.opset_import.add(domain='', version=18)  # the opset in which its nodes are written")
SEVERAL = Remedy("", "nothing, unless your runtime takes one input and one output only")
TENSORS = Remedy(
    "", "export it as a tensor, as skl2onnx.to_onnx(..., options={'zipmap': False}) does for probabilities"
)
BATCH = Remedy(
    "for v in [*model.graph.input, *model.graph.output]:  # where the graph works at any batch\n"
    "    for d in v.type.tensor_type.shape.dim[:1]: d.dim_param = 'batch'",
    "torch.onnx.export(..., dynamic_shapes={NAME: {0: torch.export.Dim('batch')}}) with an example of 2",
)
ONE_BATCH = Remedy(
    "# If you use one batch size, set it; R4 then reports it, and the fix of R4 would undo this one.\n"
    "batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param\n"
    "for v in [*model.graph.input, *model.graph.output]:\n"
    "    for d in v.type.tensor_type.shape.dim:\n"
    "        if not d.HasField('dim_value') and d.dim_param == batch: d.dim_value = 1\n"
    "del model.graph.value_info[:]  # the shapes in between, which have the name of the batch",
    "try it with `python -m export conformance --onnx FILE`",
)
NUMBERS = Remedy("", "export it with a float32 input, and compare that with zero in the model")
WEIGHTS = Remedy(
    "inputs = [v for v in model.graph.input if v.name not in {t.name for t in model.graph.initializer}]\n"
    "del model.graph.input[:]; model.graph.input.extend(inputs)",
    "torch.onnx.export(..., dynamo=False, keep_initializers_as_inputs=False)",
)
DENSE = Remedy(
    "for s in model.graph.sparse_initializer:\n"
    "    values, indices = map(onnx.numpy_helper.to_array, (s.values, s.indices))\n"
    "    dense = numpy.zeros(s.dims, values.dtype)\n"
    "    dense[tuple(indices.T) if indices.ndim == 2 else numpy.unravel_index(indices, s.dims)] = values\n"
    "    model.graph.initializer.append(onnx.numpy_helper.from_array(dense, s.values.name))\n"
    "del model.graph.sparse_initializer[:]"
)
FUNCTIONS = Remedy("import onnx.inliner\nmodel = onnx.inliner.inline_local_functions(model)")
FOLD = Remedy(
    "import onnxslim  # to be installed\nmodel = onnxslim.slim(model)",
    "export in evaluation mode, with constants folded",
)
FOLDED = Remedy("", "export in evaluation mode, with constants folded")
VENDOR = Remedy("", "export again, without the optimiser or quantiser that wrote this operator")
SPLIT = Remedy("", "run the part with this operator outside the model, or choose another runtime")
FLOAT32 = Remedy("", "export it in float32, which every runtime has")
MATRIX = Remedy("", "export it with a matrix of one column or row, and drop that axis outside the model")
ALLOWZERO = Remedy(
    "for n in model.graph.node:  # where no shape has a zero\n"
    "    for a in [a for a in n.attribute if a.name == 'allowzero']: n.attribute.remove(a)"
)
POW = Remedy(
    "model.graph.initializer.append(onnx.numpy_helper.from_array(numpy.float32(2), 'two_of_squares'))\n"
    "for n in model.graph.node:\n"
    "    if n.op_type == 'Mul' and n.input[0] == n.input[1]: n.op_type, n.input[1] = 'Pow', 'two_of_squares'",
    "x ** 2 instead of x * x",
)
PRODUCT = Remedy("", "write it as a matrix product: distances as 2x.c - |c|^2 - |x|^2")
RANK = Remedy("", "nothing, unless you use OpenCV 4 or ncnn: there give its inputs the rank and sizes of the result")
STRIP = Remedy(
    "g, nodes = model.graph, [n for body in (model.graph, *model.functions) for n in body.node]\n"
    "model.doc_string = ''\n"
    "for part in [g, *nodes, *g.input, *g.output, *g.value_info, *g.initializer, *model.functions]:\n"
    "    part.doc_string = ''; del part.metadata_props[:]"
)
METADATA = Remedy("del model.metadata_props[:]")
RENAME = Remedy("", "give it another name or value before the export")
VALID = Remedy("", "mend what onnx.checker.check_model(FILE, full_check=True) reports")
WHOLE = Remedy("", "write one ModelProto in protobuf's binary format")


def sizes(names: Iterable[str]) -> Remedy:
    """To fix the free sizes of these names, "" for those without one."""
    chosen = ", ".join(f"{name!a}: 224" for name in dict.fromkeys(names) if len(name) <= LONGEST)
    return Remedy(
        f"sizes = {{{chosen}}}  # set each free dimension, if you use one size\n"
        "for v in [*model.graph.input, *model.graph.output]:\n"
        "    for d in v.type.tensor_type.shape.dim[1:]:\n"
        "        if d.dim_value < 0 or not d.HasField('dim_value'): d.dim_value = sizes[d.dim_param]\n"
        "del model.graph.value_info[:]  # the shapes in between, which have the names of the sizes",
        "nothing in most runtimes: tract and pnnx take the sizes when they load the file, OpenCV 4 does not",
    )


def reshape(names: Iterable[str]) -> Remedy:
    """To keep the batch free in the shapes of these names, whose first number is a batch size."""
    chosen = ", ".join(f"{name!a}" for name in dict.fromkeys(names) if len(name) <= LONGEST)
    return Remedy(
        f"shapes = [{chosen}]  # whose first number is the batch\n"
        "for t in model.graph.initializer:\n"
        "    if t.name in shapes:\n"
        "        rest = onnx.numpy_helper.to_array(t)[1:]\n"
        "        shape = [0 if -1 in rest else -1, *rest]  # 0 is the size of the input\n"
        "        t.CopyFrom(onnx.numpy_helper.from_array(numpy.array(shape), t.name))",
        "torch.onnx.export(..., dynamic_shapes={NAME: {0: torch.export.Dim('batch')}}) with an example of 2",
    )


def opset(version: int) -> Remedy:
    """To write another opset."""
    return Remedy(
        f"model = onnx.version_converter.convert_version(model, {version})  # if it can convert each operator",
        f"torch.onnx.export(..., opset_version={version}), below 18 with dynamo=False; tf2onnx --opset {version}; "
        f"paddle2onnx --opset_version {version}",
    )


def ir(version: int) -> Remedy:
    """To write an older IR version."""
    return Remedy(f"model.ir_version = {version}")


@lru_cache(4096)
def since(op_type: str) -> Remedy:
    """For an operator that the opset of the file does not have."""
    version = defs.get_schema(op_type).since_version if defs.has(op_type) else 0
    return Remedy(
        "", f"export with opset {version} or newer" if version else "export again: there is no such operator in ONNX"
    )
