"""Several files of measurements: which are read, how repeats are put together, and what is said of them."""

from pathlib import Path
from typing import Any

import pytest

from analysis.inputs.benchmarks import machine
from analysis.inputs.files import find
from analysis.inputs.runs import Study, read_study
from analysis.pages.report import all_tables
from analysis.tables import headline as headlines
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.support.reporting import analyse, command, row, rows
from tests.support.synthetic import BENCH_ENVIRONMENT, case, cold_start, comparison, layers, write_bench, write_run

MEDIANS = {"a.json": 100e-6, "b.json": 104e-6, "c.json": 101e-6}


def torch(artifacts: Artifacts, median_seconds: float, **changes: Any) -> dict[str, Any]:
    """A case whose interval is 1 microsecond to either side."""
    interval = {"median_low_seconds": median_seconds - 1e-6, "median_high_seconds": median_seconds + 1e-6}
    return case(artifacts, "baseline", "torch", 1, median_seconds, **interval, **changes)


def read(artifacts: Artifacts, *names: str) -> Study:
    return read_study(find(artifacts, ("baseline",), [artifacts.root / name for name in names]))


@pytest.fixture
def three(artifacts: Artifacts) -> Artifacts:
    """Three files with the same case."""
    for name, median in MEDIANS.items():
        write_bench(artifacts, [torch(artifacts, median)], name=name)
    return artifacts


class TestWhichFiles:
    def test_every_file_that_is_named_is_read(self, three: Artifacts) -> None:
        analyse(three.root, "--bench", ",".join(str(three.root / name) for name in MEDIANS))
        assert [r["file"] for r in rows(three.root, "latency.csv")] == list(MEDIANS)
        assert [float(r["median_seconds"]) for r in rows(three.root, "latency.csv")] == list(MEDIANS.values())

    def test_only_files_that_are_named_are_read(self, three: Artifacts) -> None:
        write_bench(three, [])
        assert [case["file"] for case in read(three, "b.json").measured.cases] == ["b.json"]

    def test_a_file_named_twice_is_read_once(self, three: Artifacts) -> None:
        twice = [three.root / "a.json", three.root / ".." / three.root.name / "a.json"]
        assert find(three, ("baseline",), twice).benches == (three.root / "a.json",)

    def test_a_file_that_is_named_and_missing_ends_the_command_with_one_line(self, three: Artifacts) -> None:
        done = command(three.root, "--bench", f"{three.root}/a.json,{three.root}/d.json")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: {three.root}/d.json is missing; run `pytest bench --benchmark-json={three.root}/d.json` to "
            "measure it\n"
        )

    def test_a_damaged_file_is_refused_by_its_own_name(self, three: Artifacts) -> None:
        (three.root / "b.json").write_text("{}")
        with pytest.raises(StudyError, match=r"b\.json: expected .*--benchmark-json=.*b\.json"):
            read(three, *MEDIANS)

    def test_files_of_the_same_name_are_told_apart_by_their_paths(self, artifacts: Artifacts, tmp_path: Path) -> None:
        paths = [write_bench(artifacts, [torch(artifacts, 1e-4)], name=tmp_path / name / "x.json") for name in "ab"]
        study = read_study(find(artifacts, ("baseline",), paths))
        assert [case["file"] for case in study.measured.cases] == [str(path) for path in paths]

    @pytest.mark.parametrize("name", ["inside.json", "/outside.json"])
    def test_a_change_in_any_file_is_noticed_wherever_it_lies(
        self, artifacts: Artifacts, tmp_path: Path, name: str
    ) -> None:
        path = tmp_path / name[1:] if name.startswith("/") else artifacts.root / name
        write_bench(artifacts, [torch(artifacts, 1e-4)], name=path)
        words = ("--bench", str(path))
        assert analyse(artifacts.root, *words)[0].startswith("wrote ")
        assert analyse(artifacts.root, *words)[0].startswith("nothing to do")
        write_bench(artifacts, [torch(artifacts, 2e-4)], name=path)
        assert analyse(artifacts.root, *words)[0].startswith("wrote ")
        assert float(row(artifacts.root, "latency.csv", model="baseline")["median_seconds"]) == 2e-4

    def test_other_files_are_other_inputs(self, three: Artifacts) -> None:
        choices = [(), ("a.json",), ("a.json", "b.json"), ("b.json", "a.json")]
        found = {find(three, ("baseline",), [three.root / n for n in names]).fingerprint() for names in choices}
        assert len(found) == 4


