"""`python -m export`: the parity proof, exports that are stale or damaged, and mistakes on the command line."""

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from onnx import numpy_helper

from export import exporter, one_run, quantisation
from export.__main__ import main
from export.exporter import ParityError, export
from export.parity import LEAST, images_for
from export.quantisation import quantise
from study import catalogue, checkpoints
from study.data import tensors
from study.entry import Entry
from study.errors import StudyError
from study.files import sha256
from study.networks import build
from study.networks.lenet5 import LeNet5GAP
from study.parity import compare
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import Variant
from tests.conftest import Trained, run
from tests.support.study import edit_json


def test_the_proof_is_over_all_test_images(trained: Trained) -> None:
    for model in ("baseline", "gap"):
        files = trained.artifacts.run(model, 0)
        record = read_record(files.export, ExportRecord, "")
        assert record.parity.images == 10_000
        assert 0 < record.parity.max_abs_difference <= 1e-5
        assert record.parity.argmax_mismatches == 0
        assert record.test_error_onnxruntime == pytest.approx(read_record(files.record, RunRecord, "").test_error)
        assert record.onnx_sha256 == sha256(files.onnx)
        assert record.bytes == files.onnx.stat().st_size
        assert (record.opset, record.ir_version) == (18, 8)


def test_dead_units_are_removed_from_the_file_and_the_probabilities_stay(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten units of fc1 get no weight, five of fc2 lead nowhere; more cannot be removed, and gap has no dead unit."""
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("baseline", 0)
    weights = torch.load(files.checkpoint, weights_only=True)
    weights["fc1.weight"][:10] = 0
    weights["fc3.weight"][:, 20:25] = 0
    torch.save(weights, files.checkpoint)
    edit_json(files.record, checkpoint_sha256=sha256(files.checkpoint))
    assert main(["baseline", "gap", "--remove-dead", "--artifacts", str(artifacts.root)]) == 0
    compact = files.of(Variant(remove_dead=True))
    record = read_record(compact.export, ExportRecord, "")
    sizes = {one.layer: (one.before, one.after, one.constant, one.unused) for one in record.removed}
    assert (sizes["fc1"], sizes["fc2"]) == ((120, 110, 10, 0), (84, 79, 0, 5))
    assert record.same is not None
    assert (record.same.images, record.same.argmax_mismatches) == (10_000, 0)
    assert record.same.max_abs_difference <= 1e-6
    removed = 4 * (10 * (400 + 1 + 84) + 5 * (110 + 1 + 10))
    assert compact.onnx.stat().st_size == pytest.approx(files.onnx.stat().st_size - removed, abs=200)
    assert "`fc1` has 110 of 120 units, `fc2` has 79 of 84 units" in compact.card.read_text()
    assert (
        "gap seed 0: nothing to remove: none of 78 units between two layers is dead; no file is written"
        in capsys.readouterr().out
    )
    for name in (files.checkpoint.name, files.record.name):
        shutil.copy(trained.artifacts.run("baseline", 0).folder / name, files.folder)
    assert main(["baseline", "--remove-dead", "--artifacts", str(artifacts.root)]) == 0
    assert "baseline seed 0: nothing to remove" in capsys.readouterr().out
    assert not compact.onnx.exists(), "it was of another checkpoint"
    assert not compact.export.exists()


def test_parity_by_hand() -> None:
    expected = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], np.float32)
    parity = compare(expected, np.array([[0.6, 0.4], [0.4, 0.6], [0.1, 0.9]], np.float32))
    assert (parity.images, parity.argmax_mismatches) == (3, 1)
    assert parity.max_abs_difference == pytest.approx(0.1)
    assert not parity.holds(1e-5)
    assert compare(expected, expected).holds(0)
    assert not compare(expected, np.full_like(expected, np.nan)).holds(1)


@pytest.mark.parametrize("amount", [1e-3, float("nan")])
def test_a_file_that_computes_something_else_is_not_written(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amount: float
) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    old = files.onnx.read_bytes(), files.export.read_bytes(), files.card.read_bytes()
    wrong = onnx.load(files.onnx)
    bias = next(i for i in wrong.graph.initializer if i.dims == [10])
    values = numpy_helper.to_array(bias) + np.array([amount] + [0] * 9, np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    monkeypatch.setattr(exporter, "convert", lambda *_: wrong)
    images, labels = tensors.load(data, train=False)
    with pytest.raises(ParityError, match=r"^above 1e-05 or a differing prediction$") as raised:
        export(catalogue.entry("gap"), files, images[:500], labels[:500])
    assert raised.value.parity.max_abs_difference > 1e-5
    assert (files.onnx.read_bytes(), files.export.read_bytes(), files.card.read_bytes()) == old, "the old one stays"


def test_a_quantised_file_that_costs_too_many_classes_is_not_written(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0).of(Variant(int8="dynamic"))
    floats = onnx.load(trained.artifacts.run("gap", 0).onnx)
    images, labels = tensors.load(data, train=False)

    def quantised(model: onnx.ModelProto, *_: object) -> onnx.ModelProto:
        """The same with the classes of trousers and pullovers exchanged: a fifth of the images."""
        made = quantise(model, None, "dynamic")
        order = numpy_helper.from_array(np.array([0, 2, 1, *range(3, 10)]), "order")
        made.graph.initializer.append(order)
        made.graph.node[-1].output[0] = "in_order"
        made.graph.node.append(onnx.helper.make_node("Gather", ["in_order", "order"], ["probabilities"], axis=1))
        return made

    monkeypatch.setattr(exporter, "convert", lambda *_: floats)
    monkeypatch.setattr(quantisation, "quantise", quantised)
    with pytest.raises(ParityError, match="quantised, more than 5% of the images have another class") as raised:
        export(catalogue.entry("gap"), files, images[:500], labels[:500])
    assert 0.15 < raised.value.parity.argmax_mismatches / 500 < 0.3
    assert not files.onnx.exists()


def test_a_network_that_drops_out_is_refused_before_anything_is_exported_or_quantised(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    images, labels = tensors.load(data, train=False)
    plain = LeNet5GAP.forward
    monkeypatch.setattr(LeNet5GAP, "forward", lambda self, x: F.dropout(plain(self, x), 0.3))
    for variant in (Variant(), Variant(simplify=True), Variant(simplify=True, int8="dynamic")):
        files = artifacts.run("gap", 0).of(variant)
        with pytest.raises(StudyError, match=r"in evaluation mode it drops out at test_command\.py:\d+; write F\.drop"):
            export(catalogue.entry("gap"), files, images[:500], labels[:500])
        assert variant == Variant() or not files.onnx.exists()


def test_a_network_that_ignores_its_images_is_refused_without_warnings(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = tensors.load(data, train=False)
    monkeypatch.setattr(LeNet5GAP, "forward", lambda self, x: next(self.parameters()).flatten()[:10].expand(len(x), 10))
    files = trained.copy(tmp_path / "a").run("gap", 0)
    with warnings.catch_warnings(action="error"), pytest.raises(StudyError, match="its ONNX file would break rule"):
        export(catalogue.entry("gap"), files, images[:500], labels[:500])


def test_a_network_that_keeps_a_state_is_named_as_the_reason_of_a_difference(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts its calls, and changes after those of the check before the export."""
    images, labels = tensors.load(data, train=False)
    plain = LeNet5GAP.forward

    def counting(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return plain(self, x) * (1 if self.calls < 6 else -1)

    monkeypatch.setattr(LeNet5GAP, "forward", counting)
    files = trained.copy(tmp_path / "a").run("gap", 0)
    with pytest.raises(ParityError, match="the network itself gives two results: it keeps a state"):
        export(catalogue.entry("gap"), files, images[:3000], labels[:3000])


def test_a_network_in_float64_is_to_be_converted(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = tensors.load(data, train=False)
    plain, load = LeNet5GAP.forward, checkpoints.load
    monkeypatch.setattr(LeNet5GAP, "forward", lambda self, x: plain(self, x.double()))
    monkeypatch.setattr(checkpoints, "load", lambda *given: load(*given).double())
    files = trained.copy(tmp_path / "a").run("gap", 0)
    with pytest.raises(StudyError, match=r"its weights are float64: convert it to float32$"):
        export(catalogue.entry("gap"), files, images[:500], labels[:500])


def test_an_error_of_any_kind_is_one_line_and_the_other_models_go_on(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    whole = export

    def failing(entry: Entry, *given: Any) -> ExportRecord:
        if entry.name == "baseline":
            raise TypeError("two\nlines")
        return whole(entry, *given)

    monkeypatch.setattr(one_run, "export", failing)
    for name in ("baseline", "gap"):
        artifacts.run(name, 0).export.unlink()
    assert main(["baseline", "gap", "--artifacts", str(artifacts.root)]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(r"error: baseline seed 0: FAILED: TypeError: two lines.*\n", printed.err)
    assert f"wrote {artifacts.run('gap', 0).onnx}" in printed.out


def test_the_proof_of_a_large_network_is_over_its_first_images() -> None:
    """By the multiply-accumulates that the networks' own docstrings give."""
    images = torch.zeros(10_000, 1, 28, 28, dtype=torch.uint8)
    for name, expected in {
        "baseline": (10_000, 10_000),
        "tuned": (20_000 / 4.24, 10_000),
        "mini-vgg": (20_000 / 26.0, 50_000 / 26.0),
        "convnet-7x7": (LEAST, 50_000 / 89.5),
    }.items():
        network = build(catalogue.entry(name)).eval()
        assert images_for(network, images) == pytest.approx(expected, rel=0.01), name
        assert images_for(network, images[:20]) == (20, 20)


def test_two_exports_give_the_same_bytes(trained: Trained, data: Path, tmp_path: Path) -> None:
    """Rule R11; the other export is that of the fixture, in another process."""
    images, labels = tensors.load(data, train=False)
    files = trained.copy(tmp_path / "a").run("gap", 0)
    export(catalogue.entry("gap"), files, images[:500], labels[:500])
    assert files.onnx.read_bytes() == trained.artifacts.run("gap", 0).onnx.read_bytes()


def test_only_a_missing_or_damaged_export_is_made_again(trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    again = run("export", "gap", "--artifacts", artifacts.root)
    assert again.stdout == f"gap seed 0: {files.onnx} is current: nothing to do\n"
    before = files.onnx.read_bytes()
    files.onnx.write_bytes(before[:-1])
    # rule R12: the exporter prints a check mark where the output allows it
    repaired = run("export", "gap", "--artifacts", artifacts.root, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert repaired.returncode == 0
    assert repaired.stdout.isascii()
    assert f"wrote {files.onnx}" in repaired.stdout
    assert files.onnx.read_bytes() == before


def test_a_mistake_names_what_to_run_or_to_write(trained: Trained, tmp_path: Path) -> None:
    root = str(trained.artifacts.root)
    mistakes = {
        f"run `python -m train --artifacts {tmp_path}`": ["--artifacts", str(tmp_path)],
        "run `python -m train gap --study cnn5 --data 'a b' --artifacts none`": [
            *("gap", "--artifacts", "none", "--data", "a b", "--study", "cnn5")
        ],
        "gpa": ["gpa", "--artifacts", root],
        "--opset: expected 14 to 26 (default: 18), found 13": ["gap", "--opset", "13", "--artifacts", root],
        "--opset: expected 14 to 26 (default: 18), found 27": ["gap", "--opset", "27", "--artifacts", root],
    }
    for message, words in mistakes.items():
        with pytest.raises(StudyError, match=re.escape(message)):
            main(words)


def test_a_damaged_checkpoint_is_refused(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    files.onnx.unlink()
    files.checkpoint.write_bytes(b"\x80\x04not a checkpoint")
    assert main(["gap", "--artifacts", str(artifacts.root)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert f"{files.checkpoint}: expected sha256" in errors
    assert not files.onnx.exists()


def test_a_checkpoint_that_runs_code_is_not_unpickled(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where its run.json has its SHA-256."""
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    flag = tmp_path / "executed"

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(flag),)  # type: ignore[return-value]

    torch.save({"conv1.weight": Exploit()}, files.checkpoint)
    edit_json(files.record, checkpoint_sha256=sha256(files.checkpoint))
    assert main(["gap", "--artifacts", str(artifacts.root)]) == 2
    assert "does not hold the weights of" in capsys.readouterr().err
    assert not flag.exists()
