"""The images and labels that every stage sees, and how torchvision is imported next to a CPU-only torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from study.data.fashion_mnist import MEAN, STD
from study.data.tensors import import_torchvision, load
from tests.conftest import ROOT


def test_images_and_labels_are_the_files_bytes_after_their_headers_with_equal_classes(data: Path) -> None:
    for train, name, count in ((True, "train", 60_000), (False, "t10k", 10_000)):
        images, labels = load(data, train)
        assert (images.dtype, images.shape, images.is_contiguous()) == (torch.uint8, (count, 1, 28, 28), True)
        assert (labels.dtype, labels.bincount().tolist()) == (torch.int64, [count // 10] * 10)
        raw = data / "FashionMNIST" / "raw"
        assert images.numpy().tobytes() == (raw / f"{name}-images-idx3-ubyte").read_bytes()[16:]
        assert bytes(labels.tolist()) == (raw / f"{name}-labels-idx1-ubyte").read_bytes()[8:]


def test_mean_and_std_are_those_of_the_training_images(data: Path) -> None:
    std, mean = torch.std_mean(load(data, train=True)[0] / 255)
    assert (round(mean.item(), 4), round(std.item(), 4)) == (MEAN, STD)


def test_files_that_are_not_there_are_an_error_and_no_download(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Dataset not found"):
        load(tmp_path, train=True)


def torchvision_that(folder: Path, body: str) -> Path:
    """A folder with a torchvision whose import does `body`, as the real one's does beside torch."""
    folder.mkdir()
    (folder / "torchvision.py").write_text(f"import torch\n{body}\n")
    return folder


def test_a_torchvision_without_its_operators_imports_all_the_same(tmp_path: Path) -> None:
    """The error is torch's own; in another process, because what is declared there stays declared."""
    body = "for name in ('nms', 'qnms'): torch.library.register_fake(f'torchvision::{name}')(lambda *boxes: boxes[0])"
    stand_in = torchvision_that(tmp_path / "stand_in", body)
    begin = f"import sys; sys.path.insert(0, {str(stand_in)!r}); "
    for program, code in (("import torchvision", 1), ("from study.data.tensors import *; import_torchvision()", 0)):
        done = subprocess.run([sys.executable, "-c", begin + program], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == code, done.stderr
        assert ("operator torchvision::nms does not exist" in done.stderr) == bool(code)


def test_any_other_error_of_the_import_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("operator torchvision::roi_align does not exist")
    monkeypatch.syspath_prepend(torchvision_that(tmp_path / "stand_in", f"raise {error!r}"))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(RuntimeError, match=str(error)):
        import_torchvision()
