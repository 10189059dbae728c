"""Puts the report into the repository: tables and pictures into docs/study, the summary into README.md."""

import re
from collections.abc import Iterator
from pathlib import Path

from analysis.files import PICTURES
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

RESULTS = re.compile(r"^(<!-- results: .*-->\n)(?s:.*?)^(<!-- end of results -->)$", re.MULTILINE)


def publish(report: Path, project: Path) -> Iterator[Path]:
    """Copy the report in folder `report` into the repository in folder `project`, yielding each file once it is there.

    Raises:
        StudyError: README.md has not exactly one place for the results; then nothing is written.
    """
    readme = project / "README.md"
    text = with_results(readme, (report / "summary.md").read_text(encoding="utf-8"))
    for name in PUBLISHED:
        content, path = (report / name).read_bytes(), project / "docs" / "study" / name
        if name in BY_EPOCH and len(content) >= LARGEST_BY_EPOCH:
            path.unlink(missing_ok=True)
            continue
        write_bytes(path, content)
        yield path
    write_text(readme, text)
    yield readme


def with_results(readme: Path, summary: str) -> str:
    """The text of `readme` with `summary` between its two marker lines, which stay.

    Raises:
        StudyError: there is not exactly one pair of them.
    """
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    changed, places = RESULTS.subn(lambda found: f"{found[1]}\n{summary}\n{found[2]}", text)
    if places != 1:
        raise StudyError(
            f"{readme}: expected one line '<!-- results: ... -->' and below it one '<!-- end of results -->', found "
            f"{places} such pairs; put them where the results belong"
        )
    return changed
