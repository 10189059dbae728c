"""Experiments on many sessions: what they conclude from records, and that they go on where they stopped."""

import json
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bench.experiments.common import kept_session
from bench.experiments.sessions import no_false_alarm, same_ratios
from study import children
from study.errors import StudyError
from study.record_files import as_json
from study.records.bench import BenchRecord
from tests.bench.builders import bench, case, paired
from tests.support.study import resealed

MODELS = ("gap", "baseline", "wide")


def sessions(between: float, number: int = 20) -> list[BenchRecord]:
    """Sessions whose ratios differ by this standard deviation beside that of their processes, 0.66 %."""
    generator = np.random.default_rng(0)
    records = []
    for _ in range(number):
        shift = generator.normal(0, between)
        ratios = [np.exp(generator.normal(np.log(7) + shift, 0.0066, 5)).tolist() for _ in MODELS]
        pairs = [paired(ratios=own, model=model) for own, model in zip(ratios, MODELS, strict=True)]
        records.append(bench(case(), comparisons=tuple(pairs)))
    return records


def test_sessions_that_differ_by_what_their_intervals_say_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert same_ratios(sessions(between=0))
    assert "ratios whose sessions are alike (p > 0.01): 3 of 3" in capsys.readouterr().out


def test_sessions_that_differ_by_more_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert not same_ratios(sessions(between=0.01))
    assert "ratios whose sessions are alike (p > 0.01): 0 of 3" in capsys.readouterr().out


def test_sessions_that_are_not_valid_show_nothing() -> None:
    invalid = [
        replace(one, comparisons=tuple(replace(pair, valid=False, reasons=("busy",)) for pair in one.comparisons))
        for one in sessions(between=0)
    ]
    assert not same_ratios(invalid)


def test_a_false_alarm_of_the_gate_counts(capsys: pytest.CaptureFixture[str]) -> None:
    same = [bench(case(100e-6, half=0.01)), bench(case(100.2e-6, half=0.01))]
    slower = [same[0], bench(case(110e-6, half=0.01))]
    assert no_false_alarm([*same, *same])
    assert not no_false_alarm([*same, *slower])
    assert "1 of 2 cases slower or faster" in capsys.readouterr().out


def test_an_experiment_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def measured(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        *words, json_option = command[3:]
        study = as_json(bench(case(), command=(*words, json_option)))
        cases = [{"extra_info": one} for one in study.pop("cases")]
        Path(json_option.partition("=")[2]).write_text(json.dumps(resealed({"benchmarks": cases, "study": study})))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(children, "run", measured)
    options, file = Namespace(artifacts=Path("artifacts")), tmp_path / "kept" / "1.json"
    first = kept_session(options, ["--seconds", "0.5"], file)
    assert kept_session(options, ["--seconds", "0.5"], file) == first
    assert len(commands) == 1
    with pytest.raises(StudyError, match=r"--seconds 2 .*found .*--seconds 0.5 .*another folder with --keep"):
        kept_session(options, ["--seconds", "2"], file)


def test_a_session_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 4, "", "error: no such model")

    monkeypatch.setattr(children, "run", failed)
    with pytest.raises(StudyError, match=r"(?s)exit code 4.*no such model"):
        kept_session(Namespace(artifacts=Path("artifacts")), [], tmp_path / "1.json")
    assert not list(tmp_path.iterdir())
