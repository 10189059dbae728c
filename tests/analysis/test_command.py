"""The command `python -m analysis`: its files, when it does nothing, its page, and what it imports."""

import base64
import gc
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from analysis.inputs.files import PICTURES, REPORT
from analysis.measures.pruning import NOT_MEASURED
from analysis.pages.markup import as_latex, latex
from analysis.tables.numbers import MINUS, MISSING
from study.artifacts import Artifacts
from study.errors import StudyError
from study.record_files import read_record
from study.records.analysis import TableRecord
from tests.support.study import analyse, command, layers, row, rows, write_run

NOT_SHOWN = {"accuracy", "history", "mistakes"}
"""Files alone: `overview` has more than the first, the others need validation images and the test images."""
OF_LATENCY = {"latency", "costs", "comparisons", "images_per_second"}


class TestFiles:
    def test_every_file_of_the_contract_is_written_and_named(self, reported: tuple[Path, str, str]) -> None:
        root, output, _ = reported
        assert {path.name for path in (root / "report").iterdir()} == {*REPORT, "inputs.sha256"}
        assert set(output.splitlines()) == {f"wrote {root}/report/{name}" for name in REPORT}

    @pytest.mark.usefixtures("drawing")
    def test_pictures_are_pictures_and_the_page_embeds_them(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root, "--measure", "kappa4")
        embedded = {base64.b64decode(reference.partition(",")[2]) for reference in page_of(artifacts.report).references}
        for name in PICTURES:
            assert (artifacts.report / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
            assert ElementTree.parse(artifacts.report / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314
        shown = {name for name in PICTURES if (artifacts.report / f"{name}.svg").read_bytes() in embedded}
        assert shown == set(PICTURES) - NOT_SHOWN - OF_LATENCY - {"filters"}, "nothing measured, no convolution"
        assert "kappa4" in (artifacts.report / "sparsity.svg").read_text()

    def test_a_second_run_does_nothing_and_says_so(self, reported: tuple[Path, str, str]) -> None:
        before = {path: path.stat().st_mtime_ns for path in (reported[0] / "report").iterdir()}
        output, _ = analyse(reported[0])
        assert output == f"nothing to do: {reported[0]}/report is made from these inputs (--fresh makes it again)\n"
        assert {path: path.stat().st_mtime_ns for path in (reported[0] / "report").iterdir()} == before

    @pytest.mark.usefixtures("drawing")
    def test_the_same_inputs_give_the_same_bytes(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root)
        before = {name: (artifacts.report / name).read_bytes() for name in REPORT}
        write_run(artifacts, "baseline", 0, layers(0))
        assert command(artifacts.root, "--fresh").returncode == 0
        for name in REPORT:
            assert (artifacts.report / name).read_bytes() == before[name], name

    def test_fresh_makes_the_report_again(self, reported: tuple[Path, str, str]) -> None:
        assert analyse(reported[0], "--fresh")[0] == reported[1]

    def test_the_collector_is_as_before_after_a_report_and_after_a_refused_file(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root)
        assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)
        artifacts.run("baseline", 0).history.write_text("")
        with pytest.raises(StudyError, match=r"history\.csv"):
            analyse(artifacts.root)
        assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)

    def test_a_report_of_which_a_file_or_the_mark_was_changed_is_made_again(self, artifacts: Artifacts) -> None:
        """Its tables are what --publish copies."""
        assert analyse(artifacts.root)[0].startswith("wrote ")
        table = (artifacts.report / "runs.csv").read_bytes()
        for name, content in (("inputs.sha256", b"\xff\xfe"), ("runs.csv", table.replace(b"0.08", b"0.07"))):
            (artifacts.report / name).write_bytes(content)
            assert analyse(artifacts.root)[0].startswith("wrote "), name
            assert analyse(artifacts.root)[0].startswith("nothing to do"), name
        assert (artifacts.report / "runs.csv").read_bytes() == table

    def test_a_report_of_ones_own_goes_into_another_folder(self, artifacts: Artifacts, tmp_path: Path) -> None:
        output = tmp_path / "mine"
        assert f"wrote {output}/index.html" in analyse(artifacts.root, "--output", str(output))[0]
        assert not artifacts.report.exists()
        assert analyse(artifacts.root, "--output", str(output))[0].startswith(f"nothing to do: {output} ")

    def test_further_measures_are_there_where_asked_for(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root, "--models", "baseline", "--measure", "-lp(p=0.3),kappa4")
        measures = {r["measure"] for r in rows(artifacts.root, "sparsity.csv")}
        assert measures == {"hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros", "-lp(p=0.3)", "kappa4"}

    @pytest.mark.parametrize("name", ["sparsity", "weights_histogram"])
    def test_a_table_as_json_has_the_rows_of_its_csv_file(self, reported: tuple[Path, str, str], name: str) -> None:
        found = read_record(reported[0] / "report" / f"{name}.json", TableRecord, "make the report").rows
        table = rows(reported[0], f"{name}.csv")
        assert len(found) == len(table) > 0
        for cells, same in zip(table, found, strict=True):
            assert {key: "" if value is None else str(value) for key, value in same.items()} == cells


