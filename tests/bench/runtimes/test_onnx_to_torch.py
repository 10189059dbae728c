"""torch for an ONNX file: the package onnx2torch is not installed for the tests, so a stand-in converts one MatMul."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bench.cases import Case, opened
from bench.models import from_file
from bench.runtimes import RUNTIMES, find
from study.errors import StudyError
from study.onnx_given import Given
from tests.bench.test_cases import compared
from tests.support.notation import save

WEIGHTS = np.arange(10, dtype=np.float32).reshape(5, 2)
CONSTANT = "w = Constant<value = float[5, 2] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}>()"
UNKNOWN = (
    "Converter is not implemented (OperationDescription(domain='', operation_type='GRU', version=14))"  # its own words
)


class Product(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def convert(model: onnx.ModelProto) -> nn.Module:
    """As onnx2torch: weights are initializers, and an operator that it does not know is an error."""
    held = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in model.graph.initializer}
    [node] = model.graph.node
    if node.op_type != "MatMul":
        raise NotImplementedError(UNKNOWN)
    return Product(held[node.input[1]])


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module: Any = ModuleType("onnx2torch")
    module.convert = convert
    place = RUNTIMES["onnx2torch"].partition(":")[0]
    monkeypatch.setitem(sys.modules, "onnx2torch", module)
    monkeypatch.delitem(sys.modules, place, raising=False)
    monkeypatch.setattr("bench.runtimes.onnx_to_torch.version", lambda _: "1.5.15")
    yield
    sys.modules.pop(place, None)


@pytest.mark.parametrize("nodes", [f"{CONSTANT} y = MatMul(x, w)", "y = MatMul(x, w)"])
def test_its_outputs_are_compared_with_those_of_another_engine(tmp_path: Path, nodes: str) -> None:
    path = save(tmp_path, nodes, {} if "Constant" in nodes else {"w": WEIGHTS})
    case = Case(from_file(path, Given()), "onnx2torch", 5, against=("onnxruntime",))
    found = compared(case)
    assert found is not None
    assert (found.against, found.images) == ("onnxruntime", 40)
    with opened(case, case.model.pool(5)) as engine:
        assert engine.runtime.settings() == {"threads": 1, "device": "cpu", "onnx2torch": "1.5.15"}


def test_an_operator_that_it_does_not_know_is_one_line(tmp_path: Path) -> None:
    model = from_file(save(tmp_path, "y = Relu(x)", {}), Given())
    with pytest.raises(StudyError, match=r"model\.onnx: onnx2torch does not convert it: it has no GRU of version 14$"):
        find("onnx2torch")(model, SimpleNamespace(threads=1, device="cpu"))  # type: ignore[arg-type]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    monkeypatch.delitem(sys.modules, RUNTIMES["onnx2torch"].partition(":")[0], raising=False)
    with pytest.raises(StudyError, match=r"run `pip install onnx2torch`$"):
        find("onnx2torch")
