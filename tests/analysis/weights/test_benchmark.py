"""Weights larger than the memory they may take, read by the command in a fresh process."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from analysis.weights import benchmark
from analysis.weights.layers import read

MOST_MEBIBYTES = 150


@pytest.mark.parametrize("place", ["inside the model", "beside the model"])
def test_576_mebibytes_of_weights_take_less_than_150_to_read(tmp_path: Path, place: str) -> None:
    path, data = benchmark.write(tmp_path, benchmark.FILES[place], beside=place.startswith("beside"))
    try:
        assert data.stat().st_size >= 576 * 2**20
        _, _, peak = benchmark.run(benchmark.OURS, path)
        assert peak < MOST_MEBIBYTES
    finally:
        data.unlink()


@pytest.mark.parametrize("beside", [False, True])
def test_the_files_it_is_measured_with_are_models_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.setattr(benchmark, "WIDTH", 64)
    path, _ = benchmark.write(tmp_path, 3, beside)
    onnx.checker.check_model(path, full_check=True)
    tensors = onnx.load(path).graph.initializer
    for layer, tensor in zip(read(path).layers, tensors, strict=True):
        np.testing.assert_array_equal(layer.weight.load(), onnx.numpy_helper.to_array(tensor))
