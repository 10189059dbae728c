"""How many fully-connected weights can be cut: the smallest are set to zero in the ONNX file, and that file is run.

One-shot magnitude pruning over all fully-connected layers together, without retraining: the "global magnitude
pruning" of Blalock et al. (arXiv 2003.03033), once and not fine-tuned. Han et al. (arXiv 1506.02626) cut the smallest
weights too but train the others on in between, which makes room for far more. Only weights are cut, never biases or
convolutions. Weights that are zero already are the smallest there are, so they count as cut.

What may be cut is chosen on images that are not the test images: a part of the training images, since no recipe keeps
images back. The network was trained on them, so the loss measured there need not be the loss on others; therefore the
one network that was chosen is run on the test images too, once. The result is kept beside the ONNX file, as
pruning.json.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from analysis.weights import layers
from study.artifacts import RunFiles, current_export, read_json, sha256, write_json
from study.data import arrays
from study.data.datasets import Dataset, titled
from study.environment import environment, usable_cores
from study.errors import StudyError

LOSS_ALLOWED = 0.005
"""Of accuracy, as a fraction of the images: half a point."""
SHARE = 3
"""The training images that the cut is chosen on: the last third, 20,000 of Fashion-MNIST.

So many that the choice of images matters less than the seed: docs/method.md.
"""
STEPS = (5, 1)
"""Per cent of the weights; see `largest`."""
BATCH = 100
"""Images, whose activations in a LeNet stay in the cache."""


@dataclass(frozen=True)
class Images:
    """What a network is run on."""

    pixels: NDArray[np.float32]
    """[N, C, H, W], 0..1."""
    labels: NDArray[np.uint8]
    """[N]"""


@dataclass(frozen=True)
class Cut:
    """A network some of whose weights are cut, on N images."""

    share: int
    """Per cent of the weights, rounded down to whole weights."""
    threshold: float
    """The largest magnitude that is cut; 0 where nothing is."""
    wrong: int
    """Images it gets wrong."""

    def record(self, images: int) -> dict[str, float]:
        return {"share": self.share / 100, "threshold": self.threshold, "error": self.wrong / images}


def measure_missing(runs: Sequence[RunFiles], data: Path) -> list[str]:
    """Measure every run with fully-connected layers that has no current pruning.json; one line a run is printed.

    Args:
        runs: finished ones.
        data: the folder that `study.data.datasets.prepare` has put the images below; nothing is fetched.

    Returns:
        Why there are runs that were not measured, a sentence each: without images or ONNX Runtime there is no result,
        which is no reason to go without a report.

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
        return ["how many weights can be cut was not measured: it takes onnxruntime, which is not installed"]
    notes = []
    for title in dict.fromkeys(_title(files) for files, _ in missing):
        try:
            dataset = titled(title)
            first, count = _part(dataset)
            images, test = load(data, True, dataset.name, first, count), load(data, False, dataset.name)
        except StudyError as error:
            notes.append(f"how many weights can be cut was not measured: {error}")
        else:
            notes += _measure_all([run for run in missing if _title(run[0]) == title], images, test)
    return notes


def _measure_all(runs: Sequence[tuple[RunFiles, list[str]]], images: Images, test: Images) -> list[str]:
    """Measure runs of one data set, each with the names of its weights; why some were not measured."""

    def make(run: tuple[RunFiles, list[str]]) -> str:
        """Measure one run and write its file; why not, in a sentence, or nothing."""
        files, tensors = run
        started = perf_counter()
        try:
            found = measure(onnx.load(files.onnx), tensors, images, test)
        except StudyError as error:
            return f"{files.onnx}: how many weights can be cut was not measured: {error}"
        write_json(files.pruning, {**_made_as(files), **found, "environment": environment()})
        print(f"{files.model} seed {files.seed}: {in_words(found)}, {perf_counter() - started:.1f} s", flush=True)
        return ""

    with ThreadPoolExecutor(usable_cores()) as pool:  # ONNX Runtime lets go of Python's lock while it computes
        return [note for note in pool.map(make, runs) if note]


def current(files: RunFiles) -> dict[str, Any] | None:
    """The content of pruning.json if it is of the ONNX file there is now and made as it is made now; otherwise None."""
    try:
        record = read_json(files.pruning, "pruning/1", "it is made again")
        made_as = _made_as(files)
    except StudyError:
        return None
    return record if {key: record[key] for key in made_as} == made_as else None


def _made_as(files: RunFiles) -> dict[str, Any]:
    """What a pruning.json must say of itself to be of the ONNX file of `files`, and made as it is made now."""
    first, count = _part(titled(_title(files)))
    return {
        "schema": "pruning/1",
        "model": files.model,
        "seed": files.seed,
        "onnx_sha256": sha256(files.onnx),
        "loss_allowed": LOSS_ALLOWED,
        "images": {"part": "train", "first": first, "count": count},
    }


def _title(files: RunFiles) -> str:
    """Of the data set that a run was made with."""
    title: str = read_json(files.record, "run/1", f"run `python -m train {files.model}`")["dataset"]["name"]
    return title


def _part(dataset: Dataset) -> tuple[int, int]:
    """The training images that the cut is chosen on: number of the first, and how many."""
    count = dataset.train_images // SHARE
    return dataset.train_images - count, count


