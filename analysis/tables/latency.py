"""The tables of what was measured as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

from typing import Any

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.benchmarks import Measured, Measurements
from analysis.tables import headline as headlines
from analysis.tables.columns import (
    BATCH,
    DEVICE,
    FILE,
    MODE,
    MODEL,
    RUNTIME,
    SEED,
    THREADS,
    VALID,
    Column,
    ends,
    frame,
    plain,
)
from analysis.tables.numbers import TIMES, runtime
from study.records.base import Interval
from study.records.bench import Range

MIB = 2.0**-20


def _percentile(name: str, heading: str = "") -> tuple[Column, ...]:
    """Of a case's times, with its interval, which a page shows of the median alone."""
    low, high = f"{name}_low_seconds", f"{name}_high_seconds"
    bounds = (low, high) if name == "median" else ()
    column = Column(f"{name}_seconds", "one call with the whole batch", heading, ",.1f", 1e6, bounds=bounds)
    return column, *ends(low, high)


def _range(key: str, heading: str, form: str, scale: float) -> tuple[Column, ...]:
    """Of a step of a cold start, over its processes."""
    bounds = f"{key}_lowest", f"{key}_highest"
    return Column(key, "median of the processes", heading, form, scale, bounds=bounds), *ends(*bounds, "range")


def _runtimes(row: Any) -> str:
    return f"{runtime(row.runtime)} against {runtime(row.reference)}"


_CONDITIONS = (
    Column("cores_used", "processor time of the process / wall time", "cores used", ".2f"),
    Column("other_cores", "processor time of everything else / wall time"),
    Column("steal_share", "of a virtual machine's time, taken by others"),
)
_WHENCE = (Column("measured_on", "the machine"), FILE)
_SIZE = (
    Column("parameters", "trainable numbers; of a file given with --onnx those in constants"),
    Column("macs", "multiply-accumulates of one image", whole=True),
)

LATENCY = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    MODE,
    DEVICE,
    Column("samples", "timed calls", "samples", ",d"),
    *_percentile("median", "median (95 % interval), µs"),
    *_percentile("p90", "p90, µs"),
    *_percentile("p95"),
    *_percentile("p99", "p99, µs"),
    *_percentile("p999", "p99.9, µs"),
    Column("images_per_second", "batch / median", "images/s", ",.0f"),
    Column("processes", "their number"),
    Column("between_spread", "largest / smallest median of the processes - 1", "between processes, %", ".1f", 100),
    Column("drift", "last third of the samples against the first"),
    Column("spread", "interquartile range / median"),
    Column("parity_images", "on which the engines are compared", whole=True),
    Column("parity_max_abs_difference", "of two probabilities", "largest difference", ".1e"),
    Column("parity_argmax_mismatches", "images of another class", whole=True),
    Column("parity_against", "the other engine"),
    *_CONDITIONS,
    Column("yardstick_seconds", "time of the calibration loop"),
    Column("threads_read_back", "as the engine reports them"),
    Column("warmup_calls", "before the samples"),
    Column("onnx_bytes", "of the file, with the weights that lie beside it"),
    *_SIZE,
    Column("subnormal_weights", "not zero, and below the smallest normal number"),
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    Column("onnx_sha256"),
    *_WHENCE,
)
COMPARISONS = (
    MODEL,
    SEED,
    Column("reference", "its time is divided by that of `runtime`"),
    Column("runtime", heading="runtimes", cell=_runtimes),
    BATCH,
    THREADS,
    MODE,
    DEVICE,
    Column("ratio", "of the times, paired", "speed-up (95 % interval)", ".2f", unit=TIMES, bounds=("low", "high")),
    *ends("low", "high"),
    Column("noise_floor", "of each engine timed against itself, a fraction", "noise floor, %", ".2f", 100),
    Column("processes", "their number", "processes"),
    Column("between_spread", "largest / smallest ratio of the processes - 1", "between processes, %", ".1f", 100),
    Column("verdict", heading="verdict"),
    Column("rounds"),
    Column("blocks", "of calls, in random order", "blocks", ",d"),
    Column("calls"),
    *_CONDITIONS,
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid", "reasons"),
    *_WHENCE,
)
COLD_STARTS = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    DEVICE,
    Column("processes", "fresh ones", "processes"),
    *_range("import_seconds", "import, ms", ",.0f", 1e3),
    *_range("load_seconds", "load, ms", ",.1f", 1e3),
    *_range("first_call_seconds", "first call, ms", ",.1f", 1e3),
    *_range("total_seconds", "all, ms", ",.0f", 1e3),
    *_range("import_bytes", "import, MiB", ",.1f", MIB),
    *_range("load_bytes", "load, MiB", ",.1f", MIB),
    *_range("run_bytes", "calls, MiB", ",.1f", MIB),
    *_range("peak_bytes", "all, MiB", ",.1f", MIB),
    Column("onnx_bytes", "empty without a case of that ONNX file", "ONNX, KiB", ",.1f", 1 / 1024, whole=True),
    Column("parameters", "likewise", "parameters", ",d", whole=True),
    Column("macs", "likewise; of one image", "MACs", ",d", whole=True),
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    *_WHENCE,
)
THROUGHPUT = (
    *plain("model", "runtime", "batch", "threads", "mode", "device"),
    Column("images_per_second", "batch / median, of the headline rows"),
    *ends("images_per_second_low", "images_per_second_high"),
    Column("valid"),
)
ACCURACY = (
    *plain("model", "runtime", "threads", "mode", "device"),
    Column("runs", "of the model, which is of the catalogue"),
    Column("test_error_mean", "of the runs"),
    *ends("test_error_lowest", "test_error_highest", "range"),
    Column("median_seconds", "of one image"),
    *ends("median_low_seconds", "median_high_seconds"),
    Column("valid"),
)


