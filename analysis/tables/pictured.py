"""Tables that pictures are drawn from: items per second, accuracy beside latency and size, errors by run and class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inputs.runs import Run
from analysis.tables import headline
from analysis.tables.columns import Column, ends, frame, plain
from study.data.datasets import DATASETS

IMAGES_PER_SECOND = (
    *plain("model", "runtime", "batch", "threads", "mode", "device"),
    Column("images_per_second_at_median", "items, of any kind: batch / median, of the headline rows"),
    *ends("images_per_second_low", "images_per_second_high"),
    Column("valid"),
)
MODELS = 12
"""Models in a picture at most: more have looks and places that nobody can tell apart."""
MISTAKEN = 10
"""Misclassified images of a model."""
CLASSES = 20
"""A confusion matrix has at most so many classes."""

OVERVIEW = (
    Column("model", "trained here; a row for each of torch and ONNX Runtime, one alone without a latency"),
    *plain("runtime", "threads", "mode", "device", "runs"),
    Column("test_error_mean", "of the runs"),
    *ends("test_error_lowest", "test_error_highest", "range"),
    Column("parameters", "trainable numbers", whole=True),
    Column("onnx_bytes", "of the ONNX file of the first run", whole=True),
    Column("median_seconds", "of one image"),
    *ends("median_low_seconds", "median_high_seconds"),
    Column("valid"),
)
ERRORS = (
    *plain("model", "seed", "test_error"),
    Column("test_error_mean", "of the model's runs, as the following columns"),
    Column("test_error_change", "from the baseline; empty for the baseline itself"),
    Column("test_error_noise", "what the change must exceed; empty where nothing is tested"),
    Column("verdict", "as in summary.csv"),
)
CONFUSION = (
    Column("model"),
    Column("label", "class of the test images, by number"),
    Column("label_name", "and by name"),
    Column("predicted", "class that the model's runs predict"),
    Column("predicted_name"),
    Column("share", "of the images of this label: the mean of the runs"),
)
MISTAKES = (
    Column("model"),
    Column("image", "its number in the test part of the data set, from 0"),
    *plain("label", "label_name", "predicted", "predicted_name"),
    Column("share", "of the model's runs that misclassify it; `predicted` is the class that most of them predict"),
    Column("others_share", "of the runs of the other models"),
)
ACCURACY = (
    *plain("model", "runtime", "threads", "mode", "device"),
    Column("runs", "of the model, which is of the catalogue"),
    Column("test_error_mean", "of the runs"),
    *ends("test_error_lowest", "test_error_highest", "range"),
    Column("median_seconds", "of one image"),
    *ends("median_low_seconds", "median_high_seconds"),
    Column("valid"),
)


def images_per_second(cases: pd.DataFrame) -> pd.DataFrame:
    """Items a second, one call after the other, of the headline rows of `latency`: the batch over the median.

    Rows are by model and runtime, then by batch size.
    """
    rows = headline.cases(cases)
    order = {model: i for i, model in enumerate(dict.fromkeys(cases["model"]))}
    rows = rows.assign(order=rows["model"].map(order)).sort_values(
        ["order", "device", "runtime", "batch"], kind="stable", ascending=[True, True, False, True]
    )
    per_second = {
        f"images_per_second_{end}": rows["batch"] / rows[f"median_{part}seconds"]
        for end, part in (("at_median", ""), ("low", "high_"), ("high", "low_"))
    }
    return frame(IMAGES_PER_SECOND, rows.assign(**per_second))


def accuracy(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Test error, mean and range of a model's runs, beside its median latency with one image in each runtime."""
    rows = headline.cases(cases[(cases["batch"] == 1) & cases["model"].isin(runs["model"])])
    models = _models(runs)
    return frame(ACCURACY, rows.assign(**{str(name): rows["model"].map(models[name]) for name in models}))


