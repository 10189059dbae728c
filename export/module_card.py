"""The model card of a torch module of the user: module_card.md.j2, from module.json alone."""

from pathlib import Path

from export.card import template
from study.environment import describe
from study.files import read_plain, write_text
from study.modules.files import ModuleFiles
from study.modules.words import parse_inputs
from study.records.module import ModuleRecord


def write_card(files: ModuleFiles, record: ModuleRecord) -> bool:
    """Write the card of a current export where it is missing or differs; whether it was written."""
    text = card(record)
    if files.card.is_file() and read_plain(files.card) == text.encode():
        return False
    write_text(files.card, text)
    return True


def card(record: ModuleRecord) -> str:
    """The card in Markdown; of a module's file it has the name without its folder."""
    return template("module_card.md.j2").render(
        record=record,
        module=Path(record.factory).name,
        inputs=parse_inputs(record.inputs),
        exported_with=describe(record.environment),
    )
