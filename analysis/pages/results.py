"""The results page put together: sections of tables, pictures and sentences, as Markdown."""

from collections.abc import Iterable, Iterator

import pandas as pd

from analysis.inputs.benchmarks import machine
from analysis.inputs.entries import Field
from analysis.pages import parameter_counts as circulating
from analysis.pages import results_text as field_text
from analysis.pages import search as search_page
from analysis.pages import summary as sentences
from analysis.pages.markup import markdown
from analysis.tables import results as results_tables
from analysis.tables import search as search_tables
from analysis.tables.columns import text
from analysis.tables.numbers import TIMES
from study.catalogue import DEFAULT_STUDY, FASHION_MNIST

LEFT = ("model", "recipe", "budget", f"layers (out {TIMES} in)", "hyper-parameter", "best", "searched")
"""Columns that are aligned as text."""


def page(field: Field, frames: dict[str, pd.DataFrame], folder: str) -> str:
    """The page of `field` from its tables `results`, `batches` and `sparsity`; pictures lie in `folder` beside it."""
    return "\n\n".join(_sections(field, frames, folder)) + "\n"


def _sections(field: Field, frames: dict[str, pd.DataFrame], folder: str) -> Iterator[str]:
    results = frames["results"]
    networks = {standing.entry.name: standing.entry.network for standing in field.standings}
    yield "# Results"
    yield (
        "Made by `python -m analysis results` from what every run of the catalogue has left"
        + (f", and from {', '.join(path.name for path in field.benches)}" if field.benches else "")
        + f". The numbers, at full precision, are the CSV files in [{folder}/]({folder}/)."
    )
    if field.notes:
        yield _list(f"Note: {note}." for note in field.notes)
    yield f"![Accuracy of every entry, and what was published]({folder}/accuracy.png)"

    yield "## Accuracy"
    yield from field_text.how_to_read(results)
    for study, standings in field.studies().items():
        yield f"### {study}"
        datasets = dict.fromkeys(standing.entry.dataset for standing in standings)
        if list(datasets) != [FASHION_MNIST]:
            yield f"Data set: {', '.join(datasets)}."
        yield _table(text(results_tables.ACCURACIES, results[results["study"] == study]), field_text.remarks(standings))
        if study != DEFAULT_STUDY:
            yield f"![Training histories of {study}]({folder}/history-{study}.png)"

    yield "## Size and latency"
    yield _table(
        results_tables.sizes(results, networks),
        [*field_text.unmeasured(field, results)],
    )
    yield from field_text.latency_facts(field, results)

    yield "## Batch sizes compared"
    batches = frames["batches"]
    if batches.empty:
        yield "No two entries that differ in their batch size alone have runs."
    else:
        yield _table(text(results_tables.BATCHES, batches), field_text.batch_remarks(batches))
        yield field_text.times()
        if batches["seconds_published"].notna().any():
            yield "Published seconds are on the publication's machine."

    yield "## Search of hyper-parameters"
    if field.searches:
        runs = [run for standing in field.standings for run in standing.runs]
        yield _list(search_page.sentences(field.searches, runs))
        for search in field.searches:
            if search["best"]:
                yield f"The best trial of {search['model']}:"
                yield _table(search_tables.best(search), [])
        yield _list(map(field_text.importance, field.searches))
        yield f"![What mattered in the search]({folder}/importance.png)"
        yield f"![Trials of the search]({folder}/search.png)"
    else:
        yield "No search has been finished (no search.json)."

    yield "## Fully-connected layers"
    if frames["sparsity"].empty:
        yield "No exported entry has a fully-connected layer."
    else:
        yield _table(results_tables.by_entry(frames["sparsity"]), [])
        yield (
            "Hoyer is 0 where all weights are of one magnitude and 1 where one alone is not zero. Near zero is the "
            "share of weights of at most 1 % of their layer's root mean square; both shares are over the weights of "
            "all these layers. Read from the ONNX files; means of the runs."
        )

    yield "## Parameter counts in circulation"
    parameters = {s.entry.network: s.runs[0].record["parameters"] for s in field.standings}
    yield "Counts in circulation that are not those of the networks they are given for:"
    yield _list(circulating.sentences(parameters))

    yield "## Not run"
    yield ", ".join(field.not_run) + "." if field.not_run else "Every entry of the catalogue has runs."
    if any(field.not_run.values()):
        yield _list(f"{model}: {reason}." for model, reasons in field.not_run.items() for reason in reasons)

    yield "## Made with"
    yield _list(_made_with(field))


def _made_with(field: Field) -> Iterator[str]:
    """The machines by number, and the versions and commits of each stage on each of them."""
    for name, n in field.machines.items():
        yield f"Machine {n}: {name}."
    stages = {
        "Trained": [run.record["environment"] for standing in field.standings for run in standing.runs],
        "Exported": [export.record["environment"] for standing in field.standings for export in standing.exports],
        "Measured": list(field.measured.environments),
    }
    for stage, environments in stages.items():
        commits: dict[str, dict[str, None]] = {}
        for environment in environments:
            n = field.machines[machine(environment)]
            of, commit = sentences.versions(environment), sentences.commit(environment)
            commits.setdefault(f"{stage} on machine {n}{of}", {})[commit] = None
        for where, found in commits.items():
            yield f"{where}; {', '.join(found)}."


def _table(frame: pd.DataFrame, told: Iterable[str]) -> str:
    remarks = list(told)
    return markdown(frame, [_list(remarks)] if remarks else [], LEFT).strip()


def _list(told: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in told)
