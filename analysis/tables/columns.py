"""Tables as people read them: units, rounding, mean ± spread.

The functions take the frames of `analysis.tables.summary` and `analysis.tables.latency` and return frames of text,
which become
Markdown, LaTeX or HTML.
"""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.measures.noise import MOMENTS, indistinguishable, table
from analysis.measures.sparsity import Measure, parse
from analysis.tables.headline import WITHHELD
from analysis.tables.numbers import MINUS, MISSING, TIMES, interval, number, runtime

SETTINGS = ("seed", "threads", "mode", "device", "file")
"""Columns that are told in a sentence where all rows of a table have them in common."""
MEASURES = {
    "hoyer": "Hoyer",
    "gini": "Gini",
    "pqi(p=1,q=2)": "PQI(1,2)",
    "exact_zeros": "share of exact zeros",
}
FROM_0_TO_1 = ("hoyer", "gini", "pqi", "exact_zeros", "u_theta")
"""Measures shown, and drawn, from 0 to 1. l2/l1 and kappa4 have this range as well, but N weights that are not sparse
have about 1 / sqrt N and 1 / N, which could not be seen on such a scale."""
MIB = 2.0**-20


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """`summary` of `analysis.tables.summary`; † marks measurements that are not to be believed.

    The noise is left to the CSV file, and the share by which the number of parameters changes is beside it.
    """

    def parameters(row: Any) -> str:
        change = number(row.parameters_change, "+.1f", 100, " %")
        return f"{row.parameters:,}" + (f" ({change})" if row.parameters_change and change != MISSING else "")

    def errors(row: Any) -> str:
        spread = "" if math.isnan(row.test_error_std) else f" ± {row.test_error_std * 100:.2f}"
        return f"{row.test_error_mean * 100:.2f}{spread}"

    columns: dict[str, Callable[[Any], str]] = {
        "model": lambda row: row.model,
        "n": lambda row: str(row.runs),
        "parameters": parameters,
        "train error, %": lambda row: f"{row.train_error_mean * 100:.2f}",
        "test error, %": errors,
        "difference": lambda row: number(row.test_error_change, "+.2f", 100),
        "verdict": lambda row: row.verdict,
        **LATENCY,
        "exact zeros, %": lambda row: number(row.fc_exact_zeros_mean, ".1f", 100),
        "can be cut, %": lambda row: number(row.fc_cut_mean, ".0f", 100),
    }
    return texts(frame, columns)


def _median(row: Any, value: float) -> str:
    doubt = "" if row.latency_valid is True or math.isnan(value) else " †"
    return number(value, ",.1f") + doubt


def _speedup(row: Any) -> str:
    if row.speedup_batch1_verdict == WITHHELD:
        return WITHHELD
    ratio = interval(row.speedup_batch1, row.speedup_batch1_low, row.speedup_batch1_high, ".2f", unit=TIMES)
    if row.speedup_batch1_verdict == "no difference shown":
        ratio += ", no difference shown"
    return ratio if row.latency_valid is True or ratio == MISSING else f"{ratio} †"


LATENCY: dict[str, Callable[[Any], str]] = {
    "torch, µs": lambda row: _median(row, row.torch_batch1_us),
    "ONNX Runtime, µs": lambda row: _median(row, row.onnxruntime_batch1_us),
    "speed-up": _speedup,
}
"""The columns about latency, of rows that have `analysis.tables.summary.latency_columns`."""


def measure(text: str) -> str:
    """A measure of sparsity as people call it."""
    return MEASURES.get(text, text)


def runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of `runs` that a reader compares; the CSV file has them all."""
    return texts(
        frame,
        {
            "model": lambda row: row.model,
            "seed": lambda row: str(row.seed),
            "train error, %": lambda row: number(row.train_error, ".2f", 100),
            "test error, %": lambda row: number(row.test_error, ".2f", 100),
            "in ONNX Runtime, %": lambda row: number(row.test_error_onnxruntime, ".2f", 100),
            "train loss": lambda row: number(row.train_loss, ".4f"),
            "test loss": lambda row: number(row.test_loss, ".4f"),
            "penalty": lambda row: number(row.penalty, ".4f"),
            "epochs": lambda row: str(row.epochs),
            "seconds": lambda row: number(row.seconds, ",.0f"),
            "images/s": lambda row: number(row.images_per_second, ",.0f"),
            "ONNX, KiB": lambda row: number(row.onnx_bytes / 1024, ",.1f"),
            "largest difference": lambda row: number(row.parity_max_abs_difference, ".1e"),
            "exact zeros, %": lambda row: number(row.fc_exact_zeros, ".1f", 100),
            "can be cut, %": lambda row: number(row.fc_cut, ".0f", 100),
            "then lost in the test, points": lambda row: number(row.fc_cut_test_loss, "+.2f", 100),
        },
    )


def sparsity(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a model and layer, one column a measure: mean ± standard deviation of its runs, or why there is none.

    Behind ≈ are the kinds of noise that no run can be told from.
    """

    def cell(measure: str, rows: pd.DataFrame) -> str:
        values = rows["value"].astype(float).dropna()
        if values.empty:
            return "; ".join(dict.fromkeys(rows["reason"].dropna())) or MISSING
        undefined = f" ({len(rows) - len(values)} undefined)" if len(values) < len(rows) else ""
        shown = f"{{:.3{'f' if _parsed(measure).name in FROM_0_TO_1 else 'g'}}}".format
        spread = f" ± {shown(values.std())}" if len(values) > 1 else ""
        size = int(rows["out_features"].iloc[0] * rows["in_features"].iloc[0])
        alike = [set(indistinguishable(value, _parsed(measure), size)) for value in values]
        noise = "".join(f" ≈ {kind}" for kind in sorted(set.intersection(*alike)))
        return shown(values.mean()).replace("-", MINUS) + spread + undefined + noise

    found = []
    for (model, layer), rows in frame.groupby(["model", "layer"], sort=False):
        shape = f"{rows['out_features'].iloc[0]} {TIMES} {rows['in_features'].iloc[0]}"
        measures = {measure(str(name)): cell(str(name), part) for name, part in rows.groupby("measure", sort=False)}
        found.append({"model": model, "layer": layer, f"weights (out {TIMES} in)": shape, **measures})
    return pd.DataFrame(found)


def noise(frame: pd.DataFrame) -> pd.DataFrame:
    """What noise of as many weights as each layer has would have of the measures, with its standard deviation."""
    sizes = sorted({int(n) for n in frame["out_features"] * frame["in_features"] if n > 1}, reverse=True)
    texts = {text: measure(text) for text in dict.fromkeys(frame["measure"])}
    rows = table(map(_parsed, texts), sizes)
    columns = {f"{text}, {kind}": f"{name}, {kind}" for text, name in texts.items() for kind in MOMENTS}
    return pd.DataFrame(rows).rename(columns=columns)


def _parsed(text: str) -> Measure:
    return parse(text)[0]


