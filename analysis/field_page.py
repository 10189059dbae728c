"""The results page put together: sections of tables, pictures and sentences, as Markdown."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis import circulating, field_text, search_tables
from analysis.field import Field
from analysis.text import markdown
from study.catalogue import DEFAULT_STUDY, FASHION_MNIST


def page(field: Field, frames: dict[str, pd.DataFrame], folder: str) -> str:
    """The page of `field` from its tables `results`, `batches` and `sparsity`; pictures lie in `folder` beside it."""
    return "\n\n".join(_sections(field, frames, folder)) + "\n"


def _sections(field: Field, frames: dict[str, pd.DataFrame], folder: str) -> Iterator[str]:
    results = frames["results"]
    networks = {standing.entry.name: standing.entry.network for standing in field.standings}
    yield "# Results"
    yield (
        "Made by `python -m analysis results` from run.json and export.json of every run of the catalogue"
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
        yield _table(field_text.accuracies(results[results["study"] == study]), field_text.remarks(standings))
        if study != DEFAULT_STUDY:
            yield f"![Training histories of {study}]({folder}/history-{study}.png)"

    yield "## Size and latency"
    yield _table(
        field_text.sizes(results, networks),
        [*field_text.unmeasured(field, results)],
    )
    yield from field_text.latency_facts(field, results)

    yield "## Batch sizes compared"
    batches = frames["batches"]
    if batches.empty:
        yield "No two entries that differ in their batch size alone have runs."
    else:
        yield _table(field_text.batches(batches), field_text.batch_remarks(batches))

    yield "## Search of hyper-parameters"
    if field.searches:
        runs = [run for standing in field.standings for run in standing.runs]
        yield _table(search_tables.summary(field.searches, runs), search_tables.sentences(field.searches, runs))
    else:
        yield "No search has been made."

    yield "## Fully-connected layers"
    if frames["sparsity"].empty:
        yield "No exported entry has a fully-connected layer."
    else:
        yield _table(field_text.sparsity(frames["sparsity"]), [])
        yield (
            "Hoyer is 0 where all weights are of one magnitude and 1 where one alone is not zero. Near zero is the "
            "share of weights of at most 1 % of their layer's root mean square. Read from the ONNX files; "
            "means of the runs."
        )

    yield "## Parameter counts in circulation"
    parameters = {s.entry.network: s.runs[0].record["parameters"] for s in field.standings}
    yield "These are found in print, and no network has them:"
    yield _list(circulating.sentences(parameters))

    yield "## Not run"
    yield ", ".join(field.not_run) + "." if field.not_run else "Every entry of the catalogue has runs."

    yield "## Made with"
    yield _list(field_text.made_with(field))


def _table(frame: pd.DataFrame, sentences: "Iterator[str] | Sequence[str]") -> str:
    remarks = list(sentences)
    return markdown(frame, [_list(remarks)] if remarks else []).strip()


def _list(sentences: "Iterator[str] | Sequence[str]") -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
