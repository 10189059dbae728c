"""Result of a hyper-parameter search: search.json, and the runs trained by its best recipe."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.inputs.runs import Run
from analysis.inputs.study import departures
from analysis.tables.search import best
from study.records.training import SearchRecord


@dataclass(frozen=True)
class SearchResult:
    """A search as a page shows it."""

    record: SearchRecord
    best: pd.DataFrame
    """The best trial's hyper-parameters, as text."""
    epochs: int | None
    """Of the best recipe."""
    retrained: int
    """Runs that were trained with the best recipe."""
    test_accuracy: str
    """Of these runs, in percent: the mean ± sample standard deviation."""

    @property
    def states(self) -> str:
        """How many trials there are of each kind: "17 complete, 3 pruned"."""
        counts = Counter(trial.state for trial in self.record.trials)
        return ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed") if counts[state])


def search_results(searches: Sequence[SearchRecord], runs: Sequence[Run]) -> list[SearchResult]:
    """Each search with the test accuracy of the runs trained by its best recipe."""
    made = []
    for search in searches:
        own = winners(search, runs)
        epochs = search.best.recipe.epochs if search.best else None
        made.append(SearchResult(search, best(search), epochs, len(own), test_accuracy(own)))
    return made


def winners(search: SearchRecord, runs: Sequence[Run]) -> list[Run]:
    """The runs of the searched network that were trained by the best trial's recipe."""
    if search.best is None:
        return []
    of_network = (search.model, search.network_sha256)
    own = [run for run in runs if (run.model, run.record.network_sha256) == of_network]
    return [run for run in own if not departures(run.record.recipe, search.best.recipe)]


def test_accuracy(runs: Sequence[Run]) -> str:
    """Mean test accuracy in percent, with the sample standard deviation of several runs; empty without any."""
    values = [100 * (1 - run.record.test_error) for run in runs]
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
