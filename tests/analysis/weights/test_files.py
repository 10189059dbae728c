"""Models whose weights are in files of their own: read where ONNX Runtime reads them, or where the user allows it."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from analysis.weights.layers import Weights, read
from analysis.weights.proof import verify
from study.errors import StudyError
from tests.support.confined import Confined
from tests.support.hostile import external, matmul, model, node, refused, tensor
from tests.support.notation import run

STORED = np.array([[1, 2], [3, 4]], np.float32)
"""(in, out): what the files beside the models hold."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the model is, with links of all kinds; what is outside is in the folder above."""
    (tmp_path / "outside.data").write_bytes(STORED.tobytes())
    inside = tmp_path / "models"
    inside.mkdir()
    (inside / "w.data").write_bytes(STORED.tobytes())
    for link, target in {"out": "../outside.data", "in": "w.data", "way": "..", "a": "b", "b": "a"}.items():
        (inside / link).symlink_to(target)
    (inside / "hard").hardlink_to(tmp_path / "outside.data")
    return inside


def beside(path: Path, *tensors: TensorProto, allow_root: Path | None = None) -> Weights:
    """What is read of a product with each of these tensors."""
    path.write_bytes(model([matmul(each.name, y=f"y{i or ''}") for i, each in enumerate(tensors)], tensors))
    return read(path, allow_root=allow_root)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../outside.data", "in the folder of the model"),
        ("x/../../outside.data", "in the folder of the model"),
        ("./../outside.data", "in the folder of the model"),
        ("{folder}/w.data", "beside the model"),
        ("", "beside the model"),
        ("w\0.data", "beside the model"),
        ("x" * 5000, "beside the model"),
        ("x/" * 2000, "weights are missing"),
        ("missing.data", "missing.data'; put that file there"),
        ("x\ny\x1b[2J", "missing"),
        ("out", "--allow-root"),
        ("way/outside.data", "in the folder of the model"),
        ("a", "links in a circle"),
    ],
)
def test_weights_that_lie_where_they_may_not_are_refused(folder: Path, location: str, reason: str) -> None:
    named = external(location.replace("{folder}", str(folder)))
    assert reason in refused(folder / "m.onnx", model([matmul()], [named]))
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        runtime(folder / "m.onnx")


def test_links_in_a_circle_are_refused_below_an_allowed_folder_too(folder: Path) -> None:
    refused(folder / "m.onnx", model([matmul()], [external("a")]), allow_root=folder.parent)


@pytest.mark.parametrize("location", ["w.data", "below/w.data", "below/../w.data", "in", "hard"])
def test_weights_that_really_lie_beside_the_model_or_below_are_read(folder: Path, location: str) -> None:
    """A package manager may have put them there by a hard link."""
    (folder / "below").mkdir()
    (folder / "below" / "w.data").write_bytes(STORED.tobytes())
    (layer,) = beside(folder / "m.onnx", external(location)).layers
    np.testing.assert_array_equal(layer.weight.load(), STORED.T)
    np.testing.assert_array_equal(runtime(folder / "m.onnx"), STORED)


def test_what_is_no_plain_file_is_refused_without_waiting_for_it(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "directory").mkdir()
    with Confined() as confined:
        for location in ("pipe", "directory", ".", "/dev/zero", "/dev/stdin"):
            (folder / "m.onnx").write_bytes(model([matmul()], [external(location)]))
            outcome = confined.read(folder / "m.onnx", seconds=10)
            assert (outcome.kind, outcome.fault) == ("refused", "")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_no_model(path: str) -> None:
    with pytest.raises(StudyError):
        read(Path(path))


def runtime(path: Path) -> NDArray[np.float32]:
    """What ONNX Runtime makes of the identity."""
    return np.asarray(run(path, x=np.eye(2, dtype=np.float32))[0])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """As Hugging Face keeps a model: the files of a revision are links to blobs called by their hashes."""
    (tmp_path / "blobs").mkdir()
    revision = tmp_path / "snapshots" / "1a2b"
    revision.mkdir(parents=True)
    (tmp_path / "blobs" / "sha1").write_bytes(model([matmul()], [external("model.onnx_data")]))
    (tmp_path / "blobs" / "sha2").write_bytes(STORED.tobytes())
    (revision / "model.onnx").symlink_to("../../blobs/sha1")
    (revision / "model.onnx_data").symlink_to("../../blobs/sha2")
    return revision


@pytest.mark.parametrize("allowed", [False, True])
def test_a_cache_of_links_is_read_since_model_and_weights_really_lie_in_one_folder(cache: Path, allowed: bool) -> None:
    layers = read(cache / "model.onnx", allow_root=cache.parent if allowed else None).layers
    np.testing.assert_array_equal(layers[0].weight.load(), STORED.T)
    assert [each.verified for each in verify(cache / "model.onnx", layers)] == [True]
    np.testing.assert_array_equal(runtime(cache / "model.onnx"), STORED)


