"""Convert a model between opsets: the exporter writes 18, and onnx's version converter goes up and down from there.

torch's exporter does the same for another opset, but silently writes 18 where the converter fails, and always below
18. Here a failure is an error, and the opset of the result is verified.
"""

import onnx
import onnx.version_converter
from onnx import ModelProto, NodeProto

from export.portable.checks import least_ir_version
from study.errors import StudyError, one_line
from study.variants import OPSET, OPSETS

HIDDEN = "hidden"
"""A domain whose nodes the converter does not touch."""


def check(opset: int) -> None:
    """Raise a StudyError unless `opset` is one of `OPSETS`."""
    if opset not in OPSETS:
        raise StudyError(f"--opset: expected {OPSETS[0]} to {OPSETS[-1]} (default: {OPSET}), found {opset}")


def convert(model: ModelProto, opset: int) -> ModelProto:
    """The same model in another opset, with the IR version that belongs to it.

    Raises:
        StudyError: the converter fails.
    """
    if model.opset_import[0].version != opset:
        for node in model.graph.node:
            node.domain = HIDDEN if _is_unchanged(node, opset) else node.domain
        model.opset_import.add(domain=HIDDEN, version=1)
        try:
            model = onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # of any kind: thrown by onnx's C++
            reason = one_line(error).rpartition("failed: ")[2]
            raise StudyError(f"it cannot be converted to opset {opset} ({reason}); leave out --opset") from None
        for node in model.graph.node:
            node.domain = "" if node.domain == HIDDEN else node.domain
        kept = [each for each in model.opset_import if each.domain != HIDDEN]
        del model.opset_import[:]
        model.opset_import.extend(kept)
    model.ir_version = least_ir_version(opset)
    converted = [(each.domain, each.version) for each in model.opset_import]
    if converted != [("", opset)]:
        raise StudyError(f"expected opset {opset} of ai.onnx alone, the converter wrote {converted}; leave out --opset")
    return model


def _is_unchanged(node: NodeProto, opset: int) -> bool:
    """Whether a node means the same below opset 18 as in 18, although the converter has no rule for it."""
    return opset < OPSET and (node.op_type == "Pow" or (node.op_type == "Pad" and len(node.input) <= 3))
