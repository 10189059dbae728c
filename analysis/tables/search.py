"""What a search of hyper-parameters has found, as tables: from search.json."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.inputs.runs import Search
from analysis.tables.columns import Column, frame, plain
from analysis.tables.numbers import MISSING, number

SEARCH = (
    *plain("model", "number", "state"),
    Column("own", "whether it has the entry's own recipe"),
    Column("repeats", "number of the failed trial that it repeats"),
    Column("validation_error", "empty unless complete"),
    Column("best_so_far", "lowest validation error up to here"),
    Column("last_error", "after the last epoch that was made"),
    *plain("epochs", "seconds"),
    Column("reason", "why it is not complete; a column a hyper-parameter follows"),
)
IMPORTANCE = (
    *plain("model", "parameter"),
    Column("share", "of what sets the best trials apart; the sum is 1"),
    *plain("evaluator", "best_share"),
    Column("epoch", "whose errors are compared"),
    Column("trials", "that are compared"),
)


def trials(searches: Sequence[Search]) -> pd.DataFrame:
    """One row a trial, in their order: errors on validation images are fractions, the hyper-parameters come last.

    `last_error` is that of the last epoch that was made, which for a trial that was pruned is not its recipe's last.
    """
    values = dict.fromkeys(name for search in searches for trial in search["trials"] for name in trial["values"])
    rows = []
    for search in searches:
        best = None
        for trial in sorted(search["trials"], key=lambda trial: trial["number"]):
            found = [error for error in (best, trial["validation_error"]) if error is not None]
            best = min(found, default=None)
            last = trial["validation_errors"][-1] if trial["validation_errors"] else None
            rows.append({**trial, **trial["values"], "model": search["model"], "best_so_far": best, "last_error": last})
    return frame((*SEARCH, *plain(*values)), rows)


def importance(searches: Sequence[Search]) -> pd.DataFrame:
    """One row a searched parameter, those that matter most first; none of a search with too few trials."""
    rows = []
    for search in searches:
        found = search["importance"] or {"shares": {}}
        facts = {key: value for key, value in found.items() if key != "shares"}
        for name, share in sorted(found["shares"].items(), key=lambda item: (-item[1], item[0])):
            rows.append({"model": search["model"], "parameter": name, "share": share, **facts})
    return frame(IMPORTANCE, rows)


def best(search: Search) -> pd.DataFrame:
    """The hyper-parameters of the best trial as text, with what was searched and how much each parameter mattered."""
    rows = []
    shares = (search["importance"] or {"shares": {}})["shares"]
    for name, value in _best_trial(search)["values"].items():
        searched = [key for key in search["space"] if key == name or key.startswith(f"{name}_")]
        rows.append(
            {
                "hyper-parameter": name,
                "best": _plain(value),
                "searched": "; ".join(_range(search["space"][key]) for key in searched) or MISSING,
                "importance": "; ".join(number(shares.get(key), ".2f") for key in searched) or MISSING,
            }
        )
    return pd.DataFrame(rows, columns=["hyper-parameter", "best", "searched", "importance"])


def _best_trial(search: Search) -> dict[str, Any]:
    """The trial of the lowest validation error, or one without values before there is one."""
    chosen = search["best"] and search["best"]["number"]
    return next((trial for trial in search["trials"] if trial["number"] == chosen), {"values": {}})


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _range(searched: dict[str, Any]) -> str:
    if "choices" in searched:
        return ", ".join(map(str, searched["choices"]))
    scale = ", by its logarithm" if searched["log"] else ""
    return f"{searched['low']:g} to {searched['high']:g}{scale}"
