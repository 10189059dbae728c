"""The files that a conformance run tries, with the images and what each file should make of them."""

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.conformance.cells import BATCHES, Subject
from export.parity import run_onnx, run_torch
from study import checkpoints
from study.artifacts import Artifacts, RunFiles, current_export
from study.catalogue import Entry
from study.data import datasets
from study.data import tensors as images
from study.errors import StudyError
from study.parity import INT8_DIFFERENCE, INT8_MISMATCHES
from study.selection import selected
from study.variants import STANDARD


def find(options: argparse.Namespace, artifacts: Artifacts, work: Path) -> list[Subject]:
    """The first finished run of each model, with a copy in `work` of each form asked for, and the images there.

    Raises:
        StudyError: none is there, one is not exported so, or takes raw images, which the programs do not read.
    """
    runs = []
    for entry in selected(options, options.models):
        if not artifacts.runs(entry.name):
            print(f"{entry.name}: no finished run; run `python -m train {entry.name}`", file=sys.stderr)
            continue
        for name in dict.fromkeys(options.variants.split(",")):
            files = artifacts.runs(entry.name)[0].exported_as(name)
            if files.variant.input != STANDARD.input:
                raise StudyError(f"--variants: expected forms that take images in 0..1, found {name}")
            runs.append((entry, files, current_export(files).onnx_sha256))
    if not runs:
        raise StudyError(f"no finished run in {artifacts.root}; run `python -m train` first")

    work = work.absolute()
    names = dict.fromkeys(entry.dataset for entry, *_ in runs)
    data = datasets.prepare(names, artifacts.data, options.data)
    tests = {name: images.load(data, train=False, dataset=name)[0][: options.images] for name in names}
    pixels = {name: work / f"images-{number}.npy" for number, name in enumerate(names)}
    for name, file in pixels.items():
        np.save(file, tests[name].float().div_(255).numpy())
    return [
        _subject(entry, files, onnx_sha256, work, pixels[entry.dataset], tests[entry.dataset])
        for entry, files, onnx_sha256 in runs
    ]


def _subject(entry: Entry, files: RunFiles, onnx_sha256: str, work: Path, pixels: Path, tests: Tensor) -> Subject:
    variant = files.variant
    name = variant.named(entry.name)
    onnx = Path(shutil.copyfile(files.onnx, work / f"{name}.onnx"))
    limits = (INT8_DIFFERENCE, INT8_MISMATCHES) if variant.int8 else (entry.largest_difference, 0.0)
    return Subject(name, files.seed, onnx, onnx_sha256, pixels, _expected(entry, files, tests), *limits)


def _expected(entry: Entry, files: RunFiles, tests: Tensor) -> Mapping[int, NDArray[np.float32]]:
    """What PyTorch computes; of a quantised file, which computes something else, what ONNX Runtime makes of it."""
    if files.variant.int8:
        content = files.onnx.read_bytes()
        return {batch: run_onnx(content, tests, batch) for batch in BATCHES}
    return dict.fromkeys(BATCHES, run_torch(checkpoints.load(entry, files), tests))
