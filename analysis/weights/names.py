"""What a layer is called: the path of its module in the network, as far as the exporter left one."""

import re
from collections.abc import Sequence

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
SCOPE = re.compile(r"'([^']*)'|\"([^\"]*)\"")
SUFFIX = re.compile(r"(.+)\.weight(_quantized|_DequantizeLinear_Output|_Q\d|_DQ_Q\d)*")
"""A parameter as torch names it, and what ONNX Runtime's quantiser makes of its name."""
OPERATION = re.compile(r"(Gemm|MatMul|Conv|QGemm|Tensordot|Einsum|BiasAdd)([_\d].*)?")
"""The part of a node's path from which on it says what is done, no more where."""


def parameter(tensor: str) -> str:
    """The module of a parameter: `body.fc1` of `body.fc1.weight`, "" of a name that tells none."""
    found = SUFFIX.fullmatch(tensor)
    return found[1] if found else ""


def module(nodes: Sequence[onnx.NodeProto]) -> str:
    """The module of the last of `nodes`, the ones before being the calls and branches that it is in; "" if unknown."""
    scopes = _scopes(nodes[-1])
    if len(scopes) > 1 and scopes[-2]:
        return scopes[-2]
    parts: list[str] = []
    for node in nodes:
        for part in node.name.removeprefix("fused ").split("/")[:-1] if "/" in node.name else []:
            if OPERATION.fullmatch(part):
                break
            if parts and part.startswith(f"{parts[-1]}."):  # torch repeats a container's name in its children's
                parts[-1] = part
            elif part:
                parts.append(part)
    return ".".join(parts)


def path(nodes: Sequence[onnx.NodeProto], places: Sequence[tuple[str, int]]) -> str:
    """What the node is called in the file, behind the calls and branches it is in: `/If > then_branch > /fc1/Gemm`."""
    words: list[str] = []
    for node, (body, index) in zip(nodes, places, strict=True):
        words += [body] if body not in ("", "function") else []
        words.append(node.name or f"{node.op_type}#{index}")
    return printable(" > ".join(words))


def printable(text: str) -> str:
    """The text with escapes for line feeds and whatever else a terminal obeys: names in files may be anything."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def unique(name: str, taken: dict[str, int]) -> str:
    """`name`, or where it is taken `name#2`, `name#3` and so on; `taken` counts them."""
    taken[name] = count = taken.get(name, 0) + 1
    return name if count == 1 else unique(f"{name}#{count}", taken)


def _scopes(node: onnx.NodeProto) -> list[str]:
    """torch's record of the modules that a node is in, from the outermost; each is a whole path.

    It is a list of strings as Python prints it, which Python's own parser would take long to read if it were hostile.
    """
    text = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    return [one or other for one, other in SCOPE.findall(text[:10_000])] if text[:1] == "[" else []
