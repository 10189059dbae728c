"""Variants of a made-up run, as `python -m export` would leave them, and measurements of them."""

from typing import Any

from study.artifacts import Artifacts, read_json, sha256, write_json
from study.variants import Variant
from tests.support.synthetic import IMAGES, case

STATIC, DYNAMIC, OLDER = Variant(int8="static"), Variant(int8="dynamic"), Variant(opset=17)


def write_variant(
    artifacts: Artifacts,
    variant: Variant,
    mismatches: int,
    test_error: float | None,
    *,
    model: str = "baseline",
    seed: int = 0,
    **changes: Any,
) -> str:
    """Export a run in another form, with so many images of another class; gives the SHA-256 of its file."""
    files = artifacts.run(model, seed).of(variant)
    files.onnx.write_bytes(f"{model} {seed} {variant.name}".encode() * 10)
    standard = read_json(artifacts.run(model, seed).export, "export/1", "")
    parity = {"images": IMAGES, "max_abs_difference": 0.05, "argmax_mismatches": mismatches}
    write_json(
        files.export,
        {
            **{**standard, "onnx_sha256": sha256(files.onnx), "bytes": files.onnx.stat().st_size, "parity": parity},
            **{"test_error_onnxruntime": test_error, "variant": variant.record(), **changes},
        },
    )
    return sha256(files.onnx)


def of_variant(artifacts: Artifacts, digest: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """A case with one image in ONNX Runtime, of the ONNX file with this sum."""
    record = case(artifacts, "baseline", "onnxruntime", 1, seconds)
    return {**record, "model": "baseline-int8-static", "onnx_sha256": digest, **changes}
