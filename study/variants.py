"""The variants that a trained network is exported in: the standard one, and those that options of export ask for."""

from itertools import product
from typing import Annotated, Literal

from msgspec import Meta, convert

from study.errors import StudyError
from study.records.base import Record

OPSET = 18
"""Opset of the standard variant, which every runtime of docs/portability.md accepts."""
OPSETS = range(14, 27)
"""Supported opsets: the converter cannot go below 14, and ONNX Runtime 1.31.1 runs nothing above 26."""
STANDARD_NAME = "standard"
"""Name of the standard variant."""


class Variant(Record):
    """How a network is exported; the default is the standard variant, `model.onnx`."""

    opset: Annotated[int, Meta(ge=1)] = OPSET
    """Opset of the file."""
    input: Literal["float32", "uint8"] = "float32"
    """Images in 0..1, or raw ones in 0..255."""
    simplify: bool = False
    """Whether the graph is simplified."""
    int8: Literal["static", "dynamic"] | None = None
    """Quantised: activation ranges calibrated beforehand, or computed for each batch."""
    remove_dead: bool = False
    """Without the units that decide nothing, whose removal leaves the outputs as they are."""
    sparse: bool = False
    """Weights stored as their nonzero values where that is smaller."""

    def _differs(self) -> dict[str, str]:
        """How it differs from the standard variant: a word for its name, and the option of export that asks for it."""
        options = {
            f"opset{self.opset}": f" --opset {self.opset}" if self.opset != OPSET else "",
            self.input: f" --input {self.input}" if self.input != "float32" else "",
            "compact": " --remove-dead" if self.remove_dead else "",
            "sparse": " --sparse" if self.sparse else "",
            "simplified": " --simplify" if self.simplify else "",
            f"int8-{self.int8}": f" --int8 {self.int8}" if self.int8 else "",
        }
        return {word: option for word, option in options.items() if option}

    @property
    def name(self) -> str:
        """Such as "opset17-uint8"; "standard" for the standard variant."""
        return "-".join(self._differs()) or STANDARD_NAME

    def named(self, stem: str) -> str:
        """File name for this variant, such as "model-opset17-uint8"; the stem alone for the standard variant."""
        return "-".join((stem, *self._differs()))

    def check(self) -> None:
        """
        Raises:
            StudyError: two of its options exclude each other.
        """
        if self.sparse and self.int8:
            raise StudyError("--sparse and --int8: give one of them; quantised weights have no sparse form")

    @property
    def options(self) -> str:
        """The options of `python -m export` that ask for it, with a space before each."""
        return "".join(self._differs().values())


STANDARD = Variant()


def options_of(name: str) -> str | None:
    """The options of `python -m export` that ask for the variant of this name; None if there is none of that name."""
    both = False, True
    forms = product(OPSETS, ("float32", "uint8"), both, (None, "static", "dynamic"), both, both)
    fields = "opset", "input", "simplify", "int8", "remove_dead", "sparse"
    variants = (convert(dict(zip(fields, form, strict=True)), Variant) for form in forms)
    return next((variant.options for variant in variants if variant.name == name), None)
