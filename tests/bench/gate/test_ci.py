"""docs/ci.md and action.yml: every `run:` of the page's workflows and of the action is run, as GitHub Actions would.

Stand-ins: checkouts are made by the test, /srv lies in its folder, `bencher` records how it was called, and effort is
tiny, so that no verdict on a speed is expected.
"""

import json
import re
import subprocess
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from bench.commands import ci
from bench.gate.ci import Job, Outcome, expand, run_job
from study.errors import StudyError
from tests.bench.builders import bench, case
from tests.bench.gate.test_gate import write
from tests.conftest import ROOT
from tests.support.actions import ACTION, Runner

PAGE = (ROOT / "docs" / "ci.md").read_text()
WORKFLOWS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
OURS = "OWNER/fashionbench@main"


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model of one matrix product."""
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "small", [x], [y], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.fixture
def runner(tmp_path: Path, onnx_file: bytes) -> Runner:
    return Runner(tmp_path, onnx_file)


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    (job,) = workflow["jobs"].values()
    return list(job["steps"])


def workflow_with(text: str) -> list[dict[str, Any]]:
    """The steps of the one workflow of the page that has this text."""
    (found,) = (steps(it) for it in WORKFLOWS if text in json.dumps(steps(it)))
    return found


# ---- the workflows of the page


def test_another_repositorys_workflow_is_five_lines_of_steps_and_runs(runner: Runner) -> None:
    whole = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if OURS in text)
    assert len(whole.partition("steps:\n")[2].splitlines()) <= 5
    checkout, gate = steps(WORKFLOWS[0])
    assert checkout["uses"].startswith("actions/checkout@")
    done = runner.act(gate["with"] | {"limit": "300%", "undecided": "warn"})
    assert done.returncode == 0, done.stderr
    assert runner.outputs()["verdict"] in ("passed", "undecided")
    assert "### small.onnx" in runner.summary()
    record = json.loads((Path(runner.outputs()["file"]) / "small-0.json").read_text())
    assert record["schema"].startswith("ab/")
    assert runner.git("worktree", "list").count("\n") == 0  # that of the baseline is removed


def test_files_that_are_built_on_both_sides_are_compared_by_name(runner: Runner) -> None:
    *_, build, gate = workflow_with("./export.sh models")
    runner.git("worktree", "add", "--quiet", "--detach", "base")
    assert runner.shell(build, {}).returncode == 0
    done = runner.act(gate["with"] | {"limit": "300%"})
    assert (done.returncode, gate["with"]["undecided"]) == (0, "warn"), done.stderr
    assert str(runner.workspace / "base" / "models" / "small.onnx") in runner.summary()


def test_a_stored_baseline_and_its_exports(runner: Runner) -> None:
    _, measure, convert, chart, upload = workflow_with("github-action-benchmark@v1")
    done = runner.shell(measure, {})
    stored = runner.folder / "srv" / "latency" / "main.json"
    assert stored.is_file(), done.stderr + done.stdout

    _, gate = workflow_with('main.json", "python"')
    done = runner.act(gate["with"], tiny="")
    assert done.returncode == 3, done.stderr  # of quick runs nothing is shown
    assert runner.outputs()["verdict"] == "undecided"
    assert "a quick run" in runner.summary()

    write(stored, bench(case()))  # a valid result
    assert runner.shell(convert, {}).returncode == 0
    assert chart["with"]["tool"] == "customSmallerIsBetter"
    entries = json.loads(Path(runner.evaluate(chart["with"]["output-file-path"], {})).read_text())
    assert entries[0]["unit"] == "us"
    assert runner.shell(upload, {}).returncode == 0
    called = (runner.folder / "bencher.log").read_text().split()
    assert called[:5] == ["run", "--project", "latency", "--adapter", "json"]
    assert "latency" in next(iter(json.loads(Path(called[-1]).read_text()).values()))


def test_every_step_of_the_page_is_known_to_these_tests() -> None:
    uses = {step["uses"] for it in WORKFLOWS for step in steps(it) if "uses" in step}
    assert uses == {"actions/checkout@v4", OURS, "benchmark-action/github-action-benchmark@v1"}
    assert len(WORKFLOWS) == 4
    given = {name for it in WORKFLOWS for step in steps(it) if step.get("uses") == OURS for name in step["with"]}
    assert given <= set(ACTION["inputs"])


# ---- inputs


def test_an_input_does_not_reach_a_shell(runner: Runner) -> None:
    mark = runner.folder / "injected"
    for name in ("onnx", "baseline", "limit", "args", "undecided", "processes"):
        attack = f'models/small.onnx"; touch {mark}; $(touch {mark}) `touch {mark}`'
        assert runner.act({"onnx": "models/small.onnx", name: attack}).returncode == 2, name
        assert not mark.exists(), name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"onnx": "models/*.bin"}, "onnx: expected files, found none at 'models/*.bin'"),
        ({"baseline": ""}, "baseline: expected a commit, branch, folder or file; this event names none"),
        ({"baseline": "no-such-branch"}, "give `baseline` as a file, a folder or a known commit"),
        ({"baseline": "--upload-pack=x"}, "expected a .json file, a folder, an ONNX file or a commit"),
        ({"baseline": "missing.json"}, "missing.json is missing; store what `pytest bench --benchmark-json=FILE`"),
        ({"args": "'--shape"}, 'args: expected words, quoted in pairs, found "\'--shape"'),
        ({"limit": "slow"}, "limit: expected a share such as 3% or 0.03, found 'slow'"),
        ({"undecided": "pass"}, "undecided: expected fail or warn, found 'pass'"),
    ],
)
def test_a_wrong_input_is_one_line_and_code_2(runner: Runner, given: dict[str, str], message: str) -> None:
    done = runner.act({"onnx": "models/*.onnx"} | given)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert (runner.folder / "output").read_text() == "verdict=mistake\n"


def test_a_command_that_crashes_is_a_mistake_and_not_a_slower_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python ends with code 1 too, but without a report."""
    (tmp_path / "old.onnx").touch()
    for stdout, code in (("", 2), ("a report", 1)):
        done = subprocess.CompletedProcess([], 1, stdout)
        monkeypatch.setattr("bench.gate.ci._project", lambda *words, done=done: done)
        job = Job((tmp_path / "new.onnx",), str(tmp_path / "old.onnx"), "5%", "5", (), tmp_path)
        assert run_job(job).code == code


