"""Tables as people read them: units, rounding, mean ± spread, and the facts without which a number means nothing.

The functions take the frames of `analysis.tables` and return frames of text, which become Markdown, LaTeX or HTML.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.records import Study
from analysis.tables import headline

TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
SETTINGS = ("seed", "threads", "mode")
"""Columns of `latency` that are told in a sentence where all cases have them in common."""
MEASURES = {"hoyer": "Hoyer", "gini": "Gini", "exact_zeros": "share of exact zeros"}

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    TIMES: r"$\times$",
    "µ": r"$\mu$",
    MINUS: r"$-$",
    "†": r"$\dagger$",
    MISSING: "--",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
}


def number(value: Any, form: str, scale: float = 1, unit: str = "") -> str:
    """`value * scale` in the format `form`, with a true minus sign, or a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    return format(value * scale, form).replace("-", MINUS) + unit


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """`summary` of `analysis.tables`; † marks measurements that are not to be believed.

    The noise is left to the CSV file, and the share by which the number of parameters changes is beside it.
    """

    def parameters(row: Any) -> str:
        change = number(row.parameters_change, "+.1f", 100, " %")
        return f"{row.parameters:,}" + (f" ({change})" if row.parameters_change and change != MISSING else "")

    def errors(row: Any) -> str:
        spread = "" if math.isnan(row.test_error_std) else f" ± {row.test_error_std * 100:.2f}"
        return f"{row.test_error_mean * 100:.2f}{spread}"

    def latency(row: Any, value: float, form: str, unit: str = "") -> str:
        doubt = "" if row.latency_valid is True or math.isnan(value) else " †"
        return number(value, form, unit=unit) + doubt

    columns: dict[str, Callable[[Any], str]] = {
        "model": lambda row: row.model,
        "n": lambda row: str(row.runs),
        "parameters": parameters,
        "train error, %": lambda row: f"{row.train_error_mean * 100:.2f}",
        "test error, %": errors,
        "difference": lambda row: number(row.test_error_change, "+.2f", 100),
        "verdict": lambda row: row.verdict,
        "torch, µs": lambda row: latency(row, row.torch_batch1_us, ".1f"),
        "ONNX Runtime, µs": lambda row: latency(row, row.onnxruntime_batch1_us, ".1f"),
        "speed-up": lambda row: latency(row, row.speedup_batch1, ".2f", TIMES),
        "exact zeros, %": lambda row: number(row.fc_exact_zeros_mean, ".1f", 100),
    }
    return _texts(frame, columns)


def runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of `runs` that a reader compares; the CSV file has them all."""
    return _texts(
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
        },
    )


def sparsity(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a model and layer, one column a measure: mean ± standard deviation of its runs, or why there is none."""

    def cell(rows: pd.DataFrame) -> str:
        values = rows["value"].astype(float).dropna()
        if values.empty:
            return "; ".join(dict.fromkeys(rows["reason"].dropna())) or MISSING
        undefined = f" ({len(rows) - len(values)} undefined)" if len(values) < len(rows) else ""
        return number(values.mean(), ".3f") + (f" ± {values.std():.3f}" if len(values) > 1 else "") + undefined

    texts = []
    for (model, layer), rows in frame.groupby(["model", "layer"], sort=False):
        shape = f"{rows['out_features'].iloc[0]} {TIMES} {rows['in_features'].iloc[0]}"
        measures = {
            MEASURES.get(str(name), str(name)): cell(part) for name, part in rows.groupby("measure", sort=False)
        }
        texts.append({"model": model, "layer": layer, f"weights (out {TIMES} in)": shape, **measures})
    return pd.DataFrame(texts)


