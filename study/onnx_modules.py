"""The torch modules that the nodes of an ONNX file come from, as far as names tell; also after an engine fused them.

Two names have the path of a module: that of a node whose exporter puts it there (`/layer1/layer1.0/conv1/Conv` of
TorchScript's, `layer1.0.conv1/node_conv2d`), and that of a weight (`layer1.0.conv1.weight`). Engines name a fused node
after one of its nodes or values, with words before or after it, such as "fused node_linear" or "relu_nchwc".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto

from study.onnx_graph import checked_size

PARAMETER = re.compile(r"(?P<module>[A-Za-z_][\w-]*(\.[\w-]+)*)\.[A-Za-z_][\w-]*")
WORD = re.compile(r"[A-Za-z0-9]")
FUSED = re.compile("^(Fused|QLinear|Dynamic|QAttention)")
UPSTREAM = 8
"""Nodes before a fused one among which the one of its kind is looked for."""
FULLY_CONNECTED = frozenset(("Gemm", "MatMul", "FullyConnected"))
CONVOLUTIONS = ("Conv", "ConvTranspose")
"""Nodes whose weights tell more than their names: a normalisation that an exporter folded into one gave it its name."""
SAME = {"Convolution": "Conv", **dict.fromkeys(FULLY_CONNECTED, "Gemm")}
"""Kinds by the names of other engines and those of their fusions."""


@dataclass(frozen=True)
class Modules:
    """The nodes of a file, and their modules."""

    nodes: Mapping[str, NodeProto] = field(default_factory=dict)
    """By name, and by the names of their outputs."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Path of the module by the name of an output of the node."""

    def of(self, name: str, kind: str) -> str | None:
        """The module of an engine's node; None if its name does not tell.

        Args:
            name: as the engine has it.
            kind: its operator, such as FusedGemm.
        """
        node = self._origin(name)
        if node is None:
            return _in_name(name)
        wanted = _kind(kind)
        for one in self._upstream(node):
            if _kind(one.op_type) == wanted and (module := self._module(one)) is not None:
                return module
        return self._module(node)

    def _module(self, node: NodeProto) -> str | None:
        return next((self.modules[output] for output in node.output if output in self.modules), None)

    def _origin(self, name: str) -> NodeProto | None:
        """The node whose name, or whose output's, is the longest that stands in `name` as words of its own."""
        if name in self.nodes:
            return self.nodes[name]
        bounds = [i for i in range(len(name) + 1) if _is_bound(name, i)]
        inside = (name[start:end] for start in bounds for end in bounds if start < end)
        return self.nodes.get(max((word for word in inside if word in self.nodes), key=len, default=""))

    def _upstream(self, node: NodeProto) -> Iterator[NodeProto]:
        """The node, and those that its inputs come from, nearest first."""
        seen, ahead = {id(node)}, [node]
        for one in ahead:  # which grows
            yield one
            if len(ahead) >= UPSTREAM:
                continue
            for value in one.input:
                before = self.nodes.get(value)
                if before is not None and value in before.output and id(before) not in seen:
                    seen.add(id(before))
                    ahead.append(before)


def _is_bound(name: str, i: int) -> bool:
    """Whether a word begins or ends before the i-th character."""
    return i in (0, len(name)) or not (WORD.match(name[i - 1]) and WORD.match(name[i]))


def read_modules(path: Path) -> Modules:
    """Those of an ONNX file; its weights are not read if they lie beside it."""
    checked_size(path)
    return modules_of(onnx.load(path, format="protobuf", load_external_data=False).graph)


def modules_of(graph: GraphProto) -> Modules:
    """Those of a graph, without the graphs inside of its nodes."""
    weights = {tensor.name for tensor in graph.initializer}
    nodes: dict[str, NodeProto] = {}
    modules: dict[str, str] = {}
    for node in graph.node:
        for output in filter(None, node.output):
            nodes[output] = node
        module = _of_node(node, weights)
        if module is not None:
            modules.update(dict.fromkeys(filter(None, node.output), module))
    for index, node in enumerate(graph.node):
        nodes[node.name or f"{node.op_type}_{index}"] = node  # as ONNX Runtime calls one without a name
    return Modules(nodes, modules)


def _of_node(node: NodeProto, weights: set[str]) -> str | None:
    found = (PARAMETER.fullmatch(name) for name in node.input if name in weights)
    by_weight = next((one["module"] for one in found if one), None)
    by_name = _in_name(node.name)
    if by_name is None or (by_weight is not None and node.op_type in CONVOLUTIONS):
        return by_weight
    return by_name


def _in_name(name: str) -> str | None:
    """The path in the name of a node, whose parts TorchScript's exporter repeats: /layer1/layer1.0/conv1/Conv."""
    if "/" not in name:
        return None
    path: list[str] = []
    for part in name.split("/")[:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        if part:
            path.append(part)
    return ".".join(path)


def _kind(kind: str) -> str:
    plain = FUSED.sub("", kind)
    return SAME.get(plain, plain)