def latency(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a benchmark case; medians and their 95 % intervals in microseconds for a whole batch.

    What is in `common_settings` has no column.
    """

    def median(row: Any) -> str:
        return interval(row.median_seconds, row.median_low_seconds, row.median_high_seconds, ",.1f", 1e6)

    columns: dict[str, Callable[[Any], str]] = {
        "model": lambda row: row.model,
        "batch": lambda row: str(row.batch),
        "runtime": lambda row: runtime(row.runtime),
        "valid": lambda row: "yes" if row.valid else "NO",
        "samples": lambda row: f"{row.samples:,}",
        "median (95 % interval), µs": median,
        "p90, µs": lambda row: number(row.p90_seconds, ",.1f", 1e6),
        "p99, µs": lambda row: number(row.p99_seconds, ",.1f", 1e6),
        "p99.9, µs": lambda row: number(row.p999_seconds, ",.1f", 1e6),
        "images/s": lambda row: number(row.images_per_second, ",.0f"),
        "between processes, %": lambda row: number(row.between_spread, ".1f", 100),
        "largest difference": lambda row: number(row.parity_max_abs_difference, ".1e"),
        "cores used": lambda row: number(row.cores_used, ".2f"),
    }
    return texts(frame, columns, after="runtime")


def comparisons(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a comparison: its ratio with 95 % interval, what the engines differ from themselves, the verdict."""
    columns: dict[str, Callable[[Any], str]] = {
        "model": lambda row: row.model,
        "batch": lambda row: str(row.batch),
        "runtimes": lambda row: f"{runtime(row.runtime)} against {runtime(row.reference)}",
        "speed-up (95 % interval)": lambda row: interval(row.ratio, row.low, row.high, ".2f", unit=TIMES),
        "noise floor, %": lambda row: number(row.noise_floor, ".2f", 100),
        "verdict": lambda row: row.verdict,
        "processes": lambda row: str(row.processes),
        "between processes, %": lambda row: number(row.between_spread, ".1f", 100),
        "blocks": lambda row: f"{row.blocks:,}",
        "cores used": lambda row: number(row.cores_used, ".2f"),
        "valid": lambda row: "yes" if row.valid else "NO",
        "reasons": lambda row: row.reasons,
    }
    return texts(frame, columns, after="runtimes")


def cold_starts(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a cold start: milliseconds and MiB, each the median of fresh processes and their range."""

    def spread(name: str, form: str, scale: float) -> Callable[[Any], str]:
        def cell(row: Any) -> str:
            value, low, high = (getattr(row, name + end) for end in ("", "_lowest", "_highest"))
            return interval(value, low, high, form, scale)

        return cell

    columns: dict[str, Callable[[Any], str]] = {
        "model": lambda row: row.model,
        "runtime": lambda row: runtime(row.runtime),
        "batch": lambda row: str(row.batch),
        "valid": lambda row: "yes" if row.valid else "NO",
        "processes": lambda row: str(row.processes),
        "import, ms": spread("import_seconds", ",.0f", 1e3),
        "load, ms": spread("load_seconds", ",.1f", 1e3),
        "first call, ms": spread("first_call_seconds", ",.1f", 1e3),
        "all, ms": spread("total_seconds", ",.0f", 1e3),
        "import, MiB": spread("import_bytes", ",.1f", MIB),
        "load, MiB": spread("load_bytes", ",.1f", MIB),
        "calls, MiB": spread("run_bytes", ",.1f", MIB),
        "all, MiB": spread("peak_bytes", ",.1f", MIB),
        "ONNX, KiB": lambda row: number(row.onnx_bytes, ",.1f", 1 / 1024),
        "parameters": lambda row: number(row.parameters, ",d"),
        "MACs": lambda row: number(row.macs, ",d"),
    }
    return texts(frame, columns, after="batch")


def common_settings(frame: pd.DataFrame) -> dict[str, str]:
    """The settings that are the same in all rows of a table."""
    there = [name for name in SETTINGS if name in frame and frame[name].nunique(dropna=False) == 1]
    return {name: str(frame[name].iloc[0]) for name in there if not pd.isna(frame[name].iloc[0])}


def texts(frame: pd.DataFrame, columns: dict[str, Callable[[Any], str]], after: str = "") -> pd.DataFrame:
    """The text of each column and, behind the one called `after`, of each setting that differs between rows."""
    names = list(columns)
    differing = [name for name in SETTINGS if name in frame and name not in common_settings(frame)] if after else []
    place = names.index(after) + 1 if after else 0
    for name in differing:
        columns[name] = _plain(name)
    names[place:place] = differing
    rows = [{name: columns[name](row) for name in names} for row in frame.itertuples(index=False)]
    return pd.DataFrame(rows, columns=names)


def _plain(name: str) -> Callable[[Any], str]:
    return lambda row: MISSING if pd.isna(getattr(row, name)) else str(getattr(row, name))
