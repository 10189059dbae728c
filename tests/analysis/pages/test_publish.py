"""Publishing the report: the files copied, and the README's table."""

import re
from pathlib import Path

import pytest

from analysis.inputs.files import REPORT
from analysis.pages.publish import PUBLISHED, between, publish, results, shown
from analysis.tables.columns import read
from analysis.tables.numbers import TIMES
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.support.records import best_of, case, comparison
from tests.support.study import PROJECT, analyse, study_of, write_bench, write_study

README = """# A study

Before.

<!-- results: anything -->
old \\1 results
<!-- end of results -->

After.
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository for the command to publish into."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(README)
    monkeypatch.setattr("analysis.inputs.files.PROJECT", folder)
    return folder


class TestPublish:
    def test_tables_and_pictures_are_copied_and_a_short_table_is_put_into_the_readme(
        self, artifacts: Artifacts, project: Path
    ) -> None:
        output, _ = analyse(artifacts.root, "--models", "baseline", "--publish")
        study = project / "docs" / "study"
        assert {path.name for path in study.iterdir()} == set(PUBLISHED)
        for name in PUBLISHED:
            assert (study / name).read_bytes() == (artifacts.report / name).read_bytes()
        table = results(artifacts.report, study_of(artifacts))
        assert (project / "README.md").read_text() == README.replace("old \\1 results\n", f"\n{table}\n")
        written = [f"wrote {study / name}" for name in PUBLISHED] + [f"wrote {project / 'README.md'}"]
        assert output.splitlines()[len(REPORT) :] == written

    def test_the_table_has_four_columns_and_says_n_machine_versions_and_what_is_invalid(self, tmp_path: Path) -> None:
        artifacts = Artifacts(tmp_path)
        write_study(artifacts)
        analyse(tmp_path)
        table = results(artifacts.report, study_of(artifacts, "baseline", "l1-1e-3", "gap"))
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:5]]
        assert cells[0] == ["model", "test error, %", "speed-up", "prunable, %"]
        assert cells[2] == ["baseline", "8.07 ± 0.21", "5.40× (5.30 to 5.60)", "63"]  # noqa: RUF001
        assert cells[4] == ["gap", "8.10 ± 0.00", "withheld", "–"]  # noqa: RUF001
        assert "n = 2 or 3 runs per model" in table
        assert (
            "with one image (cpu, 1 thread, mode native, seed 0), timed in pairs, with its 95 % interval over " in table
        )
        assert "; withheld: invalid measurement." in table
        assert "for at most 0.5 points of accuracy" in table
        assert re.search(
            r"Measured on Imagined\(R\) CPU .*, 2 cores, .* torch 2\.13\.0, .*; commit 0123456789ab\.", table
        )

    def test_the_headline_has_both_ratios_or_says_which_command_measures_the_second(self, tmp_path: Path) -> None:
        artifacts = Artifacts(tmp_path)
        write_study(artifacts)
        analyse(tmp_path)
        table = results(artifacts.report, study_of(artifacts))
        assert f"\nWith one image, ONNX Runtime is 5.40{TIMES} (5.30 to 5.60) as fast as eager PyTorch.\n" in table
        assert "Eager PyTorch is not PyTorch at its best: `pytest bench --runtimes best " in table
        chosen = best_of({"torch-aoti": 8e-5}, {"onnxruntime": 2e-5})
        best = {"reference": "torch-aoti", "best_of": chosen}
        pairs = [
            comparison(artifacts, "baseline", 1, 8.3, 8.2, 8.4),
            comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.5, **best),
            comparison(artifacts, "gap", 1, 8.9, 8.8, 9.0),
            comparison(artifacts, "gap", 1, 6.1, 6.0, 6.2, **{**best, "reference": "torch-compile"}),
        ]
        write_bench(artifacts, [case(artifacts, name, "torch", 1, 1e-4) for name in ("baseline", "gap")], pairs)
        analyse(tmp_path, "--models", "baseline,gap")
        table = results(artifacts.report, study_of(artifacts, "baseline", "gap"))
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:4]]
        assert cells[0][2:4] == ["speed-up", "best against best"]
        assert cells[3][2:4] == [f"8.90{TIMES} (8.80 to 9.00)", f"6.10{TIMES} (6.00 to 6.20)"]
        assert (
            f"is 8.30{TIMES} (8.20 to 8.40, baseline) to 8.90{TIMES} (8.80 to 9.00, gap) as fast as eager PyTorch; "
            f"with both at their best, 5.40{TIMES} (5.30 to 5.50, baseline) to 6.10{TIMES} (6.00 to 6.20, gap)."
            in table
        )
        assert "ONNX Runtime against AOTInductor (baseline); ONNX Runtime against torch.compile (gap)." in table

    def test_without_measurements_it_says_so(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root)
        table = results(artifacts.report, study_of(artifacts))
        assert "n = 1 run per model; test error is the mean. " in table
        assert "Trained on Imagined(R) CPU" in table
        assert "No speed-up has been measured." in table

    def test_a_report_that_is_up_to_date_is_published_and_a_second_time_changes_nothing(
        self, artifacts: Artifacts, project: Path
    ) -> None:
        analyse(artifacts.root)
        assert not (project / "docs").exists()
        assert analyse(artifacts.root, "--publish")[0].startswith("nothing to do: ")
        once = {path: path.read_bytes() for path in project.rglob("*.*")}
        analyse(artifacts.root, "--publish")
        assert {path: path.read_bytes() for path in project.rglob("*.*")} == once
        assert len(once) == len(PUBLISHED) + 1

    def test_a_large_table_by_epoch_is_left_out_and_an_older_one_removed(
        self, artifacts: Artifacts, project: Path
    ) -> None:
        analyse(artifacts.root, "--publish")
        for name in ("convergence", "history"):
            path = project / "docs" / "study" / f"{name}.csv"
            assert path.is_file()
            (artifacts.report / f"{name}.csv").write_bytes(b"\n" * 300_000)
            assert path not in list(publish(artifacts.report, study_of(artifacts), project))
            assert not path.exists()
            assert path.with_suffix(".png").is_file()

    @pytest.mark.parametrize("text", ["# A study\n", README.replace("<!-- end of", "<!--"), README + README, None])
    def test_a_page_without_one_place_is_refused(self, tmp_path: Path, text: str | None) -> None:
        page = tmp_path / "README.md"
        if text is not None:
            page.write_text(text)
        with pytest.raises(StudyError, match=r"README\.md: expected one line '<!-- results: \.\.\. -->'"):
            between(page, "results", "new")

    def test_then_nothing_is_written(self, artifacts: Artifacts, project: Path) -> None:
        (project / "README.md").write_text("# A study\n")
        with pytest.raises(StudyError):
            analyse(artifacts.root, "--publish")
        assert [path.name for path in project.iterdir()] == ["README.md"]
        assert (project / "README.md").read_text() == "# A study\n"

    def test_the_readme_of_this_project_has_the_published_table(self) -> None:
        table = shown(read(PROJECT / "docs" / "study" / "summary.csv"))
        readme = (PROJECT / "README.md").read_text(encoding="utf-8")
        lines = readme.partition("<!-- results: ")[2].partition("<!-- end of results -->")[0].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        assert [rows[0], *rows[2:]] == [list(table.columns), *table.to_numpy().tolist()]