class TestRepeats:
    def test_the_headline_is_the_median_of_the_medians_in_the_hull_of_the_intervals(self, three: Artifacts) -> None:
        frame = all_tables(read(three, *MEDIANS))["latency"]
        (found,) = headlines.cases(frame).to_dict("records")
        interval = [found[f"median_{part}seconds"] for part in ("", "low_", "high_")]
        assert interval == pytest.approx([101e-6, 99e-6, 105e-6])
        assert found["valid"] is True

    def test_summary_throughput_and_accuracy_show_it(self, three: Artifacts) -> None:
        frames = all_tables(read(three, *MEDIANS))
        assert frames["summary"]["torch_batch1_us"].tolist() == pytest.approx([101])
        assert frames["throughput"]["images_per_second"].tolist() == pytest.approx([1 / 101e-6])
        assert frames["accuracy"]["median_high_seconds"].tolist() == pytest.approx([105e-6])

    def test_a_note_tells_how_far_they_lie_apart(self, three: Artifacts) -> None:
        assert read(three, *MEDIANS).notes == (
            "1 benchmark cases were measured in several files, whose medians lie up to 4.0 % apart (baseline, torch, "
            "batch 1); pictures and summary show the median of the medians, in an interval around all of theirs",
        )

    def test_it_is_valid_only_if_all_are(self, three: Artifacts) -> None:
        write_bench(three, [torch(three, 1e-4, valid=False, reasons=["hot"])], name="d.json")
        assert all_tables(read(three, *MEDIANS, "d.json"))["summary"]["latency_valid"].tolist() == [False]

    def test_cases_in_other_settings_are_no_repeats(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts, 1e-4)], name="a.json")
        write_bench(artifacts, [torch(artifacts, 3e-4, threads=2)], name="b.json")
        study = read(artifacts, "a.json", "b.json")
        assert study.notes == ()
        assert all_tables(study)["summary"]["torch_batch1_us"].tolist() == pytest.approx([100])

    def test_comparisons_are_put_together_alike_with_the_largest_floor(self, artifacts: Artifacts) -> None:
        one = comparison(artifacts, "baseline", 1, 7.0, 6.9, 7.1, noise_floor=0.003)
        other = comparison(artifacts, "baseline", 1, 7.4, 7.3, 7.6, noise_floor=0.008)
        for name, made in (("a.json", one), ("b.json", other)):
            write_bench(artifacts, [], [made], name=name)
        study = read(artifacts, "a.json", "b.json")
        frames = all_tables(study)
        (found,) = headlines.comparisons(frames["comparisons"]).to_dict("records")
        values = [found[key] for key in ("ratio", "low", "high", "noise_floor", "processes", "verdict")]
        assert values == [pytest.approx(7.2), 6.9, 7.6, 0.008, 4, "faster"]
        assert frames["summary"]["speedup_batch1"].tolist() == pytest.approx([7.2])
        *_, note = study.notes
        assert note.startswith("1 comparisons were measured in several files, whose ratios lie up to 5.7 % apart")

    @pytest.mark.parametrize(
        ("verdicts", "together"),
        [
            (("faster", "slower"), "no difference shown"),
            (("faster", "no difference shown"), "no difference shown"),
            (("slower", "slower"), "slower"),
            (("faster", "withheld"), "withheld"),
        ],
    )
    def test_a_verdict_holds_if_all_have_come_to_it(
        self, artifacts: Artifacts, verdicts: tuple[str, ...], together: str
    ) -> None:
        for name, verdict in zip("ab", verdicts, strict=True):
            made = comparison(artifacts, "baseline", 1, 5, 4, 6, verdict=verdict, valid=verdict != "withheld")
            write_bench(artifacts, [], [made], name=name)
        summary = all_tables(read(artifacts, "a", "b"))["summary"]
        assert summary["speedup_batch1_verdict"].tolist() == [together]
        assert summary["speedup_batch1"].notna().tolist() == [together != "withheld"]

    def test_cold_starts_of_every_file_are_told(self, artifacts: Artifacts) -> None:
        for name in ("a.json", "b.json"):
            write_bench(artifacts, [], [], [cold_start(artifacts, "baseline", "torch")], name=name)
        assert all_tables(read(artifacts, "a.json", "b.json"))["cold_starts"]["file"].tolist() == ["a.json", "b.json"]


