"""The tables of what was measured as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

from collections.abc import Iterable
from typing import Any, Protocol

import pandas as pd

from analysis.inputs.benchmarks import Measurements, Record
from analysis.inputs.runs import Study
from analysis.tables import headline as headlines

LATENCY = (
    "model seed runtime batch threads mode device samples median_seconds median_low_seconds median_high_seconds "
    "p90_seconds p90_low_seconds p90_high_seconds p95_seconds p95_low_seconds p95_high_seconds "
    "p99_seconds p99_low_seconds p99_high_seconds p999_seconds p999_low_seconds p999_high_seconds images_per_second "
    "processes between_spread drift spread parity_images parity_max_abs_difference parity_argmax_mismatches "
    "parity_against cores_used other_cores steal_share yardstick_seconds threads_read_back warmup_calls onnx_bytes "
    "parameters macs subnormal_weights quick valid reasons onnx_sha256 measured_on file"
)
COMPARISONS = (
    "model seed reference runtime batch threads mode device ratio low high noise_floor processes between_spread "
    "verdict rounds blocks calls cores_used other_cores steal_share quick valid reasons measured_on file"
)
THROUGHPUT = (
    "model runtime batch threads mode device images_per_second images_per_second_low images_per_second_high valid"
)
ACCURACY = (
    "model runtime threads mode device runs test_error_mean test_error_lowest test_error_highest median_seconds "
    "median_low_seconds median_high_seconds valid"
)
STEPS = ("import_seconds", "load_seconds", "first_call_seconds", "total_seconds")
GROWTH = ("import_bytes", "load_bytes", "run_bytes", "peak_bytes")
COLD_STARTS = " ".join(
    [
        "model seed runtime batch threads device processes",
        *(f"{name} {name}_lowest {name}_highest" for name in (*STEPS, *GROWTH)),
        "onnx_bytes parameters macs quick valid reasons measured_on file",
    ]
)
INTEGERS = (
    *("seed", "macs", "onnx_bytes", "parameters", "parity_images", "parity_argmax_mismatches"),
    *("epochs_at_most", "kept_lowest", "kept_highest"),
)
"""Columns of whole numbers that may be missing."""


class Measured(Protocol):
    """What there are measurements of, such as a study."""

    @property
    def models(self) -> tuple[str, ...]: ...
    @property
    def measured(self) -> Measurements: ...


def latency(study: Measured) -> pd.DataFrame:
    """One row a benchmark case, by model in the study's order. Times are seconds for one call with `batch` images."""
    flat = (
        {
            **_flat(case),
            **{f"parity_{key}": value for key, value in (case["parity"] or {}).items()},
            "warmup_calls": case["warmup"]["calls"],
        }
        for case in _by_model(study, study.measured.cases)
    )
    return frame(LATENCY, flat)


def comparisons(study: Measured) -> pd.DataFrame:
    """One row a comparison; `ratio` is the time of `reference` over that of `runtime`, `noise_floor` a fraction."""
    return frame(COMPARISONS, map(_flat, _by_model(study, study.measured.comparisons)))


def cold_starts(study: Study) -> pd.DataFrame:
    """One row a cold start: medians, and the lowest and highest, of fresh processes, in seconds and bytes.

    The size of the model is told where a case of the same ONNX file was measured.
    """
    models = {case["onnx_sha256"]: case for case in study.measured.cases}

    def flat(start: Record) -> Record:
        size = {key: models.get(start["onnx_sha256"], {}).get(key) for key in ("onnx_bytes", "parameters", "macs")}
        ranges = {
            name + suffix: start[name][part]
            for name in (*STEPS, *GROWTH)
            for suffix, part in (("", "median"), ("_lowest", "lowest"), ("_highest", "highest"))
        }
        return {**start, **size, **ranges, "reasons": "; ".join(start["reasons"])}

    return frame(COLD_STARTS, map(flat, _by_model(study, study.measured.cold_starts)))


def throughput(cases: pd.DataFrame) -> pd.DataFrame:
    """Images per second of the headline rows of `latency`: batch over median, within batch over the median's interval.

    Rows are by model and runtime, then by batch size.
    """
    rows = headlines.cases(cases)
    order = {model: i for i, model in enumerate(dict.fromkeys(cases["model"]))}
    rows = rows.assign(order=rows["model"].map(order)).sort_values(
        ["order", "device", "runtime", "batch"], kind="stable", ascending=[True, True, False, True]
    )
    per_second = {
        f"images_per_second{end}": rows["batch"] / rows[f"median_{part}seconds"]
        for end, part in (("", ""), ("_low", "high_"), ("_high", "low_"))
    }
    return frame(THROUGHPUT, rows.assign(**per_second))


def accuracy(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Test error, mean and range of a model's runs, beside its median latency with one image in each runtime."""
    rows = headlines.cases(cases[(cases["batch"] == 1) & cases["seed"].notna()])
    errors = runs.groupby("model")["test_error"].agg(["count", "mean", "min", "max"])
    named = dict(
        zip(
            ("runs", "test_error_mean", "test_error_lowest", "test_error_highest"),
            (rows["model"].map(errors[name]) for name in errors),
            strict=True,
        )
    )
    return frame(ACCURACY, rows.assign(**named))


def frame(columns: str, rows: Iterable[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows as a frame of just these columns; what a row lacks is missing there, an empty field in the CSV file."""
    names = columns.split()
    made = rows[names].copy() if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=names)
    return made.astype({name: "Int64" for name in INTEGERS if name in names and made[name].isna().any()})


def _flat(record: Record) -> Record:
    """A case or comparison without the lists and objects in it."""
    return {
        **record,
        **{key: record["machine"][key] for key in ("other_cores", "steal_share")},
        "processes": len(record["processes"]),
        "reasons": "; ".join(record["reasons"]),
    }


def _by_model(study: Measured, records: Iterable[Record]) -> list[Record]:
    """Records by model in the study's order, the user's own files last."""
    records = list(records)
    order = {model: i for i, model in enumerate(dict.fromkeys([*study.models, *(r["model"] for r in records)]))}
    return sorted(records, key=lambda record: order[record["model"]])
