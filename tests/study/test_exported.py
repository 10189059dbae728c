"""Names of what has been exported: commands take them in place of files, and modules as entries of the catalogue."""

from argparse import Namespace
from pathlib import Path

import pytest

from analysis.sparsity import main as sparsity
from export import check
from study.artifacts import Artifacts
from study.catalogue import DEFAULT_STUDY
from study.errors import StudyError
from study.modules.exported import onnx_file
from study.modules.files import current_module, module_files
from study.selection import selected, to_train
from tests.support.modules import write_module
from tests.support.study import analyse, layers, write_run


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    artifacts = Artifacts(tmp_path)
    write_run(artifacts, "gap", 1, {})
    write_run(artifacts, "gap", 3, {})
    write_module(artifacts, "mine", layers(0), arguments="[3]", sizes={"sequence": 8})
    return artifacts


def options(artifacts: Artifacts) -> Namespace:
    return Namespace(study=DEFAULT_STUDY, dataset="", catalogue=None, artifacts=artifacts.root)


def test_a_name_is_the_file_of_a_module_or_of_the_first_run(artifacts: Artifacts) -> None:
    assert onnx_file(Path("mine"), artifacts) == module_files(artifacts, "mine").onnx
    assert onnx_file(Path("gap"), artifacts) == artifacts.run("gap", 1).onnx


def test_a_path_is_itself_and_a_file_comes_before_a_name(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("mine.onnx", "folder/mine"):
        assert onnx_file(Path(word), artifacts) == Path(word)
    monkeypatch.chdir(artifacts.root)
    (artifacts.root / "mine").write_bytes(b"a file")
    assert onnx_file(Path("mine"), artifacts) == Path("mine")


def test_another_name_lists_what_has_been_exported(artifacts: Artifacts) -> None:
    with pytest.raises(StudyError, match=r"^yours: there is no such file, .*; exported are: gap, mine$"):
        onnx_file(Path("yours"), artifacts)


def test_the_checks_take_names(artifacts: Artifacts, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["mine", "--runtimes", "onnxruntime", "--artifacts", str(artifacts.root)]) in (0, 1)
    assert "modules/mine/model.onnx" in capsys.readouterr().out
    assert sparsity(["mine", "gap", "--format", "csv", "--artifacts", str(artifacts.root)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("mine,,fc1,")
    assert sparsity(["mine", "yours", "--artifacts", str(artifacts.root)]) == 2, "the others are reported"
    assert "fc1" in capsys.readouterr().out


def test_an_exported_module_is_an_entry_without_a_catalogue_file(artifacts: Artifacts) -> None:
    gap, mine = selected(options(artifacts), ["gap", "mine"])
    assert not gap.is_module
    assert (mine.name, mine.network, mine.arguments, mine.sizes) == ("mine", "models.py:mine", "[3]", ("sequence=8",))
    assert mine.inputs == ("image=float32[batch,1,28,28]",)
    with pytest.raises(StudyError, match=r"no model is called 'yours'; the catalogue has: baseline, .*, mine$"):
        selected(options(artifacts), ["yours"])


def test_the_models_of_a_file_are_meant_where_none_is_named(artifacts: Artifacts, tmp_path: Path) -> None:
    file = tmp_path / "two_of_my_own.py"
    file.write_text(
        "from study.catalogue import Entry\n"
        "ENTRIES = [Entry(name, 'm:M', inputs=('x=float32[batch]',)) for name in ('one', 'other')]\n"
    )
    given = options(artifacts)
    given.catalogue = file
    assert [entry.name for entry in selected(given, [])] == ["one", "other"]
    assert [entry.name for entry in selected(given, ["gap"])] == ["gap"]
    for name in ("one", "other"):
        write_module(artifacts, name, layers(0), factory="m:M", inputs=("x=float32[batch]",))
    analyse(artifacts.root, "--catalogue", str(file))
    assert "one, other</h1>" in (artifacts.root / "report-modules" / "index.html").read_text()


def test_a_module_is_not_trained(artifacts: Artifacts) -> None:
    with pytest.raises(
        StudyError, match="mine is a torch module, which is not trained here; run `python -m export mine`"
    ):
        to_train(options(artifacts), ["mine"])


def test_a_module_of_a_catalogue_that_was_never_exported_is_refused_with_the_command(tmp_path: Path) -> None:
    files = module_files(Artifacts(tmp_path), "narrow")
    with pytest.raises(StudyError, match=r"^narrow has not been exported .*run `python -m export narrow --catalog"):
        current_module(files)
