"""The modules that the operators of TorchScript belong to, as far as its frozen graph tells.

A node has the scope that it was traced in, `__module.network/__module.network.block.1`, unless an optimisation made it:
then the weight that it takes may be that of one module alone. The profiler records no nodes: the k-th operator of a
name is the k-th node of that name, where there are as many of both.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

ROOT = "__module.network"
"""Scope of the network within `study.modules.building.Flat`."""


def modules_of(script: Any, network: nn.Module, names: Sequence[str]) -> list[str | None]:
    """The path of the module of each operator; None where the graph does not tell.

    Args:
        script: the frozen `ScriptModule` that was traced of the network.
        names: of the operators of a call, in their order.
    """
    weights: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
    for path, module in network.named_modules():
        for one in module.parameters(recurse=False):
            weights[one.numel()].append((path, one))
    nodes: dict[str, list[str | None]] = defaultdict(list)
    for node in script.graph.nodes():
        nodes[node.kind()].append(_scope(node.scopeName(), weights, node))
    counts = Counter(names)
    waiting = {name: iter(nodes[name]) for name in counts if counts[name] == len(nodes[name])}
    return [next(waiting[name]) if name in waiting else None for name in names]


def _scope(scope: str, weights: Mapping[int, list[tuple[str, Tensor]]], node: Any) -> str | None:
    last = scope.rpartition("/")[2]
    if last == ROOT or last.startswith(f"{ROOT}."):
        return last.removeprefix(ROOT).removeprefix(".")
    constants = (value.toIValue() for value in node.inputs() if value.node().kind() == "prim::Constant")
    owners = {
        path
        for constant in constants
        if isinstance(constant, Tensor)
        for path, weight in weights[constant.numel()]
        if _equal(constant, weight)
    }
    return owners.pop() if len(owners) == 1 else None


def _equal(constant: Tensor, weight: Tensor) -> bool:
    turned = weight.T if weight.ndim == 2 else weight
    return any(one.shape == constant.shape and torch.equal(one, constant) for one in (weight, turned))
