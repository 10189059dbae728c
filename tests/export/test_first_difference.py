"""A planted fault in the ONNX file of a module: the error names the node, the module's line and both values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from export import module_file
from export.first_difference import first_difference
from export.module_graph import from_torch
from export.module_parity import ModuleParityError, prove
from export.module_reference import subject_of
from export.modules import export_module
from study.difference import Limit
from study.entry import Entry
from study.errors import StudyError
from study.first_difference import Place
from study.modules.files import ModuleFiles
from study.modules.outputs import array

HERE = "tests.export.test_first_difference"
ENTRY = Entry("deep", f"{HERE}:Deep", inputs=("x=float32[batch,4]:1..2",))
LIMIT = Limit(1e-6, 1e-3)
SHAPES = {"y": ("batch", 2)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.leaky_relu(self.turn(x), 0.5)


class Deep(nn.Module):
    """Twelve blocks, and a decision on their result."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(12)))
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.orthogonal_(block.turn.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.blocks(x)
        return y, y.argmax(1)


def export(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[ModelProto], None]) -> None:
    """Export `Deep` with a fault in its file."""
    written = module_file.as_written

    def faulty(model: ModelProto) -> ModelProto:
        fault(made := written(model))
        return made

    def refused(*_: object) -> ModelProto:
        raise StudyError("the edits do not apply")

    monkeypatch.setattr(module_file, "edited", refused)
    monkeypatch.setattr(module_file, "as_written", faulty)
    export_module(ENTRY, ModuleFiles(folder))


def test_one_weight_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(model: ModelProto) -> None:
        [tensor] = [one for one in model.graph.initializer if one.name == "blocks.5.turn.weight"]
        changed = numpy_helper.to_array(tensor).copy()
        changed[2, 1] += 0.5
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))

    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "leaky_relu(self" in text)
    where = rf"it begins at node '\S+' \(Gemm, module blocks\.5\.turn, test_first_difference\.py:{line}\): its value "
    with pytest.raises(
        ModuleParityError, match=rf"output 'output_0' .* differs from torch's by .*; {where}'\S+' at \["
    ) as found:
        export(tmp_path, monkeypatch, fault)
    assert ", 2]: " in str(found.value), "the third of four units"


def test_one_attribute(tmp_path: Path) -> None:
    subject = subject_of(ENTRY)
    built, [given] = subject.build(), subject.draw(2, 1)
    expected = [array(one) for one in built.network(given["x"])]
    exported = from_torch("deep", built, subject.inputs, {}, ["y", "label"])
    model = module_file.as_written(module_file.serialised(exported.model))
    [node] = [node for node in model.graph.node if node.output[0] == "leaky_relu_8"]
    node.attribute[0].f = 0.25
    module_file.write(tmp_path / "model.onnx", model)
    place = first_difference(exported.traced, tmp_path / "model.onnx", given, expected, LIMIT, 2)
    begin, _, values = place.sentence.partition("]: ")
    where = "(LeakyRelu, module blocks.8, test_first_difference.py:"
    assert begin.startswith(f"it begins at node 'blocks.8/node_leaky_relu_8' {where}")
    found, _, wanted = values.partition(" instead of ")
    assert float(found) == pytest.approx(float(wanted) / 2, rel=1e-5)
    assert not place.tied


def proven(expected: np.ndarray, found: np.ndarray, tied: bool = False) -> tuple[str, ...]:
    """The notes of a proof of one output in one call."""
    place = Place("it begins at node 'n'", tied)
    return prove("m", SHAPES, {1: [[expected]]}, {1: [[found]]}, LIMIT, lambda batch, call: place).notes


def test_numbers_that_are_not_finite_in_both_are_said() -> None:
    half = np.array([[np.nan, 1], [-np.inf, 2]], np.float32)
    [note] = proven(half, half)
    assert note.startswith("output 'y': of 4 values 1 are NaN and 1 are infinite for these inputs; give the inputs")
    with pytest.raises(ModuleParityError, match=r"output 'y' has no finite value .* so nothing was compared"):
        proven(half[:, :1], half[:, :1])
    with pytest.raises(ModuleParityError, match=r"at \[0, 0\] in call 1 of 1: 0 instead of nan"):
        proven(half, np.nan_to_num(half, neginf=-np.inf))


def test_an_output_that_is_zero_throughout_is_said_to_prove_little() -> None:
    """torchvision's vit_b_16 as it is made: the weights of its head are 0."""
    zero = np.zeros((1, 2), np.float32)
    [note] = proven(zero, zero)
    assert note.startswith("output 'y' is 0 throughout, in torch too, so its proof says little")


def test_decisions_may_differ_on_tied_values_alone() -> None:
    labels, others = np.array([[3, 1]]), np.array([[3, 2]])
    assert proven(labels, others, tied=True) == (
        "1 of 2 values of output 'y' differ: it decides between values that are tied within the limit",
    )
    with pytest.raises(ModuleParityError, match=r"in 1 of 2 values, at \[0, 1\] in call 1 of 1: 2 instead of 1"):
        proven(labels, others)


def test_a_file_keeps_types_and_shapes() -> None:
    one = np.ones((1, 2), np.float32)
    for other, shown in ((one.astype(np.float64), r"float64 \[1, 2\]"), (one[0], r"float32 \[2\]")):
        with pytest.raises(ModuleParityError, match=rf"'y' of the file is {shown}, that of torch is float32 \[1, 2\]"):
            proven(one, other)
