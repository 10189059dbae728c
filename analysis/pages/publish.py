"""Copy reports into the repository: tables and pictures into docs/study, a short table of results into README.md.

The matrix of what runs where goes into docs/portability.md, with its table and picture in docs/portability.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.inputs.files import PICTURES
from analysis.inputs.study import Study
from analysis.measures.pruning import LOSS_ALLOWED
from analysis.pages.markup import render
from analysis.pages.provenance import descriptions
from analysis.pages.summary import headline
from analysis.tables.columns import read, text
from analysis.tables.headline import WITHHELD
from analysis.tables.summary import SUMMARY
from study.errors import StudyError
from study.files import read_plain, write_bytes, write_text
from study.records.base import Environment

PUBLISHED = (
    "summary.csv",
    "summary.md",
    "runs.csv",
    "cold_starts.csv",
    *(f"{name}{suffix}" for name in PICTURES if name not in ("filters", "matrices") for suffix in (".csv", ".png")),
)
BY_EPOCH = ("convergence.csv", "history.csv")
LARGEST_BY_EPOCH = 300_000
"""Size in bytes from which these tables, the only ones that grow with the epochs, are not published."""

SHOWN = ("model", "test_error_mean", "speedup_batch1", "best_batch1", "fc_cut_mean")
"""Columns of the summary that README.md has, the fourth where it was measured."""
PORTABILITY = ("portability.csv", "portability.png")


def publish(report: Path, study: Study, project: Path) -> Iterator[Path]:
    """Copy the report on `study`, in folder `report`, into the repository in folder `project`; yields each file.

    Raises:
        StudyError: README.md has not exactly one pair of markers; then nothing is written.
    """
    readme = project / "README.md"
    changed = between(readme, "results", results(report, study))
    for name in PUBLISHED:
        content, path = read_plain(report / name), project / "docs" / "study" / name
        if name in BY_EPOCH and len(content) >= LARGEST_BY_EPOCH:
            path.unlink(missing_ok=True)
            continue
        write_bytes(path, content)
        yield path
    write_text(readme, changed)
    yield readme


def shown(summary: pd.DataFrame) -> pd.DataFrame:
    """The README's columns of the table `summary`, as text; one published earlier may lack the newest columns."""
    return text([column for column in SUMMARY if column.key in SHOWN and column.key in summary], summary)


def results(report: Path, study: Study) -> str:
    """The README's table of the report on `study`, with n, settings, machine and versions below it."""
    summary, latency, comparisons = (read(report / f"{name}.csv") for name in ("summary", "latency", "comparisons"))
    _, pairs, bests = headline(study.models, latency, comparisons)
    made: Sequence[Environment] = study.measured.environments or [run.record.environment for run in study.runs]
    return render(
        "readme.md.j2",
        "md",
        results=shown(summary),
        run_counts=sorted(set(summary["runs"])),
        pairs=pairs,
        bests=bests,
        withheld=WITHHELD in summary[["speedup_batch1_verdict", "best_batch1_verdict"]].to_numpy(),
        loss_allowed=LOSS_ALLOWED,
        measured=bool(study.measured.environments),
        environments=descriptions(made),
        notes=study.notes,
    )


def publish_portability(matrix: str, report: Path, project: Path) -> Iterator[Path]:
    """Put the text `matrix` into docs/portability.md, and table and picture of it from `report` beside that page.

    Raises:
        StudyError: docs/portability.md has not exactly one pair of markers; then nothing is written.
    """
    page = project / "docs" / "portability.md"
    text = between(page, "matrix", matrix)
    for name in PORTABILITY:
        path = page.with_suffix("") / name
        write_bytes(path, read_plain(report / name))
        yield path
    write_text(page, text)
    yield page


def between(page: Path, what: str, content: str) -> str:
    """The text of `page` with `content` between its two marker lines for `what`, which stay.

    Raises:
        StudyError: there is not exactly one pair of them.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    markers = re.compile(rf"^(<!-- {what}(?:: .*)? -->\n)(?s:.*?)^(<!-- end of {what} -->)$", re.MULTILINE)
    changed, pairs = markers.subn(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)
    if pairs != 1:
        raise StudyError(
            f"{page}: expected one line '<!-- {what}: ... -->' and below it one '<!-- end of {what} -->', found "
            f"{pairs} such pairs; put one pair where the content belongs"
        )
    return changed
