"""`python -m bench zeros` runs the commands that a user could run, and leaves out the forms that do not exist."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.__main__ import main
from bench.commands import zeros
from export.compact import command as compact
from study.artifacts import Artifacts
from study.errors import StudyError
from study.variants import Variant
from tests.export.compact.test_removal import two_layers
from tests.support.modules import write_module
from tests.support.study import layers


@pytest.fixture
def commands(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run; `export` makes the compact form alone, of a trained model a file without content."""
    ran: list[list[str]] = []

    def run(words: list[str]) -> SimpleNamespace:
        ran.append(words[2:])
        if words[3:5] == ["compact", str(artifacts.root / "m.onnx")] and "--remove-dead" in words:
            return SimpleNamespace(returncode=compact.main(words[4:]))
        if words[2:5] == ["export", "baseline", "--remove-dead"]:
            artifacts.run("baseline", 0).of(Variant(remove_dead=True)).onnx.write_bytes(b"")
        return SimpleNamespace(returncode=2 if "--sparse" in words else 0)

    monkeypatch.setattr(zeros, "children", SimpleNamespace(run=run))
    return ran


def test_of_a_trained_model_every_form_there_is_is_compared(artifacts: Artifacts, commands: list[list[str]]) -> None:
    root = str(artifacts.root)
    assert main(["zeros", "baseline", "--artifacts", root, "--processes", "6"]) == 2  # the worst of all
    shared = ["--artifacts", root]
    in_torch = ["baseline,runtime=torch", "baseline,runtime=torch-sparse"]
    timed = ["--processes", "6", "--seconds", "2", *shared]
    assert commands == [
        ["export", "baseline", "--remove-dead", *shared],
        [
            "bench",
            "ab",
            "baseline",
            "baseline,variant=compact",
            "--json",
            f"{root}/ab/zeros-baseline-compact.json",
            *timed,
        ],
        ["export", "baseline", "--sparse", *shared],
        ["export", "baseline", "--int8", "static", *shared],
        ["export", "baseline", "--int8", "dynamic", *shared],
        ["bench", "ab", *in_torch, "--json", f"{root}/ab/zeros-baseline-torch-sparse.json", *timed],
        ["analysis", "zeros", "baseline", *shared],
    ]


def test_the_forms_of_a_file_lie_among_the_artifacts(artifacts: Artifacts, commands: list[list[str]]) -> None:
    file = artifacts.root / "m.onnx"
    file.write_bytes(two_layers([[1, 2], [0, 0]], [5, 6], [[1, 2], [3, 4]]).SerializeToString())
    main(["zeros", str(file), "--artifacts", str(artifacts.root), "--shape", "x=5,2"])
    made = artifacts.zeros("m") / "compact.onnx"
    assert made.is_file()
    assert made.with_suffix(".json").is_file()
    compared = [words for words in commands if words[:2] == ["bench", "ab"]]
    assert [(words[2], words[3], words[-2:]) for words in compared] == [(str(file), str(made), ["--shape", "x=5,2"])]
    assert not [words for words in commands if "static" in words]


def test_a_form_of_an_older_file_is_neither_compared_nor_deleted(
    artifacts: Artifacts, commands: list[list[str]]
) -> None:
    file, words = artifacts.root / "m.onnx", ["--artifacts", str(artifacts.root), "--shape", "x=5,2"]
    file.write_bytes(two_layers([[1, 2], [0, 0]], [5, 6], [[1, 2], [3, 4]]).SerializeToString())
    main(["zeros", str(file), *words])
    before = (artifacts.zeros("m") / "compact.onnx").read_bytes()
    commands.clear()
    file.write_bytes(two_layers([[1, 2], [3, 4]], [5, 6], [[1, 2], [3, 4]]).SerializeToString())  # no unit is dead
    main(["zeros", str(file), *words])
    assert not [words for words in commands if words[:2] == ["bench", "ab"]]
    assert (artifacts.zeros("m") / "compact.onnx").read_bytes() == before


def test_a_module_gets_the_inputs_it_was_exported_with(artifacts: Artifacts, commands: list[list[str]]) -> None:
    inputs = ("ids=int64[batch,sequence]:0..99",)
    write_module(artifacts, "mine", layers(0), inputs=inputs, sizes={"sequence": 12})
    main(["zeros", "mine", "--artifacts", str(artifacts.root)])
    first = commands[0]
    assert first[:3] == ["export", "compact", str(artifacts.root / "modules" / "mine" / "model.onnx")]
    assert first[-2:] == ["--input=ids=0..99", "--size=sequence=12"]


def test_what_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="expected a trained model, an exported module or an ONNX file, found 'nix'"):
        main(["zeros", "nix", "--artifacts", str(tmp_path)])


@pytest.mark.parametrize("wrong", [("--processes", "2"), ("--seconds", "0"), ("--cpus", "99999")])
def test_what_the_comparison_would_refuse_is_refused_before_anything_is_made(
    artifacts: Artifacts, commands: list[list[str]], wrong: tuple[str, str]
) -> None:
    with pytest.raises(StudyError, match="expected"):
        main(["zeros", "baseline", "--artifacts", str(artifacts.root), *wrong])
    assert commands == []
