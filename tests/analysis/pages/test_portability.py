"""The matrix of what runs where, from a hand-made portability.json: its numbers, what is stale, hostile or damaged."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.__main__ import main
from analysis.inputs.files import PORTABILITY, find
from analysis.inputs.portability import Portability, Square, read_portability
from analysis.pages import portability as portability_page
from analysis.pages.portability import facts, page
from analysis.pages.publish import between, publish_portability
from analysis.pages.report import write
from analysis.plots import portability as portability_plots
from analysis.tables.columns import read
from analysis.tables.portability import cells, matrix, squares
from study.artifacts import Artifacts, write_json
from study.errors import StudyError
from tests.support.portability import UNTRIED, cell, record, runtime, write_portability
from tests.support.reporting import PROJECT, rows, study_of
from tests.support.synthetic import layers, write_run
from tests.test_design import modules_after

HOSTILE = "x|y <img src=x onerror=alert(1)> **b** [a](http://e) `c` $m$ \u202edaeh\n<!-- end of matrix -->"


@pytest.fixture
def found(artifacts: Artifacts) -> Portability:
    return write_portability(artifacts)


def of(verdict: str, **changes: Any) -> Square:
    return replace(Square(verdict, 3.1e-2, "12 classes differ", True), **changes)


class TestMatrix:
    def test_a_row_a_runtime_and_a_column_a_model_with_the_largest_difference_over_the_batches(
        self, found: Portability
    ) -> None:
        table = matrix(cells(found))
        assert list(table.columns) == ["runtime", "baseline", "gap"]
        assert table.to_numpy().tolist() == [
            ["Ort 1.2", "7.0e-07", "7.0e-07"],
            ["Tract 1.2", "7.0e-07", "FAILED: 12 classes differ"],
            ["Web <b>", "not run", "not run"],
        ]

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"finite": False, "max_abs_difference": None}, "not finite"),
            ({**UNTRIED}, "no result"),
            ({**UNTRIED, "shape": [256, 12]}, "wrong shape"),
            ({"max_abs_difference": 2e-4}, "2.0e-04"),
            ({"row_sum_error": 0.1}, "sums are not 1"),
        ],
    )
    def test_what_failed_says_why(
        self, artifacts: Artifacts, found: Portability, changes: dict[str, Any], why: str
    ) -> None:
        known = {"title": "Ort 1.2", "version": "1.2", "current": True, "verdict": "failed"}
        wrong = {**cell(artifacts, "ort", "gap", 64, **changes), **known}
        table = matrix(cells(replace(found, cells=(*found.cells, wrong))))
        assert table["gap"].iloc[0] == f"FAILED: {why}"

    def test_what_was_run_in_part_has_not_passed(self, artifacts: Artifacts, found: Portability) -> None:
        absent = {**cell(artifacts, "ort", "gap", 64, **UNTRIED), "title": "Ort 1.2", "version": None, "current": True}
        in_part = replace(found, cells=(*found.cells, {**absent, "verdict": "not run", "reason": "too slow"}))
        assert matrix(cells(in_part))["gap"].iloc[0] == "not run"
        assert "Not run in Ort 1.2, gap (seed 0), batches of 64: too slow." in facts(in_part)

    def test_a_pair_without_a_cell_was_not_run(self, found: Portability) -> None:
        less = replace(found, cells=found.cells[:3])
        assert matrix(cells(less)).to_numpy().tolist() == [["Ort 1.2", "7.0e-07", "1.0e-07"]]
        two = replace(found, cells=(*found.cells[:2], *found.cells[6:8]))
        assert matrix(cells(two)).to_numpy().tolist()[0] == ["Ort 1.2", "7.0e-07", "not run"]

    def test_many_models_have_a_row_each(self, found: Portability) -> None:
        many = tuple({**found.cells[0], "model": f"model{n}"} for n in range(9))
        table = matrix(cells(replace(found, cells=(*many, found.cells[8]))))
        assert list(table.columns) == ["model", "Ort 1.2", "Web <b>"]
        assert [row[0] for row in table.to_numpy()] == [*(f"model{n}" for n in range(9)), "baseline"]
        assert [row[1] for row in table.to_numpy()] == ["1.0e-07"] * 9 + ["not run"]

    def test_cells_of_older_onnx_files_are_marked(self, artifacts: Artifacts, found: Portability) -> None:
        write_run(artifacts, "baseline", 0, layers(1))  # trained again
        stale = read_portability(artifacts)
        assert [cell["current"] for cell in (*found.cells, *stale.cells)] == [True] * 12 + [False] * 12
        assert list(matrix(cells(stale))["gap"]) == ["7.0e-07 (stale)", "FAILED: 12 classes differ (stale)", "not run"]
        (told,) = [fact for fact in facts(stale) if fact.startswith("Stale")]
        assert "baseline, gap" in told
        assert "`tox -e portability`" in told
        assert not [fact for fact in facts(found) if fact.startswith("Stale")]

    def test_the_sentences_tell_counts_reasons_method_and_what_is_allowed(self, found: Portability) -> None:
        told = facts(found)
        assert told[:3] == [
            "Of 6 pairs of a runtime and a model: 3 passed, 1 failed, 2 not run.",
            "Not run in Web <b>: no <browser>.",
            "FAILED in Tract 1.2, gap (seed 0), batches of 7: 0.031 off.",
        ]
        assert "256 test images" in told[3]
        assert "batches of 1, 7" in told[3]
        assert told[4:7] == [
            "Allowed is a difference of 1e-05 in Ort 1.2, Web <b>.",
            "Allowed is a difference of 0.001 in Tract 1.2 (it rounds otherwise).",
            "The catalogue's entry of gap allows 2e-05 where the runtime is allowed less.",
        ]
        assert "Imagined(R) CPU" in told[7]
        assert "torch 2.13.0" in told[7]
        assert "commit 0123456789ab" in told[7]
        assert len(told) == 8

    def test_of_quantised_forms_it_says_what_they_are_compared_with(
        self, artifacts: Artifacts, found: Portability
    ) -> None:
        known = {"title": "Ort 1.2", "version": "1.2", "current": True}
        int8 = {**cell(artifacts, "ort", "gap-int8-static", 1, allowed=0.05), **known}
        told = facts(replace(found, cells=(*found.cells, int8)))
        assert "with what ONNX Runtime computes instead" in told[4]
        assert told[4].endswith(" class: gap-int8-static.")
        assert "8-bit integers in gap-int8-static allow 0.05 where the runtime is allowed less." in told


class TestCommand:
    def test_a_table_a_page_and_pictures_are_written_the_same_each_time(
        self, artifacts: Artifacts, found: Portability, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["portability", "--artifacts", str(artifacts.root)]) == 0
        assert capsys.readouterr().out.splitlines() == [f"wrote {artifacts.report / name}" for name in PORTABILITY]
        for path in portability_page.write(found, tmp_path / "again"):
            assert path.read_bytes() == (artifacts.report / path.name).read_bytes()
        table = rows(artifacts.root, "portability.csv")
        assert len(table) == 12
        assert table[7] == {
            **{"runtime": "tract", "title": "Tract 1.2", "version": "1.2", "model": "gap", "seed": "0"},
            **{"onnx_sha256": found.cells[0]["onnx_sha256"], "current": "True", "batch": "7", "verdict": "failed"},
            **{"shape": "256x10", "finite": "True", "row_sum_error": "1e-07", "max_abs_difference": "0.031"},
            **{"argmax_mismatches": "12", "allowed": "0.001", "seconds": "0.25", "reason": "0.031 off."},
        }
        assert (table[8]["shape"], table[8]["finite"], table[8]["argmax_mismatches"]) == ("", "", "")
        text = (artifacts.report / "portability.md").read_text(encoding="utf-8")
        assert text.splitlines()[0].split("|")[1].strip() == "runtime"
        assert "**FAILED**: 12 classes differ" in text
        assert "](portability.png)" in text
        assert text == page(found, "portability.png")

    def test_without_the_file_the_command_says_what_to_run(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"portability\.json is missing; run `tox -e portability`"):
            main(["portability", "--artifacts", str(artifacts.root)])
        assert not artifacts.report.exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"schema": "portability/1", "cells": [', "cannot be read as JSON"),
            ("[]", "expected schema 'portability/1', found 'list'"),
            (json.dumps(record([runtime("a")], [])).replace('"images": 256', '"images": -1'), "-1"),
            (json.dumps(record([runtime("a"), runtime("a")], [])), "expected each runtime once"),
        ],
    )
    def test_a_damaged_file_is_refused_in_one_line(self, artifacts: Artifacts, content: str, message: str) -> None:
        (artifacts.root / "portability.json").write_text(content)
        with pytest.raises(StudyError) as error:
            read_portability(artifacts)
        assert message in str(error.value)
        assert str(error.value).endswith("run `tox -e portability`")
        assert "\n" not in str(error.value)

    def test_a_cell_of_an_unknown_runtime_is_refused(self, artifacts: Artifacts) -> None:
        content = record([runtime("ort")], [cell(artifacts, "a\nb", "gap", 1)])
        (artifacts.root / "portability.json").write_text(json.dumps(content))
        with pytest.raises(StudyError, match="found one of 'a b'; run"):
            read_portability(artifacts)

    def test_without_a_cell_there_are_still_pages_and_pictures(self, artifacts: Artifacts, tmp_path: Path) -> None:
        write_json(artifacts.root / "portability.json", record([runtime("web", reason="no browser")], []))
        list(portability_page.write(read_portability(artifacts), tmp_path))
        text = (tmp_path / "portability.md").read_text()
        assert "Nothing has been tried." in text
        assert "no browser" in text

    def test_hostile_names_and_reasons_are_only_text(self, artifacts: Artifacts, tmp_path: Path) -> None:
        wrong = {"verdict": "failed", "reason": HOSTILE * 50}
        content = record(
            [runtime("ort", title=HOSTILE, because=HOSTILE), runtime("web", title="Web", reason=HOSTILE)],
            [cell(artifacts, "ort", HOSTILE, 1, **wrong), cell(artifacts, "ort", "../../../etc", 1)],
        )
        (artifacts.root / "portability.json").write_text(json.dumps(content))
        hostile = read_portability(artifacts)
        list(portability_page.write(hostile, tmp_path))
        text = (tmp_path / "portability.md").read_text(encoding="utf-8")
        head, _, row = text.splitlines()[:3]
        assert head.count("|") == row.count("|") == 4
        unescaped = re.sub(r"\\.", "", text)
        assert "<" not in unescaped
        assert "\u202e" not in text
        assert unescaped.count("[") == 1  # the picture's
        assert "`" not in unescaped
        assert max(map(len, text.splitlines())) < 2000
        assert len(read(tmp_path / "portability.csv")) == 2


class TestPicture:
    def drawn(self, found: dict[tuple[str, str], Square]) -> Figure:
        return portability_plots.matrix(found, most_columns=8)

    def texts(self, figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.axes[0].texts]

    def test_every_square_says_in_words_what_it_is(self, found: Portability) -> None:
        axis = (figure := self.drawn(squares(cells(found)))).axes[0]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["Ort 1.2", "Tract 1.2", "Web <b>"]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["baseline", "gap"]
        assert self.texts(figure) == [
            *("✓ 7.0e-07", "✓ 7.0e-07", "not run"),
            *("✓ 7.0e-07", "✗ FAILED\n3.1e-02", "not run"),
        ]
        assert len(figure.legends[0].get_texts()) == 3

    def test_in_grey_they_are_light_dark_and_hatched(self) -> None:
        figure = self.drawn({("a", "m"): of("passed"), ("b", "m"): of("failed"), ("c", "m"): of("not run")})
        passed, failed, absent = figure.axes[0].patches
        grey = [
            sum(part * weight for part, weight in zip(to_rgb(p.get_facecolor()), (0.3, 0.59, 0.11), strict=True))
            for p in (passed, failed, absent)
        ]
        assert grey[0] > 0.8 > 0.4 > grey[1]
        assert [bool(p.get_hatch()) for p in (passed, failed, absent)] == [False, False, True]

    def test_what_is_stale_is_hollow_and_says_so(self) -> None:
        figure = self.drawn({("a", "m"): of("passed", current=False), ("a", "n"): of("failed", current=False)})
        assert self.texts(figure) == ["✓ 3.1e-02 stale", "✗ FAILED\n3.1e-02\nstale"]
        assert {to_rgb(patch.get_facecolor()) for patch in figure.axes[0].patches} == {(1.0, 1.0, 1.0)}
        assert "stale: of an older ONNX file" in [text.get_text() for text in figure.legends[0].get_texts()]

    def test_with_many_models_the_runtimes_are_the_columns(self) -> None:
        many = {(runtime, f"m{n}"): of("passed", difference=n * 1e-7) for runtime in "ab" for n in range(9)}
        axis = (figure := self.drawn(many)).axes[0]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
        assert self.texts(figure)[:2] == ["✓ 0.0e+00", "✓ 1.0e-07"]

    def test_a_long_label_takes_two_lines_and_dollars_are_no_formula(self) -> None:
        figure = self.drawn({("a runtime of a name that takes more than two lines", "$\\frac$"): of("passed")})
        (label,) = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert label == "a runtime of a name\nthat takes more than…"
        (head,) = figure.axes[0].get_xticklabels()
        assert (head.get_text(), head.get_parse_math()) == ("$\\frac$", False)


class TestPage:
    @pytest.fixture
    def text(self, artifacts: Artifacts, found: Portability) -> str:
        """The page of a report on the baseline."""
        list(write(study_of(artifacts), artifacts.report, ()))
        return (artifacts.report / "index.html").read_text(encoding="utf-8")

    def test_beside_the_latency_it_says_where_the_models_of_the_page_run(self, text: str) -> None:
        section = text.partition("<h2>Runs anywhere</h2>")[2].partition("<h2>")[0]
        shown = re.findall("<td>(.*?)</td>", section)
        assert shown == [*("Ort 1.2", "7.0e-07"), *("Tract 1.2", "7.0e-07"), *("Web &lt;b&gt;", "not run")]
        assert "no &lt;browser&gt;" in section
        assert "<li>Of 3 pairs of a runtime and a model: 2 passed, 0 failed, 1 not run.</li>" in section
        assert "Drawn from <code>portability.csv</code>." in section
        assert text.partition("</h2>")[2].count("<h2>Runs anywhere</h2>\n") == 1
        assert text.index("Runs anywhere") < text.index("<h2>Latency</h2>") < text.index("<h2>Speed-up</h2>")

    def test_without_the_file_it_says_how_to_get_it(self, reported: tuple[Path, str, str]) -> None:
        text = (reported[0] / "report" / "index.html").read_text(encoding="utf-8")
        section = text.partition("<h2>Runs anywhere</h2>")[2].partition("<h2>")[0]
        assert "run `tox -e portability`" in section
        assert "<img" not in section

    def test_the_fingerprint_of_the_inputs_changes_with_the_file_and_with_an_onnx_file_it_may_be_about(
        self, artifacts: Artifacts
    ) -> None:
        inputs = find(artifacts, ("baseline",))
        before = inputs.fingerprint()
        assert not set(PORTABILITY) & set(inputs.outputs)
        write_json(artifacts.root / "portability.json", record([runtime("ort")], []))
        tried = inputs.fingerprint()
        write_run(artifacts, "gap", 0, {})
        assert len({before, tried, inputs.fingerprint()}) == 3
        assert set(PORTABILITY) < set(inputs.outputs)


class TestPublishing:
    BEFORE = "# Portability\n\n<!-- matrix: anything -->\nold\n<!-- end of matrix -->\n\nAfter.\n"

    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        project = tmp_path / "project"
        (project / "docs").mkdir(parents=True)
        monkeypatch.setattr("analysis.inputs.files.PROJECT", project)
        return project

    def test_the_matrix_is_put_between_the_markers_and_the_picture_beside_the_page(
        self, artifacts: Artifacts, found: Portability, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place = project / "docs" / "portability.md"
        place.write_text(self.BEFORE)
        assert main(["portability", "--artifacts", str(artifacts.root), "--publish"]) == 0
        matrix = page(found, "portability/portability.png")
        assert place.read_text(encoding="utf-8") == self.BEFORE.replace("old\n", f"\n{matrix}\n")
        for name in ("portability.csv", "portability.png"):
            assert (project / "docs/portability" / name).read_bytes() == (artifacts.report / name).read_bytes()
        assert f"wrote {place}" in capsys.readouterr().out
        once = place.read_bytes()
        main(["portability", "--artifacts", str(artifacts.root), "--publish"])
        assert place.read_bytes() == once

    @pytest.mark.parametrize("text", ["# Portability\n", BEFORE + BEFORE, None])
    def test_without_one_place_nothing_is_written(self, artifacts: Artifacts, project: Path, text: str | None) -> None:
        place = project / "docs" / "portability.md"
        if text is not None:
            place.write_text(text)
        with pytest.raises(StudyError, match=r"portability\.md: expected one line '<!-- matrix: \.\.\. -->'"):
            list(publish_portability("new\n", artifacts.report, project))
        assert not (project / "docs/portability").exists()
        assert text is None or place.read_text() == text

    def test_the_page_of_this_project_has_one_place_for_it(self) -> None:
        page = PROJECT / "docs" / "portability.md"
        assert "here it is" in between(page, "matrix", "here it is")


def test_help_imports_nothing_heavy() -> None:
    script = """
import contextlib, io, runpy
sys.argv = ["analysis", "portability", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module("analysis", run_name="__main__")
assert "usage: python -m analysis portability" in shown.getvalue()
"""
    assert not modules_after(script) & {"torch", "pandas", "numpy", "matplotlib", "onnx"}
