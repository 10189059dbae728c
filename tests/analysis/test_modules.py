"""Reports of torch modules that were not trained here, alone and beside trained models."""

import re
from pathlib import Path

import pytest

from analysis.inputs.files import OF_MODULES, OF_RUNS, REPORT
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.modules.files import module_files
from tests.support.modules import of_module, write_module, write_modules
from tests.support.records import case
from tests.support.study import analyse, layers, row, rows, write_bench, write_run

REPORTED = "report-modules"


def table(root: Path, name: str) -> list[dict[str, str]]:
    return rows(root, name, REPORTED)


@pytest.fixture
def modules(tmp_path: Path) -> tuple[Artifacts, Path]:
    artifacts = Artifacts(tmp_path)
    return artifacts, write_modules(artifacts)


def test_modules_side_by_side_have_a_report_of_their_own(modules: tuple[Artifacts, Path]) -> None:
    artifacts, bench = modules
    analyse(artifacts.root, "--models", "plain,pruned", "--bench", str(bench))
    files = {path.name for path in (artifacts.root / REPORTED).iterdir()}
    without_training = {name for name in REPORT if Path(name).stem not in OF_RUNS}
    assert files == {*without_training, *(f"{name}.csv" for name in OF_MODULES), "inputs.sha256"}
    assert not artifacts.report.exists()
    summary = {each["model"]: each for each in table(artifacts.root, "summary.csv")}
    assert list(summary) == ["plain", "pruned"]
    assert (summary["pruned"]["parameters"], summary["pruned"]["fc_exact_zeros_mean"]) == (
        "30000",
        str(24_000 / 58_920),
    )
    assert float(summary["pruned"]["torch_batch1_us"]) == pytest.approx(220)
    assert summary["pruned"]["speedup_batch1"] == "5.0"
    assert {each["output"] for each in table(artifacts.root, "parity.csv")} == {"logits", "best"}
    output, _ = analyse(artifacts.root, "--models", "plain,pruned", "--bench", str(bench))
    assert output.startswith("nothing to do")


def test_a_trained_model_and_a_module_stand_side_by_side(artifacts: Artifacts) -> None:
    files = write_module(artifacts, "mine", layers(1))
    bench = write_bench(
        artifacts,
        [
            of_module(files, case(artifacts, "mine", "torch", 1, 50e-6)),
            case(artifacts, "baseline", "torch", 1, 110e-6),
        ],
    )
    analyse(artifacts.root, "--models", "mine,baseline", "--bench", str(bench))
    mine, baseline = table(artifacts.root, "summary.csv")
    assert (mine["model"], mine["runs"], mine["test_error_mean"], mine["verdict"]) == ("mine", "", "", "")
    assert (baseline["model"], baseline["runs"], baseline["verdict"]) == ("baseline", "1", "baseline")
    assert [float(each["torch_batch1_us"]) for each in (mine, baseline)] == pytest.approx([50, 110])
    assert [each["model"] for each in table(artifacts.root, "latency.csv")] == ["mine", "baseline"]
    assert {each["model"] for each in table(artifacts.root, "runs.csv")} == {"baseline"}
    assert {each["model"] for each in table(artifacts.root, "sparsity.csv")} == {"mine", "baseline"}
    analyse(artifacts.root, "--models", "mine")
    assert not (artifacts.root / REPORTED / "runs.csv").exists(), "what the last report had is not left beside this one"


def test_only_the_modules_asked_for_are_reported_and_only_of_their_present_files(
    modules: tuple[Artifacts, Path],
) -> None:
    artifacts, bench = modules
    analyse(artifacts.root, "--models", "plain", "--bench", str(bench))
    assert {each["model"] for each in table(artifacts.root, "latency.csv")} == {"plain"}
    write_module(artifacts, "plain", layers(5))
    _, errors = analyse(artifacts.root, "--models", "plain,pruned", "--bench", str(bench))
    assert {each["model"] for each in table(artifacts.root, "latency.csv")} == {"pruned"}
    assert "note: 2 of 4 benchmark cases" in errors
    assert "no longer there" in errors


def test_code_that_has_changed_since_the_export_makes_the_report_again_with_a_note(artifacts: Artifacts) -> None:
    code, weights = artifacts.root / "mine.py", artifacts.root / "mine.pt"
    code.write_text("as exported")
    write_module(
        artifacts,
        "mine",
        layers(1),
        sources={str(code): sha256(code)},
        weights=str(weights),
        weights_sha256="a" * 64,
    )
    _, errors = analyse(artifacts.root, "--models", "mine")
    assert "note: mine: mine.pt is missing here" in errors
    assert "mine.py" not in errors
    code.write_text("later")
    _, errors = analyse(artifacts.root, "--models", "mine")
    assert "note: mine: mine.py has changed since the export" in errors


def test_a_measured_module_is_not_in_the_report_on_the_default_study(modules: tuple[Artifacts, Path]) -> None:
    artifacts, bench = modules
    write_run(artifacts, "baseline", 0, layers(0))
    analyse(artifacts.root, "--bench", str(bench))
    assert rows(artifacts.root, "latency.csv") == []
    assert row(artifacts.root, "summary.csv", model="baseline")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            r"a finished run of baseline, .*, or for the exported modules `python -m analysis --models plain,pruned`",
        ),
        (
            ("--models", "plane"),
            "no model is called 'plane'; the catalogue has: .*; the exported modules are: plain, pr",
        ),
        (("--models", "plain", "--publish"), "--publish: expected the default study, regularisers, found modules"),
    ],
)
def test_a_mistake_names_what_there_is(modules: tuple[Artifacts, Path], words: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        analyse(modules[0].root, *words)


def test_a_name_that_two_models_have_is_refused(artifacts: Artifacts) -> None:
    write_module(artifacts, "baseline", layers(1))
    with pytest.raises(
        StudyError, match="baseline: a trained model and a module are called so; export the module with"
    ):
        analyse(artifacts.root, "--models", "baseline")


def test_a_file_that_is_not_the_one_that_was_proved_is_refused(modules: tuple[Artifacts, Path]) -> None:
    artifacts, _ = modules
    module_files(artifacts, "plain").onnx.write_bytes(b"another")
    with pytest.raises(StudyError, match=re.escape("plain/model.onnx: expected sha256")):
        analyse(artifacts.root, "--models", "plain")
