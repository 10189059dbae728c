"""Which model runs where, as a page: the matrix, the sentences it needs and its picture."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.inputs.portability import FAILED, MAKE, NOT_RUN, PASSED, Portability, Record
from analysis.pages import summary as sentences
from analysis.pages.markup import markdown, shown_as_is
from analysis.plots import portability as portability_plots
from analysis.plots import style as plots
from analysis.tables.columns import read
from analysis.tables.portability import MOST_COLUMNS, cells, matrix, squares
from study.artifacts import write_bytes, write_text
from study.variants import Variant

PICTURE = "Which model runs where: the largest difference from PyTorch's probabilities in each runtime"
QUANTISED = (f"-{Variant(int8='static').name}", f"-{Variant(int8='dynamic').name}")
"""What the model of a cell ends with that is of a form in 8-bit integers."""


def facts(portability: Portability) -> list[str]:
    """What must be known beside the matrix, a sentence each; names and reasons are as they are found."""
    return [*_counts(portability), *_not_run(portability), *_failed(portability), *_method(portability)]


def _counts(portability: Portability) -> Iterator[str]:
    found = squares(cells(portability)).values()
    counts = {verdict: sum(square.verdict == verdict for square in found) for verdict in (PASSED, FAILED, NOT_RUN)}
    told = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    yield f"Of {len(found)} pairs of a runtime and a model: {told}."
    stale = sorted({cell["model"] for cell in portability.cells if not cell["current"]})
    if stale:
        yield f"Stale: the ONNX files of {', '.join(stale)} are no longer those that were tried; {MAKE} again."


def _not_run(portability: Portability) -> Iterator[str]:
    for runtime in portability.runtimes:
        if runtime["reason"] is not None:
            yield f"Not run in {runtime['title']}: {runtime['reason'].rstrip('.')}."
    known = {runtime["name"] for runtime in portability.runtimes if runtime["reason"] is not None}
    yield from _reasons("Not run", (c for c in portability.cells if c["runtime"] not in known), NOT_RUN)


def _failed(portability: Portability) -> Iterator[str]:
    yield from _reasons("FAILED", portability.cells, FAILED)


def _reasons(what: str, found: Iterable[Record], verdict: str) -> Iterator[str]:
    """Why cells have this verdict: one sentence for all models and batches that a runtime has one reason for."""
    runs: dict[tuple[str, str], dict[str, list[int]]] = {}
    for cell in found:
        if cell["verdict"] == verdict:
            batches = runs.setdefault((cell["title"], cell["reason"] or "no reason given"), {})
            batches.setdefault(f"{cell['model']} (seed {cell['seed']})", []).append(cell["batch"])
    for (title, reason), batches in runs.items():
        alike: dict[str, list[str]] = {}
        for run, sizes in batches.items():
            alike.setdefault(_batches(sizes), []).append(run)
        told = "; ".join(f"{', '.join(names)}, {sizes}" for sizes, names in alike.items())
        yield f"{what} in {title}, {told}: {reason.rstrip('.')}."


def _method(portability: Portability) -> Iterator[str]:
    yield (
        f"Compared with PyTorch's are the probabilities of {portability.images:,} test images, computed in "
        f"{_batches(portability.batches)}, each size by one loaded model, its last batch what remains: their "
        "shape, whether all are finite, each image's class and sum, and the largest difference, which the matrix shows."
    )
    quantised = [m for m in dict.fromkeys(c["model"] for c in portability.cells) if m.endswith(QUANTISED)]
    if quantised:
        yield (
            "In 8-bit integers, and compared with what ONNX Runtime computes instead, where a few images may be of "
            f"another class: {', '.join(quantised)}."
        )
    allowed: dict[float, list[str]] = {}
    for runtime in portability.runtimes:
        allowed.setdefault(runtime["largest_difference"], []).append(
            runtime["title"] + (f" ({runtime['because']})" if runtime["because"] is not None else "")
        )
    for limit, titles in sorted(allowed.items()):
        yield f"Allowed is a difference of {limit:g} in {', '.join(titles)}."
    own = {runtime["name"]: runtime["largest_difference"] for runtime in portability.runtimes}
    wider = {(c["model"], c["allowed"]): None for c in portability.cells if c["allowed"] > own[c["runtime"]]}
    for model, limit in wider:
        what = f"8-bit integers in {model} allow" if model in quantised else f"The catalogue's entry of {model} allows"
        yield f"{what} {limit:g} where the runtime is allowed less."
    for text in sentences.describe([portability.environment]):
        yield f"Tried on {text}."


def of_page(portability: Portability) -> dict[str, Any] | None:
    """Matrix and sentences for the page of a report, or None without a cell."""
    if not portability.cells:
        return None
    return {"matrix": matrix(cells(portability)), "facts": facts(portability)}


def _batches(batches: Iterable[int]) -> str:
    sizes = list(map(str, dict.fromkeys(batches)))
    return f"batches of {', '.join(sizes)}" if len(sizes) > 1 else f"batches of {sizes[0]}"


def page(portability: Portability, picture: str) -> str:
    """The matrix as Markdown with its sentences and the picture, whose path is given; nothing in it is markup."""
    lines = [f"- {shown_as_is(sentence)}" for sentence in facts(portability)]
    picture = f"![{PICTURE}]({picture})"
    if not portability.cells:
        return "\n\n".join(["Nothing has been tried.", "\n".join(lines)]) + "\n"
    table = matrix(cells(portability))
    shown = table.map(lambda text: shown_as_is(text).replace("FAILED", "**FAILED**", 1))
    shown.iloc[:, 0] = table.iloc[:, 0].map(shown_as_is)
    shown.columns = pd.Index([shown_as_is(str(name)) for name in table.columns])
    return markdown(shown, [picture, "\n".join(lines)], left=list(shown.columns[:1]))


def write(portability: Portability, folder: Path) -> Iterator[Path]:
    """Write table, matrix and picture into `folder`, yielding each file once it is there."""
    path = folder / "portability.csv"
    write_text(path, cells(portability).to_csv(index=False, lineterminator="\n"))
    yield path
    write_text(path.with_suffix(".md"), page(portability, "portability.png"))
    yield path.with_suffix(".md")
    content = plots.drawn(partial(portability_plots.matrix, squares(read(path)), MOST_COLUMNS), small=True)
    for suffix, data in content.items():
        write_bytes(path.with_suffix(suffix), data)
        yield path.with_suffix(suffix)


def svg(portability: Portability) -> bytes:
    """The picture for a page."""
    figure = partial(portability_plots.matrix, squares(cells(portability)), MOST_COLUMNS)
    return plots.drawn(figure, [".svg"])[".svg"]
