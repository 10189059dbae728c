"""Which node begins to differ between two engines: planted faults, each in one node of an engine, found by halves."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from bench.cases import find_cases
from bench.first_difference import Halves
from bench.models import Model, from_file
from bench.runtimes import Setting
from bench.runtimes.onnx_runtime import ONNXRuntime
from study.errors import StudyError
from study.first_difference import TIED, search
from study.onnx_cut import cut
from study.onnx_given import Given
from tests.bench.test_cases import compared
from tests.support.notation import save

HERE = "tests.bench.test_first_difference"
LIMIT = {"batch": 5, "absolute": 1e-6, "relative": 1e-3}
DEEP = " ".join(f'["n{i}"] v{i + 1} = MatMul(v{i}, w)' for i in range(40))
ROTATION = np.roll(np.eye(5, dtype=np.float32), 1, axis=1)
CHAIN = f'v0 = Identity(x) {DEEP} ["last"] y = Relu(v40)'


class Faulty(ONNXRuntime):
    """Changes the values that some nodes compute, by an operator and its second operand."""

    faults: ClassVar[dict[str, tuple[str, Any]]] = {"n23": ("Mul", 1.01)}

    def __init__(self, model: Model, setting: Setting) -> None:
        changed = onnx.load(model.onnx)
        for node in list(changed.graph.node):
            if node.name not in self.faults:
                continue
            operator, operand = self.faults[node.name]
            right, node.output[0] = node.output[0], f"wrong {node.name}"
            names = [f"wrong {node.name}", f"operand {node.name}"]
            changed.graph.initializer.append(onnx.numpy_helper.from_array(np.array(operand, np.float32), names[1]))
            place = list(changed.graph.node).index(node) + 1
            changed.graph.node.insert(place, onnx.helper.make_node(operator, names, [right]))
        path = model.onnx.with_name(f"faulty-{model.onnx.name}")
        onnx.save(changed, path)
        super().__init__(Model(model.name, path, model.onnx_sha256), setting)


class Hidden(Faulty):
    """Is wrong by a million where the next node multiplies it by 0."""

    faults: ClassVar[dict[str, tuple[str, Any]]] = {"hidden": ("Add", 1e6)}


class HiddenAndSeen(Faulty):
    """Is also wrong later."""

    faults: ClassVar[dict[str, tuple[str, Any]]] = {**Hidden.faults, "seen": ("Mul", 1.01)}


class Rounded(Faulty):
    """Is off by a rounding."""

    faults: ClassVar[dict[str, tuple[str, Any]]] = {"rounded": ("Add", [0, 1e-9, 0, 0, 0])}


class Negated(Faulty):
    """Decides on other values."""

    faults: ClassVar[dict[str, tuple[str, Any]]] = {"wrong": ("Mul", -1)}


def halves(path: Path, folder: Path, runtime: str) -> Halves:
    folder.mkdir()
    given = from_file(path, Given()).pool(5)[0]
    return Halves(cut(path, folder), given, "onnxruntime", f"{HERE}:{runtime}", LIMIT)


def test_a_fault_in_the_middle_of_a_deep_graph_is_found_in_few_steps(tmp_path: Path) -> None:
    deep = halves(save(tmp_path, CHAIN, {"w": ROTATION}), tmp_path / "pieces", "Faulty")
    steps: list[tuple[int, int]] = []

    def wrong(start: int, stop: int) -> float:
        steps.append((start, stop))
        return deep.wrong(start, stop)

    blame = search(len(deep.cut.positions) - 1, wrong, 60)
    assert deep.cut.nodes[blame.start].name == "n23"
    assert len(steps) <= 8, "42 nodes: the whole, 6 halves, the node alone"
    x = deep.given["x"]
    right = np.roll(x, 24, axis=1)
    row, column = np.unravel_index(right.argmax(), right.shape)
    assert deep.described(blame) == (
        f"it begins at node 'n23' (MatMul): its value 'v24' at [{row}, {column}]: "
        f"{right.max() * np.float32(1.01):.6g} instead of {right.max():.6g}"
    )


LOST = '["hidden"] h = Relu(x) z = Mul(h, zero) s = Add(x, z) t = MatMul(s, w) u = Relu(t) ["seen"] y = MatMul(u, w)'


def test_a_difference_that_reaches_no_output_is_no_fault(tmp_path: Path) -> None:
    path = save(tmp_path, LOST, {"w": ROTATION, "zero": np.float32(0)})
    graph = halves(path, tmp_path / "hidden", "Hidden")
    with pytest.raises(StudyError, match="it does not recur"):
        search(len(graph.cut.positions) - 1, graph.wrong, 60)
    graph = halves(path, tmp_path / "seen", "HiddenAndSeen")
    blame = search(len(graph.cut.positions) - 1, graph.wrong, 60)
    assert [node.name for node in graph.cut.nodes[blame.start : blame.stop]] == ["seen"]


def test_a_decision_on_tied_values_is_called_so_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    """The first engine decides between 0 and 0, the other one between 1e-9 and 0; in "wrong" it decides on -x."""
    nodes = '["rounded"] r = Mul(x, zero) ["wrong"] n = Sub(r, ramp) y = ArgMax<axis = 1, keepdims = 0>(n)'
    ramp = np.array([0, 0, 1, 2, 3], np.float32)
    path = save(tmp_path, nodes, {"zero": np.float32(0), "ramp": ramp}, y="int64[5]")
    for runtime, wanted in {"Rounded": TIED, "Negated": "it begins at node 'wrong' (Sub): its value 'n' at "}.items():
        graph = halves(path, tmp_path / runtime, runtime)
        blame = search(len(graph.cut.positions) - 1, graph.wrong, 60)
        assert graph.described(blame).startswith(wanted)


def test_a_branch_that_uses_a_value_from_outside_is_cut_beside_it(tmp_path: Path) -> None:
    branches = (
        "then_branch = t () => (float[5, 5] p) { p = Add(a, a) }, else_branch = e () => (float[5, 5] q) { q = Neg(a) }"
    )
    nodes = f'a = Relu(x) c = Constant<value = bool {{1}}>() b = If(c) <{branches}> ["n23"] d = Exp(b) y = MatMul(d, w)'
    graph = halves(save(tmp_path, nodes, {"w": ROTATION}), tmp_path / "pieces", "Faulty")
    blame = search(len(graph.cut.positions) - 1, graph.wrong, 60)
    assert [node.op_type for node in graph.cut.nodes[blame.start : blame.stop]] == ["Exp"]


def test_a_difference_that_grows_from_node_to_node_is_nobodys(tmp_path: Path) -> None:
    blame = search(64, lambda start, stop: (stop - start) / 40, 60)
    assert blame.is_drift
    assert dict(blame.growth)[32] == 0.8


def test_nodes_that_are_wrong_only_together_are_named_together() -> None:
    blame = search(64, lambda start, stop: 9.0 if start <= 20 and stop >= 22 else 0.0, 60)
    assert (blame.start, blame.stop) == (20, 22)


def test_the_error_of_the_bench_names_the_node(tmp_path: Path) -> None:
    model = from_file(save(tmp_path, CHAIN, {"w": ROTATION}), Given())
    *_, case = find_cases([model], ["onnxruntime", f"{HERE}:Faulty"], [5], [1])
    with pytest.raises(
        StudyError, match=r"0\.01 of its largest value, .*; it begins at node 'n23' \(MatMul\): its value"
    ):
        compared(case, explain=True)
