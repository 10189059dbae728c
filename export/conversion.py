"""Convert a trained network to an ONNX model that every runtime loads: images in, probabilities out."""

import warnings

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.portable import edits, opsets
from export.portable.rules import violations
from study.errors import StudyError
from study.variants import OPSET, STANDARD, Variant

INPUT = "image"
OUTPUT = "probabilities"


class Classifier(nn.Module):
    """A network with the final softmax: images float32 [N, C, H, W] in 0..1 to probabilities float32 [N, classes]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image), dim=1)


def convert(
    network: nn.Module,
    image_shape: tuple[int, ...],
    metadata: dict[str, str],
    variant: Variant = STANDARD,
    calibration: Tensor | None = None,
) -> ModelProto:
    """Convert `network` (in evaluation mode) to an ONNX model with a dynamic batch and its weights inside.

    Args:
        image_shape: (C, H, W) of one image.
        metadata: becomes the model's `metadata_props`.
        variant: the standard one is for every runtime.
        calibration: training images, uint8 [N, C, H, W], for static quantisation.

    Raises:
        StudyError: the network cannot be exported, or its file would break a rule of export/portable/rules.py.
    """
    model = from_torch(network, image_shape)
    edits.make_portable(model, weights_prefix="network.")
    if variant.simplify:
        from export.portable.simplification import simplify

        model = simplify(model)
        edits.make_portable(model, weights_prefix="")
    model = opsets.convert(model, variant.opset)
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    if variant.int8:
        from export.quantisation import quantise

        model = quantise(model, calibration, variant.int8)
    if variant.input == "uint8":
        take_raw_images(model)
    for broken in violations(model.SerializeToString(), variant.opset):
        name = type(network).__name__
        raise StudyError(f"{name}: its ONNX file would break rule {broken.rule}: {broken.description}; {broken.remedy}")
    return model


def from_torch(network: nn.Module, image_shape: tuple[int, ...]) -> ModelProto:
    """The output of torch's exporter, in the standard opset."""
    example = torch.rand(2, *image_shape)  # a batch of 1 could become a constant
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch
            program = torch.onnx.export(
                Classifier(network),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StudyError(f"{type(network).__name__} cannot be exported: {reason}") from None
    assert program is not None
    return program.model_proto


def take_raw_images(model: ModelProto) -> None:
    """Make the input uint8 in 0..255, the pixels as stored, and divide by 255 in the graph."""
    graph = model.graph
    raw, scaled, largest = (f"{INPUT}_{what}" for what in ("as_float32", "in_0_to_1", "largest"))
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == INPUT:
                node.input[position] = scaled
    nodes = [
        helper.make_node("Cast", [INPUT], [raw], name=raw, to=TensorProto.FLOAT),
        helper.make_node("Div", [raw, largest], [scaled], name=scaled),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), largest))
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