def test_weights_beside_a_link_come_before_those_beside_the_model_that_it_leads_to(cache: Path) -> None:
    (cache / "model.onnx_data").unlink()
    for folder, factor in ((cache, 2), (cache.parent.parent / "blobs", 3)):
        (folder / "model.onnx_data").write_bytes((factor * STORED).tobytes())
    np.testing.assert_array_equal(read(cache / "model.onnx").layers[0].weight.load(), 2 * STORED.T)
    np.testing.assert_array_equal(runtime(cache / "model.onnx"), 2 * STORED)


def test_weights_that_lie_in_a_third_folder_are_read_if_the_user_allows_it(cache: Path) -> None:
    (cache / "model.onnx_data").unlink()
    (cache.parent / "w.data").write_bytes(STORED.tobytes())
    (cache / "model.onnx_data").symlink_to("../w.data")
    with pytest.raises(StudyError, match=r"`cp -L`\), or name the folder they may lie in with --allow-root DIR"):
        read(cache / "model.onnx")
    with pytest.raises(StudyError, match="or below"):
        read(cache / "model.onnx", allow_root=cache)
    layers = read(cache / "model.onnx", allow_root=cache.parent).layers
    np.testing.assert_array_equal(layers[0].weight.load(), STORED.T)
    assert [each.verified for each in verify(cache / "model.onnx", layers)] == [True]


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (-1, 16),
        (1, 16),
        (0, 15),
        (0, 17),
        (0, -16),
        (2**63, 16),
        (2**70, 16),
        (0, 2**40),
        ("nought", 16),
        (0, "1e3"),
        ("9" * 5000, 16),
        ("0x0", 16),
    ],
)
def test_a_wrong_place_in_the_file_is_refused(folder: Path, offset: int | str, length: int | str) -> None:
    refused(folder / "m.onnx", model([matmul()], [external("w.data", length, offset)]))


@pytest.mark.parametrize("offset", [None, 0, 16])
@pytest.mark.parametrize("length", [None, 0, 16])
def test_an_offset_that_is_absent_is_0_and_such_a_length_follows_from_the_shape(
    folder: Path, offset: int | None, length: int | None
) -> None:
    numbers = np.concatenate([STORED, 2 * STORED])
    (folder / "w.data").write_bytes(numbers.tobytes())
    (layer,) = beside(folder / "m.onnx", external("w.data", length, offset)).layers
    np.testing.assert_array_equal(layer.weight.load(), (2 if offset else 1) * STORED.T)
    np.testing.assert_array_equal(runtime(folder / "m.onnx"), (2 if offset else 1) * STORED)


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.INT4, "int4"), (TensorProto.UINT2, "uint2")])
def test_a_length_of_0_follows_from_the_bits_of_the_type(folder: Path, kind: int, dtype: str) -> None:
    (folder / "w.data").write_bytes(bytes([0b11100100] * 8))
    named = external("w.data", 0, 1, [2, 3])
    named.data_type = kind
    scaled = [node("DequantizeLinear", ["w", "one"], ["v"]), matmul("v")]
    content = model(scaled, [named, tensor(np.float32(1), "one")], opset=25)
    (folder / "m.onnx").write_bytes(content)
    (layer,) = read(folder / "m.onnx").layers
    expected = {"int4": [4, -2, 4, -2, 4, -2], "uint2": [0, 1, 2, 3, 0, 1]}[dtype]
    np.testing.assert_array_equal(layer.weight.load().T.ravel(), expected)


def test_a_file_that_is_too_short_is_refused(folder: Path) -> None:
    (folder / "w.data").write_bytes(STORED.tobytes()[:-1])
    refused(folder / "m.onnx", model([matmul()], [external("w.data")]))


def test_a_file_that_changes_or_goes_away_while_it_is_read_ends_in_one_line(folder: Path) -> None:
    (layer,) = beside(folder / "m.onnx", external("w.data")).layers
    (folder / "w.data").write_bytes(STORED.tobytes()[:8])
    with pytest.raises(StudyError, match="changed"):
        layer.weight.load()
    (folder / "w.data").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        layer.weight.blocks()[0]


def test_a_tensor_may_be_the_beginning_of_another(folder: Path) -> None:
    numbers = np.arange(16, dtype=np.float32)
    (folder / "w.data").write_bytes(numbers.tobytes())
    tensors = [external("w.data", 4 * size, 0, [4, size // 4]) for size in (16, 8)]
    for index, each in enumerate(tensors):
        each.name = f"w{index}"
    first, second = beside(folder / "m.onnx", *tensors).layers
    np.testing.assert_array_equal(first.weight.load().T, numbers.reshape(4, 4))
    np.testing.assert_array_equal(second.weight.load().T, numbers[:8].reshape(4, 2))


def test_many_tensors_that_lie_over_each_other_are_refused(folder: Path) -> None:
    """A hundred layers of the whole of a file each would take a hundred times as long as the file to read."""
    (folder / "w.data").write_bytes(b"\0" * 500)
    tensors = [external("w.data", 400, i, [10, 10]) for i in range(100)]
    for index, each in enumerate(tensors):
        each.name = f"w{index}"
    with pytest.raises(StudyError, match="40000 bytes of weights"):
        beside(folder / "m.onnx", *tensors)
