"""The tables of the report as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.headlines import WITHHELD, at_batch_1
from analysis.judgement import judge
from analysis.latency_tables import frame
from analysis.measures import MEASURES, measure
from analysis.records import Run, Study

RUNS = (
    "model seed parameters train_error test_error train_loss test_loss penalty penalty_strength learning_rate_sum "
    "epochs seconds images_per_second onnx_bytes parity_images parity_max_abs_difference parity_argmax_mismatches "
    "test_error_onnxruntime fc_layers fc_weights fc_exact_zeros"
)
SPARSITY = "model seed layer out_features in_features measure value reason"
CONVERGENCE = "model seed epoch lr train_loss train_error validation_loss validation_error seconds"
SUMMARY = (
    "model runs parameters parameters_change train_error_mean test_error_mean test_error_std test_error_change "
    "test_error_noise verdict torch_batch1_us onnxruntime_batch1_us speedup_batch1 speedup_batch1_low "
    "speedup_batch1_high speedup_batch1_verdict latency_valid fc_weights fc_exact_zeros_mean"
)


def runs(study: Study) -> pd.DataFrame:
    """One row a run. Errors are fractions; `fc_exact_zeros` is the share over all FC weights, empty without any."""
    return frame(RUNS, (_run(run) for run in study.runs))


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
    return frame(SPARSITY, rows)


def convergence(study: Study) -> pd.DataFrame:
    """One row an epoch of a run: history.csv of all runs."""
    return frame(
        CONVERGENCE,
        ({"model": run.model, "seed": run.seed, **row} for run in study.runs for row in run.history),
    )


def summary(study: Study, run_rows: pd.DataFrame, cases: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """One row a model, from the frames `runs`, `latency` and `comparisons` of `study`; changes are from its baseline.

    `parameters_change` is a fraction, `test_error_change` a difference of error rates, `*_us` are medians in
    microseconds. `speedup_batch1` is the paired ratio of torch's time to ONNX Runtime's within its 95 % interval, and
    missing where it was not measured or is withheld. `latency_valid` is false if any of these measurements says that
    it is not to be believed.
    """
    by_model = {str(model): rows for model, rows in run_rows.groupby("model", sort=False)}
    wrong = {model: np.stack([run.wrong for run in study.runs if run.model == model]) for model in study.models}
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
            **_latency(*at_batch_1(model, cases, comparisons)),
        }
        if study.baseline in by_model:
            reference = by_model[study.baseline]
            row["parameters_change"] = own["parameters"].iloc[0] / reference["parameters"].iloc[0] - 1
            row |= {"verdict": "baseline"} if model == study.baseline else judge(wrong[model], wrong[study.baseline])
        rows.append(row)
    return frame(SUMMARY, rows)


def _latency(cases: pd.DataFrame, comparisons: pd.DataFrame) -> dict[str, Any]:
    """The columns about latency of one model, from its rows at batch size 1."""
    row: dict[str, Any] = {
        f"{runtime}_batch1_us": median * 1e6
        for runtime, median in zip(cases["runtime"], cases["median_seconds"], strict=True)
    }
    pair = comparisons[(comparisons["reference"] == "torch") & (comparisons["runtime"] == "onnxruntime")]
    for paired in pair.to_dict("records"):
        row["speedup_batch1_verdict"] = paired["verdict"]
        if paired["verdict"] != WITHHELD:
            row |= {"speedup_batch1": paired["ratio"]}
            row |= {f"speedup_batch1_{end}": paired[end] for end in ("low", "high")}
    if len(cases) or len(pair):
        row["latency_valid"] = bool(cases["valid"].all() and pair["valid"].all())
    return row
