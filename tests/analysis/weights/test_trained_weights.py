"""The weights read from an ONNX file are those of the checkpoint it was made from, bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analysis.weights.layers import Layer, read
from study.artifacts import RunFiles
from study.catalogue import entry
from study.checkpoints import load
from tests.conftest import Trained


def differing(files: RunFiles, layers: tuple[Layer, ...]) -> list[str]:
    """The layers that are otherwise in the checkpoint of a run: missing there or here, or of other bits."""
    network = load(entry(files.model), files)
    linear = {name: m.weight.detach() for name, m in network.named_modules() if isinstance(m, torch.nn.Linear)}
    found = {layer.name: layer.weight.load() for layer in layers}
    alike = {
        name
        for name in linear.keys() & found.keys()
        if found[name].shape == tuple(linear[name].shape) and found[name].tobytes() == linear[name].numpy().tobytes()
    }
    return sorted((linear.keys() | found.keys()) - alike)


@pytest.mark.parametrize("model", ["baseline", "gap"])
def test_in_the_exported_file(trained: Trained, model: str) -> None:
    files = trained.artifacts.run(model, 0)
    layers = read(files.onnx).layers
    assert len(layers) == {"baseline": 3, "gap": 0}[model]
    assert differing(files, layers) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("model", ["baseline", "gap"])
def test_whichever_of_torchs_exporters_wrote_it(trained: Trained, model: str, dynamo: bool, tmp_path: Path) -> None:
    files = trained.artifacts.run(model, 0)
    network = load(entry(model), files)
    torch.onnx.export(network, (torch.zeros(2, 1, 28, 28),), tmp_path / "m.onnx", dynamo=dynamo, verbose=False)
    assert differing(files, read(tmp_path / "m.onnx").layers) == []


def test_a_single_bit_and_a_layer_too_few_are_noticed(trained: Trained) -> None:
    files = trained.artifacts.run("baseline", 0)
    first, second, third = read(files.onnx).layers
    assert differing(files, (first, second)) == ["fc3"]
    other = replace(third, weight=replace(third.weight, alpha=1 + 2**-23))
    assert differing(files, (first, second, other)) == ["fc3"]
