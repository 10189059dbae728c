"""How many fully-connected weights can be set to zero in the ONNX file at a loss of half a point of accuracy.

One-shot magnitude pruning over all fully-connected layers together, without retraining: the "global magnitude
pruning" of Blalock et al. (arXiv 2003.03033), once and not fine-tuned. Han et al. (arXiv 1506.02626) prune the smallest
weights too but retrain the others in between, which makes room for far more. Only weights are pruned, never biases or
convolutions. Weights that are already zero have the smallest magnitude, so they count as pruned.

The share is chosen on training images, the last third, since no recipe keeps images back for it. The network was
trained on them, so its loss there need not be its loss on other images: the network with the chosen share is therefore
run on the test images, once. The result is kept beside the ONNX file, as pruning.json.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx

from analysis.measures.magnitude import Images, Network, errors
from analysis.weights import layers
from study.artifacts import RunFiles, current_export
from study.cores import usable_cores
from study.data import arrays
from study.data.datasets import Dataset, titled
from study.environment import environment
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record, write_record
from study.records.analysis import ImagesUsed, PruningPoint, PruningRecord, PruningTest
from study.records.training import RunRecord

LOSS_ALLOWED = 0.005
"""Loss of accuracy that a cut may cost, as a fraction of the images: half a point."""
SHARE = 3
"""The cut is chosen on the last one in `SHARE` training images, 20,000 of Fashion-MNIST.

