"""The commands on a report's page, taken by the commands themselves."""

import shlex
from pathlib import Path

import pytest
from msgspec import structs

from analysis.__main__ import arguments
from analysis.inputs.files import find
from analysis.inputs.study import read_study
from analysis.pages.provenance import commands
from study.artifacts import Artifacts
from study.catalogue import entry
from tests.support.study import write_bench, write_run, write_study


def test_files_of_other_names_are_those_that_the_report_was_made_from(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "my artifacts")
    write_study(artifacts)
    benches = tuple(write_bench(artifacts, name=name) for name in ("first.json", "it's second.json"))
    *_, first, second, report = commands(read_study(find(artifacts, ("gap", "baseline"), benches)))
    options = arguments(shlex.split(report)[3:])
    assert tuple(map(Path, options.bench.split(","))) == benches
    assert (options.models, options.artifacts) == ("gap,baseline", artifacts.root)
    named = [shlex.split(command)[-1] for command in (first, second)]
    assert named == [f"--benchmark-json={bench}" for bench in benches]


def test_the_usual_files_need_no_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = Artifacts()
    write_study(artifacts)
    assert list(commands(read_study(find(artifacts, ("gap",))))) == [
        "python -m train gap --seeds 0,1",
        "python -m export gap",
        "pytest bench --benchmark-json=artifacts/bench.json",
        "python -m analysis --models gap",
    ]


def test_runs_are_trained_again_with_their_seeds_and_epochs(tmp_path: Path) -> None:
    """As the catalogue and the three usual seeds have them, or else by options; models alike in one command."""
    artifacts = Artifacts(tmp_path)
    for model, seeds, epochs in (("baseline", (0, 1, 2), 0), ("l2-1e-4", (0, 1, 2), 0), ("gap", (4,), 2)):
        for seed in seeds:
            recipe = entry(model).recipe
            recipe = structs.replace(recipe, epochs=epochs) if epochs else recipe
            write_run(artifacts, model, seed, {}, recipe=recipe)
    found = commands(read_study(find(artifacts, ("baseline", "l2-1e-4", "gap"))))
    assert [each for each in found if " train " in each] == [
        f"python -m train baseline l2-1e-4 --artifacts {tmp_path}",
        f"python -m train gap --seeds 4 --epochs 2 --artifacts {tmp_path}",
    ]


@pytest.mark.parametrize("option", [("--benchmark-json=old.json",), ("--benchmark-json", "old.json")])
def test_a_session_is_measured_again_by_its_own_options_into_the_file_as_it_is_called_now(
    option: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = Artifacts()
    write_study(artifacts)
    write_bench(artifacts, command=("bench", "--batches", "1", *option, "--runtimes=torch,onnxruntime"))
    *_, measured, _ = commands(read_study(find(artifacts, ("gap",))))
    assert measured == "pytest bench --batches 1 --runtimes=torch,onnxruntime --benchmark-json=artifacts/bench.json"
