"""The variants that a model was exported in, beside each other: size, test error, latency, and where they fail.

A variant computes for the same images as the standard one, from the same weights, so that only images whose class
differs between the two can differ in being right: at most the d that the parity check of the export has counted. With N
test images the standard error of the difference of the test errors is then at most sqrt(d) / N (McNemar, Psychometrika
12, 1947), and a difference is significant where it exceeds twice that, as elsewhere in this project.

Latency is compared by the ratio of calls in turns, where `python -m bench ab` has compared the two files. Otherwise it
is compared within a file of measurements and in one setting: the ratio of the medians in each process that measured
both, with Student's interval over the processes. The two were then measured apart, and a difference as small as the
drift of the machine is not to be trusted. A variant is slower or faster only if all of it is on one side of 1.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from msgspec import structs

from analysis.inputs.benchmarks import Measured
from analysis.inputs.portability import FAILED, NOT_RUN
from analysis.inputs.runs import Run
from analysis.inputs.study import Study
from analysis.measures.repeats import counted, together
from analysis.tables.columns import MODEL, OVER_PROCESSES, Column, ends, frame, text
from analysis.tables.headline import WITHHELD
from analysis.tables.numbers import MISSING, TIMES, interval, number
from study.records.ab import AbRecord
from study.records.base import Interval
from study.records.bench import CaseRecord
from study.records.export import ExportRecord
from study.student import mean_interval, verdict
from study.variants import STANDARD_NAME

NONE_OF = "none of "
Case = Measured[CaseRecord]
Setting = tuple[int, str, str, str]
"""Threads, mode, device and file: cases that agree in them are compared."""


def _size(row: Any) -> str:
    smaller = row.standard_bytes / row.bytes
    return number(row.bytes / 1024, ",.1f") + (f" ({smaller:.1f} times smaller)" if smaller >= 1.05 else "")


def _change(row: Any) -> str:
    noise = "" if pd.isna(row.test_error_noise) else f" (noise {row.test_error_noise * 100:.2f})"
    return number(row.test_error_change, "+.2f", 100) + noise


def _times(row: Any) -> str:
    return MISSING if row.latency_verdict == WITHHELD else interval(row.ratio, row.ratio_low, row.ratio_high, ".2f")


VARIANTS = (
    MODEL,
    Column("seed", "of the first run that has other variants"),
    Column("variant", "as in the names of its files", "variant"),
    Column("bytes", "of the ONNX file", "KiB", cell=_size),
    Column("test_error", "in ONNX Runtime", "test error, %", ".2f", 100),
    Column("test_error_change", "against the standard variant", "difference, points", cell=_change),
    Column("test_error_noise", "2 √d / N, with the d of N test images whose class differs"),
    Column("test_error_verdict", heading="accuracy"),
    Column("median_seconds", "one image in ONNX Runtime", "ONNX Runtime, µs", ",.1f", 1e6, valid="median_valid"),
    *ends("median_low_seconds", "median_high_seconds", OVER_PROCESSES),
    Column("median_valid", "False where repeats are of several machines"),
    Column("ratio", "time of the variant / time of the standard one", f"time {TIMES} standard", cell=_times),
    *ends("ratio_low", "ratio_high"),
    Column("in_turns", "True where the ratio is from `bench ab`, False where it is that of the medians"),
    Column("latency_verdict", "slower, faster, undecided (in turns also the same); withheld where invalid", "speed"),
    Column("fails_in", "runtimes of portability.json; `none of 12` of 12 tried; empty where none was", "fails in"),
    Column("onnx_sha256"),
)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`variants` as people read it; † marks invalid measurements."""
    standard = table[table["variant"] == STANDARD_NAME].set_index("model")["bytes"]
    return text(VARIANTS, table.assign(standard_bytes=table["model"].map(standard)))


def variants(study: Study) -> pd.DataFrame:
    """One row a variant, the standard one first, of the first run of each model that has others."""
    rows = []
    for run in _first(study):
        cases = [
            case
            for case in (*study.measured.cases, *study.measured.variants)
            if (case.key.runtime, case.key.batch) == ("onnxruntime", 1)
        ]
        standard = run.exports[0]
        reference = {_setting(case): case for case in cases if case.key.onnx_sha256 == standard.onnx_sha256}
        for export in run.exports:
            own = [case for case in cases if case.key.onnx_sha256 == export.onnx_sha256]
            rows.append(
                {
                    **{key: getattr(export, key) for key in ("model", "seed", "bytes", "onnx_sha256")},
                    "variant": export.variant.name,
                    **_accuracy(export, standard, run.wrong.size),
                    **_latency(own, {} if export is standard else reference),
                    **({} if export is standard else in_turns(study.paired, standard.onnx_sha256, export.onnx_sha256)),
                    "fails_in": _fails_in(export, study),
                }
            )
    return frame(VARIANTS, rows)


