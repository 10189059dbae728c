"""What `python -m export pack` writes beside each model: pack.json."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Environment, NotNegative, Record, Seed, Sha256
from study.records.training import TrainedOn

PATH = r"^(model\.onnx|model\.onnx\.data|data\.json|test_data_set_[0-9]{1,3}/(input|output)_[0-9]{1,3}\.pb)$"
"""A file of a pack, relative to its folder."""


class PackedOutput(Record):
    """One output of a packed model, and how far a runtime may differ from what is expected of it."""

    name: str
    limit_abs: NotNegative
    limit_rel: NotNegative
    """A runtime computes the same where the difference is at most `limit_abs` + `limit_rel` * the largest magnitude of
    the array. Of integers and booleans, `limit_rel` is the share that may differ."""


class PackRecord(Record, tag_field="schema", tag="pack/1"):
    """One exported model with inputs and expected outputs, in ONNX's layout of a test case."""

    model: str
    expected: str
    """What computed the expected outputs, and with which weights, in words. It is never an ONNX runtime."""
    weights_sha256: Sha256 | None
    """SHA-256 of the checkpoint, or of the module's file of weights; null for weights that the module itself makes."""
    seed: Seed | None
    """Of the training, or of the weights that the module itself makes; null for those of a file."""
    given: str
    """The inputs, in words."""
    dataset: TrainedOn | None
    """The data set of the images; null for a module. The class of each image has to be that of PyTorch."""
    images: AtLeastOne | None
    """How many test images, the first ones; null for a module."""
    inputs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Names, in the order of the files `input_<number>.pb`."""
    outputs: Annotated[tuple[PackedOutput, ...], Meta(min_length=1)]
    """In the order of the files `output_<number>.pb`."""
    files: dict[Annotated[str, Meta(pattern=PATH)], Sha256]
    """SHA-256 of every other file of the folder, by its path."""
    environment: Environment