def latency(measured: Measurements) -> pd.DataFrame:
    """One row a benchmark case. Times are seconds for one call with `batch` images."""
    rows = []
    for case in measured.cases:
        parity = asdict(case.record.parity) if case.record.parity else {}
        warmup = {"warmup_calls": case.record.warmup.calls}
        rows.append({**_cells(case), **{f"parity_{key}": value for key, value in parity.items()}, **warmup})
    return frame(LATENCY, rows)


def comparisons(measured: Measurements) -> pd.DataFrame:
    """One row a comparison; `ratio` is the time of `reference` over that of `runtime`, `noise_floor` a fraction."""
    rows = []
    for pair in measured.comparisons:
        ratio = pair.record.ratio
        rows.append({**_cells(pair), "ratio": ratio.value, "low": ratio.low, "high": ratio.high})
    return frame(COMPARISONS, rows)


def cold_starts(measured: Measurements) -> pd.DataFrame:
    """One row a cold start: medians, and the lowest and highest, of fresh processes, in seconds and bytes.

    The size of the model is there where a case of the same ONNX file was measured.
    """
    models = {case.key.onnx_sha256: case.record for case in measured.cases}
    rows = []
    for start in measured.cold_starts:
        model = models.get(start.key.onnx_sha256)
        size = {key: getattr(model, key, None) for key in ("onnx_bytes", "parameters", "macs")}
        rows.append({**_cells(start), **size})
    return frame(COLD_STARTS, rows)


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


def _cells(measured: Measured[Any]) -> dict[str, object]:
    """The cells of a measurement by column: an interval or a range has three, processes are counted."""
    record = measured.record
    cells = {**asdict(record.key), **asdict(record.machine), **asdict(record)}
    for key, value in asdict(record).items():
        if isinstance(value, Interval):
            name = key.removesuffix("_seconds")
            cells |= {key: value.value, f"{name}_low_seconds": value.low, f"{name}_high_seconds": value.high}
        elif isinstance(value, Range):
            cells |= {key: value.median, f"{key}_lowest": value.lowest, f"{key}_highest": value.highest}
    processes = len(record.processes) if isinstance(record.processes, tuple) else record.processes
    origin = {"model": measured.model, "measured_on": measured.machine, "file": measured.file}
    return {**cells, **origin, "processes": processes, "reasons": "; ".join(record.reasons)}
