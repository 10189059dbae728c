"""The files of a conformance run, with their images and the probabilities that each should compute."""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.command import first_runs
from export.conformance.cells import BATCHES, Subject
from export.parity import run_onnx, run_torch
from study import checkpoints
from study.artifacts import Artifacts, RunFiles, current_export
from study.data import datasets, tensors
from study.entry import Entry
from study.errors import StudyError
from study.files import read_plain
from study.parity import INT8_DIFFERENCE, INT8_MISMATCHES
from study.selection import selected
from study.variants import STANDARD


def find_subjects(options: argparse.Namespace, artifacts: Artifacts, work: Path) -> list[Subject]:
    """The first finished run of each model in each variant asked for; files and images are copied to `work`.

    Raises:
        StudyError: no run is finished, a variant is not exported, or it takes raw images, which the programs do not
            read.
    """
    runs = []
    for entry, files in first_runs(options, artifacts, selected(options, options.models)):
        for name in dict.fromkeys(options.variants.split(",")):
            exported = files.exported_as(name)
            if exported.variant.input != STANDARD.input:
                raise StudyError(f"--variants: expected variants that take images in 0..1, found {name}")
            runs.append((entry, exported, current_export(exported).onnx_sha256))

    work = work.absolute()
    names = dict.fromkeys(entry.dataset for entry, *_ in runs)
    data = datasets.prepare(names, artifacts.data, options.data)
    images = {name: tensors.load(data, train=False, dataset=name)[0][: options.images] for name in names}
    pixels = {name: work / f"images-{number}.npy" for number, name in enumerate(names)}
    for name, file in pixels.items():
        np.save(file, images[name].float().div_(255).numpy())
    return [
        _subject(entry, files, onnx_sha256, work, pixels[entry.dataset], images[entry.dataset])
        for entry, files, onnx_sha256 in runs
    ]


def _subject(entry: Entry, files: RunFiles, onnx_sha256: str, work: Path, pixels: Path, images: Tensor) -> Subject:
    variant = files.variant
    onnx = Path(shutil.copyfile(files.onnx, work / f"{variant.named(entry.name)}.onnx"))
    return Subject(
        model=entry.name,
        variant=variant.name,
        seed=files.seed,
        onnx=onnx,
        onnx_sha256=onnx_sha256,
        images=pixels,
        expected=_expected(entry, files, images),
        largest_difference=INT8_DIFFERENCE if variant.int8 else entry.largest_difference,
        mismatches=INT8_MISMATCHES if variant.int8 else 0.0,
    )


def _expected(entry: Entry, files: RunFiles, images: Tensor) -> Mapping[int, NDArray[np.float32]]:
    """The probabilities of PyTorch by batch size; for a quantised file, which differs, those of ONNX Runtime."""
    if files.variant.int8:
        content = read_plain(files.onnx, None)
        return {batch: run_onnx(content, images, batch) for batch in BATCHES}
    return dict.fromkeys(BATCHES, run_torch(checkpoints.load(entry, files), images))
