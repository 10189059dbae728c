"""The tables of the results page as pandas frames, one function a CSV file: raw numbers, full precision, SI units."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from msgspec import structs

from analysis.inputs.entries import EntryResult, Results
from analysis.measures.significance import difference
from analysis.tables import latency as latency_tables
from analysis.tables.columns import MODEL, Column, frame, plain, text
from analysis.tables.headline import at_batch_1
from analysis.tables.layers import layers, mean
from analysis.tables.numbers import MISSING, number
from analysis.tables.summary import LATENCY, latency_columns
from study.recipe import Recipe

UNLIKE = "not judged: different budgets"
"""The verdict on entries whose runs were trained for different numbers of epochs."""
FIXED = {"study.networks.lenet5_1998:LeNet5Of1998": 10 * 84}
"""Numbers of a network that are never trained though its arithmetic has them like weights: the codes of the classes."""


def _budget(row: Any) -> str:
    return "full" if pd.isna(row.budget) else str(row.budget)


def _published(row: Any) -> str:
    if pd.isna(row.published):
        return MISSING
    return f"{row.published:.2f}" + (" (validation)" if row.published_images == "validation" else "")


def _difference(row: Any) -> str:
    if pd.isna(row.published):
        return MISSING
    if pd.isna(row.difference):
        return "not comparable"
    remarks = (row.published_images == "validation", "validation"), (not pd.isna(row.budget), "short")
    remark = ", ".join(text for holds, text in remarks if holds)
    return number(row.difference, "+.2f") + (f" ({remark})" if remark else "")


def _epochs(row: Any) -> str:
    made = _range(row.epochs_lowest, row.epochs_highest)
    if pd.isna(row.epochs_at_most):
        return made
    return f"{made} of at most {row.epochs_at_most}, kept {_range(row.kept_lowest, row.kept_highest)}"


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _epoch_seconds(row: Any) -> str:
    return f"{number(row.seconds_per_epoch_median, ',.1f')} ({number(row.seconds_per_epoch_fastest, ',.1f')})"


def _parameters(row: Any) -> str:
    return f"{row.parameters:,}" + (f" (+ {row.fixed:,.0f} fixed)" if row.fixed else "")


def _listed(key: str) -> Callable[[Any], str]:
    """Of numbers in a string: "1, 2"."""
    return lambda row: MISSING if pd.isna(getattr(row, key)) else str(getattr(row, key)).replace(" ", ", ")


def _accuracy(images: str) -> tuple[Column, Column]:
    key, deviation = f"{images}_accuracy_mean", f"{images}_accuracy_std"
    shown = Column(key, "of the runs, a fraction", f"{images}, %", ".2f", 100, deviation=deviation)
    return shown, Column(deviation, "sample standard deviation")


BUDGET = Column("budget", "such as `5 of 150 epochs`; empty where it is the recipe's", "budget", cell=_budget)
RUNS = Column("runs", heading="runs")
TEST, VALIDATION = _accuracy("test"), _accuracy("validation")
TIMES_TAKEN = (
    Column("seconds_per_epoch_median", "with validation", "seconds an epoch (fastest)", cell=_epoch_seconds),
    Column("seconds_per_epoch_fastest", "of all epochs of the runs"),
    Column("seconds_per_run", "epochs made times that median", "seconds a run", ",.0f"),
)
ACCURACIES = (
    Column("study"),
    MODEL,
    Column("dataset"),
    Column("recipe", "published, modern, searched or this project's", "recipe"),
    BUDGET,
    RUNS,
    Column("trained_on", "images, without those kept for validation", "trained on", ",d"),
    Column("published", "accuracy in percent", "published, %", cell=_published),
    Column("published_images", "test or validation"),
    *TEST,
    *VALIDATION,
    Column(
        "difference", "ours less the published one, on the same kind of images", "difference, points", cell=_difference
    ),
    Column("epochs_lowest", "of the runs", "epochs", cell=_epochs),
    Column("epochs_highest"),
    Column("epochs_at_most", "of the recipe, with early stopping", whole=True),
    Column("kept_lowest", "with early stopping", whole=True),
    Column("kept_highest", whole=True),
    *TIMES_TAKEN,
    Column("machines", "trained on; numbers in the page's last section", "machine", cell=_listed("machines")),
)
SIZES = (
    Column("parameters", "trainable numbers", "parameters", cell=_parameters),
    Column("onnx_bytes", "the largest of the runs", "ONNX, kB", ",.1f", 1e-3, whole=True),
    *LATENCY,
    Column("latency_machines", "measured on", "machine", cell=_listed("latency_machines")),
)
RESULTS = (*ACCURACIES, *SIZES)
ACCURACY = (
    *plain("study", "model", "dataset"),
    BUDGET,
    Column("what", "test, validation, published test or published validation"),
    Column("seed", "empty for a published figure", whole=True),
    Column("accuracy", "in percent"),
)
BATCHES = (
    *plain("network", "dataset"),
    MODEL,
    Column("batch_size", heading="batch size"),
    RUNS,
    BUDGET,
    *VALIDATION,
    *TEST,
    Column("kept_epochs", "of each run", "epoch kept", cell=_listed("kept_epochs")),
    *TIMES_TAKEN,
    Column("seconds_published", "of a run, on the publication's machine", "published seconds a run", ",.0f"),
    Column("against", "the first entry of this network"),
    *plain("test_error_change", "test_error_noise"),
    Column("verdict", f"see method.md; or `{UNLIKE}`"),
)


def all_tables(results: Results) -> dict[str, pd.DataFrame]:
    """The tables that are on the page, by name."""
    return {"results": by_accuracy(results), "batches": batches(results), "sparsity": layers(results)}


def by_accuracy(results: Results) -> pd.DataFrame:
    """One row an entry that has runs; `difference` is empty where ours has no images of the published kind."""
    cases, pairs = latency_tables.latency(results.measured), latency_tables.comparisons(results.measured)
    rows = []
    headlines = at_batch_1([result.entry.name for result in results.entries], cases, pairs)
    for result, latency in zip(results.entries, headlines, strict=True):
        row = _cells(result)
        measured_on = [case.machine for case in results.measured.cases if case.model == result.entry.name]
        machines = {"machines": _numbers(results, result.machines), "latency_machines": _numbers(results, measured_on)}
        rows.append({**row, **_published_cells(result, row), **machines, **latency_columns(*latency)})
    return frame(RESULTS, rows)


def batches(results: Results) -> pd.DataFrame:
    """One row an entry of those whose runs differ from another one's in their batch size alone.

    The test error is compared with that of the first such entry of the catalogue (analysis/measures/significance.py),
    unless their runs had different numbers of epochs.
    """
    rows = []
    for first, *others in alike_but_for_batch_size(results):
        rows.append(_cells(first))
        wrong = np.stack([run.wrong for run in first.runs])
        for result in others:
            row = {**_cells(result), "against": first.entry.name, "verdict": UNLIKE}
            if result.epochs == first.epochs:
                row |= vars(difference(np.stack([run.wrong for run in result.runs]), wrong))
            rows.append(row)
    return frame(BATCHES, rows)


def alike_but_for_batch_size(results: Results) -> Iterator[list[EntryResult]]:
    """Entries of one network and data set whose runs' recipes differ in the batch size alone, and do differ in it."""
    groups: dict[tuple[str, str, Recipe], list[EntryResult]] = {}
    for result in results.entries:
        key = (result.entry.network, result.entry.dataset, structs.replace(result.wanted, batch_size=1))
        groups.setdefault(key, []).append(result)
    return (group for group in groups.values() if len({result.wanted.batch_size for result in group}) > 1)


