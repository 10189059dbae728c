"""Run any ONNX model once in one Python runtime: `any_model.py PACKAGE MODEL.onnx FOLDER`.

FOLDER has the inputs as 0.npy, 1.npy, ... and signature.json, {"inputs": [name, ...], "outputs": [name, ...]}, in the
order of the graph. The outputs become out-0.npy, out-1.npy, ... A standalone program: it needs the runtime and NumPy.
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
    import tract

    network = tract.onnx().load(model)
    for number, array in enumerate(feeds.values()):
        kind = "bool" if array.dtype == bool else f"{array.dtype.kind}{8 * array.dtype.itemsize}"
        network.set_input_fact(number, ",".join([*map(str, array.shape), kind]))
    return [tensor.to_numpy() for tensor in network.into_model().into_runnable().run(list(feeds.values()))]


def ncnn(model: str, feeds: Feeds, outputs: list[str]) -> Sequence[Any]:
    """ncnn has no batch axis, so that only a batch of one can be run."""
    import ncnn

    pnnx = find_spec("pnnx")
    if pnnx is None or pnnx.origin is None:
        sys.exit("Error: pnnx is not installed")
    kinds = {"b": "bool", "f": "f", "i": "i", "u": "u"}
    shapes = ",".join(
        f"[{','.join(map(str, array.shape))}]{kinds[array.dtype.kind]}{8 * array.dtype.itemsize}"
        for array in feeds.values()
    )
    network = ncnn.Net()
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(model, f"{folder}/model.onnx")  # pnnx writes beside it
        command = [str(Path(pnnx.origin).parent / "pnnx"), "model.onnx", f"inputshape={shapes}", "fp16=0"]
        subprocess.run(command, cwd=folder, check=True)
        if network.load_param(f"{folder}/model.ncnn.param") or network.load_model(f"{folder}/model.ncnn.bin"):
            sys.exit("Error: ncnn cannot read what pnnx made")
    extractor = network.create_extractor()
    for number, array in enumerate(feeds.values()):
        extractor.input(f"in{number}", ncnn.Mat(array[0] if array.ndim and len(array) == 1 else array).clone())
    results = []
    for number in range(len(outputs)):
        code, result = extractor.extract(f"out{number}")
        if code:
            sys.exit(f"Error: ncnn cannot compute output {number}")
        results.append(np.array(result)[None])
    return results


ENGINES = {
    "onnxruntime": onnxruntime,
    "onnx": onnx,
    "openvino": openvino,
    "opencv-python-headless": opencv,
    "tract": tract,
    "ncnn": ncnn,
}
"""By the package of a runtime."""


def main(package: str, model: str, folder: str) -> None:
    signature = json.loads(Path(folder, "signature.json").read_text())
    feeds = {name: np.load(Path(folder, f"{number}.npy")) for number, name in enumerate(signature["inputs"])}
    for number, array in enumerate(ENGINES[package](model, feeds, signature["outputs"])):
        np.save(Path(folder, f"out-{number}.npy"), array)


if __name__ == "__main__":
    main(*sys.argv[1:])
