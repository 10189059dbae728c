"""The results page in words: tables as people read them, and the sentences around them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from analysis import circulating, latency_tables, sentences
from analysis.field import Field, Standing
from analysis.presentation import LATENCY, texts
from analysis.text import MISSING, TIMES, number
from study.catalogue import DEFAULT_SEEDS

Columns = dict[str, Callable[[Any], str]]
KB = 1e-3


def spread(mean: Any, deviation: Any, form: str = ".2f", scale: float = 100) -> str:
    """ "92.31 ± 0.12", without the spread where there is one value, or a dash."""
    if pd.isna(mean):
        return MISSING
    return number(mean, form, scale) + ("" if pd.isna(deviation) else f" ± {number(deviation, form, scale)}")


def accuracies(frame: pd.DataFrame) -> pd.DataFrame:
    """`results` of one study: what was published, what was found, and what it took."""
    columns: Columns = {
        "model": lambda row: row.model,
        "recipe": lambda row: row.recipe,
        "n": lambda row: str(row.runs),
        "budget": lambda row: "full" if pd.isna(row.budget) else f"**smaller: {row.budget}**",
        "published, %": _published,
        "test, %": lambda row: spread(row.test_accuracy_mean, row.test_accuracy_std),
        "validation, %": lambda row: spread(row.validation_accuracy_mean, row.validation_accuracy_std),
        "difference, points": _difference,
        "epochs": _epochs,
        "seconds a run": lambda row: number(row.seconds_median, ",.0f"),
        "images/s": lambda row: number(row.images_per_second_median, ",.0f"),
    }
    return texts(frame, columns)


def _published(row: Any) -> str:
    if pd.isna(row.published):
        return MISSING
    return f"{row.published:.2f}" + (" (validation)" if row.published_images == "validation" else "")


def _difference(row: Any) -> str:
    if pd.isna(row.published):
        return MISSING
    if pd.isna(row.difference):
        return "not comparable"
    return number(row.difference, "+.2f") + (" (validation)" if row.published_images == "validation" else "")


def _epochs(row: Any) -> str:
    made = _range(row.epochs_lowest, row.epochs_highest)
    if pd.isna(row.epochs_at_most):
        return made
    return f"{made} of at most {row.epochs_at_most}, kept {_range(row.kept_lowest, row.kept_highest)}"


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def sizes(frame: pd.DataFrame, networks: Mapping[str, str]) -> pd.DataFrame:
    """`results` of all studies: parameters, size and latency; `networks` are the entries' import paths by name."""

    def parameters(row: Any) -> str:
        fixed = circulating.FIXED.get(networks[row.model])
        return f"{row.parameters:,}" + (f" (+ {fixed:,} fixed)" if fixed else "")

    columns: Columns = {
        "model": lambda row: row.model,
        "parameters": parameters,
        "ONNX, kB": lambda row: number(row.onnx_bytes, ",.1f", KB),
        **LATENCY,
    }
    return texts(frame, columns)


def batches(frame: pd.DataFrame) -> pd.DataFrame:
    """`batches` of analysis.field_tables."""
    columns: Columns = {
        "model": lambda row: row.model,
        "batch size": lambda row: str(row.batch_size),
        "n": lambda row: str(row.runs),
        "budget": lambda row: "full" if pd.isna(row.budget) else f"**smaller: {row.budget}**",
        "validation, %": lambda row: spread(row.validation_accuracy_mean, row.validation_accuracy_std),
        "test, %": lambda row: spread(row.test_accuracy_mean, row.test_accuracy_std),
        "epoch kept": lambda row: row.kept_epochs.replace(" ", ", "),
        "seconds an epoch": lambda row: number(row.seconds_per_epoch_median, ",.1f"),
        "seconds a run": lambda row: number(row.seconds_median, ",.0f"),
    }
    return texts(frame, columns)