class TestNotes:
    def test_where_pruning_cannot_be_measured_the_report_is_made_with_a_note(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).pruning.unlink()
        _, errors = analyse(artifacts.root)
        assert f"note: {NOT_MEASURED}: " in errors
        assert NOT_MEASURED in (artifacts.report / "summary.md").read_text()
        assert row(artifacts.root, "summary.csv", model="baseline")["fc_cut_mean"] == ""
        assert analyse(artifacts.root)[0].startswith("wrote "), "the next report tries again"

    def test_without_any_run_the_command_ends_with_one_line(self, tmp_path: Path) -> None:
        done = command(tmp_path / "nothing")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert "python -m train" in line


class Page(HTMLParser):
    """Collects a page's elements, texts and references; fails on elements that are closed in another order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.references: list[str] = []
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.names |= {value or "" for name, value in attrs if name == "id"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(report: Path) -> Page:
    return Page((report / "index.html").read_text(encoding="utf-8"))


class TestPage:
    def test_it_is_well_formed_and_needs_nothing_from_outside(self, reported: tuple[Path, str, str]) -> None:
        text = (reported[0] / "report" / "index.html").read_text(encoding="utf-8")
        page = Page(text)
        assert page.open == []
        assert page.elements.count("title") == page.elements.count("h1") == 1
        links = [reference for reference in page.references if reference.startswith("#")]
        assert set(links) <= {f"#{name}" for name in page.names}
        pictures = [reference for reference in page.references if not reference.startswith("#")]
        assert len(pictures) == len(set(PICTURES) - NOT_SHOWN)
        assert all(reference.startswith("data:image/svg+xml;base64,") for reference in pictures)
        assert not {"link", "iframe", "object"} & set(page.elements)
        assert page.elements.count("script") == 1
        assert not re.search(r"url\(|@import", text)

    def test_values_are_only_text(self, reported: tuple[Path, str, str]) -> None:
        text = (reported[0] / "report" / "index.html").read_text(encoding="utf-8")
        assert not re.search("<busy>|<b>", text)
        assert "1.6 cores <busy> & hot" in "".join(Page(text).texts)

    def test_a_study_without_fully_connected_layers_says_so(self, tmp_path: Path) -> None:
        write_run(Artifacts(tmp_path), "gap", 0, {})
        analyse(tmp_path, "--models", "gap")
        assert rows(tmp_path, "sparsity.csv") == []
        assert "No model has a fully-connected layer." in (tmp_path / "report" / "index.html").read_text()

    def test_a_layer_trained_with_l1_that_has_no_exact_zero_is_remarked_on(self, tmp_path: Path) -> None:
        weights = {"fc1": np.full((2, 3), 1e-7, np.float32), "fc2": np.eye(2, dtype=np.float32)}
        for model in ("baseline", "l1-1e-3"):
            write_run(Artifacts(tmp_path), model, 4, weights)
        analyse(tmp_path, "--models", "baseline,l1-1e-3")
        page = (tmp_path / "report" / "index.html").read_text()
        assert page.count("yet no weight of") == 1
        assert "l1-1e-3: trained with L1, yet no weight of fc1 is exactly zero (seed 4)" in page

    def test_what_was_not_measured_is_said(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root)
        assert "No latency has been measured." in (artifacts.report / "summary.md").read_text()
        page = (artifacts.report / "index.html").read_text()
        assert "No cold start has been measured." in page
        assert not re.search("Hyper-parameter search|Variants of the ONNX files", page)


def test_latex_has_balanced_groups_and_only_escaped_specials(reported: tuple[Path, str, str]) -> None:
    text = (reported[0] / "report" / "summary.tex").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}&%$#_]", "", body)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#_^~<>]|(?<!\{)%(?!\n)", bare)
    assert re.findall(r"\\begin\{(\w+)\}", body) == ["table", "tabular", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", body) == ["tabular", "tabular", "table"]
    assert body.isascii()
    cells = [line.count("&") for line in bare.splitlines() if "&" in line]
    assert [len(set(cells[:4])), len(set(cells[4:])), len(cells)] == [1, 1, 8]


def test_latex_aligns_columns_of_numbers_at_the_decimal_point_and_no_others() -> None:
    table = pd.DataFrame(
        {
            "model": ["a_b", "c"],
            "n": ["3", "12"],
            "parameters": ["61,706", "9"],
            "change, %": [f"{MINUS}0.14", "+1.5"],
            "error": ["7.93", MISSING],
            "time": ["1.2 (1.1 to 1.3)", "3.0"],
        }
    )
    header, *rows = [line for line in latex([table], "A note.").splitlines() if "&" in line]
    (begin,) = [line for line in latex([table], "").splitlines() if line.startswith(r"\begin{tabular}")]
    numbers = ["2", "5", "+1.2,retain-explicit-plus", "1.2"]
    assert begin == rf"\begin{{tabular}}{{l{''.join(f'S[table-format={form}]' for form in numbers)}r}}"
    assert header == r"model & {n} & {parameters} & {change, \%} & {error} & time \\"
    assert rows == [r"a\_b & 3 & 61706 & -0.14 & 7.93 & 1.2 (1.1 to 1.3) \\", r"c & 12 & 9 & +1.5 & {--} & 3.0 \\"]


def test_latex_escapes_every_special_character() -> None:
    assert as_latex(r"a_b & 5 % \x{}") == r"a\_b \& 5 \% \textbackslash{}x\{\}"
    assert as_latex("--cpus l1-1e-3") == "-{}-cpus l1-1e-3"
    assert [as_latex(first) for first in ("[a]", "*b")] == ["{[}a{]}", "{*}b"], "no argument of the row's end before"


class TestImports:
    BLOCKED = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "onnxruntime", "onnxscript", "train", "export", "bench"}:
            raise ImportError(f"{name} is not for the analysis")
sys.meta_path.insert(0, Block())
sys.path.insert(0, "")
runpy.run_module("analysis", run_name="__main__", alter_sys=True)
"""

    def test_the_report_is_made_where_there_is_no_torch_and_no_other_stage(self, artifacts: Artifacts) -> None:
        done = command(artifacts.root, python=("-c", self.BLOCKED))
        assert done.returncode == 0, done.stderr
        assert "index.html" in done.stdout

    def test_help_imports_nothing_that_is_slow(self) -> None:
        done = command(Path("nowhere"), "--help", python=("-X", "importtime", "-m", "analysis"))
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "argparse" in imported
        assert not imported & {"torch", "numpy", "pandas", "matplotlib", "onnx", "jinja2"}
        assert "--models" in done.stdout
