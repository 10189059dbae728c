"""Headline rows: those of the latency tables that represent a model in a picture or in the summary."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.measures.repeats import together, together_of_either_sign
from study.families import family, is_default
from study.records.base import Interval
from study.records.bench import CaseKey
from study.student import Estimate, verdict

KEY = [name for name in CaseKey.__struct_fields__ if name not in ("variant", "onnx_sha256")]
"""Columns of a case's key, in which its repeats agree; a table has the standard variant alone, of one file a run."""
MEDIAN = ("median_seconds", "median_low_seconds", "median_high_seconds")
RATIO = ("ratio", "low", "high")
UNPAIRED = ("unpaired_ratio", "unpaired_low", "unpaired_high")
FIXED = ("fixed_seconds", "fixed_low_seconds", "fixed_high_seconds")
PER_ITEM = ("per_item_seconds", "per_item_low_seconds", "per_item_high_seconds")
WITHHELD = "withheld"


def cases(latency: pd.DataFrame) -> pd.DataFrame:
    """The headline rows of `latency`: for each model, batch size and device one row a runtime, all in one setting.

    Repeats are one row (analysis/measures/repeats.py), valid only if all are and come from one machine. The setting
    (threads, mode, seed) is that with the most runtimes, then the fewest threads, then mode `native`, then the lowest
    seed: mode `native` times the call alone, mode `numpy` also the conversion of tensors.
    """
    return _alike(_as_one(latency, KEY, [MEDIAN], {"samples": "sum", "processes": "sum"}))


def comparisons(frame: pd.DataFrame) -> pd.DataFrame:
    """The headline rows of `comparisons`, chosen as by `cases`.

    The verdict on repeats is that on their common interval, with the smallest of their margins. Where the
    sessions chose different pairs as best against best, `best` is the pair that the most chose.
    """
    more: dict[str, Any] = {
        "margin": "min",
        "processes": "sum",
        "verdict": list,
        "reasons": _all_reasons,
        "best": "sum",
    }
    merged = _as_one(frame, [*KEY, "reference"], [RATIO, UNPAIRED], more)
    rows = _alike(merged.assign(verdict=[_verdict(row) for row in merged.itertuples(index=False)]))
    return rows.assign(best=_chosen_most_often(rows))


def plain(pairs: pd.DataFrame) -> pd.DataFrame:
    """Those of the headline rows of `comparisons` that compare eager torch with ONNX Runtime as it is."""
    return pairs[(pairs["reference"] == "torch") & (pairs["runtime"] == "onnxruntime")]


def best(pairs: pd.DataFrame) -> pd.DataFrame:
    """Those that are best against best of torch and ONNX Runtime."""
    of_both = [(family(one), family(other)) == ("torch", "onnxruntime") for one, other in _engines(pairs)]
    return pairs[pairs["best"].astype(bool) & np.array(of_both, bool)]


def without_settings(pairs: pd.DataFrame) -> pd.DataFrame:
    """Where best against best was measured: it, and the engines as they are; elsewhere all."""
    if not pairs["best"].any():
        return pairs
    return pairs[pairs["best"].astype(bool) | as_they_are(pairs)]


def as_they_are(pairs: pd.DataFrame) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which comparisons are of two engines without further settings."""
    return np.array([is_default(one) and is_default(other) for one, other in _engines(pairs)], bool)


def _chosen_most_often(pairs: pd.DataFrame) -> "pd.Series[bool]":
    """Which of several pairs of two engines is best against best: that of the most sessions, or else the first."""
    rows = pairs[pairs["best"] > 0].sort_values("best", ascending=False, kind="stable")
    families = [f"{family(one)}/{family(other)}" for one, other in _engines(rows)]
    again = rows[["model", "batch", "device"]].assign(families=families).duplicated()
    return pd.Series(pairs.index.isin(rows.index[~again]), pairs.index)


def _engines(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(pairs["reference"], pairs["runtime"], strict=True))


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """The headline rows of `costs`, chosen as by `cases`: for each model and device one row a runtime.

    A median off the line is that of the first of the repeats.
    """
    of_first = dict.fromkeys(("batches", "miss", "miss_batch"), "first")
    same = [name for name in KEY if name != "batch"]
    merged = _as_one(frame, same, [FIXED, PER_ITEM], {**of_first, "processes": "sum"}, _together_of_either_sign)
    return _alike(merged.assign(batch=0)).drop(columns="batch")


def at_batch_1(
    models: Sequence[str], latency: pd.DataFrame, compared: pd.DataFrame
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The headline rows of each model with one item, on the CPU if it was measured there: cases and comparisons.

    The comparisons are in the setting of the model's cases, if it has cases.
    """
    rows, pairs = (frame[(frame["batch"] == 1) & frame["model"].isin(models)] for frame in (latency, compared))
    rows = on_first_device(cases(rows))  # of all models at once: of one they take as long
    chosen = {model: setting for model, *setting in reversed(_settings(rows))}
    fitting = [chosen.get(model, setting) == setting for model, *setting in _settings(pairs)]
    pairs = on_first_device(comparisons(pairs[np.array(fitting, bool)]))
    return [(rows[rows["model"] == model], pairs[pairs["model"] == model]) for model in models]


