"""The forms that one trained network is exported in: the standard one, and what the options of export make of it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

OPSET = 18
"""Of the standard form; every runtime of docs/portability.md takes it."""


@dataclass(frozen=True)
class Variant:
    """What an ONNX file is to be; the default is the standard form, `model.onnx`."""

    opset: int = OPSET
    input: Literal["float32", "uint8"] = "float32"
    """Images in 0..1, or the raw ones in 0..255."""
    simplify: bool = False
    int8: Literal["static", "dynamic"] | None = None
    """Quantised: with activations in ranges found beforehand, or found anew for each batch."""

    @property
    def name(self) -> str:
        """Part of the names of its files, such as "opset17-uint8"; empty for the standard form."""
        parts = (
            f"opset{self.opset}" if self.opset != OPSET else "",
            self.input if self.input != "float32" else "",
            "simplified" if self.simplify else "",
            f"int8-{self.int8}" if self.int8 else "",
        )
        return "-".join(filter(None, parts))

    @property
    def options(self) -> str:
        """What makes it on the command line of `python -m export`, with a space before each."""
        parts = (
            f" --opset {self.opset}" if self.opset != OPSET else "",
            f" --input {self.input}" if self.input != "float32" else "",
            " --simplify" if self.simplify else "",
            f" --int8 {self.int8}" if self.int8 else "",
        )
        return "".join(parts)

    def record(self) -> dict[str, Any]:
        """Its fields, as export.json has them."""
        return asdict(self)


STANDARD = Variant()
