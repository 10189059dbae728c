"""`python -m bench history`: series over the files of sessions, their changes, the files and the exit codes."""

import csv
import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from bench.__main__ import main
from bench.history import picture
from bench.history.series import examine, series_of
from bench.history.sessions import Session, read_sessions
from study.errors import StudyError
from study.record_files import as_json, read_record
from study.records.bench import BenchRecord
from study.records.history import HistoryRecord
from study.seal import sealed
from tests.bench.builders import bench, case, paired
from tests.support.records import best_of
from tests.support.study import resealed

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
MEDIANS = 100e-6 * np.exp(0.005 * np.random.default_rng(4).normal(size=24))
MEDIANS[12:] *= 1.04
"""A case of 24 sessions that becomes slower by 4 %."""


def written(folder: Path, name: str, record: BenchRecord, time: datetime) -> Path:
    """A file of `pytest bench`."""
    study = as_json(record)
    cases = [{"name": "a case", "extra_info": measured} for measured in study.pop("cases")]
    folder.mkdir(parents=True, exist_ok=True)
    content = {"datetime": time.isoformat(), "benchmarks": cases, "study": study}
    (folder / name).write_text(json.dumps(resealed(content)))
    return folder / name


def history(folder: Path, medians: np.ndarray, **environment: Any) -> Path:
    """A file a day, named against the order of time; every seventh session is not valid and three times as slow."""
    for day, median in enumerate(medians):
        bad = day % 7 == 3
        measured = case(float(median) * (3 if bad else 1), valid=not bad)
        packages = {"onnxruntime": "1.31.1" if day < 12 else "1.32.0"}
        record = bench(measured, **{"packages": packages, "commit": f"{day:040x}", **environment})
        written(folder, f"{99 - day}.json", record, FIRST + timedelta(days=day))
    return folder


@pytest.fixture
def stepped(tmp_path: Path) -> Path:
    return history(tmp_path / "files", MEDIANS)


def run(*words: str | Path) -> int:
    return main(["history", *map(str, words)])


def test_a_change_has_its_place_size_and_what_changed_with_it(stepped: Path, tmp_path: Path) -> None:
    assert run(stepped, "--output", tmp_path / "out") == 0
    (series,) = read_record(tmp_path / "out/history.json", HistoryRecord, "").series
    (change,) = series.changes
    assert (series.name, series.sessions, series.invalid) == ("gap onnxruntime batch 1", 24, 3)
    assert (change.time, change.file) == ((FIRST + timedelta(days=12)).isoformat(), str(stepped / "87.json"))
    assert (change.commit_before, change.commit) == (f"{11:040x}", f"{12:040x}")
    assert change.differences == ("onnxruntime 1.31.1 -> 1.32.0",)
    valid = np.log([median for day, median in enumerate(MEDIANS) if day % 7 != 3])
    before, after = valid[:10], valid[10:]
    welch = ttest_ind(after, before, equal_var=False).confidence_interval()
    assert (change.sessions_before, change.sessions_after) == (10, 11)
    assert change.ratio.value == pytest.approx(math.exp(after.mean() - before.mean()))
    assert (change.ratio.low, change.ratio.high) == pytest.approx((math.exp(welch.low), math.exp(welch.high)))
    assert change.level_before == pytest.approx(math.exp(before.mean()))


def test_the_table_says_what_the_changes_are_worth(stepped: Path, tmp_path: Path, capsys: Any) -> None:
    run(stepped, "--output", tmp_path / "out")
    shown = capsys.readouterr()
    assert shown.out.startswith("24 sessions, 2026-03-01 00:00 to 2026-03-24 00:00\n")
    assert "2026-03-13 00:00  00000000..00000000" in shown.out
    assert (
        "1 of 1 series change; the chance of one false change or more in all of them is at most 5%\n"
        "left out: 3 measurements that are not valid\n"
        "cases by their last change: 1 slower, 0 faster"
    ) in shown.out
    files = ("history.json", "sessions.csv", "history.svg", "history.png")
    assert shown.err == "".join(f"wrote {tmp_path / 'out' / name}\n" for name in files)


