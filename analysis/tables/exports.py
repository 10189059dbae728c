"""The forms that a model was exported in beside each other: size, test error, latency, and where they go wrong.

A form computes for the same images as the standard one, of the same weights, so that only images whose class differs
between the two can differ in being right: no more than the d that the proof of the export has counted. With N test
images the standard error of the difference of the test errors is then sqrt(d) / N at most (McNemar, Psychometrika 12,
1947), and a difference is called one where it exceeds twice that, as elsewhere in this project.

Latency is compared within a file of measurements and in one setting. The ratio of the medians lies between those of the
opposite ends of their ranges, each an interval of the median widened to the medians of all loads and processes: these
lie up to some percent apart where the interval, of that many calls, has some ten-thousandths. A form is called slower
or faster only if all of that is on one side of 1.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from analysis.inputs.benchmarks import Record
from analysis.inputs.portability import FAILED, NOT_RUN
from analysis.inputs.runs import Run, Study
from analysis.tables.columns import MODEL, Column, ends, frame, text
from analysis.tables.headline import WITHHELD
from analysis.tables.numbers import MISSING, TIMES, interval, number
from study.variants import STANDARD_NAME, variant_of

NONE_OF = "none of "
SETTING = ("threads", "mode", "device", "file")


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
    Column("median_seconds", "one image in ONNX Runtime", "ONNX Runtime, µs", ",.1f", 1e6, valid="latency_valid"),
    *ends("median_low_seconds", "median_high_seconds"),
    Column("ratio", "of the medians, over the standard variant's", f"time {TIMES} standard", cell=_times),
    *ends("ratio_low", "ratio_high", "range, from the ends of both intervals, widened to the medians of all loads"),
    Column("latency_verdict", "slower, faster, not faster: of the whole range; or withheld", "speed"),
    Column("latency_valid", "of both; False where repeats are of several machines"),
    Column("fails_in", "runtimes of portability.json; `none of 12` of 12 tried; empty where none was", "fails in"),
    Column("onnx_sha256"),
)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`variants` as people read it; † marks invalid measurements."""
    standard = table[table["variant"] == STANDARD_NAME].set_index("model")["bytes"]
    return text(VARIANTS, table.assign(standard_bytes=table["model"].map(standard)))


def variants(study: Study) -> pd.DataFrame:
    """One row a form, the standard one first, of the first run of each model that has others; seconds are of one image.

    `ratio` is the time of the form over that of the standard one; `fails_in` names the runtimes that were tried and
    compute it wrongly, or not at all; it is "none of 12" where 12 were tried, and missing where none was.
    """
    rows: list[Record] = []
    for run in _first(study):
        own = [record for record in study.variants if (record["model"], record["seed"]) == (run.model, run.seed)]
        for record in (run.export, *own):
            rows.append({**record, **_accuracy(record, run), **_latency(record, run, study)})
            rows[-1] |= {"variant": _name(record), "fails_in": _fails_in(record, study)}
    return frame(VARIANTS, rows)


def _first(study: Study) -> Iterator[Run]:
    """The first run of each model of those that were exported in other forms."""
    exported = {(record["model"], record["seed"]) for record in study.variants}
    for model in study.models:
        yield from [run for run in study.runs if run.model == model and (run.model, run.seed) in exported][:1]


def _name(record: Record) -> str:
    return variant_of(record).name or STANDARD_NAME


def _accuracy(record: Record, run: Run) -> Record:
    """Test error, and its difference from that of the standard form with the noise of it, twice its standard error."""
    error, standard = record["test_error_onnxruntime"], run.export["test_error_onnxruntime"]
    if record is run.export or error is None or standard is None:
        return {"test_error": error}
    change, parity = error - standard, record["parity"]
    if parity["images"] != run.wrong.size:
        return {"test_error": error, "test_error_change": change, "test_error_verdict": "not judged"}
    noise = 2 * math.sqrt(parity["argmax_mismatches"]) / parity["images"]
    shown = abs(change) > noise + 1e-12
    verdict = ("better" if change < 0 else "worse") if shown else "not distinguishable"
    judged = {"test_error_noise": noise, "test_error_verdict": verdict}
    return {"test_error": error, "test_error_change": change, **judged}


def _latency(record: Record, run: Run, study: Study) -> Record:
    """Medians with one image in ONNX Runtime, and the ratio to those of the standard form where both were measured."""
    cases = [case for case in (*study.measured.cases, *study.measured.variants) if _counts(case)]
    own = [case for case in cases if case["onnx_sha256"] == record["onnx_sha256"]]
    reference = {_setting(case): case for case in cases if case["onnx_sha256"] == run.export["onnx_sha256"]}
    both = [case for case in own if _setting(case) in reference] or own
    alike = [case for case in both if _preference(case) == min(map(_preference, both))]  # several files: repeats
    if not alike:
        return {}
    keys = ("median_seconds", "median_low_seconds", "median_high_seconds")
    found = dict(zip(keys, _merged([tuple(case[key] for key in keys) for case in alike]), strict=True))
    found["latency_valid"] = all(case["valid"] for case in alike) and len({case["measured_on"] for case in alike}) == 1
    standards = [reference.get(_setting(case)) for case in alike]
    if record is run.export or None in standards:
        return found
    pairs = [(case, standard) for case, standard in zip(alike, standards, strict=True) if standard is not None]
    ratio, low, high = _merged([_ratio(case, standard) for case, standard in pairs])
    valid = found["latency_valid"] and all(standard["valid"] for _, standard in pairs)
    verdict = "slower" if low > 1 else "faster" if high < 1 else "not faster"
    ratios = {"ratio": ratio, "ratio_low": low, "ratio_high": high}
    return {**found, **ratios, "latency_valid": valid, "latency_verdict": verdict if valid else WITHHELD}


def _ratio(case: Record, standard: Record) -> tuple[float, float, float]:
    """Of the medians, and what is possible between the ends of their ranges."""
    (low, high), (standard_low, standard_high) = _range(case), _range(standard)
    return case["median_seconds"] / standard["median_seconds"], low / standard_high, high / standard_low


def _range(case: Record) -> tuple[float, float]:
    """The interval of the median, widened to the medians of all loads and processes."""
    medians = [*case["load_medians_seconds"], *(process["median_seconds"] for process in case["processes"])]
    return min(case["median_low_seconds"], *medians), max(case["median_high_seconds"], *medians)


def _counts(case: Record) -> bool:
    return bool(case["batch"] == 1 and case["runtime"] == "onnxruntime")


def _setting(case: Record) -> tuple[Any, ...]:
    return tuple(case[key] for key in SETTING)


def _preference(case: Record) -> tuple[Any, ...]:
    return case["device"], case["threads"], case["mode"] != "native"


def _merged(values: Iterable[tuple[float, ...]]) -> tuple[float, float, float]:
    """The median of several values in the hull of their intervals."""
    middles, lows, highs = zip(*values, strict=True)
    return float(pd.Series(middles).median()), min(lows), max(highs)


def _fails_in(record: Record, study: Study) -> str | None:
    """The titles of the runtimes, or "none of" as many as it was tried in, or None where that is none."""
    cells = study.portability.cells if study.portability else ()
    tried = [cell for cell in cells if cell["onnx_sha256"] == record["onnx_sha256"] and cell["verdict"] != NOT_RUN]
    failed = dict.fromkeys(cell["title"] for cell in tried if cell["verdict"] == FAILED)
    return ", ".join(failed) or f"{NONE_OF}{len({cell['runtime'] for cell in tried})}" if tried else None
