"""How many weights are prunable: the search by hand, and a trained network against PyTorch."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import torch

from analysis.measures import pruning
from analysis.measures.magnitude import Images
from analysis.measures.pruning import largest, measure
from study import catalogue, checkpoints, evaluation
from study.artifacts import Artifacts, RunFiles
from study.data import tensors as images
from study.errors import StudyError
from study.record_files import read_record
from study.records.analysis import PruningPoint, PruningRecord, PruningTest
from tests.analysis.measures.test_magnitude import model
from tests.conftest import Trained
from tests.support.study import edit_json


class TestLargest:
    def test_it_is_the_last_share_that_holds_where_none_holds_beyond(self) -> None:
        lasts = [0, 1, 4, 5, 6, 52, 99, 100]
        assert [largest(lambda share, last=last: share <= last) for last in lasts] == lasts  # type: ignore[misc]

    def test_it_ends_at_the_first_multiple_that_does_not_hold_whatever_holds_beyond(self) -> None:
        assert largest(lambda share: share != 60) == 59
        assert largest(lambda share: share not in {57, 60}) == 56
        assert largest(lambda share: share != 51 and share < 70) == 69, "51 % is not tried"

    def test_no_share_is_tried_twice(self) -> None:
        tried = []

        def holds(share: int) -> bool:
            tried.append(share)
            return share < 100

        assert largest(holds) == 99
        assert tried == [*range(5, 101, 5), 96, 97, 98, 99]


class TestMeasure:
    """Ten classes, 100 weights: an image of class i has the score W[i, i] for it and 0 for the others.

    With W[i, i] cut all its scores are equal, and class 0 is the answer. The other 90 weights are zero from the start.
    """

    @pytest.fixture
    def network(self, tmp_path: Path) -> onnx.ModelProto:
        return model(tmp_path, fc=np.diag([1, 0.25, -0.5, 0.75, 2, 3, 4, 5, 6, 7]).astype(np.float32))

    @staticmethod
    def shown(*classes: int) -> Images:
        pixels = np.eye(10, dtype=np.float32)[list(classes)]
        pixels[:, 2] *= -1  # as its weight is negative
        return Images(pixels, np.array(classes, np.uint8))

    def test_half_a_point_may_be_lost_but_not_more(self, network: onnx.ModelProto) -> None:
        """Of 200 images one may be lost: class 1 has one image and the smallest weight, class 2 the next of each."""
        result = measure(network, ["fc.weight"], self.shown(1, 2, *[3] * 198), self.shown(0, 1, 1, 4))
        assert result.weights == 100
        assert result.uncut_error == 0
        assert result.cut == PruningPoint(share=0.91, threshold=0.25, error=1 / 200)
        assert result.test == PruningTest(images=4, error=2 / 4, uncut_error=0)

    def test_where_that_image_is_not_alone_it_may_not_be_lost(self, network: onnx.ModelProto) -> None:
        result = measure(network, ["fc.weight"], self.shown(1, 1, *[3] * 198), self.shown(0, 1))
        assert result.cut == PruningPoint(share=0.9, threshold=0, error=0)
        assert result.test.error == 0

    def test_what_is_wrong_without_a_cut_is_no_loss(self, network: onnx.ModelProto) -> None:
        images = self.shown(1, 2, *[3] * 198)
        images.labels[100:150] = 9
        result = measure(network, ["fc.weight"], images, self.shown(0))
        assert result.uncut_error == 0.25
        assert result.cut == PruningPoint(share=0.91, threshold=0.25, error=51 / 200)

    def test_where_nothing_is_lost_all_of_it_can_be_cut(self, network: onnx.ModelProto) -> None:
        result = measure(network, ["fc.weight"], self.shown(*[0] * 200), self.shown(0, 3))
        assert result.cut == PruningPoint(share=1, threshold=7, error=0)
        assert result.test.error == 0.5

    def test_the_curve_has_every_share_that_was_tried_and_goes_all_the_way(self, network: onnx.ModelProto) -> None:
        result = measure(network, ["fc.weight"], self.shown(1, 2, *[3] * 198), self.shown(0))
        expected = sorted({*range(0, 101, 5), 91, 92})
        assert [point.share for point in result.curve] == [share / 100 for share in expected]
        errors = {point.share: point.error for point in result.curve}
        assert (errors[0.9], errors[0.91], errors[0.92], errors[1]) == (0, 1 / 200, 2 / 200, 1)


class TestTrained:
    """The baseline and `gap`, trained for one epoch on the real images, chosen on few of them to be quick."""

    FIRST = 58_000
    """The last thirtieth of 60,000."""

    @pytest.fixture(scope="class")
    @staticmethod
    def measured(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artifacts]:
        artifacts = trained.copy(tmp_path_factory.mktemp("pruning") / "artifacts")
        runs = [artifacts.run(name, 0) for name in ("baseline", "gap")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pruning, "SHARE", 30)
            assert pruning.measure_missing(runs, artifacts.data) == []
            yield artifacts

    @pytest.fixture
    def files(self, measured: Artifacts) -> RunFiles:
        return measured.run("baseline", 0)

    def test_pytorch_makes_as_many_mistakes_with_the_same_weights_cut(self, files: RunFiles, data: Path) -> None:
        record = read_record(files.pruning, PruningRecord, "")
        assert record.weights == 400 * 120 + 120 * 84 + 84 * 10
        assert 0 < record.cut.share < 1
        network = checkpoints.load(catalogue.entry("baseline"), files)
        kernels = [p for name, p in network.named_parameters() if name in {f"fc{i}.weight" for i in (1, 2, 3)}]
        train, test = images.load(data, train=True), images.load(data, train=False)
        last = train[0][self.FIRST :], train[1][self.FIRST :]
        assert evaluation.evaluate(network, *last).error == pytest.approx(record.uncut_error, abs=5.1e-4)
        assert evaluation.evaluate(network, *test).error == pytest.approx(record.test.uncut_error, abs=5.1e-4)
        with torch.no_grad():
            for kernel in kernels:
                kernel[kernel.abs() <= record.cut.threshold] = 0
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
        assert zeros == int(record.weights * record.cut.share)
        assert evaluation.evaluate(network, *last).error == pytest.approx(record.cut.error, abs=5.1e-4)
        assert evaluation.evaluate(network, *test).error == pytest.approx(record.test.error, abs=5.1e-4)

    def test_the_loss_is_within_half_a_point_and_a_little_more_is_not(self, files: RunFiles) -> None:
        record = read_record(files.pruning, PruningRecord, "")
        losses = {point.share: point.error - record.uncut_error for point in record.curve}
        share = record.cut.share
        assert losses[share] <= 0.005 < losses[round(share + 0.01, 2)]

    def test_a_model_without_fully_connected_layers_has_no_such_file(self, measured: Artifacts) -> None:
        assert not measured.run("gap", 0).pruning.exists()

    def test_what_is_current_is_not_measured_again(
        self, files: RunFiles, measured: Artifacts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = files.pruning.stat().st_mtime_ns
        assert pruning.measure_missing([files, measured.run("gap", 0)], Path("nowhere")) == []
        assert capsys.readouterr().out == ""
        assert files.pruning.stat().st_mtime_ns == before

    CHANGES: ClassVar[dict[str, Callable[[RunFiles], Any]]] = {
        "another ONNX file": lambda run: run.onnx.write_bytes(run.onnx.read_bytes() + b"\x00"),
        "another rule": lambda run: edit_json(run.pruning, loss_allowed=0.01),
        "other images": lambda run: edit_json(run.pruning, images={"part": "train", "first": 0, "count": 2_000}),
        "damaged": lambda run: run.pruning.write_bytes(run.pruning.read_bytes()[:-10]),
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_result_of_something_else_is_not_current(self, files: RunFiles, tmp_path: Path, change: str) -> None:
        copy = RunFiles(Path(shutil.copytree(files.folder, tmp_path / "run")), files.model, files.seed)
        assert pruning.current(copy) is not None
        self.CHANGES[change](copy)
        assert pruning.current(copy) is None

    def test_a_stale_export_is_refused(self, files: RunFiles, tmp_path: Path) -> None:
        copy = RunFiles(Path(shutil.copytree(files.folder, tmp_path / "run")), files.model, files.seed)
        copy.onnx.write_bytes(copy.onnx.read_bytes() + b"\x00")
        with pytest.raises(StudyError, match="`python -m export baseline`"):
            pruning.measure_missing([copy], Path("nowhere"))


class TestWithout:
    """A missing part gives a note of one sentence, and no error."""

    def note(self, trained: Trained, data: Path) -> str:
        files = trained.artifacts.run("baseline", 0)
        (note,) = pruning.measure_missing([files], data)
        assert "prunable weights were not measured: " in note
        assert "\n" not in note
        assert not files.pruning.exists()
        return note

    def test_images(self, trained: Trained, tmp_path: Path) -> None:
        assert f"{tmp_path}/FashionMNIST/raw/train-images-idx3-ubyte is missing" in self.note(trained, tmp_path)

    def test_onnxruntime(self, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        assert "onnxruntime is not installed" in self.note(trained, trained.artifacts.data)

    def test_weights_that_can_be_cut(self, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "fc_tensors", lambda _: ["fc9.weight"])
        assert "'fc9.weight'" in self.note(trained, trained.artifacts.data)
