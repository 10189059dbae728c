"""The tables of a search of hyper-parameters: its trials, and which parameters mattered."""

from collections.abc import Sequence

import pandas as pd
from msgspec.structs import asdict

from analysis.tables.columns import Column, frame, plain
from analysis.tables.numbers import MISSING, number
from study.records.training import SearchRange, SearchRecord

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


def trials(searches: Sequence[SearchRecord]) -> pd.DataFrame:
    """One row a trial, in their order: errors on validation images are fractions, the hyper-parameters come last."""
    values = dict.fromkeys(name for search in searches for trial in search.trials for name in trial.values)
    rows = []
    for search in searches:
        best = None
        for trial in sorted(search.trials, key=lambda trial: trial.number):
            best = min((error for error in (best, trial.validation_error) if error is not None), default=None)
            last = trial.validation_errors[-1] if trial.validation_errors else None
            made = {"model": search.model, "best_so_far": best, "last_error": last}
            rows.append({**asdict(trial), **trial.values, **made})
    return frame((*SEARCH, *plain(*values)), rows)


def importance(searches: Sequence[SearchRecord]) -> pd.DataFrame:
    """One row a searched parameter, the most important first; none of a search with too few trials."""
    rows = [
        {"model": search.model, "parameter": name, "share": share, **asdict(search.importance)}
        for search in searches
        if search.importance
        for name, share in sorted(search.importance.shares.items(), key=lambda item: (-item[1], item[0]))
    ]
    return frame(IMPORTANCE, rows)


def best(search: SearchRecord) -> pd.DataFrame:
    """The hyper-parameters of the best trial as text, with what was searched and how much each parameter mattered."""
    shares = search.importance.shares if search.importance else {}
    number_of_best = search.best and search.best.number
    values = next((trial.values for trial in search.trials if trial.number == number_of_best), {})
    rows = []
    for name, value in values.items():
        searched = [key for key in search.space if key == name or key.startswith(f"{name}_")]
        rows.append(
            {
                "hyper-parameter": name,
                "best": f"{value:.3g}" if isinstance(value, float) else str(value),
                "searched": "; ".join(_range(search.space[key]) for key in searched) or MISSING,
                "importance": "; ".join(number(shares.get(key), ".2f") for key in searched) or MISSING,
            }
        )
    return pd.DataFrame(rows, columns=["hyper-parameter", "best", "searched", "importance"])


def _range(searched: SearchRange) -> str:
    if searched.choices is not None:
        return ", ".join(map(str, searched.choices))
    return f"{searched.low:g} to {searched.high:g}{', logarithmic' if searched.log else ''}"
