"""The matrix of what runs where, from a hand-made portability.json: its numbers, what is stale, hostile or damaged."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from analysis.__main__ import main
from analysis.inputs.files import PORTABILITY, find
from analysis.inputs.portability import Cell, Portability, read_portability
from analysis.pages import portability as portability_page
from analysis.pages.portability import page
from analysis.pages.publish import between, publish_portability
from analysis.tables.columns import read
from analysis.tables.portability import cells, matrix
from study.artifacts import Artifacts
from study.errors import StudyError
from study.record_files import as_json, write_record
from study.records.base import Record
from study.seal import sealed
from tests.support.portability import UNTRIED, cell, record, runtime, write_portability
from tests.support.study import PROJECT, layers, rows, write_run

HOSTILE = "x|y <img src=x onerror=alert(1)> **b** [a](http://e) `c` $m$ \u202edaeh\n<!-- end of matrix -->"


def as_text(content: Record) -> str:
    return json.dumps(sealed(as_json(content)), separators=(",", ":"))


@pytest.fixture
def found(artifacts: Artifacts) -> Portability:
    return write_portability(artifacts)


class TestMatrix:
    def test_what_failed_says_why(self, artifacts: Artifacts, found: Portability) -> None:
        reasons: dict[str, dict[str, Any]] = {
            "not finite": {"finite": False, "max_abs_difference": None},
            "no result": UNTRIED,
            "wrong shape": {**UNTRIED, "shape": (256, 12)},
            "2.0e-04": {"max_abs_difference": 2e-4},
            "sums are not 1": {"row_sum_error": 0.1},
        }
        for why, changes in reasons.items():
            wrong = Cell(cell(artifacts, "ort", "gap", 64, verdict="failed", **changes), found.runtimes[0], True)
            table = matrix(cells(replace(found, cells=(*found.cells, wrong))))
            assert table["gap"].iloc[0] == f"FAILED: {why}"

    def test_what_was_run_in_part_has_not_passed(self, artifacts: Artifacts, found: Portability) -> None:
        absent = cell(artifacts, "ort", "gap", 64, **{**UNTRIED, "verdict": "not run", "reason": "too slow"})
        in_part = replace(found, cells=(*found.cells, Cell(absent, found.runtimes[0], True)))
        assert matrix(cells(in_part))["gap"].iloc[0] == "not run"
        assert "- Not run in Ort 1.2, gap (seed 0), batch size 64: too slow." in page(in_part, "")

    def test_a_pair_without_a_cell_was_not_run(self, found: Portability) -> None:
        less = replace(found, cells=found.cells[:3])
        assert matrix(cells(less)).to_numpy().tolist() == [["Ort 1.2", "7.0e-07", "1.0e-07"]]
        two = replace(found, cells=(*found.cells[:2], *found.cells[6:8]))
        assert matrix(cells(two)).to_numpy().tolist()[0] == ["Ort 1.2", "7.0e-07", "not run"]

    def test_many_models_have_a_row_each(self, found: Portability) -> None:
        first = found.cells[0]
        many = tuple(replace(first, record=structs.replace(first.record, model=f"model{n}")) for n in range(9))
        table = matrix(cells(replace(found, cells=(*many, found.cells[8]))))
        assert list(table.columns) == ["model", "Ort 1.2", "Web <b>"]
        assert [row[0] for row in table.to_numpy()] == [*(f"model{n}" for n in range(9)), "baseline"]
        assert [row[1] for row in table.to_numpy()] == ["1.0e-07"] * 9 + ["not run"]

    def test_cells_of_older_onnx_files_are_marked(self, artifacts: Artifacts, found: Portability) -> None:
        write_run(artifacts, "baseline", 0, layers(1))  # trained again
        stale = read_portability(artifacts)
        assert [cell.current for cell in (*found.cells, *stale.cells)] == [True] * 12 + [False] * 12
        assert list(matrix(cells(stale))["gap"]) == ["7.0e-07 (stale)", "FAILED: 12 classes differ (stale)", "not run"]
        (line,) = [line for line in page(stale, "").splitlines() if line.startswith("- Stale")]
        assert "the ONNX files of baseline, gap have changed" in line
        assert "run `tox -e portability` again" in line
        assert "Stale" not in page(found, "")


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
            **{"onnx_sha256": found.cells[0].record.onnx_sha256, "current": "True", "batch": "7", "verdict": "failed"},
            **{"shape": "256x10", "finite": "True", "row_sum_error": "1e-07", "max_abs_difference": "0.031"},
            **{"argmax_mismatches": "12", "allowed": "0.001", "seconds": "0.25", "reason": "0.031 off."},
        }
        assert (table[8]["shape"], table[8]["finite"], table[8]["argmax_mismatches"]) == ("", "", ""), "not run"
        text = (artifacts.report / "portability.md").read_text(encoding="utf-8")
        assert text == page(found, "portability.png")

    def test_without_the_file_the_command_says_what_to_run(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"portability\.json is missing; run `tox -e portability`"):
            main(["portability", "--artifacts", str(artifacts.root)])
        assert not artifacts.report.exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"schema": "portability/3", "cells": [', "cannot be read as JSON"),
            ("[]", "expected schema 'portability/3', found 'list'"),
            (as_text(record([runtime("a")], [])).replace('"images":256', '"images":-1'), "-1"),
            (as_text(record([runtime("a"), runtime("a")], [])), "expected each runtime once"),
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
        (artifacts.root / "portability.json").write_text(as_text(content))
        with pytest.raises(StudyError, match="found one of 'a b'; run"):
            read_portability(artifacts)

    def test_without_a_cell_there_are_still_pages_and_pictures(self, artifacts: Artifacts, tmp_path: Path) -> None:
        write_record(artifacts.root / "portability.json", record([runtime("web", reason="no browser")], []))
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
        (artifacts.root / "portability.json").write_text(as_text(content))
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


class TestPage:
    def test_without_the_file_it_says_how_to_get_it(self, reported: tuple[Path, str, str]) -> None:
        text = (reported[0] / "report" / "index.html").read_text(encoding="utf-8")
        section = text.partition("<h2>Where does it run?</h2>")[2].partition("<h2>")[0]
        assert "run <code>tox -e portability</code>" in section
        assert "<img" not in section

    def test_the_fingerprint_of_the_inputs_changes_with_the_file_and_with_an_onnx_file_it_may_be_about(
        self, artifacts: Artifacts
    ) -> None:
        inputs = find(artifacts, ("baseline",))
        before = inputs.fingerprint()
        assert not set(PORTABILITY) & set(inputs.outputs)
        write_record(artifacts.root / "portability.json", record([runtime("ort")], []))
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

    def test_without_one_place_nothing_is_written(self, artifacts: Artifacts, project: Path) -> None:
        with pytest.raises(StudyError, match=r"portability\.md: expected one line '<!-- matrix: \.\.\. -->'"):
            list(publish_portability("new\n", artifacts.report, project))
        assert not list((project / "docs").iterdir())

    def test_the_page_of_this_project_has_one_place_for_it(self) -> None:
        page = PROJECT / "docs" / "portability.md"
        assert "here it is" in between(page, "matrix", "here it is")
