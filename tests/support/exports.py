"""Variants of a made-up run, as `python -m export` would leave them, and measurements of them."""

from typing import Any

import onnx
from msgspec import structs

from export.compact.removal import remove_dead_units
from study.artifacts import Artifacts
from study.files import sha256
from study.record_files import write_record
from study.records.base import Parity
from study.records.bench import CaseRecord
from study.variants import Variant
from tests.support.ab import compared
from tests.support.records import AROUND, case, case_process, export_record
from tests.support.study import IMAGES

STATIC, DYNAMIC, OLDER = Variant(int8="static"), Variant(int8="dynamic"), Variant(opset=17)
COMPACT = Variant(remove_dead=True)


def write_variant(
    artifacts: Artifacts,
    variant: Variant,
    mismatches: int,
    test_error: float | None,
    *,
    model: str = "baseline",
    seed: int = 0,
    content: bytes = b"",
    **changes: Any,
) -> str:
    """Export a run as another variant, with so many images of another class; gives the SHA-256 of its file.

    Unless the `content` of the file is given, it is no ONNX model.
    """
    files = artifacts.run(model, seed).of(variant)
    files.onnx.write_bytes(content or f"{model} {seed} {variant.name}".encode() * 10)
    digest = sha256(files.onnx)
    parity = Parity(images=IMAGES, max_abs_difference=0.05, argmax_mismatches=mismatches)
    own = {"parity": parity, "variant": variant, **changes}
    write_record(files.export, export_record(model, seed, digest, files.onnx.stat().st_size, test_error, **own))
    return digest


def write_compact(artifacts: Artifacts, model: str, ratio: float = 0.9, **changes: Any) -> str:
    """Export the first run of a model without its dead units, and measure it in turns with the standard variant."""
    files = artifacts.run(model, 0)
    reduced = onnx.load(files.onnx)
    removed = remove_dead_units(reduced)
    content = reduced.SerializeToString(deterministic=True)
    digest = write_variant(artifacts, COMPACT, 0, 0.101, model=model, content=content, removed=removed)
    key = case(artifacts, model, "onnxruntime", 1, 1e-5).key
    other = structs.replace(key, variant=COMPACT.name, onnx_sha256=digest)
    write_record(artifacts.root / "ab" / f"{model}.json", compared(key, other, ratio, **changes))
    return digest


def of_variant(artifacts: Artifacts, digest: str, seconds: float, **changes: Any) -> CaseRecord:
    """A case with one image in ONNX Runtime, of the variant int8-static whose ONNX file has this sum.

    It is fast in the processes in which `tests.support.records.case` is slow.
    """
    processes = tuple(case_process(n, seconds * factor) for n, factor in enumerate(reversed(AROUND), 1))
    own = {"variant": STATIC.name, "onnx_sha256": digest, "processes": processes, **changes}
    return case(artifacts, "baseline", "onnxruntime", 1, seconds, **own)
