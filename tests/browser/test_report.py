"""index.html in real browsers, opened from disk."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.pages.markup import latex
from analysis.tables.columns import read, text
from analysis.tables.latency import COMPARISONS, LATENCY
from analysis.tables.numbers import MISSING
from analysis.tables.summary import SUMMARY
from analysis.tables.training import RUNS
from study.artifacts import Artifacts
from tests.browser.conftest import Visit
from tests.conftest import DRAWN
from tests.support.study import analyse, write_study

TABLES = {"summary": SUMMARY, "runs": RUNS, "latency": LATENCY, "comparisons": COMPARISONS}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the six models with everything on it, pictures too."""
    root = tmp_path_factory.mktemp("artifacts")
    write_study(Artifacts(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.pictures.drawn", DRAWN)
        analyse(root)
    return root / "report"


@pytest.mark.parametrize("look", [{"width": 1280}, {"width": 700}, {"width": 390}, {"width": 1280, "dark": True}])
def test_opens_without_errors_requests_or_barriers(visit: Visit, report: Path, look: dict[str, object]) -> None:
    seen = visit("report", (report / "index.html").as_uri(), **look)
    assert seen["errors"] == seen["requests"] == seen["broken"] == seen["faults"] == []
    assert seen["overflow"] <= 0, "the page is wider than the window"
    assert seen["letters"] >= 9, "a picture has text that is too small to read"


def test_every_number_is_that_of_its_csv(visit: Visit, report: Path) -> None:
    shown = {table["label"]: table["rows"] for table in visit("report", (report / "index.html").as_uri())["tables"]}
    for name, columns in TABLES.items():
        rows = shown[f"table {name}"]
        expected = text(columns, read(report / f"{name}.csv"))
        headings = [heading for heading in rows[0] if heading in expected.columns]
        assert len(headings) >= len(rows[0]) - 1
        places = [rows[0].index(heading) for heading in headings]
        found = [[row[place] or MISSING for place in places] for row in rows[1:]]
        assert found == expected[headings].map(lambda cell: re.sub(r"\s+", " ", str(cell))).to_numpy().tolist(), name


def test_tables_are_sorted_by_a_heading(visit: Visit, report: Path) -> None:
    heading = "test error, %"
    seen = visit("sorted", (report / "index.html").as_uri(), region="table summary", heading=heading)
    column = list(text(SUMMARY, read(report / "summary.csv")).columns).index(heading)
    orders = [[float(row[column].split()[0]) for row in rows] for rows in seen["found"]]
    assert orders == [sorted(orders[0]), sorted(orders[0], reverse=True)]
    assert len(set(orders[0])) > 1
    assert seen["errors"] == []


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_latex_of_the_summary_compiles_within_the_page_also_with_names_that_latex_would_read(
    report: Path, tmp_path: Path
) -> None:
    names = pd.DataFrame(
        {"model": ["[a]", "*b", r"a_b%&#$~^\{}<>|" + '"', "[c] \u00b1 \u2212"], "n": ["1", "2", "3", "4"]}
    )
    (tmp_path / "names.tex").write_text(latex([names], "[1 --cpus\n*2"))
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx,siunitx}\begin{document}"
        rf"\input{{{report / 'summary.tex'}}}\input{{names.tex}}\end{{document}}"
    )
    command = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
    words = printed_text(tmp_path / "page.pdf")
    for shown in ("[a]", "*b", "[c]", "[1 --cpus", "*2", "baseline"):
        assert shown in words


def printed_text(pdf: Path) -> str:
    return subprocess.run(("pdftotext", "-layout", pdf, "-"), capture_output=True, text=True, check=True).stdout


def test_a_table_longer_than_a_page_has_its_headings_on_each(visit: Visit, report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    seen = visit("printed", (report / "index.html").as_uri(), pdf=str(pdf), region="table runs", times=40)
    assert seen["errors"] == []
    pages = [page for page in printed_text(pdf).split("\f") if page.count("18,000") > 20]
    assert len(pages) > 2
    assert all("penalty" in page for page in pages)


def test_prints_whole_and_without_scripts(visit: Visit, report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "report.pdf"
    visit("without-scripts", (report / "index.html").as_uri(), pdf=str(pdf))
    printed = printed_text(pdf)
    for model in read(report / "summary.csv")["model"]:
        assert model in printed
    for question in ("Which", "How fast?", "How sparse", "Where does it run?", "How was it made?"):
        assert question in printed
