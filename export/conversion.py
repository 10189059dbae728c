"""Convert a trained network to an ONNX model that every runtime loads: images in, probabilities out."""

import contextlib
import io
import logging
import re
import traceback
import warnings
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils import parametrize

from export.portable import edits, folding, opsets
from export.portable.rules import violations
from study.errors import StudyError
from study.soundness import failure, place
from study.variants import OPSET, STANDARD, Variant

INPUT = "image"
OUTPUT = "probabilities"
EXAMPLES = 2
"""Images of the exporter's example: with one, the batch could become a constant."""


class Classifier(nn.Module):
    """A network with the final softmax: images float32 [N, C, H, W] in 0..1 to probabilities float32 [N, classes]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image).float(), dim=1)


def convert(
    network: nn.Module,
    image_shape: tuple[int, ...],
    metadata: dict[str, str],
    variant: Variant = STANDARD,
) -> ModelProto:
    """Convert `network` (in evaluation mode) to an ONNX model with a dynamic batch and its weights inside.

    Its input is float32 and its arithmetic too: `finished` makes the rest of `variant`. `network` is used up: its
    parametrised weights are fixed, and torch's exporter may leave it in a state in which it no longer computes.

    Args:
        image_shape: (C, H, W) of one image.
        metadata: becomes the model's `metadata_props`.
        variant: the standard one is for every runtime.

    Raises:
        StudyError: the network cannot be exported.
    """
    for module in list(network.modules()):
        for name in list(getattr(module, "parametrizations", {})):  # computed once, under its own name
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    model = from_torch(network, image_shape)
    one, other = ({INPUT: np.zeros((batch, *image_shape), np.float32)} for batch in folding.BATCHES)
    folding.fold(model, one, other)
    edits.make_portable(model, weights_prefix="network.")
    if variant.simplify:
        from export.portable.simplification import simplify

        model = simplify(model)
        edits.make_portable(model, weights_prefix="")
    model = opsets.convert(model, variant.opset)
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    return model


def finished(model: ModelProto, name: str, variant: Variant, calibration: Tensor | None = None) -> ModelProto:
    """The result of `convert` quantised and with raw images as input, where `variant` says so; it keeps the rules.

    Args:
        name: of the network, for messages.
        calibration: training images, uint8 [N, C, H, W], for static quantisation.

    Raises:
        StudyError: the file would break a rule of export/portable/rules.py, or the quantiser fails.
    """
    made = ModelProto()
    made.CopyFrom(model)
    if variant.int8:
        from export.quantisation import quantise

        made = quantise(made, calibration, variant.int8)
    if variant.input == "uint8":
        take_raw_images(made)
    for broken in violations(made.SerializeToString(), variant.opset):
        raise StudyError(
            f"{name}: its ONNX file would break rule {broken.rule} of docs/portability.md: {broken.description}; write "
            "this part of the network with other operations"
        )
    return made


def from_torch(network: nn.Module, image_shape: tuple[int, ...]) -> ModelProto:
    """The output of torch's exporter, in the standard opset.

    Raises:
        StudyError: it fails; one line says why, and where in the network's code.
    """
    name = type(network).__name__
    model = _exported(network, image_shape, strict=False)
    if not _any_batch(model):  # its code asks for the batch size as a number: len(x), int(x.shape[0])
        with contextlib.suppress(StudyError):
            model = _exported(network, image_shape, strict=True)
    if not _any_batch(model):
        raise StudyError(
            f"{name} cannot be exported: expected code for any batch size, found some for {EXAMPLES} images, such as "
            "a loop over the images; write it for the whole batch, with x.shape[0] or -1 for its size"
        )
    return model


def _exported(network: nn.Module, image_shape: tuple[int, ...], strict: bool) -> ModelProto:
    """torch's export; `strict` follows the network's code itself, which keeps len(x) open, but supports less of it."""
    example = (torch.rand(EXAMPLES, *image_shape),)
    given: Any = Classifier(network)
    smallest = {"min": 2} if strict else {}
    shapes = {"image": {0: torch.export.Dim("batch", **smallest)}}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # deprecations inside torch
            logging.disable()  # torch prints its graphs
            if strict:
                given = torch.export.export(given, example, dynamic_shapes=shapes, strict=True)
            program = torch.onnx.export(
                given,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # of any kind: it runs the network's code
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in network.modules())
        why = "torch does not export the module of torch.jit in it; build it without" if scripted else reason(error)
        raise StudyError(f"{type(network).__name__} cannot be exported: {why}") from None
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    return program.model_proto


def _any_batch(model: ModelProto) -> bool:
    return all(v.type.tensor_type.shape.dim[0].dim_param for v in (*model.graph.input, *model.graph.output))


def reason(error: BaseException, inputs: str = "images") -> str:
    """Why torch's exporter fails: its messages are pages long, and the exception that began it says the least."""
    while error.__cause__ is not None:
        error = error.__cause__
    if "data-dependent" in str(error):
        where = place(traceback.extract_tb(error.__traceback__))
        return (
            f"data-dependent control flow{where}, whose course the values of the {inputs} decide; write it in "
            "operations on tensors, such as torch.where"
        )
    if operator := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error)):
        return f"ONNX has no operator for {operator[1]}; write it with other operations"
    return failure(error)


def take_raw_images(model: ModelProto) -> None:
    """Make the input uint8 in 0..255, the pixels as stored, and divide by 255 in the graph."""
    graph = model.graph
    taken = edits.value_names(graph)
    raw, scaled, largest = (edits.unique(f"{INPUT}_{what}", taken) for what in ("as_float32", "in_0_to_1", "largest"))
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
