"""Tensors of ONNX Runtime: its own type, and arrays of it, also of element types that numpy lacks."""

import ctypes
from typing import Any

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