def _models(runs: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each model have in common, and their test errors: mean, lowest and highest; a row a model."""
    return runs.groupby("model", sort=False).agg(
        runs=("seed", "count"),
        test_error_mean=("test_error", "mean"),
        test_error_lowest=("test_error", "min"),
        test_error_highest=("test_error", "max"),
        parameters=("parameters", "first"),
        onnx_bytes=("onnx_bytes", "first"),
    )


def overview(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """The test error of each model in `runs` beside its size, and its latency with one image in torch and ONNX Runtime.

    Latencies are of the headline rows on the CPU. A model without any has one row, without a runtime.
    """
    rows = headline.cases(cases[(cases["batch"] == 1) & (cases["device"] == "cpu")])
    rows = rows[rows["runtime"].isin(("torch", "onnxruntime"))].drop(columns=["runs"], errors="ignore")
    medians: dict[Any, list[dict[Any, Any]]] = {
        model: own.to_dict("records") for model, own in rows.groupby("model", sort=False)
    }
    made = [
        {**case, "model": model, **one}
        for model, one in _models(runs).to_dict("index").items()
        for case in medians.get(model) or [{}]
    ]
    return frame(OVERVIEW, made)


def errors(runs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """The test error of each run, beside the mean of its model and the difference from the baseline."""
    keys = ["model", "test_error_mean", "test_error_change", "test_error_noise", "verdict"]
    return frame(ERRORS, runs[["model", "seed", "test_error"]].merge(summary[keys], on="model", how="left"))


def confusion(runs: Sequence[Run]) -> pd.DataFrame:
    """Which classes each model takes for which: a row a pair of classes, in the order of the network's outputs."""
    rows = []
    for model, own in _by_model(runs).items():
        names = class_names(own)
        if not names:
            continue
        counts = np.sum([_counts(run, len(names)) for run in own], axis=0)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        rows += [
            {
                **{"model": model, "label": label, "label_name": names[label]},
                **{"predicted": predicted, "predicted_name": names[predicted], "share": shares[label, predicted]},
            }
            for label, predicted in np.ndindex(shares.shape)
        ]
    return frame(CONFUSION, rows)


def _by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    by_model: dict[str, list[Run]] = {}
    for run in runs:
        by_model.setdefault(run.model, []).append(run)
    return by_model


def mistakes(runs: Sequence[Run]) -> pd.DataFrame:
    """The images that each model misclassifies and the others do not: those with the largest difference of shares."""
    by_model = _by_model(runs)
    wrong = {model: np.sum([run.wrong for run in own], axis=0) for model, own in by_model.items()}
    every = np.sum(list(wrong.values()), axis=0) if wrong else 0
    rows = []
    for model, own in by_model.items():
        names, others = class_names(own), len(runs) - len(own)
        share = wrong[model] / len(own)
        others_share = (every - wrong[model]) / max(others, 1)
        order = np.argsort(others_share - share, kind="stable")[:MISTAKEN]
        for image in order[share[order] > 0]:
            predicted = [int(run.predicted[image]) for run in own if run.wrong[image]]
            label, taken_for = int(own[0].labels[image]), max(sorted(set(predicted)), key=predicted.count)
            rows.append(
                {
                    **{"model": model, "image": int(image), "share": share[image], "others_share": others_share[image]},
                    **{"label": label, "label_name": names[label] if names else label},
                    **{"predicted": taken_for, "predicted_name": names[taken_for] if names else taken_for},
                }
            )
    return frame(MISTAKES, rows)


def _counts(run: Run, classes: int) -> NDArray[np.int64]:
    """How many images of each label (rows) are predicted as each class (columns)."""
    pairs = np.bincount(run.labels.astype(np.int64) * classes + run.predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def class_names(runs: Sequence[Run]) -> Sequence[str]:
    """Names of the classes of the runs' data set, or their numbers where it has none; nothing of over `CLASSES`."""
    found = next((one.classes for one in DATASETS.values() if one.title == runs[0].record.dataset.name), ())
    most = max(int(max(run.labels.max(), run.predicted.max())) for run in runs) + 1
    if most > CLASSES:
        return ()
    return found if len(found) >= most else [str(i) for i in range(most)]
