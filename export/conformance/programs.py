"""The programs of docs/portability.md, as a reader copies them; nothing else is run, so the page cannot go stale."""

import re
from pathlib import Path

from study.errors import StudyError

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "portability.md"
SUFFIXES = {"python": ".py", "js": ".mjs", "html": ".html", "cpp": ".cpp"}
"""Of the programs' files, by the language of their fence; a fence of another language holds no program."""
PROGRAM = re.compile(rf"^```({'|'.join(SUFFIXES)})\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_program(heading: str, folder: Path, document: Path = DOCUMENT) -> Path:
    """Write the one program below `heading` as `folder`/classify.<suffix>.

    Raises:
        StudyError: the document has no such heading, or not exactly one program below it.
    """
    try:
        sections = re.split(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    except OSError as error:
        raise StudyError(f"{document} cannot be read ({error.strerror})") from None
    found = [
        program
        for title, text in zip(sections[1::2], sections[2::2], strict=True)
        if title == heading
        for program in PROGRAM.findall(text)
    ]
    if len(found) != 1:
        raise StudyError(f"{document}: expected one program below the heading {heading!r}, found {len(found)}")
    language, text = found[0]
    path = folder / f"classify{SUFFIXES[language]}"
    path.write_text(text, encoding="utf-8")
    return path
