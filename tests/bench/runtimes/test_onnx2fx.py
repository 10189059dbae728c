"""torch for an ONNX file through the package onnx2fx itself."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from bench.cases import Case, opened
from bench.models import from_file
from study.errors import StudyError
from study.onnx_given import Given
from tests.bench.test_cases import compared
from tests.support.notation import save

pytest.importorskip("onnx2fx", reason="it is in the group `test`")
WEIGHTS = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_a_file_is_converted_and_computes_what_onnx_runtime_does(tmp_path: Path) -> None:
    nodes = "h = MatMul(x, w) r = Relu(h) y = Softmax<axis = 1>(r)"
    case = Case(from_file(save(tmp_path, nodes, {"w": WEIGHTS}), Given()), "onnx2fx", 5, against=("onnxruntime",))
    found = compared(case)
    assert found is not None
    assert (found.against, found.images) == ("onnxruntime", 40)
    with opened(case, case.model.pool(5)) as engine:
        assert engine.runtime.settings() == {"threads": 1, "device": "cpu", "onnx2fx": version("onnx2fx")}
        inputs = {"x": np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)}
        (computed,) = engine.runtime.to_numpy(engine.runtime.run(engine.runtime.to_native(inputs)))
    powers = np.exp(np.maximum(inputs["x"] @ WEIGHTS, 0))
    np.testing.assert_allclose(computed, powers / powers.sum(1, keepdims=True), rtol=1e-5)


def test_an_operator_that_it_does_not_know_is_one_line(tmp_path: Path) -> None:
    case = Case(from_file(save(tmp_path, "y = custom.Unknown(x)", {}), Given()), "onnx2fx", 5)
    with pytest.raises(StudyError, match=r"model\.onnx: onnx2fx does not convert it: "):
        opened(case, case.model.pool(5)).__enter__()
