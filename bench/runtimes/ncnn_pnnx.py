"""ncnn, with pnnx as converter, if they are installed (`pip install ncnn pnnx`)."""

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from bench.runtimes.conversions import converted
from bench.runtimes.openmp import end_threads
from bench.session_folder import folder as session_folder
from study import children
from study import onnx_inputs as signatures
from study.errors import StudyError
from study.records.bench import Settings

session_folder()  # before processes are started, so that they inherit it

NAME = "model.ncnn"
"""The converted files', without their suffixes .param and .bin."""
HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


class NCNN(Runtime):
    """The ONNX file in float32, which pnnx converts beforehand.

    ncnn has no batch dimension: a call computes image after image, so its time is proportional to the batch size.
    """

    def __init__(self, model: Model, setting: Setting) -> None:
        self.net = ncnn.Net()
        self.net.opt.num_threads = setting.threads
        for option in HALVES:
            setattr(self.net.opt, option, False)
        made = self.prepare(model) / NAME
        if self.net.load_param(f"{made}.param") or self.net.load_model(f"{made}.bin"):
            raise StudyError(f"{model.onnx}: ncnn does not load the files that pnnx converted")

    @staticmethod
    def prepare(model: Model) -> Path:
        """Convert the model, once a session; returns the folder of the result."""
        return converted(model, "pnnx", lambda folder: _convert(model, folder))

    def to_native(self, inputs: Inputs) -> Any:
        (images,) = inputs.values()
        return [ncnn.Mat(image).clone() for image in images]  # a Mat does not keep the memory of its array alive

    def run(self, inputs: Any) -> Any:
        outputs = []
        for image in inputs:
            extractor = self.net.create_extractor()
            extractor.input("in0", image)
            outputs.append([extractor.extract(name)[1] for name in self.net.output_names()])
        return outputs

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [np.stack([np.array(output) for output in of_all]) for of_all in zip(*outputs, strict=True)]

    def settings(self) -> Settings:
        half = any(getattr(self.net.opt, option) for option in HALVES)
        return {"threads": self.net.opt.num_threads, "device": "cpu", "half_precision": half, "images_at_once": 1}

    def close(self) -> None:
        self.net.clear()
        end_threads()


def _convert(model: Model, folder: Path) -> None:
    """Write the converted files to `folder`."""
    package = importlib.util.find_spec("pnnx")  # importing it would import torch
    if package is None or package.origin is None:
        raise StudyError("ncnn needs the converter pnnx; run `pip install pnnx`")
    taken = model.facts.inputs
    if len(taken) != 1 or taken[0].dtype != np.float32:
        raise StudyError(f"{model.onnx}: ncnn takes one float32 input, found {', '.join(map(str, taken))}")
    (shape,) = signatures.concrete(taken, model.given.shapes, 1).values()
    source = folder / "model.onnx"
    source.write_bytes(model.onnx.read_bytes())  # pnnx writes beside the file that it reads
    shown = f"inputshape=[{','.join(map(str, shape))}]f32"
    command = [str(Path(package.origin).with_name("pnnx")), source.name, shown, "fp16=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    done = children.run(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, errors="replace")
    if done.returncode or not (folder / f"{NAME}.bin").is_file():
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StudyError(f"{model.onnx}: pnnx failed with exit code {done.returncode}: {reason[:300]}")
    for other in folder.iterdir():
        if not other.name.startswith(NAME):
            other.unlink()
