"""Puts the report into the repository: tables and pictures into docs/study, the summary into README.md.

And the matrix of what runs where into docs/portability.md, with its table and picture in docs/portability.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from analysis.inputs.files import PICTURES
from study.artifacts import write_bytes, write_text
from study.errors import StudyError

PUBLISHED = (
    "summary.csv",
    "summary.md",
    "runs.csv",
    "cold_starts.csv",
    *(f"{name}{suffix}" for name in PICTURES for suffix in (".csv", ".png")),
)
BY_EPOCH = ("convergence.csv", "history.csv")
LARGEST_BY_EPOCH = 300_000
"""Bytes from which on these tables, which alone grow with the number of epochs, are not published."""

PORTABILITY = ("portability.csv", "portability.png")


def publish(report: Path, project: Path) -> Iterator[Path]:
    """Copy the report in folder `report` into the repository in folder `project`, yielding each file once it is there.

    Raises:
        StudyError: README.md has not exactly one place for the results; then nothing is written.
    """
    readme = project / "README.md"
    text = between(readme, "results", (report / "summary.md").read_text(encoding="utf-8"))
    for name in PUBLISHED:
        content, path = (report / name).read_bytes(), project / "docs" / "study" / name
        if name in BY_EPOCH and len(content) >= LARGEST_BY_EPOCH:
            path.unlink(missing_ok=True)
            continue
        write_bytes(path, content)
        yield path
    write_text(readme, text)
    yield readme


def publish_portability(matrix: str, report: Path, project: Path) -> Iterator[Path]:
    """Put the text `matrix` into docs/portability.md, and table and picture of it from `report` beside that page.

    Raises:
        StudyError: docs/portability.md has not exactly one place for the matrix; then nothing is written.
    """
    page = project / "docs" / "portability.md"
    text = between(page, "matrix", matrix)
    for name in PORTABILITY:
        path = page.with_suffix("") / name
        write_bytes(path, (report / name).read_bytes())
        yield path
    write_text(page, text)
    yield page


def between(page: Path, what: str, content: str) -> str:
    """The text of `page` with `content` between its two marker lines for `what`, which stay.

    Raises:
        StudyError: there is not exactly one pair of them.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    place = re.compile(rf"^(<!-- {what}(?:: .*)? -->\n)(?s:.*?)^(<!-- end of {what} -->)$", re.MULTILINE)
    changed, places = place.subn(lambda found: f"{found[1]}\n{content}\n{found[2]}", text)
    if places != 1:
        raise StudyError(
            f"{page}: expected one line '<!-- {what}: ... -->' and below it one '<!-- end of {what} -->', found "
            f"{places} such pairs; put them where that belongs"
        )
    return changed
