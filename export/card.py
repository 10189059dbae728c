"""The model card: one ONNX file described for people, rendered by card.md.j2 from run.json and export.json alone."""

from functools import cache
from pathlib import Path

import jinja2
from msgspec.structs import asdict

from study.artifacts import RunFiles, current_export
from study.data.datasets import titled
from study.environment import describe
from study.files import read_plain, write_text
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import STANDARD

LEVELS = {1: "grey level", 3: "red, green and blue, each"}
"""Meaning of the channels of an image, by their number."""
LICENCES = {
    "Fashion-MNIST": "MIT licence, Copyright (c) 2017 Zalando SE, https://tech.zalando.com",
    "CIFAR-10": "its authors (Krizhevsky, Nair, Hinton) state no licence; they ask that *Learning Multiple Layers of "
    "Features from Tiny Images*, 2009, be cited",
}


def write_card(files: RunFiles) -> bool:
    """Write the model card of a current export where it is missing or differs; whether it was written.

    Raises:
        StudyError: the export is not current, or as `card`.
    """
    run = read_record(files.record, RunRecord, f"run `python -m train {files.model}`")
    text = card(run, current_export(files))
    if files.card.is_file() and read_plain(files.card) == text.encode():
        return False
    write_text(files.card, text)
    return True


def card(run: RunRecord, export: ExportRecord) -> str:
    """The card, in Markdown, of the file that export.json (`export`) describes, made from the run of run.json (`run`).

    Raises:
        StudyError: the project has no data set of that title.
    """
    dataset = titled(run.dataset.name)
    return template("card.md.j2").render(
        run=run,
        export=export,
        variant=export.variant,
        standard=STANDARD,
        recipe=asdict(run.recipe),
        dataset=dataset,
        levels=LEVELS[dataset.shape[0]],
        licence=LICENCES[dataset.title],
        trained_with=describe(run.environment),
        exported_with=describe(export.environment),
    )


@cache
def template(name: str) -> jinja2.Template:
    """A template of this folder, with `code` as a filter."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701, this is Markdown: `code` escapes every text that is not the project's own
    )
    environment.filters["code"] = code
    return environment.get_template(name)


def code(text: str) -> str:
    """Any text as a Markdown code span: in one line, also within a table."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).replace("|", r"\|")
    fence = "`"
    while fence in line:
        fence += "`"
    space = " " if "`" in line or not line.strip() else ""
    return f"{fence}{space}{line}{space}{fence}"
