"""What the names of the models on a report's page mean."""

from pathlib import Path

from analysis.inputs.files import find
from analysis.inputs.study import read_study
from analysis.pages.summary import explained
from study.artifacts import Artifacts
from study.catalogue import entry
from tests.support.study import write_run


def words(root: Path, *models: str) -> list[str]:
    artifacts = Artifacts(root)
    for model in models:
        known = entry(model)
        write_run(artifacts, model, 0, {}, recipe=known.recipe, network=known.network)
    return list(explained(read_study(find(artifacts, models))))


def test_models_are_told_apart_by_network_and_penalty(tmp_path: Path) -> None:
    assert words(tmp_path, "baseline", "l1-1e-3", "gap") == [
        "baseline is LeNet5",
        "l1-1e-3 is LeNet5 with an L1 penalty of 0.001",
        "gap is LeNet5GAP",
    ]


def test_nothing_is_said_where_that_does_not_tell_them_apart(tmp_path: Path) -> None:
    assert words(tmp_path, "baseline", "lenet5-plain", "lenet5-plain-modern") == []
