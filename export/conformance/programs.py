"""The programs of the runtimes: those of docs/portability.md, as a reader would copy them, and those for any model."""

import re
import shutil
from pathlib import Path

from study.errors import StudyError

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "portability.md"
SUFFIXES = {"python": ".py", "js": ".mjs", "html": ".html", "cpp": ".cpp"}
"""Suffix of a program by the language of its fence; fences of other languages are not programs."""
PROGRAM = re.compile(rf"^```({'|'.join(SUFFIXES)})\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_program(heading: str, folder: Path, document: Path = DOCUMENT) -> Path:
    """Write the only program below `heading` to `folder`/classify.<suffix>.

    Raises:
        StudyError: the document has no such heading, or not exactly one program below it.
    """
    try:
        sections = re.split(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    except OSError as error:
        raise StudyError(f"{document} cannot be read ({error.strerror})") from None
    programs = [
        program
        for title, text in zip(sections[1::2], sections[2::2], strict=True)
        if title == heading
        for program in PROGRAM.findall(text)
    ]
    if len(programs) != 1:
        raise StudyError(f"{document}: expected one program below the heading {heading!r}, found {len(programs)}")
    language, text = programs[0]
    path = folder / f"classify{SUFFIXES[language]}"
    path.write_text(text, encoding="utf-8")
    return path


def any_model(kind: str, folder: Path) -> Path:
    """Copy the program that runs any model in a runtime of Python or Node to `folder`."""
    source = Path(__file__).parent / {"python": "any_model.py", "node": "node/any_model.mjs"}[kind]
    return Path(shutil.copy(source, folder))
