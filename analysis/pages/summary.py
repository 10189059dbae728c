"""What the sentences below the summary of a report are about (summary.j2)."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from analysis.inputs.study import Study
from analysis.pages.provenance import descriptions
from analysis.tables.headline import at_batch_1, best, plain
from analysis.tables.summary import doubtful
from study.records.training import RunRecord

MOST_EXPLAINED = 12
"""Models whose names are explained; of more docs/results.md has the recipes."""


def values(study: Study, frames: Mapping[str, pd.DataFrame]) -> dict[str, object]:
    """The values of summary.j2: n, the criteria, machine, versions and commit."""
    latency, compared = frames["latency"], frames["comparisons"]
    medians, pairs, bests = headline(study.models, latency, compared)
    if medians.empty and pairs.empty and len(latency):  # of a user's own files alone
        medians, pairs, bests = headline(list(dict.fromkeys(latency["model"])), latency, compared)
    return {
        "run_counts": sorted(set(frames["summary"]["runs"].dropna())),
        "item": item(study, latency),
        "baseline": study.baseline if study.baseline in study.models else None,
        "test_images": study.runs[0].wrong.size if study.runs else None,
        "pruning": next((run.pruning for run in study.runs if run.pruning), None),
        "pruned": frames["runs"]["fc_cut_test_loss"],
        "trained": descriptions(run.record.environment for run in study.runs),
        "exported": descriptions(
            [run.export.environment for run in study.runs if run.export]
            + [module.record.environment for module in study.modules]
        ),
        "modules": [module.model for module in study.modules],
        "measured": descriptions(study.measured.environments),
        "medians": medians,
        "pairs": pairs,
        "bests": bests,
        "doubtful": doubtful(frames["summary"]),
        "notes": study.notes,
    }


def explained(study: Study) -> Iterator[str]:
    """What the names of a small study mean: of each trained model the network, and its penalty.

    Nothing where that does not tell the models apart.
    """
    kinds = dict.fromkeys((run.record.model, _kind(run.record)) for run in study.runs)
    if len(study.models) <= MOST_EXPLAINED and len({kind for _, kind in kinds}) == len(kinds):
        yield from (f"{model} is {kind}" for model, kind in kinds)


def _kind(record: RunRecord) -> str:
    strengths = (("L1", record.recipe.l1), ("L2", record.recipe.l2))
    penalties = " and".join(f" an {name} penalty of {strength:g}" for name, strength in strengths if strength)
    return f"{record.network.partition(':')[2]}{' with' if penalties else ''}{penalties}"


def item(study: Study, latency: pd.DataFrame) -> str:
    """What a model is called with: an image, unless something else than this study's trained models was measured."""
    return "item" if study.modules or set(latency["model"]) - set(study.models) else "image"


def headline(models: Sequence[str], cases: pd.DataFrame, compared: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The rows behind a summary's latencies, its speed-ups of ONNX Runtime over eager torch, and best against best."""
    chosen = at_batch_1(models, cases, compared)
    medians, pairs = (pd.concat(rows, ignore_index=True) for rows in zip(*chosen, strict=True))
    return medians, plain(pairs), best(pairs)