def latency(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a benchmark case; medians and their 95 % intervals in microseconds for a whole batch.

    What is in `common_settings` has no column.
    """

    def median(row: Any) -> str:
        low, high = number(row.median_low_seconds, ",.1f", 1e6), number(row.median_high_seconds, ",.1f", 1e6)
        return f"{number(row.median_seconds, ',.1f', 1e6)} ({low} to {high})"

    table = _texts(
        frame,
        {
            "model": lambda row: row.model,
            "seed": lambda row: str(row.seed),
            "batch": lambda row: str(row.batch),
            "runtime": lambda row: row.runtime,
            "valid": lambda row: "yes" if row.valid else "NO",
            "threads": lambda row: str(row.threads),
            "mode": lambda row: row.mode,
            "samples": lambda row: f"{row.samples:,}",
            "median (95 % interval), µs": median,
            "p90, µs": lambda row: number(row.p90_seconds, ",.1f", 1e6),
            "p99, µs": lambda row: number(row.p99_seconds, ",.1f", 1e6),
            "images/s": lambda row: number(row.images_per_second, ",.0f"),
            "largest difference": lambda row: number(row.parity_max_abs_difference, ".1e"),
            "cores used": lambda row: number(row.cores_used, ".2f"),
        },
    )
    return table.drop(columns=list(common_settings(frame)))


def common_settings(frame: pd.DataFrame) -> dict[str, str]:
    """The settings that are the same in all rows of `latency`."""
    return {name: str(frame[name].iloc[0]) for name in SETTINGS if frame[name].nunique() == 1}


def facts(study: Study, frame: pd.DataFrame, cases: pd.DataFrame) -> list[str]:
    """The sentences below the summary: n, the criterion, machine, versions and commit of training and measuring."""
    counts = sorted(set(frame["runs"]))
    sentences = [
        f"n = {' or '.join(map(str, counts))} run{'' if counts == [1] else 's'} per model; test errors are mean ± "
        "sample standard deviation (ddof 1) of the runs."
    ]
    if study.baseline in study.models:
        sentences.append(
            f"The difference is of the mean test errors, against {study.baseline}, in points. It is called better or "
            "worse only if it exceeds the noise: twice its standard error, from the seeds and, image by image, from "
            f"the choice of the {study.runs[0].wrong.size:,} test images that all runs share."
        )
    sentences += [f"Trained on {text}." for text in describe(run.record["environment"] for run in study.runs)]
    batch_1 = headline(cases[cases["batch"] == 1])
    if len(batch_1):
        rows = batch_1[["threads", "mode", "seed"]].drop_duplicates().itertuples(index=False)
        settings = " and ".join(f"threads {row.threads}, mode {row.mode}, seed {row.seed}" for row in rows)
        samples = " to ".join(f"{n:,}" for n in sorted({batch_1["samples"].min(), batch_1["samples"].max()}))
        sentences.append(
            f"Latency is the median of {samples} calls with one image ({settings}); speed-up is torch's median over "
            "ONNX Runtime's."
        )
        if not batch_1["valid"].all():
            sentences.append("† measured under conditions that make it invalid.")
    if study.bench_environment is not None:
        sentences += [f"Measured on {text}." for text in describe([study.bench_environment])]
    else:
        sentences.append("No latency has been measured.")
    return sentences


def describe(environments: Iterable[dict[str, Any]]) -> list[str]:
    """Each different machine, set of versions and commit in one phrase."""

    def phrase(environment: dict[str, Any]) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
        dirty = " with uncommitted changes" if environment["dirty"] else ""
        commit = f"commit {environment['commit'][:12]}{dirty}" if environment["commit"] else "no commit known"
        memory = f"{environment['memory_bytes'] / 2**30:.0f} GiB"
        return (
            f"{environment['cpu']}, {environment['cores']} cores, {memory}, {environment['system']}, "
            f"Python {environment['python']}, {packages}; {commit}"
        )

    return list(dict.fromkeys(phrase(environment) for environment in environments))


def markdown(table: pd.DataFrame, sentences: Sequence[str]) -> str:
    """A Markdown table with the sentences below it."""
    cells = table.map(lambda text: text.replace("|", "\\|"))
    align = ["left" if _is_text(column) else "right" for column in table]
    grid = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n\n".join([grid, *sentences]) + "\n"


def latex(table: pd.DataFrame, sentences: Sequence[str]) -> str:
    r"""A LaTeX `table` with the sentences below it; the document needs booktabs and graphicx."""
    escaped = table.rename(columns=escape).map(escape)
    align = "".join("l" if _is_text(column) else "r" for column in table)
    tabular = escaped.to_latex(index=False, escape=False, column_format=align).strip()
    notes = "\\\\\n".join(escape(sentence) for sentence in sentences)
    return (
        "% \\usepackage{booktabs,graphicx}\n"
        "\\begin{table}[htbp]\n\\centering\n\\resizebox{\\linewidth}{!}{%\n"
        f"{tabular}%\n}}\n\n\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize\\raggedright\n{notes}}}\n\\end{{table}}\n"
    )


def escape(text: str) -> str:
    """`text` as LaTeX that sets just these characters."""
    return "".join(LATEX.get(character, character) for character in text)


def _is_text(column: Any) -> bool:
    return column in ("model", "verdict")


def _texts(frame: pd.DataFrame, columns: dict[str, Callable[[Any], str]]) -> pd.DataFrame:
    rows = [{column: text(row) for column, text in columns.items()} for row in frame.itertuples(index=False)]
    return pd.DataFrame(rows, columns=list(columns))
