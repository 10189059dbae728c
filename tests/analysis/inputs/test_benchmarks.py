"""Files of measurements: which are read, which measurements count, and what is noted of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from analysis.inputs.files import find
from analysis.inputs.study import Study, read_study
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.support.records import case, cold_start, comparison
from tests.support.study import analyse, command, layers, refusal, resealed, row, rows, study_of, write_bench, write_run

OWN: dict[str, Any] = {"seed": None, "onnx_sha256": "f" * 64}
GONE: dict[str, Any] = {"onnx_sha256": "0" * 64}


def read(artifacts: Artifacts, *names: str) -> Study:
    return read_study(find(artifacts, ("baseline",), [artifacts.root / name for name in names]))


def again(artifacts: Artifacts, what: str) -> str:
    return f"run `pytest bench --benchmark-json={artifacts.bench}` to measure {what}"


@pytest.fixture
def three(artifacts: Artifacts) -> Artifacts:
    """Three files with the same case, with medians of 100, 104 and 101 microseconds."""
    for name, microseconds in (("a.json", 100), ("b.json", 104), ("c.json", 101)):
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, microseconds / 1e6)], name=name)
    return artifacts


class TestWhichFiles:
    def test_those_that_are_named_are_read_in_their_order(self, three: Artifacts) -> None:
        write_bench(three, [])
        analyse(three.root, "--bench", f"{three.root}/b.json,{three.root}/a.json")
        assert [(r["file"], r["median_seconds"]) for r in rows(three.root, "latency.csv")] == [
            ("b.json", "0.000104"),
            ("a.json", "0.0001"),
        ]

    def test_a_file_named_twice_is_read_once(self, three: Artifacts) -> None:
        twice = [three.root / "a.json", three.root / ".." / three.root.name / "a.json"]
        assert find(three, ("baseline",), twice).benches == (three.root / "a.json",)

    def test_a_file_that_is_named_and_missing_ends_the_command_with_one_line(self, three: Artifacts) -> None:
        done = command(three.root, "--bench", f"{three.root}/a.json,{three.root}/d.json")
        assert (done.returncode, done.stdout) == (2, "")
        remedy = f"run `pytest bench --benchmark-json={three.root}/d.json` to measure it"
        assert done.stderr == f"error: {three.root}/d.json is missing; {remedy}\n"

    def test_without_any_the_report_is_made_with_a_note(self, artifacts: Artifacts) -> None:
        (note,) = study_of(artifacts).notes
        assert note == f"{artifacts.bench} is missing, so the report has no latency; {again(artifacts, '').rstrip()}"

    def test_a_damaged_file_is_refused_by_its_own_name(self, three: Artifacts) -> None:
        (three.root / "b.json").write_text("{}")
        with pytest.raises(StudyError, match=r"b\.json: expected .*--benchmark-json=.*b\.json"):
            read(three, "a.json", "b.json")
        three.bench.write_text("{}")
        assert str(three.bench) in refusal(three)

    def test_one_of_an_older_version_is_refused_with_the_command_that_makes_it_again(self, three: Artifacts) -> None:
        older = three.root / "b.json"
        older.write_text(older.read_text().replace("bench/5", "bench/3"))
        with pytest.raises(StudyError) as refusal:
            read(three, "a.json", "b.json")
        expected = f"{older}: expected schema 'bench/5', found 'bench/3'; run `pytest bench --benchmark-json={older}` "
        assert str(refusal.value).startswith(expected)

    def test_files_of_the_same_name_have_their_paths(self, artifacts: Artifacts, tmp_path: Path) -> None:
        cases = [case(artifacts, "baseline", "torch", 1, 1e-4)]
        paths = [write_bench(artifacts, cases, name=tmp_path / name / "x.json") for name in "ab"]
        study = read_study(find(artifacts, ("baseline",), paths))
        assert [case.file for case in study.measured.cases] == [str(path) for path in paths]

    @pytest.mark.parametrize("folder", ["artifacts", "outside"])
    def test_a_change_in_one_makes_the_report_again_wherever_it_lies(self, artifacts: Artifacts, folder: str) -> None:
        path = artifacts.root.parent / folder / "some.json"
        words = ("--bench", str(path))
        for median in (1e-4, 2e-4):
            write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, median)], name=path)
            assert analyse(artifacts.root, *words)[0].startswith("wrote ")
            assert analyse(artifacts.root, *words)[0].startswith("nothing to do")
        assert row(artifacts.root, "latency.csv", model="baseline")["median_seconds"] == "0.0002"

    def test_other_files_are_other_inputs(self, three: Artifacts) -> None:
        choices = [(), ("a.json",), ("a.json", "b.json"), ("b.json", "a.json")]
        found = {find(three, ("baseline",), [three.root / n for n in names]).fingerprint() for names in choices}
        assert len(found) == 4


class TestNotes:
    def test_stale_and_quick_ones_are_counted_by_kind(self, artifacts: Artifacts) -> None:
        quick = {"quick": True, "valid": False}
        write_bench(
            artifacts,
            [
                case(artifacts, "baseline", "torch", 1, 1e-4, **quick),
                case(artifacts, "baseline", "onnxruntime", 1, 1e-4, **GONE),
            ],
            [comparison(artifacts, "baseline", batch, 5, 4, 6, **quick) for batch in (1, 32)],
            [
                cold_start(artifacts, "baseline", "torch", quick=True),
                cold_start(artifacts, "baseline", "torch", **GONE),
            ],
        )
        study = study_of(artifacts)
        left_out = f"in {artifacts.bench} are of ONNX files that are no longer there and are left out;"
        assert study.notes == (
            f"1 of 2 benchmark cases {left_out} {again(artifacts, 'again')}",
            f"1 of 2 cold starts {left_out} {again(artifacts, 'again')}",
            "1 of 1 benchmark cases were measured with --quick: a trial, not a result",
            "2 of 2 comparisons were measured with --quick: a trial, not a result",
            "1 of 1 cold starts were measured with --quick: a trial, not a result",
        )
        assert [case.key.runtime for case in study.measured.cases] == ["torch"]

    def test_quick_ones_of_a_model_with_others_are_left_out(self, artifacts: Artifacts) -> None:
        quick = {"quick": True, "valid": False}
        write_run(artifacts, "gap", 0, layers(1))
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4)], name="real.json")
        trials = [("baseline", 1), ("baseline", 8), ("gap", 1), ("gap", 8)]
        write_bench(
            artifacts,
            [case(artifacts, model, "torch", batch, 9e-4, **quick) for model, batch in trials],
            [comparison(artifacts, "baseline", 1, 5, 4, 6, **quick)],
            name="quick.json",
        )
        files = [artifacts.root / name for name in ("real.json", "quick.json")]
        study = read_study(find(artifacts, ("baseline", "gap"), files))
        measured = [(one.model, one.key.batch, one.record.quick) for one in study.measured.cases]
        assert measured == [("baseline", 1, False), ("gap", 1, True), ("gap", 8, True)]
        assert study.measured.comparisons == ()
        assert study.notes[:2] == (
            "3 measurements with --quick of baseline are left out: the other files have results, and trials are not "
            "pooled with them",
            "2 of 3 benchmark cases were measured with --quick: a trial, not a result",
        )

    def test_measurements_that_failed_or_were_left_out_are_named(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4)])
        content = json.loads(artifacts.bench.read_text())
        content["study"] |= {"failed": {"baseline onnxruntime batch 1": "it died"}, "left_out": {"gap": "too slow"}}
        artifacts.bench.write_text(json.dumps(resealed(content)))
        assert study_of(artifacts).notes == (
            "baseline onnxruntime batch 1 failed (bench.json): it died",
            "gap was left out (bench.json): too slow",
        )

    def test_reasons_that_differ_in_numbers_alone_are_one_note_with_their_range(self, artifacts: Artifacts) -> None:
        reasons = {
            1: ("9.50 cores used by 1 threads",),
            2: ("latency was still changing", "0.46 cores used by 1 threads"),
            4: ("10.25 cores used by 1 threads",),
            8: (),
        }
        invalid = [
            case(artifacts, "baseline", "torch", batch, 1e-4, valid=False, reasons=own)
            for batch, own in reasons.items()
        ]
        write_bench(artifacts, [*invalid, case(artifacts, "baseline", "torch", 16, 1e-4)])
        assert study_of(artifacts).notes == (
            "3 of 5 benchmark cases are not valid: 0.46 to 10.25 cores used by 1 threads (see latency.csv)",
            "1 of 5 benchmark cases is not valid: latency was still changing (see latency.csv)",
            "1 of 5 benchmark cases is not valid: no reason given (see latency.csv)",
        )

    def test_models_that_lack_what_others_have_are_named(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        write_run(artifacts, "l1-1e-3", 0, layers(0))
        cases = [case(artifacts, "baseline", runtime, n, 1e-4) for n in (32, 1) for runtime in ("torch", "onnxruntime")]
        pairs = [comparison(artifacts, "baseline", 1, 5, 4, 6)]
        write_bench(artifacts, [*cases, case(artifacts, "gap", "torch", 1, 1e-4)], pairs)
        remedy = again(artifacts, "all")
        assert study_of(artifacts, "baseline", "gap", "l1-1e-3").notes == (
            f"gap has no benchmark case of onnxruntime batch 1, onnxruntime batch 32, torch batch 32; {remedy}",
            f"l1-1e-3 has no benchmark case; {remedy}",
            f"gap has no comparison; {remedy}",
        )

    def test_measurements_of_other_models_do_not_count(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [case(artifacts, "gap", "torch", 1, 1e-4)])
        (note,) = study_of(artifacts).notes
        assert note.startswith("baseline has no benchmark case; run `pytest bench ")

    def test_repeats_lie_apart_by_so_much(self, three: Artifacts) -> None:
        assert read(three, "a.json", "b.json", "c.json").notes == (
            "1 benchmark cases were measured in several files, whose medians lie up to 4.0 % apart (baseline, torch, "
            "batch 1); pictures and summary show their geometric mean, with Student's interval over the files, or, of "
            "two, an interval around both of theirs",
        )

    def test_comparisons_that_are_repeats_do_too_and_those_in_other_settings_are_none(
        self, artifacts: Artifacts
    ) -> None:
        for name, ratio, threads in (("a.json", 7.0, 1), ("b.json", 7.4, 1), ("c.json", 2.0, 2)):
            pair = comparison(artifacts, "baseline", 1, ratio, ratio - 0.1, ratio + 0.1, threads=threads)
            write_bench(artifacts, [], [pair], name=name)
        *_, note = read(artifacts, "a.json", "b.json", "c.json").notes
        assert note.startswith("1 comparisons were measured in several files, whose ratios lie up to 5.7 % apart")

    def test_different_machines_and_versions_are_noted(self, three: Artifacts) -> None:
        changes: dict[str, Any] = {"fingerprint": "f" * 12, "quota_cores": 1.5, "packages": {"torch": "2.12.0"}}
        write_bench(three, [case(three, "baseline", "torch", 1, 1e-4)], name="b.json", **changes)
        assert read(three, "a.json", "b.json").notes[:3] == (
            "measured on different machines (Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB, machine 0123456789ab; "
            "Imagined(R) CPU & Co <1_000>, 2 cores (quota 1.5), 8 GiB, machine ffffffffffff): do not compare",
            "measured with different versions of torch (2.12.0, 2.13.0)",
            "measured with different versions of onnxruntime (1.31.1, none)",
        )

    def test_one_machine_with_another_load_is_one_machine(self, three: Artifacts) -> None:
        write_bench(three, [case(three, "baseline", "torch", 1, 1e-4)], name="b.json", load_before=3.0)
        assert not [note for note in read(three, "a.json", "b.json").notes if "different" in note]


class TestOwnFiles:
    """Files named with --onnx: they have no seed and no run."""

    def test_they_come_last_without_a_note(self, artifacts: Artifacts) -> None:
        cases = [case(artifacts, "detector", "torch", 1, 1e-3, **OWN), case(artifacts, "baseline", "torch", 1, 1e-4)]
        pairs = [comparison(artifacts, "detector", 1, 3, 2.9, 3.1, **OWN)]
        write_bench(artifacts, cases, pairs, [cold_start(artifacts, "detector", "onnxruntime", **OWN)])
        study = study_of(artifacts)
        assert [case.model for case in study.measured.cases] == ["baseline", "detector"]
        assert [one.model for one in study.measured.comparisons] == ["detector"]
        assert [one.model for one in study.measured.cold_starts] == ["detector"]
        assert study.notes == ()

    def test_one_named_as_a_model_or_as_another_file_has_its_sum_in_its_name(self, artifacts: Artifacts) -> None:
        files = (("baseline", "a"), ("net", "b"), ("net", "c"), ("other", "d"))
        own = [case(artifacts, m, "torch", 1, 1e-4, seed=None, onnx_sha256=digit * 64) for m, digit in files]
        write_bench(artifacts, own)
        names = [case.model for case in study_of(artifacts).measured.cases]
        assert names == ["baseline [aaaaaaaa]", "net [bbbbbbbb]", "net [cccccccc]", "other"]

    def test_they_are_reported_on_whichever_models_are_asked_for(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        cases = [case(artifacts, "baseline", "torch", 1, 1e-4), case(artifacts, "detector", "torch", 1, 1e-3, **OWN)]
        write_bench(artifacts, cases)
        assert [case.model for case in study_of(artifacts, "gap").measured.cases] == ["detector"]


def test_a_case_is_as_it_was_written_but_for_what_no_table_has(artifacts: Artifacts) -> None:
    written = case(artifacts, "baseline", "torch", 1, 1e-4, parity=None, macs=None)
    write_bench(artifacts, [written])
    (found,) = study_of(artifacts).measured.cases
    whole, kept = to_builtins(written), to_builtins(found.record)
    assert {key for key in whole if whole[key] != kept[key]} == {"processes", "settings", "input_shapes"}
    assert list(kept["processes"]) == [
        {key: each[key] for key in ("process", "valid", "median_seconds")} for each in whole["processes"]
    ]
