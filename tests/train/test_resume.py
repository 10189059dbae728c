"""resume.pt, the state of an unfinished run: however it was damaged, the run ends with the same bytes."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study import catalogue
from study.artifacts import Artifacts, RunFiles
from study.recipe import Recipe
from tests.support.fitting import fit
from train import fitting, resume
from train.fitting import Images
from train.tasks import Epoch, Resumed
from train.trainer import Trainer

ENTRY = replace(catalogue.entry("baseline"), recipe=Recipe(epochs=2, unshifted=0, validation=20, patience=2))
FLIPS = 20


@pytest.fixture(scope="module")
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (100, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Images((pixels, torch.arange(100) % 10), (pixels[:20], torch.arange(20) % 10))


@pytest.fixture(scope="module")
def unfinished(images: Images, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state of a run that was interrupted after its first epoch."""
    files = Artifacts(tmp_path_factory.mktemp("unfinished")).run("baseline", 0)

    def stop(row: Epoch | Resumed) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(ENTRY, files, images, stop)
    return files.resume.read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    files = Artifacts(tmp_path).run("baseline", 0)
    files.folder.mkdir(parents=True)
    return files


def loaded(files: RunFiles, images: Images) -> resume.State | None:
    trainer = Trainer(ENTRY, *images.split(ENTRY.recipe).train, seed=files.seed)
    return resume.load(files, trainer, fitting.made_with(ENTRY))


def test_a_flipped_bit_is_noticed(
    unfinished: bytes, images: Images, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    files.resume.write_bytes(unfinished)
    assert loaded(files, images) is not None
    chance = np.random.default_rng(0)
    for at, bit in zip(chance.integers(len(unfinished), size=FLIPS), chance.integers(8, size=FLIPS), strict=True):
        changed = bytes([unfinished[at] ^ 1 << int(bit)])
        files.resume.write_bytes(unfinished[:at] + changed + unfinished[at + 1 :])
        assert loaded(files, images) is None
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{files.resume} cannot be read (")
        assert line.endswith(": training from the start")


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no history": lambda state: state.update(history=None),
    "no network": lambda state: state.update(network=None),
    "no optimiser": lambda state: state.update(optimiser=None),
    "no best weights": lambda state: state.update(best=None),
    "an empty history": lambda state: state.update(history=[]),
    "a later epoch": lambda state: state["history"][0].update(epoch=2),
    "an impossible loss": lambda state: state["history"][0].update(train_loss=-1.0),
    "more epochs than there are": lambda state: state.update(history=[{**state["history"][0]}] * 3),
    "another seed": lambda state: state.update(seed=1),
    "a weight of another network": lambda state: state["network"].update({"fc3.bias": torch.zeros(3)}),
    "a list": lambda state: state.clear(),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_state_that_is_whole_and_wrong_means_from_the_start(
    fault: str, unfinished: bytes, images: Images, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(io.BytesIO(unfinished[resume.DIGEST :]), weights_only=True)
    WRONG[fault](state)
    content = resume.serialise(state)
    files.resume.write_bytes(hashlib.sha256(content).digest() + content)
    assert loaded(files, images) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(str(files.resume))
    assert line.endswith(": training from the start")


def test_nothing_of_a_refused_state_is_left_in_the_run(
    unfinished: bytes, images: Images, files: RunFiles, tmp_path: Path
) -> None:
    """Its weights fit and its optimiser does not."""
    state = torch.load(io.BytesIO(unfinished[resume.DIGEST :]), weights_only=True)
    content = resume.serialise({**state, "optimiser": None})
    files.resume.write_bytes(hashlib.sha256(content).digest() + content)
    fit(ENTRY, files, images, lambda row: None)
    other = Artifacts(tmp_path / "other").run("baseline", 0)
    fit(ENTRY, other, images, lambda row: None)
    assert files.checkpoint.read_bytes() == other.checkpoint.read_bytes()
