"""Tables of headline rows, which pictures are drawn from: items per second by batch size, accuracy beside latency."""

import pandas as pd

from analysis.tables import headline
from analysis.tables.columns import Column, ends, frame, plain

IMAGES_PER_SECOND = (
    *plain("model", "runtime", "batch", "threads", "mode", "device"),
    Column("images_per_second_at_median", "items, of any kind: batch / median, of the headline rows"),
    *ends("images_per_second_low", "images_per_second_high"),
    Column("valid"),
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
    errors = runs.groupby("model")["test_error"].agg(["count", "mean", "min", "max"])
    named = dict(
        zip(
            ("runs", "test_error_mean", "test_error_lowest", "test_error_highest"),
            (rows["model"].map(errors[name]) for name in errors),
            strict=True,
        )
    )
    return frame(ACCURACY, rows.assign(**named))