def test_every_session_is_a_row_in_the_order_of_time(stepped: Path, tmp_path: Path) -> None:
    run(stepped, "--output", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/sessions.csv").open()))
    assert [row["time"] for row in rows] == [(FIRST + timedelta(days=day)).isoformat() for day in range(24)]
    assert [row["valid"] for row in rows].count("False") == 3
    assert [day for day, row in enumerate(rows) if row["change"]] == [12]


def test_markdown_and_json_have_the_same_change(stepped: Path, tmp_path: Path, capsys: Any) -> None:
    run(stepped, "--output", tmp_path / "out", "--format", "markdown")
    assert "| gap onnxruntime batch 1 |" in capsys.readouterr().out
    run(stepped, "--output", tmp_path / "out", "--format", "json")
    printed = json.loads(capsys.readouterr().out)
    assert sealed(printed) == json.loads((tmp_path / "out/history.json").read_text())


def test_two_machines_are_two_series_and_another_version_is_none(tmp_path: Path) -> None:
    one = history(tmp_path / "one", MEDIANS)
    history(one / "two", 2 * MEDIANS[::-1], fingerprint="f" * 12)
    series = series_of(read_sessions([str(one)]).sessions)
    assert [(own.machine, len(own.points)) for own in series] == [("0123456789ab", 24), ("f" * 12, 24)]


def test_a_comparison_is_a_series_of_ratios(tmp_path: Path) -> None:
    for day in range(24):
        record = bench(case(), comparisons=(paired(7.0 + 0.01 * (day % 3)),))
        written(tmp_path, f"{day}.json", record, FIRST + timedelta(days=day))
    series = series_of(read_sessions([str(tmp_path)]).sessions)[1]
    assert (series.name, series.reference) == ("gap torch/onnxruntime batch 1", "torch")
    assert [point.value.value for point in series.points[:3]] == pytest.approx([7.0, 7.01, 7.02])


def test_best_against_best_that_changes_is_said_and_each_pair_is_a_series(tmp_path: Path, capsys: Any) -> None:
    for day in range(24):
        reference = "torch-compile" if day < 20 else "torch-aoti"
        chosen = best_of({reference: 8e-5}, {"onnxruntime": 2e-5})
        record = bench(case(), comparisons=(paired(4.0, reference=reference, best_of=chosen),))
        written(tmp_path / "files", f"{day}.json", record, FIRST + timedelta(days=day))
    assert run(tmp_path / "files", "--output", tmp_path / "out") == 0
    assert (
        "gap best of torch/onnxruntime batch 1 is not the same pair in all sessions: torch-compile/onnxruntime in 20, "
        "torch-aoti/onnxruntime in 4"
    ) in capsys.readouterr().out
    series = series_of(read_sessions([str(tmp_path / "files")]).sessions)
    assert {one.reference: len(one.points) for one in series[1:]} == {"torch-compile": 20, "torch-aoti": 4}


def test_a_series_with_few_valid_sessions_is_not_decided(tmp_path: Path, capsys: Any) -> None:
    """One series needs nine: 21 valid ones are enough, eight of eleven are not."""
    few = history(tmp_path / "few", MEDIANS[:9])
    assert run(few, "--output", tmp_path / "out") == 0
    assert "not decided: 1 series with at most 8 valid sessions; 9 are needed" in capsys.readouterr().out
    assert run(few, "--output", tmp_path / "out", "--fail-on-change") == 3


@pytest.mark.parametrize(("medians", "code"), [(MEDIANS, 1), (MEDIANS[::-1], 0)])
def test_fail_on_change_fails_where_the_last_change_is_slower(medians: np.ndarray, code: int, tmp_path: Path) -> None:
    files = history(tmp_path / "files", medians)
    assert run(files, "--output", tmp_path / "out", "--fail-on-change") == code
    assert read_record(tmp_path / "out/history.json", HistoryRecord, "").series[0].changes


def test_a_file_that_cannot_be_read_is_named_and_the_others_count(stepped: Path, tmp_path: Path, capsys: Any) -> None:
    (stepped / "99.json").write_text("{")
    old = json.loads((stepped / "98.json").read_text())
    (stepped / "98.json").write_text(json.dumps(old | {"study": old["study"] | {"schema": "bench/3"}}))
    (stepped / "97.json").write_text(json.dumps(resealed({key: old[key] for key in ("benchmarks", "study")})))
    assert run(stepped, "--output", tmp_path / "out") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    reasons = ("97.json: expected a time", "98.json: expected schema 'bench/5'", "99.json cannot be read as JSON")
    assert [reason for reason, line in zip(reasons, errors, strict=True) if reason in line] == list(reasons)
    record = read_record(tmp_path / "out/history.json", HistoryRecord, "")
    assert (record.sessions, len(record.unreadable), len(record.series[0].changes)) == (21, 3, 1)


def test_folders_may_hold_other_files_and_copies(stepped: Path, capsys: Any, tmp_path: Path) -> None:
    (stepped / "run.json").write_text('{"schema": "run/1"}')
    (stepped / "copy.json").write_bytes((stepped / "99.json").read_bytes())
    read = read_sessions([str(stepped), str(stepped / "9*.json")])
    assert len(read.sessions) == 24
    assert read.unreadable == ()
    assert read.remarks == (
        "left out: 1 with the content of another file",
        "left out: 1 other JSON files in the folders",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: expected a file, a folder or a pattern of files, found nothing of that name"),
        (["."], "no file of `pytest bench` can be read: no session in ."),
    ],
)
def test_without_a_session_the_error_says_what_was_looked_for(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as error:
        main(["history", *words])
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["0", "60%", "5", "five"])
def test_a_probability_of_false_alarms_is_between_0_and_a_half(text: str) -> None:
    with pytest.raises(StudyError, match=r"expected a probability from 0\.01% to 50%"):
        run("files", "--false-alarms", text)