class TestMachines:
    @pytest.fixture
    def two(self, artifacts: Artifacts) -> Artifacts:
        """The same case and comparison on two machines."""
        for name, cpu in (("a.json", "Imagined"), ("b.json", "Another")):
            records = [torch(artifacts, 1e-4)], [comparison(artifacts, "baseline", 1, 5, 4, 6)]
            write_bench(artifacts, *records, name=name, cpu=cpu, quota_cores=1.5)
        return artifacts

    def test_all_are_told(self, two: Artifacts) -> None:
        analyse(two.root, "--bench", f"{two.root}/a.json,{two.root}/b.json")
        for text in ((two.report / "summary.md").read_text(), (two.report / "index.html").read_text()):
            for cpu in ("Imagined", "Another"):
                assert f"{cpu}, 2 cores (of which 1.5 may be used), 8 GiB, governor performance, turbo off" in text

    def test_a_note_warns_of_comparing_them(self, two: Artifacts) -> None:
        kept = "2 cores (of which 1.5 may be used), 8 GiB"
        assert read(two, "a.json", "b.json").notes[0] == (
            f"measured on different machines (Imagined, {kept}; Another, {kept}): do not compare"
        )

    def test_what_was_measured_on_both_is_not_valid_together(self, two: Artifacts) -> None:
        summary = all_tables(read(two, "a.json", "b.json"))["summary"].to_dict("records")[0]
        assert (summary["latency_valid"], summary["speedup_batch1_verdict"]) == (False, "withheld")
        assert all_tables(read(two, "a.json"))["summary"]["latency_valid"].tolist() == [True]

    def test_one_machine_with_other_load_is_one_machine(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, layers(0))
        for name, load in (("a.json", 0.1), ("b.json", 3.0)):
            write_bench(artifacts, [torch(artifacts, 1e-4)], name=name, load_before=load)
        assert not any("different" in note for note in read(artifacts, "a.json", "b.json").notes)

    def test_other_versions_are_told(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts, 1e-4)], name="a.json")
        write_bench(artifacts, [torch(artifacts, 1e-4)], name="b.json", packages={"torch": "2.12.0"})
        assert read(artifacts, "a.json", "b.json").notes[:2] == (
            "measured with different versions of torch (2.12.0, 2.13.0)",
            "measured with different versions of onnxruntime (1.31.1, none)",
        )

    def test_a_machine_is_told_in_few_words(self) -> None:
        assert machine(BENCH_ENVIRONMENT) == "Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB"


class TestDevices:
    def test_the_summary_is_of_the_cpu_where_there_is_one(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts, s, device=device) for device, s in (("cuda", 50e-6), ("cpu", 100e-6))]
        pairs = [comparison(artifacts, "baseline", 1, n, n - 1, n + 1, device=d) for d, n in (("cuda", 2), ("cpu", 7))]
        write_bench(artifacts, cases, pairs)
        study = read_study(find(artifacts, ("baseline",)))
        summary = all_tables(study)["summary"].to_dict("records")[0]
        assert (summary["torch_batch1_us"], summary["speedup_batch1"]) == (pytest.approx(100), 7)

    def test_pictures_have_both(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts, 1e-4, device=device) for device in ("cuda", "cpu")])
        frames = all_tables(read_study(find(artifacts, ("baseline",))))
        assert sorted(frames["throughput"]["device"]) == ["cpu", "cuda"]

    def test_without_a_cpu_the_other_device_is_said(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts, 1e-4, device="cuda")])
        analyse(artifacts.root)
        text = (artifacts.report / "summary.md").read_text()
        assert "calls with one image (cuda, 1 thread, mode native, seed 0)" in text
