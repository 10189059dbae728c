"""A trained network as an ONNX model that loads in every runtime: images in, probabilities out."""

import warnings

import onnx
import onnx.checker
import onnx.shape_inference
import torch
from torch import Tensor, nn

from export import portable
from study.errors import StudyError, one_line

OPSET = 18
IR_VERSION = 8  # onnxruntime 1.15 to 1.17 refuse what is newer than 9; the exporter always writes 10
INPUT = "image"
OUTPUT = "probabilities"


class Classifier(nn.Module):
    """A network with the final softmax: images float32 [N, C, H, W] in 0..1 to probabilities float32 [N, classes]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image), dim=1)


def convert(network: nn.Module, image_shape: tuple[int, ...], metadata: dict[str, str]) -> onnx.ModelProto:
    """Convert `network` (in evaluation mode) to an ONNX model with a dynamic batch and its weights inside.

    Args:
        image_shape: (C, H, W) of one image.
        metadata: becomes the model's `metadata_props`.

    Raises:
        StudyError: the network cannot be exported, or its file is not what was asked for.
    """
    example = torch.rand(2, *image_shape)  # a batch of 1 could be taken for a constant
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside torch, which nobody here can act on
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
        raise StudyError(f"{type(network).__name__} cannot be exported: {str(error).strip().splitlines()[0]}") from None
    assert program is not None
    model = program.model_proto
    portable.bring_to_portable_form(model, weights_prefix="network.")
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = one_line(error)
        raise StudyError(f"{type(network).__name__}: its ONNX file fails the checker ({reason})") from None
    opsets = {(o.domain, o.version) for o in model.opset_import}
    if opsets != {("", OPSET)}:  # torch falls back to another one without a word
        raise StudyError(f"expected opset {OPSET} of ai.onnx alone, the exporter wrote {sorted(opsets)}")
    return model
