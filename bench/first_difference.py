"""Which node of an ONNX file begins to differ between two engines; asked only where their outputs have differed.

It runs in a process of its own, which may crash or run out of time: `python -m bench.first_difference FOLDER`, where
FOLDER has request.json and the inputs of the call that differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.arrays import load_inputs, save_inputs
from bench.cases import Case
from bench.models import Inputs
from bench.session_folder import folder as session_folder
from study import children
from study.children import end_with_parent
from study.difference import Difference, Limit, worst_ratio
from study.errors import StudyError, one_line
from study.first_difference import TIED, Blame, search, source_line
from study.onnx_cut import WEIGHTS, Arrays, Cut, Piece, cut
from study.parity import Output, differences

SECONDS = 45
"""Time for the search; the process is ended after `GRACE` more."""
GRACE = 15
Values = Mapping[str, Output]
ONLY_TORCH = "torch"
"""Beginning of the names of the engines that run no pieces of an ONNX file."""


def sentence(case: Case, reference: str, limit: Limit, given: Inputs) -> str:
    """Where the outputs of the engine of `case` begin to differ from those of `reference`, in words; "" if that cannot
    be searched for: torch runs no pieces of an ONNX file."""
    if case.runtime.startswith(ONLY_TORCH) or (reference.startswith(ONLY_TORCH) and case.runtime == "onnxruntime"):
        return ""
    if reference.startswith(ONLY_TORCH):
        reference = "onnxruntime"
    with tempfile.TemporaryDirectory(dir=session_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        save_inputs(folder / "inputs.npz", [given])
        request = {
            "onnx": str(case.model.onnx),
            "batch": case.batch,
            "engines": [reference, case.runtime],
            "absolute": limit.absolute,
            "relative": limit.relative,
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "bench.first_difference", str(folder)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # for the engines of the user too
        try:
            done = children.run(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS + GRACE, env=environment
            )
        except subprocess.TimeoutExpired:
            return f"which node begins to differ was searched for in vain for {SECONDS} s"
        answer = folder / "answer.txt"
        if not answer.is_file():
            return f"which node begins to differ is not known: the search ended with exit code {done.returncode}"
        return answer.read_text(encoding="utf-8")


def search_in(folder: Path) -> str:
    """The answer to the request in a folder."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    (given,) = load_inputs(folder / "inputs.npz")
    (folder / "pieces").mkdir()
    first, second = request["engines"]
    try:
        halves = Halves(cut(Path(request["onnx"]), folder / "pieces"), given, first, second, request)
        blame = search(len(halves.cut.positions) - 1, halves.wrong, SECONDS)
        return halves.described(blame)
    except StudyError as error:
        return f"which node begins to differ is not known: {one_line(error, 300)}"
    except Exception as error:  # engines raise exceptions of any type
        return f"which node begins to differ is not known: {type(error).__name__}: {one_line(error)}"


class Halves:
    """A graph of which some nodes are computed in a second engine."""

    def __init__(self, graph: Cut, given: Arrays, first: str, second: str, request: Mapping[str, Any]) -> None:
        self.cut, self.given, self.first, self.second = graph, given, first, second
        self.batch, self.limit = request["batch"], Limit(request["absolute"], request["relative"])
        self.expected = self.values(first, 0, len(graph.nodes), given)

    def wrong(self, start: int, stop: int) -> float:
        """The difference of the outputs as a multiple of the limit; both are indices of positions of a cut."""
        start, stop = self.cut.positions[start], self.cut.positions[stop]
        known = {**self.given, **self.values(self.first, 0, start, self.given)}
        known |= self.values(self.second, start, stop, known)
        known |= self.values(self.first, stop, len(self.cut.nodes), known)
        return worst_ratio(self._differences(self.cut.outputs, self.expected, known), self.limit)

    def _differences(self, names: Sequence[str], first: Values, second: Values) -> list[Difference]:
        one, other = ([[values[name] for name in names]] for values in (first, second))
        return differences(names, one, other, self.batch)

    def values(self, runtime: str, start: int, stop: int, known: Values) -> dict[str, Output]:
        """The values that are live after the nodes from `start` to `stop`."""
        wanted = [name for name in self.cut.live(stop) if start <= self.cut.producers[name] < stop]
        if not wanted:
            return {}
        indices = self.cut.closure(wanted, self.cut.live(start))
        arrays: Any = known
        piece = self.cut.piece(indices, arrays, wanted)
        try:
            return dict(zip(wanted, computed(piece, runtime, self.cut), strict=True))
        finally:
            piece.path.unlink()

    def described(self, blame: Blame) -> str:
        """The nodes that are to blame, and one value of both engines; or that no few nodes are."""
        positions = self.cut.positions
        if blame.is_drift:
            return (
                TIED
                if blame.decides
                else f"no single node is to blame: {blame.grows()} of the {positions[-1]} nodes of the file"
            )
        start, stop = positions[blame.start], positions[blame.stop]
        known = {**self.given, **self.values(self.first, 0, start, self.given)}
        both = [self.values(runtime, start, stop, known) for runtime in (self.first, self.second)]
        names = [name for name in both[0] if name in self.cut.nodes[stop - 1].output] or list(both[0])
        results = self._differences(names, *both)
        if blame.decides and all(one.holds(self.limit) for one in results):
            return TIED
        worst = max(results, key=lambda one: one.ratio(self.limit))
        nodes = node_in_words(self.cut.nodes[start])
        if stop - start > 1:
            nodes = f"the {stop - start} nodes up to {node_in_words(self.cut.nodes[stop - 1])} together"
        return f"it begins at {nodes}: its value {worst.name!r} {worst.short_place}"


def computed(piece: Piece, runtime: str, graph: Cut) -> list[Output]:
    """The values that an engine computes with a piece of a model, on one thread."""
    import numpy as np
    from onnx import helper

    from bench.cases import opened
    from bench.models import Model
    from bench.onnx_files import Facts
    from study.onnx_inputs import Input

    kinds = [graph.types[name].tensor_type.elem_type if name in graph.types else 0 for name in piece.outputs]
    facts = Facts(
        inputs=tuple(Input(name, array.dtype, array.shape) for name, array in piece.inputs.items()),
        outputs=piece.outputs,
        output_types=tuple(helper.tensor_dtype_to_np_dtype(kind) if kind else None for kind in kinds),
        arithmetic="float32",
        bytes=0,
        parameters=0,
        subnormal_weights=0,
        macs=None,
        uses={},
    )
    model = Model(piece.path.stem, piece.path, onnx_sha256=str(piece.path))
    model.__dict__["facts"] = facts  # which nothing needs to be read for
    given = {name: np.ascontiguousarray(array) for name, array in piece.inputs.items()}
    with opened(Case(model, runtime, 1), [given]) as engine, engine.runtime.context():
        (outputs,) = engine.outputs()
    return outputs


def node_in_words(node: Any) -> str:
    """A node for a message: its name, operator, module and line of the module's code, as far as the file has them."""
    metadata = {each.key: each.value for each in node.metadata_props}
    name = node.name or f"the one that computes {node.output[0]!r}"
    about = [node.op_type, source_line(metadata.get("pkg.torch.onnx.stack_trace", ""))]
    return f"node {name!r} ({', '.join(filter(None, about))})"


def main(words: Sequence[str]) -> int:
    end_with_parent()
    folder = Path(words[0])
    answer = search_in(folder)
    (folder / "pieces" / WEIGHTS).unlink(missing_ok=True)
    (folder / "answer.txt").write_text(answer, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
