"""What `python -m tests.kills` would see: survivors, ends by a signal, and files that differ in what counts."""

import json
import signal
from pathlib import Path

import pytest

from tests.kills import processes, stages
from tests.kills.__main__ import Outcome, table
from tests.kills.processes import Kill, run


def timeit(statement: str) -> list[str]:
    """A command that runs a statement once."""
    return ["timeit", "-n1", "-r1", statement]


def test_a_process_that_survives_its_parent_is_seen_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SURVIVAL_SECONDS", 0.1)
    end = run(timeit("import subprocess; subprocess.Popen(['sleep', '60'])"), tmp_path / "log")
    assert (end.code, end.survivors) == (0, ("sleep 60",))


def test_a_command_is_ended_at_the_moment_that_was_drawn(tmp_path: Path) -> None:
    end = run(timeit("import time; time.sleep(60)"), tmp_path / "log", Kill(signal.SIGKILL), after=0.3)
    assert (end.code, end.survivors) == (-9, ())
    assert run(timeit("1"), tmp_path / "log", Kill(signal.SIGKILL), after=60).code == 0


def test_times_are_no_difference_and_anything_else_is(tmp_path: Path) -> None:
    run_json, history = tmp_path / "run.json", tmp_path / "seed0" / "history.csv"
    history.parent.mkdir()
    seen = []
    for seconds, error in ((1, 0.1), (2, 0.1), (2, 0.2)):
        run_json.write_text(json.dumps({"seconds": seconds, "sha256": str(seconds), "test_error": error}))
        history.write_text(f"epoch,train_error,seconds\n1,{error},{seconds}\n")
        seen.append(stages.files(tmp_path, "*", "*/*"))
    assert seen[0] == seen[1] != seen[2]
    assert seen[0].keys() == {"run.json", "seed0/history.csv"}


def test_the_table_counts_faults_by_kind() -> None:
    def outcome(code: int, *faults: str) -> Outcome:
        return Outcome("train", "SIGINT to all", 1.0, code, 0.5, faults, slow=False)

    lines = table([outcome(0), outcome(130), outcome(130, "differs: a", "differs: b", "survived: c")])
    assert lines[1].split() == ["train", "SIGINT", "to", "all", "3", "2", "1", "0", "0.50"]
    assert lines[-1] == "3 kills; faults: 2 differs, 1 survived"