def fc_tensors(path: Path) -> list[str]:
    """The names of the tensors that are the weights of fully-connected layers, each once, in the order of the layers.

    Raises:
        StudyError: the file cannot be read.
    """
    return list(dict.fromkeys(layer.tensor for layer in layers.read(path).layers if layer.role == "fc"))


def load(data: Path, train: bool, dataset: str, first: int = 0, count: int | None = None) -> Images:
    """`count` images (without it: all) from number `first` on of the training or the test part of a data set.

    Raises:
        StudyError: a file is missing or another one.
    """
    pixels, labels = arrays.read(data, train, dataset)
    chosen = slice(first, None if count is None else first + count)
    return Images(np.divide(pixels[chosen], 255, dtype=np.float32), labels[chosen])


def measure(model: onnx.ModelProto, tensors: Sequence[str], images: Images, test: Images) -> dict[str, Any]:
    """How much of the initializers `tensors` of `model` can be cut, chosen on `images` and tried once on `test`.

    Returns:
        `weights`, `uncut_error`, `curve`, `cut`, `test` of pruning.json. The curve has every share that was looked
        at, ascending, those of the first of `STEPS` all the way to 1.

    Raises:
        StudyError: as `cut`.
    """
    looked: dict[int, Cut] = {}

    def look(share: int) -> Cut:
        if share not in looked:
            edited, threshold = cut(model, tensors, share)
            looked[share] = Cut(share, threshold, mistakes(edited, images))
        return looked[share]

    most = look(0).wrong + LOSS_ALLOWED * len(images.labels)
    best = largest(lambda share: look(share).wrong <= most)
    for share in range(0, 101, STEPS[0]):
        look(share)
    tried, _ = cut(model, tensors, best)
    n, tests = len(images.labels), len(test.labels)
    return {
        "weights": sum(weight.size for weight in _weights(model, tensors)),
        "uncut_error": looked[0].wrong / n,
        "curve": [looked[share].record(n) for share in sorted(looked)],
        "cut": looked[best].record(n),
        "test": {
            "images": tests,
            "error": mistakes(tried, test) / tests,
            "uncut_error": mistakes(model, test) / tests,
        },
    }


def largest(holds: Callable[[int], bool]) -> int:
    """The largest share, in per cent, up to which cutting loses no more than allowed: `holds`, which 0 does.

    Error does not grow with every single weight that is cut, so "up to which" is said more precisely: the multiples
    of 5 % are tried in ascending order until one does not hold (the last is 100 %), then those of 1 % between it and
    the one before. The result is the last that held: all that were tried below it hold, and 1 % more does not.
    """
    low, high = 0, 101
    for step in STEPS:
        for share in range(low + step, high, step):
            if not holds(share):
                high = share
                break
            low = share
    return low


def cut(model: onnx.ModelProto, tensors: Sequence[str], share: int) -> tuple[onnx.ModelProto, float]:
    """A copy of `model` with `share` per cent of the numbers in its initializers `tensors` set to zero.

    These are the ones of smallest magnitude in all of them together; among equal ones, those that come first. All
    else is as it was.

    Returns:
        The copy, and the largest magnitude that was cut (0 where nothing was).

    Raises:
        StudyError: `model` has no initializer of a name in `tensors`, or one that is not finite.
    """
    weights = list(_weights(model, tensors))
    magnitudes = np.abs(np.concatenate([weight.ravel() for weight in weights]))
    smallest = np.argsort(magnitudes, kind="stable")[: magnitudes.size * share // 100]
    kept = np.ones(magnitudes.size, bool)
    kept[smallest] = False
    parts = np.split(kept, np.cumsum([weight.size for weight in weights])[:-1])

    edited = onnx.ModelProto()
    edited.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in edited.graph.initializer}
    for name, weight, part in zip(tensors, weights, parts, strict=True):
        rest = np.where(part.reshape(weight.shape), weight, weight.dtype.type(0))
        stored[name].CopyFrom(numpy_helper.from_array(rest, name))
    return edited, float(magnitudes[smallest].max(initial=0))


def _weights(model: onnx.ModelProto, tensors: Sequence[str]) -> Iterator[NDArray[Any]]:
    """The initializers `tensors` as they are stored."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in tensors:
        if name not in stored:
            raise StudyError(f"expected the weight {name!r} among the initializers, where exported files have it")
        weight = numpy_helper.to_array(stored[name])
        if not np.isfinite(weight).all():
            raise StudyError(f"expected finite weights, found others in {name!r}")
        yield weight


def mistakes(model: onnx.ModelProto, images: Images) -> int:
    """How many images `model`, which takes them and gives a number [N, classes] for each class, takes for another.

    It is run in ONNX Runtime on one thread of the processor.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wrong = 0
    for first in range(0, len(images.labels), BATCH):
        (scores,) = session.run(None, {name: images.pixels[first : first + BATCH]})
        wrong += int((scores.argmax(1) != images.labels[first : first + BATCH]).sum())
    return wrong


def in_words(record: dict[str, Any]) -> str:
    """What was found, in a line."""
    chosen, test = record["cut"], record["test"]
    return (
        f"{chosen['share'] * 100:.0f} % of {record['weights']:,} weights can be cut, "
        f"{(chosen['error'] - record['uncut_error']) * 100:+.2f} points of error on training images, "
        f"{(test['error'] - test['uncut_error']) * 100:+.2f} on the test images"
    )
