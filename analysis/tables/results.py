"""The tables of the results page as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.inputs.entries import Field, Standing
from analysis.measures.layer import facts
from analysis.measures.significance import judge
from analysis.measures.sparsity import evaluate, parse
from analysis.tables import latency as latency_tables
from analysis.tables.headline import at_batch_1
from analysis.tables.latency import frame
from analysis.tables.summary import latency_columns
from study.recipe import Recipe

RESULTS = (
    "study model dataset recipe budget runs trained_on published published_images test_accuracy_mean test_accuracy_std "
    "validation_accuracy_mean validation_accuracy_std difference epochs_lowest epochs_highest epochs_at_most "
    "kept_lowest kept_highest seconds_per_epoch_median seconds_per_epoch_fastest seconds_per_run machines parameters "
    "onnx_bytes torch_batch1_us onnxruntime_batch1_us speedup_batch1 speedup_batch1_low speedup_batch1_high "
    "speedup_batch1_verdict latency_valid latency_machines"
)
ACCURACY = "study model dataset budget what seed accuracy"
BATCHES = (
    "network dataset model batch_size runs budget validation_accuracy_mean validation_accuracy_std test_accuracy_mean "
    "test_accuracy_std kept_epochs seconds_per_epoch_median seconds_per_epoch_fastest seconds_per_run "
    "seconds_published against test_error_change test_error_noise verdict"
)
SPARSITY = "study model layer role out_features in_features runs hoyer_mean hoyer_std near_zero_mean exact_zeros_mean"
UNLIKE = "not judged: different budgets"
"""The verdict on entries whose runs were trained for different numbers of epochs."""


def all_tables(field: Field) -> dict[str, pd.DataFrame]:
    """The tables that are told on the page, by name."""
    return {"results": results(field), "batches": batches(field), "sparsity": sparsity(field)}


def results(field: Field) -> pd.DataFrame:
    """One row an entry that has runs. Accuracies are fractions but for `published`, which is percent.

    `difference` is ours less the published figure, in points, on the kind of images that it was published for; empty
    where ours has no such images. `epochs_at_most` is the recipe's number where it stops early. Machines are numbers.
    """
    cases, pairs = latency_tables.latency(field), latency_tables.comparisons(field)
    return frame(RESULTS, (_result(field, standing, cases, pairs) for standing in field.standings))


def _result(field: Field, standing: Standing, cases: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    entry, records = standing.entry, [run.record for run in standing.runs]
    epochs = [record["epochs"] for record in records]
    kept = [record.get("kept_epoch", record["epochs"]) for record in records]
    patient = standing.wanted.patience > 0
    measured_on = [case["measured_on"] for case in field.measured.cases if case["model"] == entry.name]
    row = {
        "study": standing.study,
        "model": entry.name,
        "dataset": entry.dataset,
        "recipe": standing.kind,
        "budget": standing.budget or None,
        "runs": len(records),
        "trained_on": standing.trained_on,
        **_mean("test_accuracy", accuracies(standing.test_errors())),
        **_mean("validation_accuracy", accuracies(standing.validation_errors())),
        "epochs_lowest": min(epochs),
        "epochs_highest": max(epochs),
        "epochs_at_most": standing.wanted.epochs if patient else None,
        "kept_lowest": min(kept) if patient else None,
        "kept_highest": max(kept) if patient else None,
        **_times(standing),
        "machines": _numbers(field, standing.machines),
        "parameters": records[0]["parameters"],
        "onnx_bytes": max((export.record["bytes"] for export in standing.exports), default=None),
        **latency_columns(*at_batch_1(entry.name, cases, pairs)),
        "latency_machines": _numbers(field, measured_on),
    }
    if entry.published:
        row |= {"published": entry.published.accuracy, "published_images": entry.published.images}
        ours = row[f"{entry.published.images}_accuracy_mean"]
        row["difference"] = None if ours is None else 100 * ours - entry.published.accuracy
    return row


def _numbers(field: Field, machines: Iterable[str]) -> str | None:
    """ "1 2", or nothing for none."""
    return " ".join(str(n) for n in sorted({field.machines[name] for name in machines})) or None


def _times(standing: Standing) -> dict[str, float]:
    """Seconds of an epoch, of all epochs of the runs, and of a run of the median number of them, as long as that."""
    seconds = standing.epoch_seconds()
    median = statistics.median(seconds)
    epochs = statistics.median(run.record["epochs"] for run in standing.runs)
    return {
        "seconds_per_epoch_median": median,
        "seconds_per_epoch_fastest": min(seconds),
        "seconds_per_run": epochs * median,
    }


def accuracies(errors: Iterable[float]) -> list[float]:
    return [1 - error for error in errors]


def _mean(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (ddof 1) where there are values enough."""
    return {
        f"{name}_mean": statistics.mean(values) if values else None,
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else None,
    }


