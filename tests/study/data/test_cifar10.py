"""CIFAR-10: nothing is unpacked or unpickled that is not what was published; and the study's way on such images.

The files here are small ones in the real format, pickles of Python 2 in a tar.gz, and their hashes take the place of
the published ones.
"""

import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from msgspec import structs
from numpy.typing import NDArray

from analysis.measures import pruning
from bench import models
from bench.cases import Case
from bench.surroundings import surroundings
from export.exporter import export
from study import catalogue
from study.artifacts import Artifacts
from study.data import arrays, cifar10, datasets, sources
from study.data import tensors as images
from study.data.cifar10 import ARCHIVE, FILES, FOLDER, prepare
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record
from study.records.training import RunRecord
from tests.conftest import Serve
from tests.support.fitting import fit
from train.fitting import Images, is_finished

A_BATCH = 40


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is how the published files have their keys and pixels."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_string(self, text: bytes) -> None:
        short = len(text) < 256
        length = bytes([len(text)]) if short else struct.pack("<i", len(text))
        self.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + length + text)  # type: ignore[attr-defined]
        self.memoize(text)  # type: ignore[attr-defined]

    dispatch[bytes] = save_string


def pickled(content: object) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(content)
    return file.getvalue()


class Exploit:
    """Makes a file when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.flag,)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz with these members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@dataclass(frozen=True)
class Small:
    """A small CIFAR-10, as rows of 3,072 bytes and as the archive."""

    rows: dict[str, NDArray[np.uint8]]
    labels: dict[str, list[int]]
    members: dict[str, bytes]
    archive: bytes
    named: Path
    """A folder with the archive in it."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """It takes the place of the real one; the public address is one where nobody answers."""
    generator = np.random.default_rng(0)
    rows, labels, contents = {}, {}, {}
    for name in (*cifar10.TRAIN, *cifar10.TEST):
        labels[name] = [n % 10 for n in range(A_BATCH)]
        noise = generator.integers(0, 100, (A_BATCH, 3072))
        rows[name] = (noise + 15 * np.array(labels[name])[:, None]).astype(np.uint8)  # brighter from class to class
        batch = {b"batch_label": name.encode(), b"labels": labels[name], b"data": rows[name]}
        contents[name] = pickled(batch)
    names = [name.encode() for name in cifar10.CLASSES]
    contents["batches.meta"] = pickled({b"num_cases_per_batch": A_BATCH, b"label_names": names, b"num_vis": 3072})
    members = {f"{FOLDER}/{name}": content for name, content in contents.items()}
    archive = packed(members)

    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(archive))
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:1/{ARCHIVE}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("STUDY_DATA", raising=False)
    theirs = images.import_torchvision().datasets.CIFAR10
    for name, content in contents.items():
        monkeypatch.setitem(FILES, name, md5(content))
    monkeypatch.setattr(theirs, "train_list", [[name, FILES[name]] for name in cifar10.TRAIN])
    monkeypatch.setattr(theirs, "test_list", [[name, FILES[name]] for name in cifar10.TEST])
    monkeypatch.setitem(theirs.meta, "md5", FILES["batches.meta"])
    named = tmp_path / "named"
    named.mkdir()
    (named / ARCHIVE).write_bytes(archive)
    return Small(rows, labels, members, archive, named)


def believed(monkeypatch: pytest.MonkeyPatch, archive: bytes, folder: Path) -> None:
    """Put `archive` into `folder`, as if its MD5 were the published one."""
    (folder / ARCHIVE).write_bytes(archive)
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(archive))


def test_what_is_expected_is_what_torchvision_expects() -> None:
    theirs = images.import_torchvision().datasets.CIFAR10
    assert (theirs.url, theirs.filename, theirs.tgz_md5) == (cifar10.URL, ARCHIVE, cifar10.ARCHIVE_MD5)
    assert theirs.base_folder == FOLDER
    assert dict((*theirs.train_list, *theirs.test_list)) == {n: m for n, m in FILES.items() if n != "batches.meta"}
    assert FILES[theirs.meta["filename"]] == theirs.meta["md5"]


# ---- the images


def test_pixels_are_red_then_green_then_blue_row_by_row_and_the_same_without_torch(
    small: Small, tmp_path: Path
) -> None:
    data = prepare(tmp_path / "data", small.named)
    for train, names in ((True, cifar10.TRAIN), (False, cifar10.TEST)):
        pixels, labels = images.load(data, train, "cifar10")
        assert (pixels.dtype, pixels.shape) == (torch.uint8, (A_BATCH * len(names), 3, 32, 32))
        assert pixels.is_contiguous()
        assert (labels.dtype, labels.tolist()) == (torch.int64, [x for name in names for x in small.labels[name]])
        last = small.rows[names[-1]]
        for channel, y, x in ((0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 0), (2, 31, 30)):
            assert pixels[-1, channel, y, x] == last[-1, channel * 1024 + y * 32 + x]
        assert pixels.numpy().tobytes() == b"".join(small.rows[name].tobytes() for name in names)
        without_torch = arrays.read(data, train, "cifar10")
        for array, expected in zip(without_torch, (pixels, labels), strict=True):
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(array, expected.numpy())


# ---- where they come from


def test_the_archive_may_be_in_the_folder_named_or_in_the_cache(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for way in ("argument", "variable", "cache"):
        data = tmp_path / way
        if way == "cache":
            data.mkdir()
            (data / ARCHIVE).write_bytes(small.archive)
        elif way == "variable":
            monkeypatch.setenv("STUDY_DATA", str(small.named))
        assert prepare(data, small.named if way == "argument" else None) == data
        monkeypatch.delenv("STUDY_DATA", raising=False)
        assert {f"{FOLDER}/{path.name}": path.read_bytes() for path in (data / FOLDER).iterdir()} == small.members
        assert capsys.readouterr().err.endswith(f": 7 of 7 files checked, written to {data / FOLDER}\n")


def test_the_folder_named_may_have_it_unpacked(small: Small, tmp_path: Path) -> None:
    cache = prepare(tmp_path / "first", small.named)
    prepare(tmp_path / "data", cache)
    pixels, _ = images.load(tmp_path / "data", True, "cifar10")
    assert len(pixels) == A_BATCH * len(cifar10.TRAIN)
    (cache / FOLDER / "test_batch").write_bytes(b"another")
    with pytest.raises(
        StudyError, match=f"(?s)no source has test_batch of CIFAR-10.*{cache / FOLDER}: test_batch refused"
    ):
        prepare(tmp_path / "others", cache)


def test_it_is_fetched_from_the_public_address_where_nothing_else_has_it(
    small: Small, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "URL", serve({ARCHIVE: small.archive}) + ARCHIVE)
    prepare(tmp_path / "data")
    assert len(list((tmp_path / "data" / FOLDER).iterdir())) == 7


def test_a_whole_cache_is_used_in_silence_and_a_changed_file_of_it_is_replaced(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepare(tmp_path / "data", small.named)
    capsys.readouterr()
    prepare(data)
    assert capsys.readouterr().err == ""
    changed = data / FOLDER / "data_batch_3"
    changed.write_bytes(changed.read_bytes()[:-1])
    prepare(data, small.named)
    assert changed.read_bytes() == small.members[f"{FOLDER}/data_batch_3"]


def test_if_it_is_not_available_the_error_says_what_to_download_and_where_to_put_it(
    small: Small, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.2)
    silent, empty, absent = serve({ARCHIVE: b""}), serve({}), "http://127.0.0.1:1/"
    named = prepare(tmp_path / "first", small.named)
    (named / FOLDER / "test_batch").unlink()
    for address in (silent, empty, absent):
        monkeypatch.setattr(cifar10, "URL", address + ARCHIVE)
        with pytest.raises(StudyError) as error:
            prepare(tmp_path / "data", named)
        message = str(error.value)
        assert f"download {cifar10.URL} (md5 {cifar10.ARCHIVE_MD5}) into a folder and name it with --data" in message
        assert f"the folder named, {named}: {ARCHIVE} cannot be read there (No such file or directory)" in message
        assert f"{ARCHIVE} does not arrive (" in message


# ---- what is refused


def test_an_archive_with_another_md5_is_neither_unpacked_nor_unpickled(small: Small, tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    exploit = pickle.dumps(Exploit(flag))
    pickle.loads(exploit)  # noqa: S301
    assert flag.exists(), "this is what a pickle can do"
    flag.unlink()
    wrong = packed(dict.fromkeys(small.members, exploit))
    (small.named / ARCHIVE).write_bytes(wrong)
    with pytest.raises(StudyError, match=f"expected md5 {cifar10.ARCHIVE_MD5}, found {md5(wrong)}"):
        prepare(tmp_path / "data", small.named)
    assert not flag.exists()
    assert not (tmp_path / "data").exists()


def test_a_file_with_another_md5_is_not_unpickled(small: Small, tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    data = prepare(tmp_path / "data", small.named)
    for name, train in (("data_batch_2", True), ("test_batch", False)):
        (data / FOLDER / name).write_bytes(pickle.dumps(Exploit(flag)))
        with pytest.raises(RuntimeError, match="not found or corrupted"):
            images.load(data, train, "cifar10")
        with pytest.raises(StudyError, match=rf"{name}: {name} refused: expected md5 .*; run `python -m train`"):
            arrays.read(data, train, "cifar10")
    prepare(data, small.named)
    (data / FOLDER / "batches.meta").write_bytes(pickle.dumps(Exploit(flag)))  # names the classes; torchvision reads it
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        images.load(data, True, "cifar10")
    assert not flag.exists()


def test_a_file_that_is_not_there_is_named(small: Small, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"test_batch is missing; run `python -m train`"):
        arrays.read(tmp_path, False, "cifar10")


def test_an_archive_that_is_cut_short_is_refused(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = small.archive[: len(small.archive) // 2]
    (small.named / ARCHIVE).write_bytes(half)
    with pytest.raises(StudyError, match=f"of {len(half):,} bytes, cut short"):
        prepare(tmp_path / "data", small.named)
    believed(monkeypatch, half, small.named)
    with pytest.raises(StudyError, match="expected a whole archive, found a broken one"):
        prepare(tmp_path / "data", small.named)
    assert not (tmp_path / "data").exists()


def test_no_member_leads_out_of_the_folder(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = ("../evil", f"{FOLDER}/../../evil", f"{tmp_path}/evil", f"{FOLDER}/evil")
    believed(monkeypatch, packed({**dict.fromkeys(outside, b"evil"), **small.members}), small.named)
    before = set(tmp_path.rglob("*"))
    data = prepare(tmp_path / "data", small.named)
    new = set(tmp_path.rglob("*")) - before
    assert new == {data, data / FOLDER, *(data / FOLDER / name for name in FILES)}


def test_a_link_a_missing_file_and_another_file_in_the_archive_are_refused(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{FOLDER}/data_batch_1"
    (tmp_path / "secret").write_bytes(small.members[name])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(link)
    without = {path: content for path, content in small.members.items() if path != name}
    for archive, complaint in (
        (file.getvalue(), f"{name} is no plain file"),
        (packed(without), f"{ARCHIVE} has no {name}"),
        (packed({**without, name: b"another"}), f"data_batch_1 refused: expected md5 {FILES['data_batch_1']}"),
    ):
        believed(monkeypatch, archive, small.named)
        with pytest.raises(StudyError, match=complaint):
            prepare(tmp_path / "data", small.named)
        assert not (tmp_path / "data").exists()


# ---- the whole way


def test_the_entries_are_the_studys_with_networks_for_colour_images() -> None:
    ours = catalogue.select(study="cifar10")
    assert ours == catalogue.select(dataset="cifar10")
    for entry, grey in zip(ours, catalogue.select(), strict=True):
        assert entry.name == f"{grey.name}-cifar10"
        assert (entry.dataset, entry.recipe) == ("cifar10", grey.recipe)
        assert entry.network == grey.network.replace("lenet5:", "lenet5_colour:") + "Colour"


def test_from_training_to_the_inputs_of_the_bench(small: Small, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    data = datasets.prepare(["cifar10"], artifacts.data, small.named)
    entry = catalogue.entry("baseline-cifar10")
    entry = replace(entry, recipe=structs.replace(entry.recipe, epochs=2, unshifted=1, batch_size=20, validation=20))
    files = artifacts.run(entry.name, 0)
    test = images.load(data, False, "cifar10")
    record = fit(entry, files, Images(images.load(data, True, "cifar10"), test), lambda row: None)
    assert read_record(files.record, RunRecord, "") == record
    assert (record.dataset.name, record.dataset.mean, record.dataset.std) == ("CIFAR-10", cifar10.MEAN, cifar10.STD)
    assert record.dataset.files == FILES
    assert is_finished(files, entry)
    assert not is_finished(files, replace(entry, dataset="fashion-mnist")), "the same network on other images"

    assert export(entry, files, *test).parity.argmax_mismatches == 0
    model = onnx.load(files.onnx)
    assert onnx.helper.printable_value_info(model.graph.input[0]) == "%image[FLOAT, batchx3x32x32]"
    said = {p.key: p.value for p in model.metadata_props}
    assert said["input"] == "float32, red, green and blue, each 0..1; the normalisation is in the graph"
    assert said["classes"].startswith("airplane, automobile, bird")
    (found,) = onnxruntime.InferenceSession(files.onnx).run(None, {"image": (test[0].float() / 255).numpy()})
    assert (found.argmax(1) != test[1].numpy()).mean() == pytest.approx(record.test_error)

    measured = models.from_catalogue(artifacts, entry)
    (batch,) = measured.pool(A_BATCH)
    np.testing.assert_array_equal(batch["image"], test[0].numpy() / np.float32(255))
    hashes = surroundings([Case(measured, "onnxruntime", 1)], []).files_sha256
    assert hashes["test_batch"] == sha256(data / FOLDER / "test_batch")


def test_what_can_be_cut_is_chosen_on_the_last_third_of_its_training_images() -> None:
    assert pruning._part(datasets.find("fashion-mnist")) == (40_000, 20_000)
    assert pruning._part(datasets.find("cifar10")) == (33_334, 16_666)