With so many the choice of images matters less than the seed: docs/method.md.
"""
STEPS = (5, 1)
"""Step sizes of the search for the largest share, in per cent of the weights; see `largest`."""
NOT_MEASURED = "prunable weights were not measured"


@dataclass(frozen=True)
class Prunable:
    """How many weights of one network are prunable: these fields of pruning.json."""

    weights: int
    uncut_error: float
    curve: tuple[PruningPoint, ...]
    cut: PruningPoint
    test: PruningTest

    def __str__(self) -> str:
        return (
            f"{self.cut.share * 100:.0f} % of {self.weights:,} weights are prunable, "
            f"{(self.cut.error - self.uncut_error) * 100:+.2f} points of error on training images, "
            f"{(self.test.error - self.test.uncut_error) * 100:+.2f} on the test images"
        )


def measure_missing(runs: Sequence[RunFiles], data: Path) -> list[str]:
    """Measure every run with fully-connected layers that has no current pruning.json; one line a run is printed.

    Args:
        runs: trained and exported runs.
        data: the folder below which `study.data.datasets.prepare` has put the images; nothing is downloaded.

    Returns:
        Why some runs were not measured, one sentence each. Without images or ONNX Runtime the report is made all the
        same, without these results.

    Raises:
        StudyError: an ONNX file is missing, stale or cannot be read.
    """
    for files in runs:
        current_export(files)
    missing = [(files, tensors) for files in runs if current(files) is None and (tensors := fc_tensors(files.onnx))]
    if not missing:
        return []
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return [f"{NOT_MEASURED}: onnxruntime is not installed"]
    notes = []
    for title in dict.fromkeys(_title(files) for files, _ in missing):
        try:
            dataset = titled(title)
            first, count = _part(dataset)
            images, test = load(data, True, dataset.name, first, count), load(data, False, dataset.name)
        except StudyError as error:
            notes.append(f"{NOT_MEASURED}: {error}")
        else:
            notes += _measure_all([run for run in missing if _title(run[0]) == title], images, test)
    return notes


def _measure_all(runs: Sequence[tuple[RunFiles, list[str]]], images: Images, test: Images) -> list[str]:
    """Measure runs of one data set, given the names of their weights; returns why some were not measured."""

    def write(run: tuple[RunFiles, list[str]]) -> str:
        """Measure one run and write its file; returns why it was not measured, or nothing."""
        files, tensors = run
        started = perf_counter()
        try:
            result = measure(onnx.load(files.onnx), tensors, images, test)
        except StudyError as error:
            return f"{files.onnx}: {NOT_MEASURED}: {error}"
        record = PruningRecord(
            model=files.model,
            seed=files.seed,
            onnx_sha256=sha256(files.onnx),
            loss_allowed=LOSS_ALLOWED,
            images=_images_used(files),
            **vars(result),
            environment=environment(),
        )
        write_record(files.pruning, record)
        print(f"{files.model} seed {files.seed}: {result}, {perf_counter() - started:.1f} s", flush=True)
        return ""

    pool = ThreadPoolExecutor(usable_cores())  # ONNX Runtime releases Python's lock while it computes
    try:
        return [note for note in pool.map(write, runs) if note]
    finally:
        pool.shutdown(cancel_futures=True)  # of runs that are not begun, once one has failed or Ctrl-C came


def current(files: RunFiles) -> PruningRecord | None:
    """The content of pruning.json, or None if it is of another ONNX file or was measured in another way than today."""
    try:
        record = read_record(files.pruning, PruningRecord, "it is measured again")
        wanted = files.model, files.seed, sha256(files.onnx), LOSS_ALLOWED, _images_used(files)
    except StudyError:
        return None
    measured = record.model, record.seed, record.onnx_sha256, record.loss_allowed, record.images
    return record if measured == wanted else None


def _title(files: RunFiles) -> str:
    """The name of the data set of a run, as run.json has it."""
    return read_record(files.record, RunRecord, f"run `python -m train {files.model}`").dataset.name


def _images_used(files: RunFiles) -> ImagesUsed:
    first, count = _part(titled(_title(files)))
    return ImagesUsed(part="train", first=first, count=count)


def _part(dataset: Dataset) -> tuple[int, int]:
    """Number of the first training image that the cut is chosen on, and how many there are."""
    count = dataset.train_images // SHARE
    return dataset.train_images - count, count


def fc_tensors(path: Path) -> list[str]:
    """The names of the weights of fully-connected layers in an ONNX file, each once, in the order of the layers.

    Raises:
        StudyError: the file cannot be read.
    """
    return list(dict.fromkeys(layer.tensor for layer in layers.read(path).layers if layer.role == "fc"))


def load(data: Path, train: bool, dataset: str, first: int = 0, count: int | None = None) -> Images:
    """The images of the training or the test part of a data set, `count` of them (default: all) from `first` on.

    Raises:
        StudyError: a file is missing, or is not the published one.
    """
    pixels, labels = arrays.read(data, train, dataset)
    chosen = slice(first, None if count is None else first + count)
    return Images(np.divide(pixels[chosen], 255, dtype=np.float32), labels[chosen])


def measure(model: onnx.ModelProto, tensors: Sequence[str], images: Images, test: Images) -> Prunable:
    """How many numbers in the initializers `tensors` of `model` are prunable, chosen on `images`, once on `test`.

    The curve has every share that was tried, ascending, with all multiples of the first of `STEPS`.

    Raises:
        StudyError: as `Network`.
    """
    network = Network(model, tensors)
    batches, tests = network.compute(images), network.compute(test)
    n, n_tests = len(images.labels), len(test.labels)
    wrong: dict[int, int] = {}
    points: dict[int, PruningPoint] = {}

    def cut(share: int) -> int:
        """How many images are misclassified with this share of the weights, in per cent, set to zero."""
        if share not in points:
            part, threshold = network.cut(share)
            wrong[share] = errors(part, batches)
            points[share] = PruningPoint(share=share / 100, threshold=threshold, error=wrong[share] / n)
        return wrong[share]

    most = cut(0) + LOSS_ALLOWED * n
    best = largest(lambda share: cut(share) <= most)
    for share in range(0, 101, STEPS[0]):
        cut(share)
    uncut, pruned = (errors(network.cut(share)[0], tests) / n_tests for share in (0, best))
    return Prunable(
        weights=network.size,
        uncut_error=points[0].error,
        curve=tuple(points[share] for share in sorted(points)),
        cut=points[best],
        test=PruningTest(images=n_tests, error=pruned, uncut_error=uncut),
    )


def largest(holds: Callable[[int], bool]) -> int:
    """The largest share, in per cent, up to which cutting loses no more than allowed: `holds`, which 0 does.

    The error is not monotonic in the share, so "up to which" needs a rule: the multiples of 5 % are tried in ascending
    order until one does not hold (the last is 100 %), then those of 1 % between it and the one before. The result is
    the last that held: every share tried below it holds, and 1 % more does not.
    """
    low, high = 0, 101
    for step in STEPS:
        for share in range(low + step, high, step):
            if not holds(share):
                high = share
                break
            low = share
    return low
