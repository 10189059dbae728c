"""The models that are measured: trained models of the catalogue, or any ONNX file of the user."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.artifacts import Artifacts, RunFiles, current_export
from study.catalogue import Entry
from study.data.arrays import read
from study.errors import StudyError
from study.files import sha256
from study.finished import untrained
from study.modules.exported import given_of
from study.modules.files import ModuleFiles, current_module, refuse_changed
from study.onnx_given import Given, parse_given
from study.record_files import read_record
from study.records.training import RunRecord
from study.variants import STANDARD, STANDARD_NAME

if TYPE_CHECKING:
    from bench.onnx_files import Facts

Inputs = Mapping[str, NDArray[Any]]
"""The argument of one call: an array for each input of the model, by its name."""

IMAGES = 1024
"""Number of test images in the pool; every engine gets the same ones in the same order."""
GENERATED = 8
"""Number of inputs that are generated for a user's model."""
INPUT_SEED = 0


@dataclass(frozen=True)
class Model:
    """A model to be measured. PyTorch needs `entry` and `run`, or `module`; a user's ONNX file has neither."""

    name: str
    onnx: Path
    onnx_sha256: str
    entry: Entry | None = None
    run: RunFiles | None = None
    data: Path | None = None
    """The folder of all data sets."""
    given: Given = field(default_factory=Given)
    """The user's shapes and values of its inputs."""
    module: ModuleFiles | None = None
    """The torch module that the file was exported from, which is not trained here."""
    tolerance: float | None = None
    """Largest difference / an output's largest value, as the user named it; None: derived from the arithmetic."""

    @cached_property
    def facts(self) -> "Facts":
        """Inputs, sizes and counts of the ONNX file. The library onnx is imported only here, not in cold starts.

        Raises:
            StudyError: the file is missing, or not an ONNX model with tensors as inputs.
        """
        from bench.onnx_files import read

        return read(self.onnx, self.given)

    @property
    def seed(self) -> int | None:
        return self.run.seed if self.run else None

    @property
    def variant(self) -> str:
        """The variant of the export; a user's file counts as standard."""
        return self.run.variant.name if self.run else STANDARD_NAME

    @property
    def is_file(self) -> bool:
        """Whether it is an ONNX file of the user alone."""
        return self.run is None and self.module is None

    @property
    def in_torch(self) -> bool:
        """Whether torch has a network that computes the same from the same input, and so is comparable."""
        if self.module:
            return True
        variant = self.run.variant if self.run else None
        return variant is not None and variant.int8 is None and variant.input == STANDARD.input

    @property
    def parameters(self) -> int:
        """Trainable parameters from run.json; of a module or file, the elements of its floating-point constants."""
        if self.run is None:
            return self.facts.parameters
        return read_record(self.run.record, RunRecord, "").parameters

    def batch_sizes(self, wanted: Sequence[int]) -> list[int]:
        """The batch sizes of `wanted` that the model accepts; its own if the batch size is fixed.

        Raises:
            StudyError: the signature leaves another dimension open, or an input is of a type that cannot be drawn.
        """
        from study.onnx_inputs import batch_sizes

        if self.run:
            return list(wanted)
        sizes = batch_sizes(self.facts.inputs, self.given.shapes, wanted)
        for size in sizes:
            self.choices(size)  # fails before anything is measured
        return sizes

    def pool(self, batch: int) -> list[dict[str, NDArray[Any]]]:
        """Different inputs of this batch size, C-contiguous, the same in every engine and session.

        For a model of the catalogue these are the first test images in their order, [batch, C, H, W], float32 in 0..1,
        or raw in uint8 if the model takes uint8; the last batch is completed from the beginning. For a user's file they
        are those given, or random, of the shapes and types of its signature.

        Raises:
            StudyError: the signature leaves a dimension open.
        """
        if self.run is None or self.data is None:
            from study.onnx_values import generate

            return generate(self.facts.inputs, self.given, batch, INPUT_SEED, GENERATED, self.facts.uses)
        assert self.entry is not None
        (taken,) = self.facts.inputs
        images = _images(self.data, self.entry.dataset, raw=taken.dtype == np.uint8)
        starts = range(0, len(images), batch)
        return [{taken.name: np.ascontiguousarray(images[np.arange(s, s + batch) % len(images)])} for s in starts]

    def choices(self, batch: int) -> list[str]:
        """A line for each input that `pool` draws and that the user may want to give."""
        if self.run is not None:
            return []
        from study.onnx_values import choices

        return choices(self.facts.inputs, self.given, batch, self.facts.uses)


def from_catalogue(artifacts: Artifacts, entry: Entry, variant: str = STANDARD_NAME) -> Model:
    """A model of the catalogue, from its first finished run: latency does not depend on the seed.

    Args:
        variant: the name of an export; unless it is "standard", it is part of the model's name.

    Raises:
        StudyError: there is no finished run or no such export, or its ONNX file is missing or stale.
    """
    runs = artifacts.runs(entry.name)
    if not runs:
        raise StudyError(untrained(artifacts, [entry.name], Namespace()))
    run = runs[0].exported_as(variant)
    name = run.variant.named(entry.name)
    export = current_export(run)
    return Model(name, run.onnx, export.onnx_sha256, entry, run, artifacts.data.resolve())


def from_module(files: ModuleFiles, feeds: Sequence[Path] = ()) -> Model:
    """A torch module of the user and its ONNX file; its inputs are those of `feeds`, or drawn as its words say.

    Raises:
        StudyError: it has not been exported, its ONNX file is missing or another one, or does not take what is given;
            or the module's code or weights have changed since: torch would run another module than the file has.
    """
    record = current_module(files)
    refuse_changed(files, record)
    given, tolerance = given_of(record), record.tolerance
    if feeds:
        from study.onnx_values import check

        fed = parse_given([], [], feeds)
        values = {name: value for name, value in given.values.items() if name not in fed.shapes}
        given = replace(fed, values=values, sizes=given.sizes)
    name, onnx = record.name, files.onnx.absolute()
    model = Model(name, onnx, record.onnx_sha256, given=given, module=files, tolerance=tolerance)
    if feeds:
        try:
            check(model.facts.inputs, given)
        except StudyError as error:
            raise StudyError(f"{record.name}: {error}") from None
    return model


def from_file(path: Path, given: Given, others: Sequence[Path] = (), tolerance: float | None = None) -> Model:
    """Any ONNX file, named after itself without its suffix, and after as many of its folders as tell it from `others`.

    Raises:
        StudyError: the file is missing or is not an ONNX model with tensors as inputs, or does not take what is given.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no plain file" if path.exists() else "nothing there"
        raise StudyError(f"{path}: expected an ONNX file, found {found}")
    from study.onnx_values import check

    parts, *rest = (each.absolute().with_suffix("").parts for each in (path, *others))
    depth = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in rest)), 1)
    model = Model("-".join(parts[-depth:]), path.absolute(), sha256(path), given=given, tolerance=tolerance)
    taken = model.facts.inputs  # read now, so that a bad file fails before anything is measured
    try:
        check(taken, given)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    return model


@cache
def _images(data: Path, dataset: str, raw: bool) -> NDArray[Any]:
    """The first test images of a data set [IMAGES, C, H, W], float32 in 0..1 or raw in uint8."""
    images, _ = read(data, train=False, dataset=dataset)
    first = images[:IMAGES]
    return first if raw else first.astype(np.float32) / np.float32(255)
