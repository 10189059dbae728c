"""The opset of a file: the exporter's own is 18, and from there onnx's converter goes up and down.

torch's exporter does the same when it is asked for another opset. But where the converter fails it writes 18 without a
word, and below 18 it always does so; here a failure is an error, and what the file says is read back.
"""

import onnx
import onnx.version_converter
from onnx import ModelProto, NodeProto

from export.portable.checks import least_ir_version
from study.errors import StudyError, one_line
from study.variants import OPSET

OPSETS = range(14, 27)
"""Those that can be asked for: the converter has no way below 14, and ONNX Runtime 1.31.1 runs nothing above 26."""
HIDDEN = "hidden"
"""A domain that the converter leaves alone."""


def check(opset: int) -> None:
    """Raise a StudyError unless `opset` is one of `OPSETS`."""
    if opset not in OPSETS:
        raise StudyError(f"--opset: expected {OPSETS[0]} to {OPSETS[-1]} (the standard form is {OPSET}), found {opset}")


def bring_to(model: ModelProto, opset: int) -> ModelProto:
    """The same model in another opset, and in the IR version that a file of this opset has.

    Raises:
        StudyError: the converter cannot do it.
    """
    if model.opset_import[0].version != opset:
        for node in model.graph.node:
            node.domain = HIDDEN if _is_the_same(node, opset) else node.domain
        model.opset_import.add(domain=HIDDEN, version=1)
        try:
            model = onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # whatever onnx's C++ throws
            reason = one_line(error).rpartition("failed: ")[2]
            raise StudyError(f"it cannot be brought to opset {opset} ({reason}); leave out --opset") from None
        for node in model.graph.node:
            node.domain = "" if node.domain == HIDDEN else node.domain
        kept = [each for each in model.opset_import if each.domain != HIDDEN]
        del model.opset_import[:]
        model.opset_import.extend(kept)
    model.ir_version = least_ir_version(opset)
    found = [(each.domain, each.version) for each in model.opset_import]
    if found != [("", opset)]:
        raise StudyError(f"expected opset {opset} of ai.onnx alone, the converter wrote {found}; leave out --opset")
    return model


def _is_the_same(node: NodeProto, opset: int) -> bool:
    """Whether a node means below 18 what it means in 18, though there is no converter for it."""
    return opset < OPSET and (node.op_type == "Pow" or (node.op_type == "Pad" and len(node.input) <= 3))
