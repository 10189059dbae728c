"""Numbers as people read them: units, true minus signs, intervals, runtimes by name."""

from typing import Any

TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
RUNTIMES = {
    **{"torch": "torch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"},
    **{"opencv": "OpenCV", "reference": "onnx.reference"},
    **{"torch-channels-last": "torch in channels-last", "torch-compile": "torch.compile"},
    **{"torch-aoti": "AOTInductor", "torch-jit": "TorchScript"},
    **{"onnxruntime-iobinding": "ONNX Runtime with I/O binding", "onnxruntime-spinning": "ONNX Runtime with spinning"},
}
"""Runtimes as they call themselves."""


def missing(value: Any) -> bool:
    """Whether a number is None, NaN or pandas' NA; as `pandas.isna`, whose import takes longer than a small table."""
    return value is None or (not isinstance(value, str) and str(value) in ("nan", "<NA>"))


def number(value: Any, form: str, scale: float = 1, unit: str = "") -> str:
    """`value * scale` in the format `form`, with a true minus sign, or a dash where there is none."""
    if missing(value):
        return MISSING
    return format(value * scale, form).replace("-", MINUS) + unit


def interval(value: float, low: float, high: float, form: str, scale: float = 1, unit: str = "") -> str:
    """A value, with its unit, and its interval or range behind it: "7.34 (7.28 to 7.40)"; or a dash."""
    if missing(value):
        return MISSING
    return number(value, form, scale, unit) + spread(low, high, form, scale)


def spread(low: float, high: float, form: str, scale: float = 1) -> str:
    """An interval or range behind its value: " (7.28 to 7.40)"; nothing for one without width, of a single process."""
    return "" if low == high else f" ({number(low, form, scale)} to {number(high, form, scale)})"


def formula(fixed: float, per_item: float, miss: float | None = None) -> str:
    """Seconds as a formula in microseconds with three digits, such as 187 + 38.6 b; with ≈ where a median is missed."""
    sign = "+" if per_item >= 0 else MINUS
    return f"{'' if missing(miss) else '≈ '}{_three(1e6 * fixed)} {sign} {_three(abs(1e6 * per_item))} b"


def _three(value: float) -> str:
    return number(value, f",.{max(0, 3 - len(f'{abs(value):.0f}'))}f")


def runtime(name: str, device: str = "cpu") -> str:
    """A runtime by its own name, and its device where that is not the CPU."""
    return RUNTIMES.get(name, name) + ("" if device == "cpu" else f" on {device}")


def threads(n: int) -> str:
    return f"{n} thread{'' if n == 1 else 's'}"
