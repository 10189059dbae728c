"""ONNX Runtime on one thread, and its tensors: its own type, and arrays of it, also of types that numpy lacks."""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
from numpy.typing import NDArray

BITS = {"tensor(bfloat16)": np.uint16} | {
    f"tensor(float8{kind})": np.uint8 for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")
}
"""Types that numpy lacks, and those of their bits."""
BFLOAT16 = 16  # TensorProto.BFLOAT16


def ort_value(array: NDArray[Any], device: str = "cpu") -> Any:
    """An array in ONNX Runtime's own type, which shares its memory on the CPU."""
    if array.dtype.name != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BFLOAT16)


def numpy_array(value: Any) -> Any:
    """The array of a tensor, of a type that numpy lacks its bits."""
    if value.data_type() not in BITS:
        return value.numpy()
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(content, BITS[value.data_type()]).reshape(value.shape())


def needs_values(session: Any) -> bool:
    """Whether an input or output of an InferenceSession has a type that numpy lacks."""
    return any(value.type in BITS for value in (*session.get_inputs(), *session.get_outputs()))


def session_on_one_thread(model: bytes | Path) -> onnxruntime.InferenceSession:
    """A session on the CPU that logs nothing.

    Raises:
        Exception: ONNX Runtime does not load the model; of any type.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs_of_call(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray[Any]]) -> list[Any]:
    """The outputs of one call, of bfloat16 too.

    Raises:
        Exception: ONNX Runtime does not run the model; of any type.
    """
    if not needs_values(session):
        return list(session.run(None, given))
    found = session.run_with_ort_values(None, {name: ort_value(one) for name, one in given.items()})
    return [
        numpy_array(one).view(ml_dtypes.bfloat16) if one.data_type() == "tensor(bfloat16)" else numpy_array(one)
        for one in found
    ]