def on_first_device(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model on the CPU, or if it was not measured there on its GPU."""
    return rows[rows["device"] == rows.groupby("model")["device"].transform("min")]  # "cpu" < "cuda"


def _settings(rows: pd.DataFrame) -> list[list[object]]:
    """Model, device, threads, mode and seed of each row; a module has no seed."""
    columns = rows[["model", "device", "threads", "mode", "seed"]].astype(object)
    return columns.where(columns.notna(), None).to_numpy().tolist()


def _as_one(
    frame: pd.DataFrame,
    same: list[str],
    intervals: Sequence[Sequence[str]],
    more: Mapping[str, Any],
    combined: "Callable[[pd.DataFrame], tuple[float, ...]] | None" = None,
) -> pd.DataFrame:
    """Rows that agree in `same` as one row: these intervals, further columns aggregated, `valid`, and `sessions`."""
    if frame.empty:
        return frame
    repeated = frame.duplicated(same, keep=False)
    if not repeated.any():  # 100,000 groups of one row each would take minutes
        return _each_its_own(frame, same, intervals, more)
    repeats = frame.groupby(same, sort=False, dropna=False)
    merged = repeats.agg({**more, "valid": "all", "measured_on": "nunique", "file": "nunique"}).reset_index()
    merged = merged.rename(columns={"file": "sessions"}).assign(valid=merged["valid"] & (merged["measured_on"] == 1))
    for names in intervals:
        ends = [(combined or _together)(rows[[*names]].dropna()) for _, rows in repeats]
        merged[[*names]] = pd.DataFrame(ends, columns=list(names), dtype=float)
    return merged


def _each_its_own(
    frame: pd.DataFrame, same: list[str], intervals: Sequence[Sequence[str]], more: Mapping[str, Any]
) -> pd.DataFrame:
    """`_as_one` of rows without repeats: its columns, with the values that are there."""
    rows = frame.reset_index(drop=True)
    made = rows[[*same, *more, "valid", "measured_on", "file"]].rename(columns={"file": "sessions"})
    made = made.assign(valid=rows["valid"].astype(bool), measured_on=1, sessions=1)
    for name, how in more.items():
        if how is list:
            made[name] = [[value] for value in rows[name]]
        elif how is _all_reasons:
            made[name] = ["" if pd.isna(value) else value for value in rows[name]]
        elif how == "sum" and rows[name].dtype == bool:
            made[name] = rows[name].astype(int)
    for names in intervals:
        values = rows[[*names]].astype(float)
        made[[*names]] = values.where(values.notna().all(axis=1), math.nan)
    return made


def _together(rows: pd.DataFrame) -> tuple[float, ...]:
    """Value, low and high of the repeats in `rows`; NaN without any."""
    if rows.empty:
        return (math.nan,) * 3
    one = together([_interval(*row) for row in rows.itertuples(index=False)])
    return one.value, one.low, one.high


def _together_of_either_sign(rows: pd.DataFrame) -> Estimate:
    return together_of_either_sign([Estimate(*row) for row in rows.itertuples(index=False)])


def _alike(frame: pd.DataFrame) -> pd.DataFrame:
    """For each model, batch size and device the rows in one setting, as `cases` says."""
    if frame.empty:
        return frame
    place, setting = ["model", "batch", "device"], ["threads", "mode", "seed"]
    runtimes = frame.groupby([*place, *setting], dropna=False)["runtime"].transform("nunique")
    ranks = pd.DataFrame(
        {
            "place": frame.groupby(place, sort=False).ngroup(),
            "fewer": -runtimes,
            "threads": frame["threads"],
            "numpy": frame["mode"] != "native",
            "seed": frame["seed"].astype(float).fillna(-1),
        }
    ).astype(float)
    first = ranks.sort_values(ranks.columns.tolist(), kind="stable").drop_duplicates("place").set_index("place")
    chosen = ranks[list(first)].eq(first.loc[ranks["place"]].set_index(ranks.index)).all(axis=1)
    return frame[chosen].loc[ranks[chosen].sort_values("place", kind="stable").index].reset_index(drop=True)


def _verdict(row: Any) -> str:
    if not row.valid or WITHHELD in row.verdict:
        return WITHHELD
    if len(row.verdict) == 1:
        return str(row.verdict[0])
    return verdict(_interval(row.ratio, row.low, row.high), row.margin)


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def _all_reasons(reasons: "pd.Series[str]") -> str:
    return "; ".join(dict.fromkeys(text for text in reasons.dropna() if text))
