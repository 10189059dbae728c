"""What a search of hyper-parameters has found, in words: from search.json, and the runs of its winner."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.inputs.runs import Run, Search, Training, departures
from analysis.tables.numbers import MISSING
from study.recipe import recorded


def states(search: Search) -> str:
    """How many trials there are of each kind: "17 complete, 3 pruned"."""
    counts = Counter(trial["state"] for trial in search["trials"])
    return ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed") if counts[state])


def winners(search: Search, runs: Sequence[Run | Training]) -> list[Run | Training]:
    """Those of `runs` that are of the network that was searched, and were trained by the best trial's recipe."""
    if search["best"] is None:
        return []
    recipe = recorded(search["best"]["recipe"])
    own = [run for run in runs if run.model == search["model"]]
    own = [run for run in own if run.record["network_sha256"] == search["network_sha256"]]
    return [run for run in own if not departures(run.record["recipe"], recipe)]


def test_accuracy(runs: Sequence[Run | Training]) -> str:
    """Mean test accuracy in percent, with the sample standard deviation of several runs; a dash without any."""
    if not runs:
        return MISSING
    values = [100 * (1 - run.record["test_error"]) for run in runs]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def sentences(searches: Sequence[Search], runs: Sequence[Run | Training]) -> Iterator[str]:
    """What each search has found, and what the runs of its winner are in the test."""
    for search in searches:
        images, made = search["images"], f"{search['model']}: {len(search['trials'])} trials ({states(search)})"
        if search["best"] is None:
            yield f"{made}; none of them is complete."
            continue
        retrained = winners(search, runs)
        tested = "none of the finished runs was trained with it"
        if retrained:
            epochs, count = recorded(search["best"]["recipe"]).epochs, images["training"] + images["validation"]
            tested = (
                f"trained with its recipe, {epochs} epochs on all {count:,}, the test accuracy is "
                f"{test_accuracy(retrained)} % (n = {len(retrained)})"
            )
        yield (
            f"{made}. The best is number {search['best']['number']}, with a validation accuracy of "
            f"{100 - 100 * search['best']['validation_error']:.2f} % on {images['validation']:,} training images after "
            f"{search['trial_epochs']} epochs on the other {images['training']:,}; {tested}. It is the best of many, "
            "and so better than it would be on other images."
        )
