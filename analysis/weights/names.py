"""What a layer is called: the path of its module in the network, as far as the exporter left one."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import onnx

from study.errors import escaped

SCOPES = "pkg.torch.onnx.name_scopes"
"""torch's record of the modules that a node is in, from the outermost; each is a whole path."""
SCOPE = re.compile(r"'([^']*)'|\"([^\"]*)\"")
SUFFIX = re.compile(r"(.+)\.weight(_quantized|_DequantizeLinear_Output|_Q\d|_DQ_Q\d|_T)*")
"""A parameter as torch names it, with the endings that ONNX Runtime's quantiser and optimiser add."""
OPERATION = re.compile(r"(Gemm|MatMul|Conv|QGemm|Tensordot|Einsum|BiasAdd)([_\d].*)?")
"""The first part of a node's path that names an operation; the parts before it name modules."""


class Step(NamedTuple):
    """A node on the way from the main graph to a layer, the last being the layer's own.

    `body` is how its body is entered from the step before: "" for the main graph, "function" for that of the function
    called there, or the attribute that holds the graph. `position` is the node's in that body.
    """

    body: str
    position: int
    proto: onnx.NodeProto


def parameter(tensor: str) -> str:
    """The module of a parameter: `body.fc1` of `body.fc1.weight`, "" of any other name."""
    match = SUFFIX.fullmatch(tensor)
    return match[1] if match else ""


def module(trail: Sequence[Step]) -> str:
    """The module that the last node of `trail` belongs to, "" if unknown."""
    scopes = _scopes(trail[-1].proto)
    if len(scopes) > 1 and scopes[-2]:
        return scopes[-2]
    parts: list[str] = []
    for step in trail:
        name = step.proto.name
        for part in name.removeprefix("fused ").split("/")[:-1] if "/" in name else []:
            if OPERATION.fullmatch(part):
                break
            if parts and part.startswith(f"{parts[-1]}."):  # torch repeats a container's name in its children's
                parts[-1] = part
            elif part:
                parts.append(part)
    return ".".join(parts)


def path(trail: Sequence[Step]) -> str:
    """The node's name in the file, behind the calls and branches it is in: `/If > then_branch > /fc1/Gemm`."""
    words: list[str] = []
    for body, position, proto in trail:
        words += [body] if body not in ("", "function") else []
        words.append(proto.name or f"{proto.op_type}#{position}")
    return escaped(" > ".join(words))


def unique(name: str, taken: dict[str, int]) -> str:
    """`name`, or where it is taken `name#2`, `name#3` and so on; `taken` counts them."""
    taken[name] = count = taken.get(name, 0) + 1
    return name if count == 1 else unique(f"{name}#{count}", taken)


def _scopes(node: onnx.NodeProto) -> list[str]:
    """The paths in `SCOPES`, a printed list of strings; Python's own parser would take long on a hostile one."""
    text = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    return [one or other for one, other in SCOPE.findall(text[:10_000])] if text[:1] == "[" else []
