"""The forms that one trained network is exported in: the standard one, and what the options of export make of it."""

from collections.abc import Mapping
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

    def _differs(self) -> dict[str, str]:
        """How it differs from the standard form: words for a name, and the option of export that makes each."""
        found = {
            f"opset{self.opset}": f" --opset {self.opset}" if self.opset != OPSET else "",
            self.input: f" --input {self.input}" if self.input != "float32" else "",
            "simplified": " --simplify" if self.simplify else "",
            f"int8-{self.int8}": f" --int8 {self.int8}" if self.int8 else "",
        }
        return {word: option for word, option in found.items() if option}

    @property
    def name(self) -> str:
        """Such as "opset17-uint8"; empty for the standard form."""
        return "-".join(self._differs())

    def named(self, stem: str) -> str:
        """A name for something in this form, such as "model-opset17-uint8"; the stem alone for the standard one."""
        return "-".join((stem, *self._differs()))

    @property
    def options(self) -> str:
        """What makes it on the command line of `python -m export`, with a space before each."""
        return "".join(self._differs().values())

    def record(self) -> dict[str, Any]:
        """Its fields, as export.json has them."""
        return asdict(self)


STANDARD = Variant()
STANDARD_NAME = "standard"
"""What the standard form is called where forms are chosen or listed."""


def variant_of(export: Mapping[str, Any]) -> Variant:
    """The form that an export.json is about; those of the standard form have no entry for it."""
    return Variant(**export["variant"]) if "variant" in export else STANDARD
