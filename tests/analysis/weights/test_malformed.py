"""Files that are no ONNX models, or damaged ones: each is refused in one line that names it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from analysis.weights.layers import read
from study.errors import StudyError
from tests.support.hostile import SMALL_WEIGHT, matmul, model, node, refused, tensor

WHOLE = model([matmul()], [SMALL_WEIGHT])


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    for length in range(len(WHOLE) - 10):  # the last bytes are the opset, without which the graph is whole
        refused(tmp_path / "cut.onnx", WHOLE[:length])


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    for seed in range(50):
        refused(tmp_path / "noise.onnx", np.random.default_rng(seed).bytes(1000))


@pytest.mark.parametrize("content", [b"", b"not a model\n", b"{}", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path / "other.onnx", content)


def test_a_damaged_byte_ends_in_layers_or_in_a_refusal_but_never_in_a_traceback(tmp_path: Path) -> None:
    outcomes: list[type] = []
    for position in range(len(WHOLE)):
        for value in (0x00, 0x7F, 0xFF):
            (tmp_path / "damaged.onnx").write_bytes(WHOLE[:position] + bytes([value]) + WHOLE[position + 1 :])
            try:
                outcomes.append(type(read(tmp_path / "damaged.onnx")))
            except StudyError as error:
                outcomes.append(type(error))
    assert outcomes.count(StudyError) > 100


def test_a_file_without_ir_version_is_refused(tmp_path: Path) -> None:
    made = onnx.load_from_string(WHOLE)
    made.ClearField("ir_version")
    assert "IR version" in refused(tmp_path / "anonymous.onnx", made.SerializeToString())


@pytest.mark.parametrize("count", [6, 6000])
def test_values_of_another_type_than_the_tensor_declares_are_refused(tmp_path: Path, count: int) -> None:
    wrong = TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=[count // 2, 2], float_data=[1.0] * count)
    refused(tmp_path / "m.onnx", model([matmul()], [wrong]))


def test_a_gemm_whose_constant_is_no_matrix_is_refused(tmp_path: Path) -> None:
    content = model([node("Gemm", ["x", "w"], ["y"])], [tensor(np.ones((1, 2, 3), np.float32), "w")])
    assert "[1, 2, 3]" in refused(tmp_path / "m.onnx", content)


def test_a_node_without_inputs_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "m.onnx", model([node("Gemm", [], ["y"])]))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.onnx", tmp_path):
        with pytest.raises(StudyError, match=rf"{path} cannot be read"):
            read(path)
