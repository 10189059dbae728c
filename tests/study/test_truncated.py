"""A truncated ONNX file, the commonest of bad ones after a broken download: every command says the same of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.inputs.forms import Form
from analysis.weights import layers
from bench import onnx_files
from export import check
from export.compact import files
from study.errors import StudyError
from tests.support.hostile import SMALL_WEIGHT, matmul, model

WHOLE = model([matmul()], [SMALL_WEIGHT])
READERS: dict[str, Callable[[Path], object]] = {
    "analysis sparsity": layers.read,
    "analysis zeros": lambda path: list(Form("dense", path, "").files()),
    "pytest bench and bench ab": onnx_files.read,
    "export check and conformance": check.read,
    "export compact": files.load,
}


@pytest.mark.parametrize("reader", READERS)
def test_it_is_other_bytes_or_a_part_of_a_model(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "cut.onnx"
    noise = [np.random.default_rng(seed).bytes(1000) for seed in range(3)]
    for content in (*(WHOLE[:length] for length in range(20, len(WHOLE) - 10, 7)), b"<html>404</html>", *noise):
        path.write_bytes(content)
        with pytest.raises(StudyError) as error:
            READERS[reader](path)
        message = str(error.value).removeprefix(f"{path}: ")
        assert message == "expected an ONNX model, found other bytes or a part of one"
