"""The tables of cases and comparisons as pandas frames: raw numbers, full precision, SI units."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from msgspec.structs import asdict, astuple

from analysis.inputs.benchmarks import Measured, Measurements
from analysis.inputs.kept import KeptCase, conditions
from analysis.measures.repeats import counted
from analysis.tables import headline as headlines
from analysis.tables.columns import (
    BATCH,
    DEVICE,
    FILE,
    MODE,
    MODEL,
    OVER_PROCESSES,
    RUNTIME,
    SEED,
    THREADS,
    VALID,
    Column,
    ends,
    frame,
    over_processes,
)
from analysis.tables.numbers import TIMES, runtime
from study.costs import flops_per_second
from study.records.base import Interval
from study.records.bench import AfterSwitch, CaseRecord, MatrixProduct, Range


def _percentile(name: str, heading: str = "") -> tuple[Column, ...]:
    """Of a case's times, with its interval over the processes."""
    bounds = f"{name}_low_seconds", f"{name}_high_seconds"
    return over_processes(bounds, f"{name}_seconds", "one call with the whole batch", heading, ",.1f", 1e6)


def _after_switch(engine: str, heading: str) -> tuple[Column, ...]:
    """Of an engine that is called right after the other one."""
    name = f"after_switch_{engine}"
    effect = "time of the first call after the other engine's / time of the timed calls - 1"
    return Column(name, effect, heading, "+.1f", 100), Column(f"lead_in_calls_{engine}", "not timed, after each switch")


def _control(engine: str) -> tuple[Column, ...]:
    name = f"control_{engine}"
    return Column(name, "ratio of the engine's times to its own"), *ends(f"{name}_low", f"{name}_high")


def _best(row: Any) -> str:
    return "best/best" if row.best else ""


def _runtimes(row: Any) -> str:
    return f"{runtime(row.runtime)} against {runtime(row.reference)}"


PROCESSES = (
    Column("processes", "fresh ones that count: the valid ones, or, without any, all", "processes"),
    Column("processes_left_out", "because they are invalid"),
)
_CONDITIONS = (
    Column("cores_used", "processor time of a process / wall time: the median of the processes", "cores used", ".2f"),
    Column("other_cores", "processor time of everything else / wall time: the highest of the processes"),
    Column("other_share", "the same, on the cores of the process and their SMT siblings / their number: likewise"),
    Column("steal_share", "of the time of the process's cores, taken by other virtual machines: likewise"),
    Column("throttled_share", "of the wall time, in which the control group's quota stopped processes: likewise"),
    Column("arithmetic_seconds", "time of a fixed piece of arithmetic: the median of the processes"),
    Column("memory_seconds", "and of one bound by memory"),
)
WHENCE = (Column("measured_on", "the machine"), FILE)
_SIZE = (
    Column("parameters", "trainable numbers; of a module or a file those in constants of the ONNX file"),
    Column("macs", "multiply-accumulates of one item", whole=True),
)

LATENCY = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    MODE,
    DEVICE,
    Column("samples", "timed calls of these processes", "samples", ",d"),
    *PROCESSES,
    *_percentile("median", "median (95 % interval), µs"),
    *_percentile("p90", "p90, µs"),
    *_percentile("p95"),
    *_percentile("p99", "p99, µs"),
    *_percentile("p999", "p99.9, µs"),
    Column(
        "images_per_second_at_median",
        "items: batch / median, one call after the other",
        "items/s at the median",
        ",.0f",
    ),
    Column("flops_per_second", "2 * macs * batch / median; empty where macs is", "GFLOP/s", ",.1f", 1e-9),
    Column("peak_share", "of peak_flops_per_second", "of the peak, %", ".1f", 100),
    Column("peak_flops_per_second", "of the machine's fastest float32 matrix product with these threads, on the CPU"),
    Column("drift", "last third of the samples against the first: of the process in which it is largest"),
    Column("spread", "interquartile range / median: likewise"),
    Column("parity_images", "items on which the engines are compared", whole=True),
    Column("parity_max_abs_difference", "of two probabilities", "largest difference", ".1e"),
    Column("parity_argmax_mismatches", "images of another class", whole=True),
    Column("parity_against", "the other engine"),
    *_CONDITIONS,
    Column("threads_read_back", "as the engine reports them"),
    Column("warmup_calls", "before the samples: the most of the processes"),
    Column("onnx_bytes", "of the file, with the weights that lie beside it"),
    *_SIZE,
    Column("subnormal_weights", "not zero, and below the smallest normal number"),
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    Column("onnx_sha256"),
    *WHENCE,
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
    Column("best", "best against best: the fastest setting of each engine in the pilot", "settings", cell=_best),
    Column("candidates", "settings that the pilot chose from, the fastest first: the reference's, then the runtime's"),
    Column("ratio", "of the times, paired", "speed-up (95 % interval)", ".2f", unit=TIMES, bounds=("low", "high")),
    *ends("low", "high", OVER_PROCESSES),
    Column(
        "unpaired_ratio",
        "of the medians of the two cases, measured apart",
        "ratio of the medians",
        ".2f",
        unit=TIMES,
        bounds=("unpaired_low", "unpaired_high"),
    ),
    *ends("unpaired_low", "unpaired_high"),
    Column("verdict", "faster, slower, the same (within the margin), undecided, withheld", "verdict"),
    Column("margin", "largest difference that counts as none, a fraction"),
    *_control("reference"),
    *_control("runtime"),
    *_after_switch("reference", "reference right after other work, %"),
    *_after_switch("runtime", "runtime right after other work, %"),
    Column("full_speed_share", "blocks in which the machine ran at full speed, / all", "at full speed, %", ".0f", 100),
    *PROCESSES,
    Column("rounds", "of these processes"),
    Column("blocks", "of calls, in random order, of these processes", "blocks", ",d"),
    Column("calls", "likewise"),
    *_CONDITIONS,
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    *WHENCE,
)


