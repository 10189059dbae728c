"""The tables of the report as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.inputs.runs import Run, Study, Training
from analysis.measures.histogram import histogram, largest_magnitude
from analysis.measures.significance import judge
from analysis.measures.sparsity import ALWAYS, Measure, evaluate
from analysis.tables.headline import WITHHELD, at_batch_1
from analysis.tables.latency import frame
from analysis.weights.layers import Layer
from study.artifacts import write_json

RUNS = (
    "model seed parameters train_error test_error train_loss test_loss penalty penalty_strength learning_rate_sum "
    "epochs seconds images_per_second onnx_bytes parity_images parity_max_abs_difference parity_argmax_mismatches "
    "test_error_onnxruntime fc_layers fc_weights fc_exact_zeros fc_cut fc_cut_loss fc_cut_test_loss"
)
SPARSITY = "model seed layer out_features in_features measure value reason bound"
HISTOGRAM = ("model", "seed", "layer", "low", "high", "count")
PRUNING = "model seed images share threshold error uncut_error loss chosen"
CONVERGENCE = "model seed epoch lr train_loss train_error validation_loss validation_error seconds"
HISTORY = "model seed epoch train_loss train_accuracy validation_loss validation_accuracy kept"
SUMMARY = (
    "model runs parameters parameters_change train_error_mean test_error_mean test_error_std test_error_change "
    "test_error_noise verdict torch_batch1_us onnxruntime_batch1_us speedup_batch1 speedup_batch1_low "
    "speedup_batch1_high speedup_batch1_verdict latency_valid fc_weights fc_exact_zeros_mean fc_cut_mean "
    "fc_cut_loss_mean fc_cut_test_loss_mean"
)


def runs(study: Study) -> pd.DataFrame:
    """One row a run. Errors are fractions; `fc_exact_zeros` is the share over all FC weights, empty without any.

    `fc_cut` is the share of them that can be cut, `fc_cut_loss` and `fc_cut_test_loss` are what that adds to the error
    on the images it was chosen on and on the test images; empty where it was not measured.
    """
    return frame(RUNS, (_run(run) for run in study.runs))


def _run(run: Run) -> dict[str, Any]:
    weights = sum(layer.weight.size for layer in run.layers)
    zeros = sum(int(np.count_nonzero(block == 0)) for layer in run.layers for block in layer.weight.blocks())
    return {
        **run.record,
        "onnx_bytes": run.export["bytes"],
        **{f"parity_{key}": value for key, value in run.export["parity"].items()},
        "test_error_onnxruntime": run.export["test_error_onnxruntime"],
        "fc_layers": len(run.layers),
        "fc_weights": weights,
        "fc_exact_zeros": zeros / weights if weights else None,
        **(_cut(run.pruning) if run.pruning else {}),
    }


def _cut(record: dict[str, Any]) -> dict[str, float]:
    chosen, test = record["cut"], record["test"]
    return {
        "fc_cut": chosen["share"],
        "fc_cut_loss": chosen["error"] - record["uncut_error"],
        "fc_cut_test_loss": test["error"] - test["uncut_error"],
    }


def pruning(study: Study) -> pd.DataFrame:
    """One row a run and share of its fully-connected weights cut; `loss` is what that adds to the error.

    `chosen` is true where the most is cut that costs no more than allowed.
    """
    return frame(
        PRUNING,
        (
            {
                "model": run.model,
                "seed": run.seed,
                "images": run.pruning["images"]["count"],
                "uncut_error": run.pruning["uncut_error"],
                "loss": point["error"] - run.pruning["uncut_error"],
                "chosen": point["share"] == run.pruning["cut"]["share"],
                **point,
            }
            for run in study.runs
            if run.pruning
            for point in run.pruning["curve"]
        ),
    )


def sparsity(study: Study, measures: Sequence[Measure] = ALWAYS) -> pd.DataFrame:
    """One row a fully-connected layer and measure; `value` is empty and `reason` filled where it is undefined.

    The true value is within `bound` of it, which is 0 unless a layer has more than a million weights.
    """
    rows = []
    for run in study.runs:
        for layer in run.layers:
            out_features, in_features = layer.weight.shape
            shape = {"out_features": out_features, "in_features": in_features}
            place = {"model": run.model, "seed": run.seed, "layer": layer.name}
            for measure, found in zip(measures, evaluate(measures, layer.weight.blocks()), strict=True):
                rows.append({**place, **shape, "measure": str(measure), **found.cells()})
    return frame(SPARSITY, rows)


def weights_histogram(study: Study) -> pd.DataFrame:
    """One row a bin of the weights of a fully-connected layer, as `histogram_rows` has them."""
    layers = [({"model": run.model, "seed": run.seed}, layer) for run in study.runs for layer in run.layers]
    return frame(" ".join(HISTOGRAM), histogram_rows(layers))


def histogram_rows(layers: Sequence[tuple[dict[str, Any], Layer]]) -> Iterator[dict[str, Any]]:
    """Histograms of the weights of layers, each with what else its rows are to have.

    Bins are the same for all layers of one name, so that their counts can be compared.
    """
    reach: dict[str, float] = {}
    for _, layer in layers:
        reach[layer.name] = max(reach.get(layer.name, 0.0), largest_magnitude(layer.weight.blocks()))
    for labels, layer in layers:
        for row in histogram(layer.weight.blocks(), reach[layer.name]).rows():
            yield {**labels, "layer": layer.name, **row}


def write_as_json(path: Path, frame: pd.DataFrame) -> None:
    """Write `frame` as JSON (`table/1`): the rows of the CSV file of its name, null where that is empty."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    write_json(path, {"schema": "table/1", "table": path.stem, "rows": rows})


def read(path: Path) -> pd.DataFrame:
    """A CSV file of a report as it was written: only an empty field is missing (not, say, a model called NA)."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def convergence(study: Study) -> pd.DataFrame:
    """One row an epoch of a run: history.csv of all runs."""
    return frame(
        CONVERGENCE,
        ({"model": run.model, "seed": run.seed, **row} for run in study.runs for row in run.history),
    )


def history(runs: Iterable[Run | Training]) -> pd.DataFrame:
    """One row an epoch of a run; accuracies are fractions, `kept` is true of the epoch whose weights the run kept."""
    return frame(
        HISTORY,
        (
            {
                "model": run.model,
                "seed": run.seed,
                **row,
                **{
                    f"{part}_accuracy": None if (error := row[f"{part}_error"]) is None else 1 - error
                    for part in ("train", "validation")
                },
                "kept": row["epoch"] == run.record.get("kept_epoch", run.record["epochs"]),
            }
            for run in runs
            for row in run.history
        ),
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
            **{
                f"{name}_mean": own[name].astype(float).mean() for name in ("fc_cut", "fc_cut_loss", "fc_cut_test_loss")
            },
            "verdict": "not judged",
            **latency_columns(*at_batch_1(model, cases, comparisons)),
        }
        if study.baseline in by_model:
            reference = by_model[study.baseline]
            row["parameters_change"] = own["parameters"].iloc[0] / reference["parameters"].iloc[0] - 1
            row |= {"verdict": "baseline"} if model == study.baseline else judge(wrong[model], wrong[study.baseline])
        rows.append(row)
    return frame(SUMMARY, rows)


def latency_columns(cases: pd.DataFrame, comparisons: pd.DataFrame) -> dict[str, Any]:
    """The columns of `summary` about the latency of one model, from its headline rows at batch size 1."""
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
