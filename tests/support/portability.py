"""A portability.json whose every number is known: two models in three runtimes."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from analysis.inputs.portability import Portability, read_portability
from study.artifacts import Artifacts
from study.files import sha256
from study.record_files import write_record
from study.records.export import CellRecord, PortabilityRecord, RuntimeRecord
from study.variants import STANDARD_NAME
from tests.support.records import ENVIRONMENT

UNTRIED: dict[str, Any] = dict.fromkeys(
    ("shape", "finite", "row_sum_error", "max_abs_difference", "argmax_mismatches", "seconds")
)


def runtime(name: str, **changes: Any) -> RuntimeRecord:
    made = RuntimeRecord(
        name=name, title=f"{name.title()} 1.2", version="1.2", largest_difference=1e-5, because=None, reason=None
    )
    return structs.replace(made, **changes)


def cell(artifacts: Artifacts, name: str, model: str, batch: int, **changes: Any) -> CellRecord:
    """A cell that passed with a difference of 1e-7 times the batch; a model without a run has the baseline's file."""
    own = artifacts.run(model, 0).onnx
    made = CellRecord(
        runtime=name,
        model=model,
        variant=STANDARD_NAME,
        seed=0,
        onnx_sha256=sha256(own if own.is_file() else artifacts.run("baseline", 0).onnx),
        batch=batch,
        verdict="passed",
        shape=(256, 10),
        finite=True,
        row_sum_error=1e-7,
        max_abs_difference=batch * 1e-7,
        argmax_mismatches=0,
        allowed=1e-5,
        seconds=0.25,
        reason=None,
    )
    return structs.replace(made, **changes)


def record(runtimes: Sequence[RuntimeRecord], cells: Sequence[CellRecord]) -> PortabilityRecord:
    return PortabilityRecord(
        environment=ENVIRONMENT, images=256, batches=(1, 7), runtimes=tuple(runtimes), cells=tuple(cells)
    )


def write_portability(artifacts: Artifacts, *more: CellRecord) -> Portability:
    """Two models: ort passes, tract fails with one of them in one batch, and web was not run; and `more` cells."""
    wrong = {"verdict": "failed", "max_abs_difference": 0.031, "argmax_mismatches": 12, "reason": "0.031 off."}
    absent = {"verdict": "not run", **UNTRIED}
    content = record(
        [
            runtime("ort"),
            runtime("tract", largest_difference=1e-3, because="it rounds otherwise"),
            runtime("web", title="Web <b>", version=None, reason="no <browser>"),
        ],
        [
            *(cell(artifacts, "ort", "baseline", batch) for batch in (1, 7)),
            *(cell(artifacts, "ort", "gap", batch, allowed=2e-5) for batch in (1, 7)),
            *(cell(artifacts, "tract", "baseline", batch, allowed=1e-3) for batch in (7, 1)),
            cell(artifacts, "tract", "gap", 1, allowed=1e-3),
            cell(artifacts, "tract", "gap", 7, allowed=1e-3, **wrong),
            *(cell(artifacts, "web", model, batch, **absent) for model in ("baseline", "gap") for batch in (1, 7)),
            *more,
        ],
    )
    write_record(artifacts.portability, content)
    return read_portability(artifacts)