def accuracy(field: Field) -> pd.DataFrame:
    """What is drawn of accuracies, in percent: a row a run and kind of images, and a row a published figure.

    `what` is test, validation, published test or published validation; a published figure is not drawn beside a
    recipe that is not the published one's.
    """
    rows: list[dict[str, Any]] = []
    for standing in field.standings:
        entry = standing.entry
        own = {
            "study": standing.study,
            "model": entry.name,
            "dataset": entry.dataset,
            "budget": standing.budget or None,
        }
        if entry.published and entry.origin != "modern":
            what = f"published {entry.published.images}"
            rows.append({**own, "what": what, "accuracy": entry.published.accuracy})
        for run in standing.runs:
            errors = {"validation": run.record.get("validation_error"), "test": run.record["test_error"]}
            rows += [
                {**own, "what": what, "seed": run.seed, "accuracy": 100 * (1 - error)}
                for what, error in errors.items()
                if error is not None
            ]
    return frame(ACCURACY, rows)


def batches(field: Field) -> pd.DataFrame:
    """One row an entry of those whose runs differ from another one's in their batch size alone.

    The test error is judged against the first such entry of the catalogue (analysis/measures/significance.py), unless
    their runs had different numbers of epochs.
    """
    rows = []
    for first, *others in alike_but_for_batch_size(field):
        rows.append(_batch(first))
        wrong = np.stack([run.wrong for run in first.runs])
        for standing in others:
            own = {**_batch(standing), "against": first.entry.name}
            if standing.epochs == first.epochs:
                own |= judge(np.stack([run.wrong for run in standing.runs]), wrong)
            else:
                own["verdict"] = UNLIKE
            rows.append(own)
    return frame(BATCHES, rows)


def alike_but_for_batch_size(field: Field) -> Iterator[list[Standing]]:
    """Entries of one network and data set whose runs' recipes differ in the batch size alone, and do differ in it."""
    groups: dict[tuple[str, str, Recipe], list[Standing]] = {}
    for standing in field.standings:
        entry = standing.entry
        groups.setdefault((entry.network, entry.dataset, replace(standing.wanted, batch_size=1)), []).append(standing)
    for standings in groups.values():
        if len({standing.wanted.batch_size for standing in standings}) > 1:
            yield standings


def _batch(standing: Standing) -> dict[str, Any]:
    records = [run.record for run in standing.runs]
    return {
        "network": standing.entry.network,
        "dataset": standing.entry.dataset,
        "model": standing.entry.name,
        "batch_size": records[0]["recipe"]["batch_size"],
        "runs": len(records),
        "budget": standing.budget or None,
        **_mean("validation_accuracy", accuracies(standing.validation_errors())),
        **_mean("test_accuracy", accuracies(standing.test_errors())),
        "kept_epochs": " ".join(str(record.get("kept_epoch", record["epochs"])) for record in records),
        **_times(standing),
        "seconds_published": standing.entry.published and standing.entry.published.seconds,
    }


def sparsity(field: Field) -> pd.DataFrame:
    """One row a fully-connected layer of an entry, over its exported runs; what is undefined is left out of a mean."""
    rows = []
    measures = parse("hoyer,exact_zeros")
    for standing in field.standings:
        found: dict[tuple[str, str, tuple[int, int]], list[dict[str, float]]] = {}
        for export in standing.exports:
            for layer in export.layers:
                hoyer, zeros = (value.value for value in evaluate(measures, layer.weight.blocks()))
                values = {"hoyer": hoyer, "exact_zeros": zeros, "near_zero": facts(layer.weight).near_zero_rms}
                there = {name: value for name, value in values.items() if value is not None}
                found.setdefault((layer.name, layer.role, layer.weight.shape), []).append(there)
        for (name, role, shape), values_of_runs in found.items():
            row: dict[str, Any] = {"study": standing.study, "model": standing.entry.name, "layer": name, "role": role}
            row |= {"out_features": shape[0], "in_features": shape[1], "runs": len(values_of_runs)}
            for measure in ("hoyer", "near_zero", "exact_zeros"):
                row |= _mean(measure, [values[measure] for values in values_of_runs if measure in values])
            rows.append(row)
    return frame(SPARSITY, rows)