def _first(study: Study) -> Iterable[Run]:
    """The first run of each model that has variants, of the models that have any."""
    first: dict[str, Run] = {}
    for run in study.runs:
        if run.exports[1:]:
            first.setdefault(run.model, run)
    return first.values()


def _accuracy(export: ExportRecord, standard: ExportRecord, images: int) -> dict[str, object]:
    """Test error, and its difference from that of the standard variant with its noise, twice its standard error."""
    error, reference = export.test_error_onnxruntime, standard.test_error_onnxruntime
    if export is standard or error is None or reference is None:
        return {"test_error": error}
    change, parity = error - reference, export.parity
    row = {"test_error": error, "test_error_change": change}
    if parity.images != images:
        return {**row, "test_error_verdict": "not judged"}
    noise = 2 * math.sqrt(parity.argmax_mismatches) / parity.images
    significant = abs(change) > noise + 1e-12
    verdict = ("better" if change < 0 else "worse") if significant else "not distinguishable"
    return {**row, "test_error_noise": noise, "test_error_verdict": verdict}


def _latency(own: Sequence[Case], standard: Mapping[Setting, Case]) -> dict[str, object]:
    """Median of a variant's cases, and its ratio to that of the standard variant where both were measured alike."""
    both = [case for case in own if _setting(case) in standard] or own
    repeats = [case for case in both if _preference(case) == min(map(_preference, both))]
    if not repeats:
        return {}
    median = together([case.record.median_seconds for case in repeats])
    valid = all(case.record.valid for case in repeats) and len({case.machine for case in repeats}) == 1
    row: dict[str, object] = {
        "median_seconds": median.value,
        "median_low_seconds": median.low,
        "median_high_seconds": median.high,
    }
    row |= {"median_valid": valid}
    if not all(_setting(case) in standard for case in repeats):
        return row
    pairs = [(case.record, standard[_setting(case)].record) for case in repeats]
    ratio = together([_ratio(case, other) for case, other in pairs])
    row |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    word = "slower" if ratio.low > 1 else "faster" if ratio.high < 1 else "undecided"
    valid = valid and all(other.valid for _, other in pairs)
    return {**row, "in_turns": False, "latency_verdict": word if valid else WITHHELD}


def in_turns(
    records: Iterable[AbRecord], a_sha256: str, b_sha256: str, runtimes: tuple[str, str] = ("onnxruntime",) * 2
) -> dict[str, object]:
    """The ratio and the verdict of `bench ab A B` with one image and one thread; empty without any.

    A and B are files by their SHA-256, each in its runtime, with the same settings and packages otherwise.
    """
    neutral = {"model": "", "variant": "", "onnx_sha256": "", "runtime": ""}
    alike = [
        one
        for record in records
        for one in record.comparisons
        if (one.a.onnx_sha256, one.b.onnx_sha256) == (a_sha256, b_sha256)
        and (one.a.runtime, one.b.runtime) == runtimes
        and structs.replace(one.a, **neutral) == structs.replace(one.b, **neutral)
        and (one.a.batch, one.a.threads, one.a.mode) == (1, 1, "native")
        and (record.a.options, record.a.packages) == (record.b.options, record.b.packages)
    ]
    if not alike:
        return {}
    valid = [one for one in alike if one.valid]
    ratio = together([one.ratio for one in valid or alike])
    margin = max(one.margin for one in alike)
    words = verdict(Interval(value=1 / ratio.value, low=1 / ratio.high, high=1 / ratio.low), margin)
    return {
        **{"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high},
        "in_turns": True,
        "latency_verdict": words if valid else WITHHELD,
    }


def _ratio(case: CaseRecord, standard: CaseRecord) -> Interval:
    """The ratio of the medians over the processes that count for both; of the whole medians if there is none."""
    medians = {process.process: process.median_seconds for process in counted(standard.processes)}
    ratios = [one.median_seconds / medians[one.process] for one in counted(case.processes) if one.process in medians]
    return mean_interval(ratios or [case.median_seconds.value / standard.median_seconds.value])


def _setting(case: Case) -> Setting:
    return case.key.threads, case.key.mode, case.key.device, case.file


def _preference(case: Case) -> tuple[Any, ...]:
    return case.key.device, case.key.threads, case.key.mode != "native"


def _fails_in(export: ExportRecord, study: Study) -> str | None:
    """The titles of the runtimes, or "none of" as many as were tried, or None without any."""
    cells = study.portability.cells if study.portability else ()
    own = [cell for cell in cells if cell.record.onnx_sha256 == export.onnx_sha256]
    tried = [cell for cell in own if cell.record.verdict != NOT_RUN]
    failed = dict.fromkeys(cell.runtime.title for cell in tried if cell.record.verdict == FAILED)
    return ", ".join(failed) or f"{NONE_OF}{len({cell.runtime.name for cell in tried})}" if tried else None