def many(models: Sequence[str], batches: Sequence[int], sessions: int = 3) -> list[Session]:
    """Sessions with a case of each model and batch size."""
    return [
        Session(
            Path(f"{day}.json"),
            FIRST + timedelta(days=day),
            bench(*(case(model=model, batch=batch) for model in models for batch in batches)),
        )
        for day in range(sessions)
    ]


@pytest.mark.parametrize(
    ("models", "batches", "names"),
    [
        (["gap"], range(1, 13), ["history"]),
        (["gap", "baseline"], range(1, 8), ["history-baseline", "history-gap"]),
        (["gap"], range(1, 41), [f"history-gap-{n}" for n in (1, 2, 3, 4)]),
    ],
)
def test_many_series_are_several_pictures(models: list[str], batches: range, names: list[str]) -> None:
    examined = examine(series_of(many(models, batches)), 0.05).examined
    pages = dict(picture.pages(examined))
    assert list(pages) == names
    assert sum(map(len, pages.values())) == len(models) * len(batches)
    assert max(map(len, pages.values())) <= picture.ONE_PAGE


def test_a_picture_shows_changes_and_the_key_of_other_versions(stepped: Path) -> None:
    found = examine(series_of(read_sessions([str(stepped)]).sessions), 0.05)
    figure = picture.figure(found.examined, picture.Machines.of(found.examined))
    (axis,) = figure.axes
    texts = [text.get_text().strip() for text in axis.texts]
    assert texts[1:] == ["A"]
    assert float(texts[0].removesuffix(" %")) == pytest.approx(4, abs=1)
    assert figure.get_supxlabel() == "A  2026-03-13: onnxruntime 1.31.1 -> 1.32.0"
    assert axis.get_ylim()[1] < 150  # microseconds: the sessions that are not valid are triangles at the edge


def test_names_are_no_formulas(tmp_path: Path) -> None:
    for day in range(3):
        written(tmp_path / "files", f"{day}.json", bench(case(model="a$b_$")), FIRST + timedelta(days=day))
    assert run(tmp_path / "files", "--output", tmp_path / "out") == 0
    assert "<!-- a$b_$ onnxruntime batch 1 -->" in (tmp_path / "out/history.svg").read_text()


def test_letters_go_on_after_z() -> None:
    assert [picture.letter(i) for i in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_without_matplotlib_it_is_one_line(monkeypatch: pytest.MonkeyPatch, stepped: Path) -> None:
    monkeypatch.setattr("bench.__main__.find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(StudyError, match="bench history needs matplotlib, which this environment lacks"):
        run(stepped)


def test_it_needs_no_torch(stepped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "onnx", "onnxruntime", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)  # its import fails
    assert run(stepped, "--output", tmp_path / "out") == 0