def test_patterns_mean_files_in_order_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/two.onnx", "a.onnx", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    found = [path.relative_to(tmp_path.resolve()).as_posix() for path in expand("**/*.onnx\n a.onnx\n\n")]
    assert found == ["a.onnx", "b/two.onnx"]
    assert expand(str(tmp_path / "b" / "*.onnx")) == (tmp_path.resolve() / "b" / "two.onnx",)
    with pytest.raises(StudyError, match="expected paths or patterns"):
        expand("\n")


# ---- exit codes


@pytest.mark.parametrize(
    ("codes", "undecided", "code", "verdict"),
    [
        ((0, 0), "fail", 0, "passed"),
        ((0, 3), "fail", 3, "undecided"),
        ((0, 3), "warn", 0, "undecided"),
        ((3, 1, 0), "warn", 1, "failed"),
        ((1, 2), "warn", 2, "mistake"),
        ((), "fail", 3, "undecided"),
    ],
)
def test_the_code_of_the_job_is_the_worst_of_its_files(
    codes: tuple[int, ...], undecided: str, code: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(codes, "a table", tmp_path)
    monkeypatch.setattr("bench.gate.ci.run_job", lambda job: outcome)
    monkeypatch.setattr("bench.gate.ci.expand", lambda text: ())
    monkeypatch.setenv("GATE_UNDECIDED", undecided)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    assert ci.run(Namespace()) == code
    assert (tmp_path / "output").read_text() == f"verdict={verdict}\nfile={tmp_path}\n"


# ---- installation


def test_the_group_that_the_action_installs_is_what_the_gate_imports() -> None:
    """It has no torch. `pytest bench --onnx` and `bench ab` of ONNX files need no more."""
    install = ACTION["runs"]["steps"][0]["run"]
    assert "--constraint constraints.txt --group gate" in install
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {it for it in groups["gate"] if isinstance(it, str)} == {
        *("numpy", "onnx", "onnxruntime", "pytest", "pytest-benchmark", "scipy", "tabulate", "threadpoolctl")
    }
