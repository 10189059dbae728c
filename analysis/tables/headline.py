"""Headline rows: those of the latency tables that represent a model in a picture or in the summary."""

from typing import Any

import numpy as np
import pandas as pd

from study.records.bench import CaseKey

KEY = [name for name in CaseKey.__struct_fields__ if name not in ("variant", "onnx_sha256")]
"""Columns of a case's key, in which its repeats agree; a table has the standard variant alone, of one file a run."""
WITHHELD = "withheld"


def cases(latency: pd.DataFrame) -> pd.DataFrame:
    """The headline rows of `latency`: for each model, batch size and device one row a runtime, all in one setting.

    Repeats are one row: the median of their medians in the hull of their intervals, valid only if all are and come from
    one machine. The setting (threads, mode, seed) is that with the most runtimes, then the fewest threads, then mode
    `native`, then the lowest seed: mode `native` times the call alone, mode `numpy` also the conversion of tensors.
    """
    value = {"median_seconds": "median", "median_low_seconds": "min", "median_high_seconds": "max"}
    return _alike(_as_one(latency, KEY, value | {"samples": "min"}))


def comparisons(frame: pd.DataFrame) -> pd.DataFrame:
    """The headline rows of `comparisons`, chosen as by `cases`.

    Repeats have the largest of their noise floors, and a verdict only if all of them agree.
    """
    value: dict[str, Any] = {"ratio": "median", "low": "min", "high": "max", "noise_floor": "max", "processes": "sum"}
    merged = _as_one(frame, [*KEY, "reference"], {**value, "verdict": _common_verdict, "reasons": _all_reasons})
    return _alike(merged.assign(verdict=merged["verdict"].where(merged["valid"].astype(bool), WITHHELD)))


def at_batch_1(model: str, latency: pd.DataFrame, compared: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The headline rows of a model of the catalogue with one image, on the CPU if it was measured there.

    The comparisons are in the setting of the cases, if there are cases.
    """
    rows = cases(_one_image(model, latency))
    rows = rows[rows["device"] == rows["device"].min()]  # "cpu" < "cuda"
    pairs = _one_image(model, compared)
    for chosen in rows.head(1).to_dict("records"):
        settings = [pairs[name] == chosen[name] for name in ("device", "threads", "mode", "seed")]
        pairs = pairs[np.logical_and.reduce(settings).astype(bool)]
    pairs = comparisons(pairs)
    return rows, pairs[pairs["device"] == pairs["device"].min()]


def _one_image(model: str, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["model"] == model) & frame["seed"].notna() & (frame["batch"] == 1)]


def _as_one(frame: pd.DataFrame, same: list[str], columns: dict[str, Any]) -> pd.DataFrame:
    """Rows that agree in `same` as one row, with these columns aggregated, and `valid`."""
    if frame.empty:
        return frame
    repeats = frame.groupby(same, sort=False, dropna=False)
    merged = repeats.agg({**columns, "valid": "all", "measured_on": "nunique"}).reset_index()
    return merged.assign(valid=merged["valid"] & (merged["measured_on"] == 1))


def _alike(frame: pd.DataFrame) -> pd.DataFrame:
    def rank(group: tuple[Any, pd.DataFrame]) -> tuple[Any, ...]:
        (threads, mode, seed), rows = group
        return -rows["runtime"].nunique(), threads, mode != "native", -1 if pd.isna(seed) else seed

    chosen = [
        min(rows.groupby(["threads", "mode", "seed"], dropna=False), key=rank)[1]
        for _, rows in frame.groupby(["model", "batch", "device"], sort=False)
    ]
    return pd.concat(chosen, ignore_index=True) if chosen else frame


def _common_verdict(verdicts: "pd.Series[str]") -> str:
    if WITHHELD in set(verdicts):
        return WITHHELD
    return str(verdicts.iloc[0]) if verdicts.nunique() == 1 else "no difference shown"


def _all_reasons(reasons: "pd.Series[str]") -> str:
    return "; ".join(dict.fromkeys(text for text in reasons.dropna() if text))