def latency(measured: Measurements) -> pd.DataFrame:
    """One row a benchmark case. Times are seconds for one call with `batch` items."""
    return frame(LATENCY, _case_rows(measured))


def _case_rows(measured: Measurements) -> Iterator[dict[str, Any]]:
    for case in measured.cases:
        assert isinstance(case.record, KeptCase)
        parity = asdict(case.record.parity) if case.record.parity else {}
        parity = {f"parity_{key}": value for key, value in parity.items()}
        yield {**cells(case), **asdict(case.record.of_processes), **parity, **_rate(case, measured.peaks)}


def comparisons(measured: Measurements) -> pd.DataFrame:
    """One row a comparison; `ratio` is the time of `reference` over that of `runtime`."""
    rows = []
    for pair in measured.comparisons:
        record, row = pair.record, {**cells(pair), **conditions(pair.record.processes)}
        for names, one in ((headlines.RATIO, record.ratio), (headlines.UNPAIRED, record.unpaired_ratio)):
            row |= dict(zip(names, astuple(one), strict=True)) if one else {}
        for engine in ("reference", "runtime"):
            switch: AfterSwitch = getattr(record, f"after_switch_{engine}")
            control, name = getattr(record.controls, engine), f"control_{engine}"
            row |= {name: control.value, f"{name}_low": control.low, f"{name}_high": control.high}
            row |= {f"after_switch_{engine}": switch.effects[0] if switch.effects else None}
            row |= {f"lead_in_calls_{engine}": switch.lead_in_calls}
        done = ("rounds", "blocks", "full_speed_blocks", "calls")
        sums = {name: sum(getattr(one, name) for one in counted(record.processes)) for name in done}
        row |= sums | {"full_speed_share": sums["full_speed_blocks"] / sums["blocks"]}
        sides = (record.best_of.reference, record.best_of.runtime) if record.best_of else ()
        row |= {"best": bool(sides), "candidates": "; ".join(", ".join(one.runtime for one in side) for side in sides)}
        rows.append(row)
    return frame(COMPARISONS, rows)


def cells(measured: Measured[Any]) -> dict[str, object]:
    """The cells of a measurement by column: an interval of times or a range has three."""
    record = measured.record
    cells = {**asdict(record.key), **asdict(record)}
    for key, value in asdict(record).items():
        if isinstance(value, Interval):
            name = key.removesuffix("_seconds")
            cells |= {key: value.value, f"{name}_low_seconds": value.low, f"{name}_high_seconds": value.high}
        elif isinstance(value, Range):
            cells |= {key: value.median, f"{key}_lowest": value.lowest, f"{key}_highest": value.highest}
    origin = {"model": measured.model, "measured_on": measured.machine, "file": measured.file}
    return {**cells, **origin, "reasons": "; ".join(record.reasons)}


def _rate(case: Measured[CaseRecord], peaks: Mapping[tuple[str, int], MatrixProduct]) -> dict[str, float]:
    """The cells of arithmetic: what is known of the rate, the machine's peak and their ratio."""
    row, rate = {}, flops_per_second(case.record)
    if rate:
        row["flops_per_second"] = rate
    if case.key.device == "cpu" and (peak := peaks.get((case.file, case.key.threads))):
        row["peak_flops_per_second"] = peak.flops_per_second
        if rate:
            row["peak_share"] = rate / peak.flops_per_second
    return row
