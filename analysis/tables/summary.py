"""The summary: a row a model, its errors, its latency and how many of its weights can be pruned.

A module that is not trained here has neither errors nor pruned weights. A page leaves out columns that no model has.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.inputs.study import Study
from analysis.measures.significance import difference
from analysis.tables.columns import MODEL, OVER_PROCESSES, Column, ends, frame
from analysis.tables.headline import WITHHELD, at_batch_1, best, plain
from analysis.tables.numbers import MISSING, TIMES, interval, number, runtime
from analysis.tables.training import fully_connected


def _parameters(row: Any) -> str:
    change = number(row.parameters_change, "+.1f", 100, " %")
    return f"{row.parameters:,}" + (f" ({change})" if row.parameters_change and change != MISSING else "")


def _speedup(name: str) -> Callable[[Any], str]:
    """A ratio, with a verdict that it does not show itself."""

    def cell(row: Any) -> str:
        verdict = getattr(row, f"{name}_verdict")
        if verdict == WITHHELD:
            return WITHHELD
        ends = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
        ratio = interval(getattr(row, name), *ends, ".2f", unit=TIMES)
        return f"{ratio}, {verdict}" if verdict in ("the same", "undecided") else ratio

    return cell


def _median(name: str) -> tuple[Column, ...]:
    """Of the latency in a runtime."""
    bounds, heading = (f"{name}_batch1_low_us", f"{name}_batch1_high_us"), f"{runtime(name)}, µs"
    key, valid = f"{name}_batch1_us", f"{name}_batch1_valid"
    column = Column(key, "median, microseconds", heading, ",.1f", bounds=bounds, valid=valid)
    return column, *ends(*bounds, OVER_PROCESSES), Column(valid)


LATENCY = (
    *_median("torch"),
    *_median("onnxruntime"),
    Column(
        "speedup_batch1", "paired ratio of the times; empty if withheld", "speed-up", cell=_speedup("speedup_batch1")
    ),
    *ends("speedup_batch1_low", "speedup_batch1_high", OVER_PROCESSES),
    Column("speedup_batch1_verdict", "withheld where the comparison is invalid"),
    Column(
        "speedup_batch1_unpaired",
        "ratio of the medians, measured apart; likewise",
        "ratio of medians",
        ".2f",
        unit=TIMES,
    ),
    Column(
        "best_batch1",
        "the speed-up of best against best: of the fastest setting of each engine, chosen in the pilot; likewise",
        "best against best",
        cell=_speedup("best_batch1"),
    ),
    *ends("best_batch1_low", "best_batch1_high", OVER_PROCESSES),
    Column("best_batch1_verdict", "likewise"),
    Column("best_batch1_torch", "that setting of torch"),
    Column("best_batch1_onnxruntime", "and of ONNX Runtime"),
)
"""With one image, of the headline rows (analysis/tables/headline.py)."""
SUMMARY = (
    MODEL,
    Column(
        "runs", "finished runs; empty for a module that is not trained here, as is what needs them", "n", whole=True
    ),
    Column("parameters", "trainable numbers", "parameters", cell=_parameters),
    Column("parameters_change", "against the study's first trained model, a fraction"),
    Column("train_error_mean", "of the runs, a fraction", "train error, %", ".2f", 100),
    Column("test_error_mean", "likewise", "test error, %", ".2f", 100, deviation="test_error_std"),
    Column("test_error_std", "sample standard deviation of the runs"),
    Column("test_error_change", "against the first model", "difference", "+.2f", 100),
    Column("test_error_noise", "what the change must exceed, paired by image; empty where nothing is tested"),
    Column("verdict", "see method.md", "verdict"),
    *LATENCY,
    Column("fc_weights", "weights of the fully-connected layers"),
    Column("fc_exact_zeros_mean", "fraction of them that is exactly zero", "exact zeros, %", ".1f", 100),
    Column("fc_cut_mean", "largest fraction of them that can be pruned", "prunable, %", ".0f", 100),
    Column("fc_cut_loss_mean", "what that adds to the error on the training images that it was chosen on"),
    Column("fc_cut_test_loss_mean", "and on the test images"),
)

RESULTS = [column for column in SUMMARY if column.key != "speedup_batch1_unpaired"]
"""Without a second ratio beside the speed-up; comparisons have both, and say why."""
PARTS = (
    [column for column in RESULTS if column not in LATENCY],
    [MODEL, *(column for column in RESULTS if column in LATENCY)],
)
"""The columns of RESULTS as two tables that are narrow enough for paper: the models, and how fast they are."""


def summary(study: Study, run_rows: pd.DataFrame, cases: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """One row a model, from the frames `runs`, `latency` and `comparisons` of `study`; changes are from its baseline.

    `parameters_change` is a fraction, `test_error_change` a difference of error rates, `*_us` are medians in
    microseconds. `speedup_batch1` is the paired ratio of torch's time to ONNX Runtime's within its 95 % interval, and
    missing where it was not measured or is withheld. Each of these is valid by its own record.
    """
    by_model = {str(model): rows for model, rows in run_rows.groupby("model", sort=False)}
    wrong = {model: np.stack([run.wrong for run in study.runs if run.model == model]) for model in by_model}
    modules = {module.model: module for module in study.modules}
    rows: list[dict[str, Any]] = []
    for model, (medians, pairs) in zip(study.models, at_batch_1(study.models, cases, comparisons), strict=True):
        latency = latency_columns(medians, pairs)
        if model in modules:
            record, layers = modules[model].record, modules[model].layers
            rows.append({"model": model, "parameters": record.parameters, **fully_connected(layers), **latency})
            continue
        own = by_model[model]
        row = {
            "model": model,
            "runs": len(own),
            "parameters": own["parameters"].iloc[0],
            "train_error_mean": own["train_error"].mean(),
            "test_error_mean": own["test_error"].mean(),
            "test_error_std": own["test_error"].std(ddof=1),
            "fc_weights": own["fc_weights"].iloc[0],
            "fc_exact_zeros_mean": own["fc_exact_zeros"].astype(float).mean(),
            **{
                f"{name}_mean": own[name].astype(float).mean() for name in ("fc_cut", "fc_cut_loss", "fc_cut_test_loss")
            },
            "verdict": "not judged",
            **latency,
        }
        if study.baseline in by_model:
            reference = by_model[study.baseline]
            row["parameters_change"] = own["parameters"].iloc[0] / reference["parameters"].iloc[0] - 1
            row["verdict"] = "baseline"
            if model != study.baseline:
                row |= vars(difference(wrong[model], wrong[study.baseline]))
        rows.append(row)
    return frame(SUMMARY, rows)


def latency_columns(cases: pd.DataFrame, comparisons: pd.DataFrame) -> dict[str, object]:
    """The columns of `summary` about the latency of one model, from its headline rows at batch size 1."""
    row: dict[str, object] = {}
    for case in cases.to_dict("records"):
        name = f"{case['runtime']}_batch1"
        medians = {f"{name}{end}us": case[f"median{end}seconds"] * 1e6 for end in ("_", "_low_", "_high_")}
        row |= medians | {f"{name}_valid": case["valid"]}
    for name, pair in (("speedup_batch1", plain(comparisons)), ("best_batch1", best(comparisons))):
        for paired in pair.to_dict("records"):
            row[f"{name}_verdict"] = paired["verdict"]
            row |= {f"{name}_unpaired": paired["unpaired_ratio"], f"{name}_torch": paired["reference"]}
            row[f"{name}_onnxruntime"] = paired["runtime"]
            if paired["verdict"] != WITHHELD:
                row |= {name: paired["ratio"], **{f"{name}_{end}": paired[end] for end in ("low", "high")}}
            else:
                row[f"{name}_unpaired"] = None
    return row


def doubtful(summary: pd.DataFrame) -> bool:
    """Whether a median in a table with the columns `LATENCY` is invalid."""
    return any(summary[column.valid].eq(False).any() for column in LATENCY if column.valid)
