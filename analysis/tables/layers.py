"""The fully-connected layers of the catalogue's entries: how sparse they are, over the exported runs of each."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.inputs.entries import Results
from analysis.measures.layer import weight_statistics
from analysis.measures.sparsity import evaluate, parse
from analysis.tables.columns import Column, frame, plain
from analysis.tables.numbers import TIMES, number
from analysis.weights.layers import Layer

LAYERS = (
    *plain("study", "model", "layer", "role", "out_features", "in_features", "runs", "hoyer_mean", "hoyer_std"),
    Column("near_zero_mean", "share of the weights of at most 1 % of their root mean square"),
    Column("exact_zeros_mean"),
)


def layers(results: Results) -> pd.DataFrame:
    """One row a fully-connected layer of an entry, over its exported runs; what is undefined is left out of a mean."""
    rows = []
    for result in results.entries:
        same: dict[tuple[str, str, tuple[int, int]], list[Layer]] = {}
        for layer in (layer for run in result.runs for layer in run.layers):
            same.setdefault((layer.name, layer.role, layer.weight.shape), []).append(layer)
        for (name, role, shape), own in same.items():
            row: dict[str, object] = {"study": result.study, "model": result.entry.name, "layer": name, "role": role}
            row |= {"out_features": shape[0], "in_features": shape[1], "runs": len(own)}
            values = [_weights(layer) for layer in own]
            for measure in values[0]:
                row |= mean(measure, [value for of_run in values if (value := of_run[measure]) is not None])
            rows.append(row)
    return frame(LAYERS, rows)


def _weights(layer: Layer) -> dict[str, float | None]:
    hoyer, zeros = (value.value for value in evaluate(parse("hoyer,exact_zeros"), layer.weight.blocks()))
    return {"hoyer": hoyer, "near_zero": weight_statistics(layer.weight).near_zero_rms, "exact_zeros": zeros}


def by_entry(frame: pd.DataFrame) -> pd.DataFrame:
    """`layers` by entry, as text: shares are over the weights of all its layers."""
    rows = []
    for model, own in frame.groupby("model", sort=False):
        layers: Iterable[Any] = own.itertuples(index=False)
        weights = own["out_features"] * own["in_features"]
        share = {
            name: (own[f"{name}_mean"] * weights).sum(skipna=False) / weights.sum()
            for name in ("near_zero", "exact_zeros")
        }
        rows.append(
            {
                "model": str(model),
                f"layers (out {TIMES} in)": " / ".join(map(_layer, layers)),
                "runs": str(own["runs"].max()),
                "Hoyer of each": " / ".join(number(value, ".3f") for value in own["hoyer_mean"]),
                "near zero, %": number(share["near_zero"], ".1f", 100),
                "exact zeros, %": number(share["exact_zeros"], ".1f", 100),
            }
        )
    return pd.DataFrame(rows)


def mean(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation (ddof 1) where there are values enough."""
    return {
        f"{name}_mean": statistics.mean(values) if values else None,
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else None,
    }


def _layer(row: Any) -> str:
    return f"{row.layer}{'' if row.role == 'fc' else f' ({row.role})'} {row.out_features} {TIMES} {row.in_features}"
