"""The catalogue: six models that differ in penalty or network alone, published recipes, and how a model is added."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from msgspec import structs

import study.networks
from study import catalogue
from study.artifacts import Artifacts
from study.data import tensors as images
from study.entry import Entry
from study.errors import StudyError
from study.networks import build, parameters
from study.recipe import Recipe
from study.record_files import read_record
from study.records.export import ExportRecord
from tests.conftest import ROOT
from tests.support.fitting import fit
from train.fitting import Images


def test_the_six_models_of_the_study_differ_in_penalty_or_network_alone() -> None:
    entries = catalogue.select()
    assert [e.name for e in entries] == ["baseline", "l2-1e-4", "l2-1e-3", "l1-1e-4", "l1-1e-3", "gap"]
    assert {structs.replace(e.recipe, l1=0.0, l2=0.0) for e in entries} == {Recipe()}
    strengths = [(e.recipe.l1, e.recipe.l2) for e in entries]
    assert strengths == [(0, 0), (0, 1e-4), (0, 1e-3), (1e-4, 0), (1e-3, 0), (0, 0)]
    networks = [build(e) for e in entries]
    assert [parameters(network) for network in networks] == [*5 * [61_706], 14_398]
    assert not [m for m in networks[-1].modules() if isinstance(m, torch.nn.Linear)]


PUBLISHED = {  # optimiser, rate, batch, epochs, validation, patience; the published accuracy and its images
    "convnet-7x7": ("nadam", 1e-3, 32, 10, 5000, 0, 90.19, "test"),
    "cnn5": ("sgd", 1e-3, 64, 150, 6000, 10, 90.7, "validation"),
    "cnn5-batch128": ("sgd", 1e-3, 128, 150, 6000, 10, 90.8, "validation"),
    "mini-vgg": ("sgd", 1e-3, 64, 150, 6000, 10, 92.2, "validation"),
    "mini-vgg-batch128": ("sgd", 1e-3, 128, 150, 6000, 10, 92.1, "validation"),
    "lenet5-plain": ("adam", 1e-4, 100, 60, 0, 0, 89.27, "test"),
    "lenet5-weight-decay": ("adam", 1e-4, 100, 60, 0, 0, 89.30, "test"),
    "lenet5-dropout": ("adam", 1e-4, 100, 60, 0, 0, 88.55, "test"),
    "lenet5-batchnorm": ("adam", 1e-4, 100, 60, 0, 0, 90.16, "test"),
}


def test_published_recipes_are_as_published_each_with_a_modern_one_beside_it() -> None:
    published = [entry for entry in catalogue.ENTRIES if entry.origin == "published"]
    modern = {entry.network: entry for entry in catalogue.ENTRIES if entry.origin == "modern"}
    actual = {}
    for entry in published:
        r, result = entry.recipe, entry.published
        assert (r.schedule, r.flip, r.shift, r.rotation, r.erasing, r.bfloat16) == ("constant", False, 0, 0, 0, False)
        assert modern[entry.network].recipe != r
        if result is not None:
            values = (r.optimiser, r.learning_rate, r.batch_size, r.epochs, r.validation, r.patience)
            actual[entry.name] = (*values, result.accuracy, result.images)
    assert actual == PUBLISHED
    assert len(published) == len(PUBLISHED) + 2, "without a result: lenet5-1998 and cnn5-drawn"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(StudyError, match=r"no model is called 'basline'.*baseline, l2-1e-4.*gap"):
        catalogue.select(["basline"])
    with pytest.raises(StudyError, match="no study is called 'x'; there are: regularisers"):
        catalogue.select(study="x")


def test_a_model_is_added_as_contributing_md_shows(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network and entry, as they stand there, through training and export."""
    from export.exporter import export

    text = (ROOT / "CONTRIBUTING.md").read_text()
    network_code, entry_code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert network_code.count("\n") + entry_code.count("\n") <= 12
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "tiny.py").write_text(network_code)
    monkeypatch.setattr(study.networks, "__path__", [*study.networks.__path__, str(folder)])
    (entry,) = eval(f"[{entry_code}]", {"Entry": Entry, "Recipe": Recipe})  # noqa: S307
    pictures, labels = images.load(data, train=False)
    part = pictures[:2000], labels[:2000]
    files = Artifacts(tmp_path).run(entry.name, 0)
    short = replace(entry, recipe=structs.replace(entry.recipe, epochs=3, unshifted=1))
    record = fit(short, files, Images(part, part), lambda row: None)
    assert record.train_error < 0.6, "it learns"
    assert export(short, files, *part).parity.argmax_mismatches == 0
    assert read_record(files.export, ExportRecord, "").model == entry.name
