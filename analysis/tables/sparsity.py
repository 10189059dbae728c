"""The tables of the weights of fully-connected layers: sparsity, histograms, and how many can be pruned."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.study import Study
from analysis.measures.histogram import histogram, largest_magnitude
from analysis.measures.noise import MOMENTS, indistinguishable, table
from analysis.measures.sparsity import ALWAYS, Measure, evaluate, parse
from analysis.tables.columns import Column, frame, plain
from analysis.tables.numbers import MINUS, MISSING, TIMES
from analysis.weights.layers import Layer
from analysis.weights.quantisation import Scale

K = TypeVar("K")

SEED = Column("seed", "of the training; empty for a module that is not trained here", whole=True)
SPARSITY = (
    *plain("model"),
    SEED,
    *plain("layer", "out_features", "in_features"),
    Column("measure", "with its parameters, such as `pqi(p=1,q=2)`"),
    Column("value", "empty where undefined"),
    Column("reason", "why it is undefined"),
    Column("bound", "the true value is within it of `value`; 0 for up to 2^20 weights"),
)
HISTOGRAM = (
    *plain("model"),
    SEED,
    *plain("layer"),
    Column("low", "one of 61 bins, the same for all layers of one name"),
    Column("high", "both 0: the weights that are exactly 0; both empty: those that are not finite"),
    Column("count", "weights from `low` to `high`"),
)
PRUNING = (
    *plain("model", "seed"),
    Column("images", "training images that it was measured on"),
    Column("share", "fraction of the fully-connected weights that is set to zero"),
    Column("threshold", "the largest magnitude among them"),
    *plain("error", "uncut_error"),
    Column("loss", "`error` - `uncut_error`"),
    Column("chosen", "True for the largest share that costs no more than allowed"),
)
MEASURES = {
    "hoyer": "Hoyer",
    "gini": "Gini",
    "pqi(p=1,q=2)": "PQI(1,2)",
    "exact_zeros": "share of exact zeros",
}
FROM_0_TO_1 = ("hoyer", "gini", "pqi", "exact_zeros", "u_theta")
"""Measures shown, and drawn, from 0 to 1. l2/l1 and kappa4 have this range as well, but N weights that are not sparse
have about 1 / sqrt N and 1 / N, which could not be seen on such a scale."""


def sparsity(study: Study, measures: Sequence[Measure] = ALWAYS) -> pd.DataFrame:
    """One row a fully-connected layer and measure; `value` is empty and `reason` filled where it is undefined.

    The true value is within `bound` of it, which is 0 unless a layer has more than a million weights.
    """
    rows = []
    for file in study.files:
        for layer in file.layers:
            out_features, in_features = layer.weight.shape
            shape = {"out_features": out_features, "in_features": in_features}
            place = {"model": file.model, "seed": file.seed, "layer": layer.name}
            for measure, value in zip(measures, evaluate(measures, layer.weight.blocks()), strict=True):
                rows.append({**place, **shape, "measure": str(measure), **value.cells()})
    return frame(SPARSITY, rows)


def weights_histogram(study: Study) -> pd.DataFrame:
    """One row a bin of the weights of a fully-connected layer, as `histogram_rows` has them."""
    layers = [({"model": file.model, "seed": file.seed}, layer) for file in study.files for layer in file.layers]
    return frame(HISTOGRAM, histogram_rows(layers))


def histogram_rows(layers: Sequence[tuple[Mapping[str, object], Layer]]) -> Iterator[dict[str, object]]:
    """Histograms of the weights of layers, each with what else its rows are to have.

    Bins are the same for all layers of one name, so that their counts can be compared. Weights of an unknown scale have
    no histogram.
    """
    layers = [each for each in layers if each[1].weight.scale is Scale.KNOWN]
    reach: dict[str, float] = {}
    for _, layer in layers:
        reach[layer.name] = max(reach.get(layer.name, 0.0), largest_magnitude(layer.weight.blocks()))
    for labels, layer in layers:
        for row in histogram(layer.weight.blocks(), reach[layer.name]).rows():
            yield {**labels, "layer": layer.name, **row}


def extremes(values: Mapping[K, float], most: int) -> list[K]:
    """At most so many (2 or more) of the keys, in their order: half with the smallest values, half with the largest.

    Keys whose value is NaN are taken only where there are too few others.
    """
    defined = sorted((key for key in values if not math.isnan(values[key])), key=lambda key: values[key])
    ends = defined if len(defined) <= most else [*defined[: most - most // 2], *defined[-(most // 2) :]]
    undefined = [key for key in values if math.isnan(values[key])]
    chosen = {*ends, *undefined[: most - len(ends)]}
    return [key for key in values if key in chosen]


def pruning(study: Study) -> pd.DataFrame:
    """One row a run and fraction of its fully-connected weights that was set to zero."""
    rows = [
        {
            "model": run.model,
            "seed": run.seed,
            "images": run.pruning.images.count,
            **asdict(point),
            "uncut_error": run.pruning.uncut_error,
            "loss": point.error - run.pruning.uncut_error,
            "chosen": point.share == run.pruning.cut.share,
        }
        for run in study.runs
        if run.pruning
        for point in run.pruning.curve
    ]
    return frame(PRUNING, rows)


def by_layer(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a model and layer, one column a measure: mean ± standard deviation of its runs, or why there is none.

    Behind ≈ are the kinds of noise that no run is distinguishable from.
    """

    def cell(measure: str, rows: pd.DataFrame) -> str:
        values = rows["value"].astype(float).dropna()
        if values.empty:
            return "; ".join(dict.fromkeys(rows["reason"].dropna())) or MISSING
        undefined = f" ({len(rows) - len(values)} undefined)" if len(values) < len(rows) else ""
        shown = f"{{:.3{'f' if _parsed(measure).name in FROM_0_TO_1 else 'g'}}}".format
        spread = f" ± {shown(values.std())}" if len(values) > 1 else ""
        size = int(rows["out_features"].iloc[0] * rows["in_features"].iloc[0])
        alike = [set(indistinguishable(value, _parsed(measure), size)) for value in values]
        noise = "".join(f" ≈ {kind}" for kind in sorted(set.intersection(*alike)))
        return shown(values.mean()).replace("-", MINUS) + spread + undefined + noise

    table = []
    for (model, layer), rows in frame.groupby(["model", "layer"], sort=False):
        shape = f"{rows['out_features'].iloc[0]} {TIMES} {rows['in_features'].iloc[0]}"
        measures = {measure(str(name)): cell(str(name), part) for name, part in rows.groupby("measure", sort=False)}
        table.append({"model": model, "layer": layer, f"weights (out {TIMES} in)": shape, **measures})
    return pd.DataFrame(table)


def noise(frame: pd.DataFrame) -> pd.DataFrame:
    """What noise of as many weights as each layer has would have of the measures, with its standard deviation."""
    sizes = sorted({int(n) for n in frame["out_features"] * frame["in_features"] if n > 1}, reverse=True)
    texts = {text: measure(text) for text in dict.fromkeys(frame["measure"])}
    rows = table(map(_parsed, texts), sizes)
    columns = {f"{text}, {kind}": f"{name}, {kind}" for text, name in texts.items() for kind in MOMENTS}
    return pd.DataFrame(rows).rename(columns=columns)


def measure(text: str) -> str:
    """A measure of sparsity as people call it."""
    return MEASURES.get(text, text)


def _parsed(text: str) -> Measure:
    return parse(text)[0]
