"""Run any ONNX model once in one Python runtime: `any_model.py PACKAGE MODEL.onnx INPUTS OUTPUTS`.

The folder INPUTS has an array for each input, 0.npy, 1.npy, ..., and names.json, {"inputs": [NAME, ...], "outputs":
[NAME, ...]}. The folder OUTPUTS gets an array for each output that is a tensor: 0.npy, 1.npy, ... A program of its own,
which needs the runtime and NumPy alone.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, Any]
"""Arrays by the input's name, in the order of the graph."""


def kind(array: Any) -> str:
    """A type as tract and pnnx write it, such as f32."""
    return "bool" if array.dtype == bool else f"{array.dtype.kind}{8 * array.dtype.itemsize}"


def onnxruntime(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(outputs, feeds))


def onnx(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(outputs, feeds))


def openvino(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    import openvino

    network = openvino.Core().read_model(model)
    network.reshape({name: array.shape for name, array in feeds.items()})
    compiled = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(feeds)
    return [results[name] for name in outputs]


def opencv(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    import cv2

    network = cv2.dnn.readNetFromONNX(model)
    for name, array in feeds.items():
        network.setInput(array, name)
    ends = network.getUnconnectedOutLayersNames()  # in OpenCV 4 such as onnx_node_output_0!NAME, in an order of its own
    found = {end.rpartition("!")[2]: array for end, array in zip(ends, network.forward(ends), strict=True)}
    return [found[name] for name in outputs] if found.keys() >= set(outputs) else list(found.values())


def tract(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    """Some models need the sizes of their inputs; in others they contradict names of sizes further down."""
    import tract

    arrays = list(feeds.values())
    sized = tract.onnx().load(model)
    for number, array in enumerate(arrays):
        sized.set_input_fact(number, ",".join([*map(str, array.shape), kind(array)]))
    try:
        network = sized.into_model().into_runnable()
    except tract.TractError as error:
        try:
            network = tract.onnx().load(model).into_model().into_runnable()
        except tract.TractError:
            raise error from None
    return [tensor.to_numpy() for tensor in network.run(arrays)]


def ncnn(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    """ncnn has no batch axis: the items of a batch are computed one after the other."""
    import ncnn

    pnnx = find_spec("pnnx")
    if pnnx is None or pnnx.origin is None:
        sys.exit("Error: pnnx is not installed")
    sizes = {len(array) if array.ndim else 0 for array in feeds.values()}
    batch = max(1, sizes.pop()) if len(sizes) == 1 else 1
    items = [[array[n : n + 1] if batch > 1 else array for array in feeds.values()] for n in range(batch)]
    shapes = ",".join(f"[{','.join(map(str, array.shape))}]{kind(array)}" for array in items[0])
    network = ncnn.Net()
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(model, f"{folder}/model.onnx")  # pnnx writes beside it
        command = [str(Path(pnnx.origin).parent / "pnnx"), "model.onnx", f"inputshape={shapes}", "fp16=0"]
        code = subprocess.run(command, cwd=folder).returncode
        if code:
            sys.exit(f"Error: pnnx cannot convert it (exit code {code})")
        if network.load_param(f"{folder}/model.ncnn.param") or network.load_model(f"{folder}/model.ncnn.bin"):
            sys.exit("Error: ncnn cannot read what pnnx made")
    rows = []
    for item in items:
        extractor = network.create_extractor()
        for number, array in enumerate(item):
            extractor.input(f"in{number}", ncnn.Mat(array[0] if array.ndim and len(array) == 1 else array).clone())
        found = [extractor.extract(f"out{number}") for number in range(len(outputs))]
        if any(code for code, _ in found):
            sys.exit("Error: ncnn cannot compute an output of what pnnx made")
        rows.append([np.array(result) for _, result in found])
    return [np.stack(column) for column in zip(*rows, strict=True)]


ENGINES = {
    "onnxruntime": onnxruntime,
    "onnx": onnx,
    "openvino": openvino,
    "opencv-python-headless": opencv,
    "tract": tract,
    "ncnn": ncnn,
}
"""By the package of a runtime."""


def main(package: str, model: str, inputs: str, outputs: str) -> None:
    names = json.loads(Path(inputs, "names.json").read_text())
    feeds = {name: np.load(Path(inputs, f"{number}.npy")) for number, name in enumerate(names["inputs"])}
    for number, value in enumerate(ENGINES[package](model, feeds, names["outputs"])):
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            np.save(Path(outputs, f"{number}.npy"), array.astype(str) if array.dtype.kind == "O" else array)


if __name__ == "__main__":
    main(*sys.argv[1:])