def accuracy(results: Results) -> pd.DataFrame:
    """The accuracies of a picture: a row a run and kind of images, and a row a published figure.

    A published figure is left out if the recipe is not the published one.
    """
    rows: list[dict[str, object]] = []
    for result in results.entries:
        own, published = _cells(result), result.entry.published
        if published and result.entry.origin != "modern":
            rows.append({**own, "what": f"published {published.images}", "accuracy": published.accuracy})
        for run in result.runs:
            errors = {"validation": run.record.validation_error, "test": run.record.test_error}
            rows += [
                {**own, "what": what, "seed": run.seed, "accuracy": 100 * (1 - error)}
                for what, error in errors.items()
                if error is not None
            ]
    return frame(ACCURACY, rows)


def _cells(result: EntryResult) -> dict[str, object]:
    """The cells of an entry and its runs, by column; each table has some of them."""
    entry, runs = result.entry, result.runs
    epochs, kept = [run.record.epochs for run in runs], [run.kept_epoch for run in runs]
    stops_early = result.wanted.patience > 0
    seconds = [epoch.seconds for run in runs for epoch in run.history]
    validation = [run.record.validation_error for run in runs if run.record.validation_error is not None]
    return {
        "study": result.study,
        "network": entry.network,
        "model": entry.name,
        "dataset": entry.dataset,
        "recipe": result.kind,
        "batch_size": result.wanted.batch_size,
        "budget": result.budget or None,
        "runs": len(runs),
        "trained_on": result.trained_on,
        **mean("test_accuracy", [1 - run.record.test_error for run in runs]),
        **mean("validation_accuracy", [1 - error for error in validation]),
        "epochs_lowest": min(epochs),
        "epochs_highest": max(epochs),
        "epochs_at_most": result.wanted.epochs if stops_early else None,
        "kept_lowest": min(kept) if stops_early else None,
        "kept_highest": max(kept) if stops_early else None,
        "kept_epochs": " ".join(map(str, kept)),
        "seconds_per_epoch_median": statistics.median(seconds),
        "seconds_per_epoch_fastest": min(seconds),
        "seconds_per_run": statistics.median(epochs) * statistics.median(seconds),
        "parameters": runs[0].record.parameters,
        "onnx_bytes": max((run.export.bytes for run in runs if run.export), default=None),
        "seconds_published": entry.published and entry.published.seconds,
    }


def _published_cells(result: EntryResult, row: Mapping[str, Any]) -> dict[str, object]:
    published = result.entry.published
    if published is None:
        return {}
    ours = row[f"{published.images}_accuracy_mean"]
    points = None if ours is None else 100 * ours - published.accuracy
    return {"published": published.accuracy, "published_images": published.images, "difference": points}


def _numbers(results: Results, machines: Iterable[str]) -> str | None:
    """ "1 2", or nothing for none."""
    return " ".join(str(n) for n in sorted({results.machines[name] for name in machines})) or None


def sizes(frame: pd.DataFrame, networks: Mapping[str, str]) -> pd.DataFrame:
    """The sizes of all entries as text; `networks` are their import paths by name."""
    fixed = [FIXED.get(networks[model], 0) for model in frame["model"]]
    return text((MODEL, *SIZES), frame.assign(fixed=fixed))