def batch_remarks(frame: pd.DataFrame) -> Iterator[str]:
    """For each batch size but the first of a network, whether its test accuracy is another one."""
    runs = dict(zip(frame["model"], frame["runs"], strict=True))
    for row in frame[frame["against"].notna()].to_dict("records"):
        counts = f"n = {row['runs']} and {runs[row['against']]}"
        change = f"{number(-row['test_error_change'], '+.2f', 100)} points of test accuracy against {row['against']}"
        if row["verdict"] == "not judged":
            yield f"{row['model']}: {change}, not judged: that takes two runs or more of each ({counts})."
        else:
            inside = "inside" if row["verdict"] == "not distinguishable" else "outside"
            noise = f"the noise of {number(row['test_error_noise'], '.2f', 100)} points"
            yield f"{row['model']}: {change}, {inside} {noise}: {row['verdict']} ({counts})."


def sparsity(frame: pd.DataFrame) -> pd.DataFrame:
    """`sparsity` of analysis.field_tables."""
    columns: Columns = {
        "model": lambda row: row.model,
        "layer": lambda row: row.layer + ("" if row.role == "fc" else f" ({row.role})"),
        f"weights (out {TIMES} in)": lambda row: f"{row.out_features} {TIMES} {row.in_features}",
        "n": lambda row: str(row.runs),
        "Hoyer": lambda row: spread(row.hoyer_mean, row.hoyer_std, ".3f", 1),
        "near zero, %": lambda row: number(row.near_zero_mean, ".1f", 100),
        "exact zeros, %": lambda row: number(row.exact_zeros_mean, ".1f", 100),
    }
    return texts(frame, columns)


def remarks(standings: list[Standing]) -> Iterator[str]:
    """What a reader must know of single entries."""
    for standing in standings:
        for remark in standing.remarks():
            yield f"{standing.entry.name}: {remark}."


def unmeasured(field: Field, frame: pd.DataFrame) -> Iterator[str]:
    """Which entries have no latency, and what to run."""
    missing = frame[frame[["torch_batch1_us", "onnxruntime_batch1_us"]].isna().all(axis=1)]["model"].tolist()
    if missing:
        yield (
            f"Without a latency ({len(missing)}): not measured; run `pytest bench --models {','.join(missing)} "
            "--benchmark-json=artifacts/bench-field.json`."
        )


def how_to_read(frame: pd.DataFrame) -> Iterator[str]:
    """The sentences that the accuracies mean nothing without."""
    yield (
        "Accuracies are means of n runs ± their sample standard deviation (ddof 1). Test accuracy is of the weights "
        "that were kept, on all test images, which nothing else of the training touches. Validation accuracy is on the "
        "training images that a recipe keeps back. The difference is ours less the published figure, on the kind of "
        "images that it was published for; test and validation figures are not compared with each other. It is no "
        "verdict: the published figures come without spread or number of runs."
    )
    yield (
        "Recipes: *published* as others have published it, *modern* this project's own for the same network, "
        "*searched* found by a search, *the study's* that of the regularisers' study. Where something was not "
        "published, `study/catalogue.py` says what was taken. Training times and images a second are medians of the "
        "runs, on the machine below, beside whatever else ran there."
    )
    if frame["budget"].notna().any():
        yield (
            f"**Smaller** budgets are of fewer epochs than the recipe has, or of fewer than {len(DEFAULT_SEEDS)} runs: "
            "such a figure is no measure of the recipe."
        )
    yield (
        "Histories: each run thin, the mean of the runs thick; a ring is the epoch whose weights a run kept that "
        "stopped early. Training figures are over the augmented images, each before the update it takes part in, "
        "and so may be worse than validation figures. Scales are logarithmic, that of the accuracy in the error."
    )


def latency_facts(field: Field, frame: pd.DataFrame) -> Iterator[str]:
    """How latencies were measured, of which run, and what the mark means."""
    studied = field.measured_study()
    yield from sentences.latency_facts(studied, latency_tables.latency(studied), latency_tables.comparisons(studied))
    if frame["latency_valid"].eq(False).any():
        yield "† measured under conditions that make it invalid."


def made_with(field: Field) -> Iterator[str]:
    """Machine, versions and commit of each stage."""
    stages = {
        "Trained": [run.record["environment"] for standing in field.standings for run in standing.runs],
        "Exported": [export.record["environment"] for standing in field.standings for export in standing.exports],
        "Measured": list(field.measured.environments),
    }
    for stage, environments in stages.items():
        for phrase in sentences.describe(environments):
            yield f"{stage} on {phrase}."
