"""Publishing the report: the files copied, and the README's table."""

from pathlib import Path

import pytest

from analysis.inputs.files import REPORT
from analysis.pages.publish import PUBLISHED, publish
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.support.reporting import PROJECT, analyse

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
    def test_tables_and_pictures_are_copied_and_the_summary_is_put_into_the_readme(
        self, artifacts: Artifacts, project: Path
    ) -> None:
        output, _ = analyse(artifacts.root, "--models", "baseline", "--publish")
        study = project / "docs" / "study"
        assert {path.name for path in study.iterdir()} == set(PUBLISHED)
        for name in PUBLISHED:
            assert (study / name).read_bytes() == (artifacts.report / name).read_bytes()
        summary = (artifacts.report / "summary.md").read_text()
        assert (project / "README.md").read_text() == README.replace("old \\1 results\n", f"\n{summary}\n")
        written = [f"wrote {study / name}" for name in PUBLISHED] + [f"wrote {project / 'README.md'}"]
        assert output.splitlines()[len(REPORT) :] == written

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

    @pytest.mark.parametrize("name", ["convergence", "history"])
    def test_a_large_table_by_epoch_is_left_out_and_an_older_one_removed(
        self, artifacts: Artifacts, project: Path, name: str
    ) -> None:
        analyse(artifacts.root, "--publish")
        path = project / "docs" / "study" / f"{name}.csv"
        assert path.is_file()
        (artifacts.report / f"{name}.csv").write_bytes(b"\n" * 300_000)
        assert path not in list(publish(artifacts.report, project))
        assert not path.exists()
        assert path.with_suffix(".png").is_file()

    @pytest.mark.parametrize(
        "text",
        [
            "# A study\n",
            README.replace("<!-- end of results -->", ""),
            README.replace("<!-- results: anything -->", ""),
            README + README,
            None,
        ],
    )
    def test_without_one_place_for_the_results_nothing_is_written(
        self, artifacts: Artifacts, project: Path, text: str | None
    ) -> None:
        (project / "README.md").unlink() if text is None else (project / "README.md").write_text(text)
        with pytest.raises(StudyError, match=r"README\.md: expected one line '<!-- results: \.\.\. -->'"):
            analyse(artifacts.root, "--publish")
        assert not (project / "docs").exists()
        assert text is None or (project / "README.md").read_text() == text

    def test_the_readme_of_this_project_has_the_published_summary(self) -> None:
        readme = (PROJECT / "README.md").read_text(encoding="utf-8")
        _, _, below = readme.partition("<!-- results: ")
        between, end, _ = below.partition("<!-- end of results -->")
        assert end
        assert between.partition("-->\n")[2].strip() == (PROJECT / "docs/study/summary.md").read_text().strip()
