"""Families of runtimes: the settings in which one engine is measured, such as `torch` and `torch-compile`."""

FAMILIES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}
"""Engines that are measured in several settings. The runtime of the family's name is its default setting."""


def family(runtime: str) -> str:
    """The engine of a runtime: `torch` of `torch-compile`; of a runtime that has one setting its own name."""
    engine = runtime.partition("-")[0]
    return engine if engine in FAMILIES else runtime


def is_default(runtime: str) -> bool:
    """Whether a runtime is its engine as it is without further settings."""
    return runtime == family(runtime)
