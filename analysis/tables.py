"""The tables of the report as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.judgement import judge
from analysis.measures import MEASURES, measure
from analysis.records import Run, Study

RUNS = (
    "model seed parameters train_error test_error train_loss test_loss penalty penalty_strength learning_rate_sum "
    "epochs seconds images_per_second onnx_bytes parity_images parity_max_abs_difference parity_argmax_mismatches "
    "test_error_onnxruntime fc_layers fc_weights fc_exact_zeros"
)
SPARSITY = "model seed layer out_features in_features measure value reason"
LATENCY = (
    "model seed runtime batch threads mode samples median_seconds median_low_seconds median_high_seconds "
    "p90_seconds p90_low_seconds p90_high_seconds p95_seconds p95_low_seconds p95_high_seconds "
    "p99_seconds p99_low_seconds p99_high_seconds images_per_second parity_images parity_max_abs_difference "
    "parity_argmax_mismatches cores_used threads_read_back warmup_calls quick valid reasons onnx_sha256"
)
CONVERGENCE = "model seed epoch lr train_loss train_error validation_loss validation_error seconds"
SUMMARY = (
    "model runs parameters parameters_change train_error_mean test_error_mean test_error_std test_error_change "
    "test_error_noise verdict torch_batch1_us onnxruntime_batch1_us speedup_batch1 latency_valid fc_weights "
    "fc_exact_zeros_mean"
)


def runs(study: Study) -> pd.DataFrame:
    """One row a run. Errors are fractions; `fc_exact_zeros` is the share over all FC weights, empty without any."""
    return _frame(RUNS, (_run(run) for run in study.runs))


def _run(run: Run) -> dict[str, Any]:
    weights = sum(layer.weight.size for layer in run.layers)
    zeros = sum(int((layer.weight == 0).sum()) for layer in run.layers)
    return {
        **run.record,
        "onnx_bytes": run.export["bytes"],
        **{f"parity_{key}": value for key, value in run.export["parity"].items()},
        "test_error_onnxruntime": run.export["test_error_onnxruntime"],
        "fc_layers": len(run.layers),
        "fc_weights": weights,
        "fc_exact_zeros": zeros / weights if weights else None,
    }


def sparsity(study: Study) -> pd.DataFrame:
    """One row a fully-connected layer and measure; `value` is empty and `reason` filled where it is undefined."""
    rows = []
    for run in study.runs:
        for layer in run.layers:
            out_features, in_features = layer.weight.shape
            for name in MEASURES:
                value, reason = measure(name, layer.weight)
                shape = {"out_features": out_features, "in_features": in_features}
                place = {"model": run.model, "seed": run.seed, "layer": layer.name}
                rows.append({**place, **shape, "measure": name, "value": value, "reason": reason})
    return _frame(SPARSITY, rows)


def latency(study: Study) -> pd.DataFrame:
    """One row a benchmark case, by model in the study's order. Times are seconds for one call with `batch` images."""
    cases = sorted(study.cases, key=lambda case: study.models.index(case["model"]))
    flat = (
        {
            **case,
            **{f"parity_{key}": value for key, value in case["parity"].items()},
            "warmup_calls": case["warmup"]["calls"],
            "reasons": "; ".join(case["reasons"]),
        }
        for case in cases
    )
    return _frame(LATENCY, flat)


def convergence(study: Study) -> pd.DataFrame:
    """One row an epoch of a run: history.csv of all runs."""
    return _frame(
        CONVERGENCE,
        ({"model": run.model, "seed": run.seed, **row} for run in study.runs for row in run.history),
    )


def headline(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of `latency` that stand for each model at each batch size: one a runtime, measured alike.

    Of the settings (threads, mode, seed) that a model was measured in, the one with the most runtimes, then the fewest
    threads, then mode `native`, then the lowest seed. In mode `native` each runtime is given and gives what it works
    on, so that the call alone is timed; in mode `numpy` the conversions of torch's tensors would be in it.
    """

    def rank(group: tuple[Any, pd.DataFrame]) -> tuple[Any, ...]:
        (threads, mode, seed), rows = group
        return -rows["runtime"].nunique(), threads, mode != "native", seed

    chosen = [
        min(rows.groupby(["threads", "mode", "seed"]), key=rank)[1].drop_duplicates("runtime")
        for _, rows in cases.groupby(["model", "batch"], sort=False)
    ]
    return pd.concat(chosen) if chosen else cases


def summary(study: Study, run_rows: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """One row a model, from the frames `runs` and `latency` of `study`; changes are relative to its baseline.

    `parameters_change` is a fraction, `test_error_change` a difference of error rates, `*_us` are medians in
    microseconds and `speedup_batch1` is torch's median over ONNX Runtime's. `latency_valid` is false if either of the
    two measurements says that it is not to be believed.
    """
    by_model = {str(model): rows for model, rows in run_rows.groupby("model", sort=False)}
    wrong = {model: np.stack([run.wrong for run in study.runs if run.model == model]) for model in study.models}
    at_batch_1 = headline(cases[cases["batch"] == 1])
    rows = []
    for model, own in by_model.items():
        row = {
            "model": model,
            "runs": len(own),
            "parameters": own["parameters"].iloc[0],
            "train_error_mean": own["train_error"].mean(),
            "test_error_mean": own["test_error"].mean(),
            "test_error_std": own["test_error"].std(ddof=1),
            "fc_weights": own["fc_weights"].iloc[0],
            "fc_exact_zeros_mean": own["fc_exact_zeros"].astype(float).mean(),
            "verdict": "not judged",
            **_latency(at_batch_1[at_batch_1["model"] == model]),
        }
        if study.baseline in by_model:
            reference = by_model[study.baseline]
            row["parameters_change"] = own["parameters"].iloc[0] / reference["parameters"].iloc[0] - 1
            row |= {"verdict": "baseline"} if model == study.baseline else judge(wrong[model], wrong[study.baseline])
        rows.append(row)
    return _frame(SUMMARY, rows)


def _latency(cases: pd.DataFrame) -> dict[str, Any]:
    """The columns about latency of one model, from its headline cases at batch size 1."""
    median = dict(zip(cases["runtime"], cases["median_seconds"], strict=True))
    row: dict[str, Any] = {f"{runtime}_batch1_us": median[runtime] * 1e6 for runtime in median}
    if {"torch", "onnxruntime"} <= median.keys():
        row["speedup_batch1"] = median["torch"] / median["onnxruntime"]
    if median:
        row["latency_valid"] = bool(cases["valid"].all())
    return row


def _frame(columns: str, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of just these columns; what a row lacks is missing there, an empty field in the CSV file."""
    return pd.DataFrame(list(rows), columns=columns.split())
