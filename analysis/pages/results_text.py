"""The results page in words: the sentences around its tables."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.inputs.entries import Field, Standing, measure
from analysis.inputs.runs import Search
from analysis.pages import summary as sentences
from analysis.tables import latency as latency_tables
from analysis.tables.numbers import number
from analysis.tables.results import UNLIKE
from study.catalogue import DEFAULT_SEEDS


def batch_remarks(frame: pd.DataFrame) -> Iterator[str]:
    """For each batch size but the first of a network, whether its test accuracy is another one."""
    runs = dict(zip(frame["model"], frame["runs"], strict=True))
    for row in frame[frame["against"].notna()].to_dict("records"):
        counts = f"n = {row['runs']} and {runs[row['against']]}"
        if row["verdict"] == UNLIKE:
            yield f"{row['model']} against {row['against']}: {UNLIKE}."
            continue
        change = f"{number(-row['test_error_change'], '+.2f', 100)} points of test accuracy against {row['against']}"
        if row["verdict"] == "not judged":
            yield f"{row['model']}: {change}, not judged: that takes two runs or more of each ({counts})."
        else:
            inside = "inside" if row["verdict"] == "not distinguishable" else "outside"
            noise = f"the noise of {number(row['test_error_noise'], '.2f', 100)} points"
            yield f"{row['model']}: {change}, {inside} {noise}: {row['verdict']} ({counts})."


def remarks(standings: Sequence[Standing]) -> Iterator[str]:
    """What a reader must know of single entries, and where published figures come from."""
    sources: dict[str, list[str]] = {}
    for standing in standings:
        if standing.entry.published:
            sources.setdefault(standing.entry.published.source, []).append(standing.entry.name)
    for source, names in sources.items():
        yield f"Published figures{'' if len(sources) == 1 else ' of ' + ', '.join(names)}: {source}."
    notes: dict[str, list[str]] = {}
    for standing in standings:
        if standing.entry.note:
            notes.setdefault(standing.entry.note, []).append(standing.entry.name)
    for note, names in notes.items():
        yield f"{', '.join(names)}: {note}."
    for standing in standings:
        for remark in standing.remarks():
            yield f"{standing.entry.name}: {remark}."


def unmeasured(field: Field, frame: pd.DataFrame) -> Iterator[str]:
    """How many exported entries have no latency, and what to run."""
    unmeasured = frame[["torch_batch1_us", "onnxruntime_batch1_us"]].isna().all(axis=1)
    missing = frame.loc[unmeasured & frame["onnx_bytes"].notna(), "model"].tolist()
    if missing:
        yield f"Exported, but without a latency ({len(missing)}): run `{measure(missing, field.root)}`."


def how_to_read(frame: pd.DataFrame) -> Iterator[str]:
    """The sentences that the accuracies mean nothing without."""
    yield (
        "Accuracies are means of the runs ± their sample standard deviation (ddof 1). Test accuracy is of the weights "
        "that were kept, on all test images, which nothing else of the training touches. Validation accuracy is on the "
        "training images that a recipe keeps back: it is trained on the others. The difference is ours less the "
        "published figure, on the kind of images that it was published for; test and validation figures are not "
        "compared with each other. It is no verdict: the published figures come without spread or number of runs."
    )
    yield (
        "Recipes: *published* as others have published it; *this project's*; *modern*, this project's for a network "
        "that others have published with another one; *searched*, found by a search. The modern recipes were chosen "
        "with the test accuracies of trials in view, and may flatter themselves by a few tenths of a point; searched "
        "ones were not, and published ones only where [method.md](method.md) says so of what a publication leaves open."
    )
    yield times()
    if frame["budget"].notna().any():
        yield (
            "A budget in bold is of fewer epochs than the recipe has: such a figure is no measure of the recipe, and "
            "its difference is marked as short."
        )
    if (frame["runs"] < len(DEFAULT_SEEDS)).any():
        yield f"Where there are fewer than {len(DEFAULT_SEEDS)} runs, the mean says less than elsewhere."
    yield (
        "Histories: each run thin, the mean of the runs thick; a ring is the epoch whose weights a run kept that "
        "stopped early. Training figures are over the augmented images, each before the update it takes part in, "
        "and so may be worse than validation figures. The training loss is the recipe's own criterion (with its label "
        "smoothing or rubbish class), the validation loss plain cross-entropy: compare losses within a row only. "
        "Scales are logarithmic, that of the accuracy in the error; epochs and accuracies have the same in all rows."
    )


def times() -> str:
    """What the seconds of training are worth."""
    return (
        "Seconds an epoch are the median over all epochs of the runs, with the fastest one behind it, and include the "
        "validation; seconds a run are that median times the epochs made. Two or three runs were trained at a time on "
        "the machine's cores, so these are times of a busy machine: the fastest epoch is the fairest to compare."
    )


def importance(search: Search) -> str:
    """What the picture of the importance shows, and how much it is worth."""
    found = search["importance"]
    if not found:
        return f"{search['model']}: too few trials to tell which hyper-parameters matter."
    return (
        f"{search['model']}: importance is by {found['evaluator']}, a parameter's share in what sets the best "
        f"{found['best_share'] * 100:g} % of the trials, by the validation error after epoch {found['epoch']}, apart "
        f"from all {found['trials']} that got there, pruned ones included."
    )


def latency_facts(field: Field, frame: pd.DataFrame) -> Iterator[str]:
    """How latencies were measured, of which run, and what the mark means."""
    yield from sentences.latency_facts(field, latency_tables.latency(field), latency_tables.comparisons(field))
    if frame["latency_valid"].eq(False).any():
        yield sentences.DOUBTFUL
