"""Which node makes an exported ONNX file differ from its torch module; asked only where their outputs differ.

The exporter names the value of an ONNX node after the node of the traced graph that computes the same. So the traced
graph can be run with the values that ONNX Runtime computes for some of its nodes, and searched by halves.
`torch.onnx.verification` compares all these values too, but runs the whole file once for each, and cannot tell a fault
from a difference that reaches no output.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, fx
from torch.export import ExportedProgram

from study.difference import Difference, Limit, worst_ratio
from study.errors import StudyError, one_line
from study.first_difference import TIED, Blame, Place, search, source_line
from study.modules.outputs import array, tensor
from study.onnx_cut import Cut, cut
from study.ort_values import session_on_one_thread
from study.parity import Output, differences

SECONDS = 60
NOT_KNOWN = "which node begins to differ is not known"


def first_difference(
    program: ExportedProgram,
    path: Path,
    given: Mapping[str, Tensor],
    expected: Sequence[Output],
    limit: Limit,
    batch: int,
) -> Place:
    """Where the ONNX file at `path` begins to differ from the program that it was made from.

    Args:
        given: the inputs of a call whose outputs differ, in their order.
        expected: the outputs of the module itself.
    """
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, torch.inference_mode():
            halves = Halves(program, cut(path, Path(folder)), given, limit, batch)
            if captured := halves.captured(expected):
                return Place(captured)
            blame = search(len(halves.units), halves.wrong, SECONDS)
            return halves.described(blame)
    except StudyError as error:
        return Place(f"{NOT_KNOWN}: {one_line(error)}")
    except Exception as error:  # torch and ONNX Runtime raise exceptions of any type
        return Place(f"{NOT_KNOWN}: {type(error).__name__}: {one_line(error)}")


class Halves:
    """A traced graph of which some nodes are computed by ONNX Runtime."""

    def __init__(
        self, program: ExportedProgram, graph: Cut, given: Mapping[str, Tensor], limit: Limit, batch: int
    ) -> None:
        self.cut, self.given, self.limit, self.batch = graph, given, limit, batch
        self.traced: Any = program.module()
        (result,) = (node for node in self.traced.graph.nodes if node.op == "output")
        ends = fx.node.map_arg(result.args[0], lambda node: node)
        named = {end.name: name for end, name in zip(ends, graph.outputs, strict=True)}
        self.names = {node.name: named.get(node.name, node.name) for node in self.traced.graph.nodes}
        self.units: list[fx.Node] = [
            node
            for node in self.traced.graph.nodes
            if self.names[node.name] in graph.producers and isinstance(node.meta.get("val"), Tensor)
        ]
        self.expected = self.run({})[0]

    def run(self, replaced: Mapping[str, Tensor], wanted: Sequence[str] = ()) -> tuple[list[Output], dict[str, Tensor]]:
        """The outputs of the traced graph with these values of some nodes, and the values of those that are wanted."""
        interpreter = _Replacing(self.traced, replaced, wanted)
        results = interpreter.run(*self.given.values(), enable_io_processing=False)
        return [array(one) for one in results], interpreter.kept

    def captured(self, expected: Sequence[Output]) -> str:
        """Whether the trace differs from the module already; then the sentence that says so."""
        results = differences(self.cut.outputs, [expected], [self.expected], self.batch)
        faults = [one for one in results if not one.holds(self.limit)]
        if not faults:
            return ""
        return (
            "torch.export has already traced another computation: the module decides by values, sizes or numbers that "
            f"the trace holds as constants ({faults[0].sentence('the module', self.limit)})"
        )

    def wrong(self, start: int, stop: int) -> float:
        """The difference of the outputs as a multiple of the limit, with these units from ONNX Runtime."""
        found, _ = self.run(self.in_onnxruntime(start, stop))
        return worst_ratio(differences(self.cut.outputs, [self.expected], [found], self.batch), self.limit)

    def in_onnxruntime(self, start: int, stop: int) -> dict[str, Tensor]:
        """The values of the units from `start` to `stop` that nodes outside of them take, by node."""
        inside = {node.name for node in self.units[start:stop]}
        wanted = [node for node in self.units[start:stop] if not inside.issuperset(user.name for user in node.users)]
        names = [self.names[node.name] for node in wanted]
        earlier = {self.names[node.name]: node.name for node in self.units[:start]}
        indices = self.cut.closure(names, earlier)
        used = {name for index in indices for name in self.cut.nodes[index].input}
        _, kept = self.run({}, [node for name, node in earlier.items() if name in used])
        known = {name: self._typed(name, array(kept[node])) for name, node in earlier.items() if node in kept}
        known |= {name: array(value) for name, value in self.given.items()}
        piece = self.cut.piece(indices, known, names)
        try:
            outputs = session_on_one_thread(piece.path).run(names, dict(piece.inputs))
        finally:
            piece.path.unlink()
        return {node.name: tensor(np.array(value)) for node, value in zip(wanted, outputs, strict=True)}

    def _typed(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        kind = self.cut.types[name].tensor_type.elem_type if name in self.cut.types else 0
        return value.astype(helper.tensor_dtype_to_np_dtype(kind)) if kind else value

    def described(self, blame: Blame) -> Place:
        """The nodes that are to blame, and one value of both; or that no few nodes are."""
        unit = self.units[blame.stop - 1]
        if blame.is_drift:
            if blame.decides:
                return Place(TIED, tied=True)
            return Place(f"no single node is to blame: {blame.grows()} of the {len(self.units)} nodes of the trace")
        found = self.in_onnxruntime(blame.start, blame.stop)
        _, kept = self.run({}, list(found))
        names = [self.names[name] for name in found]
        one, other = ([[array(values[name]) for name in found]] for values in (kept, found))
        results = differences(names, one, other, self.batch)
        if blame.decides and all(one.holds(self.limit) for one in results):
            return Place(TIED, tied=True)
        worst: Difference = max(results, key=lambda one: one.ratio(self.limit))
        together = blame.stop - blame.start
        nodes = f"the {together} nodes up to {self.in_words(unit)} together" if together > 1 else self.in_words(unit)
        return Place(f"it begins at {nodes}: its value {worst.name!r} {worst.short_place}")

    def in_words(self, unit: fx.Node) -> str:
        """A node for a message: its name and operator in the ONNX file, and the module and line of the user's code."""
        node = self.cut.nodes[self.cut.producers[self.names[unit.name]]]
        stack = list((unit.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]).partition(".")[2] if stack else ""  # without the wrapper's "network"
        line = source_line(unit.meta.get("stack_trace") or "")
        about = [node.op_type, f"module {path}" if path else "", line]
        return f"node {node.name!r} ({', '.join(filter(None, about))})"


class _Replacing(fx.Interpreter):
    """Runs a graph with given values of some of its nodes, and keeps those of others."""

    def __init__(self, traced: Any, replaced: Mapping[str, Tensor], wanted: Sequence[str]) -> None:
        super().__init__(traced)
        self.replaced, self.wanted = replaced, frozenset(wanted)
        self.kept: dict[str, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        if node.name in self.replaced:
            return self.replaced[node.name]
        value = super().run_node(node)
        if node.name in self.wanted:
            self.kept[node.name] = value
        return value
