"""Export trained models to ONNX and prove them against PyTorch: `python -m export [MODEL ...]`.

python -m export check FILE.onnx ...            in which runtimes does this ONNX file load?
python -m export conformance                    do the exported files compute the same in every runtime?
python -m export conformance --onnx FILE.onnx   does any other?
"""

import argparse
import sys
from collections.abc import Sequence

from export.options import add_arguments
from study.errors import exit_with
from study.variants import OPSET


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="See also: `python -m export check FILE.onnx ...` (in which runtimes does any ONNX file load?) and "
        "`python -m export conformance` (do the exported files, or any other, compute the same in every runtime?).",
    )
    add_arguments(parser)
    variant = parser.add_argument_group("variants", "write another variant beside model.onnx, named after its options")
    variant.add_argument("--opset", type=int, default=OPSET, metavar="N", help="14 to 26 (default: %(default)s)")
    variant.add_argument(
        "--input", choices=("float32", "uint8"), default="float32", help="images in 0..1 (default) or 0..255"
    )
    variant.add_argument("--simplify", action="store_true", help="simplify the graph with onnxslim (to be installed)")
    variant.add_argument("--int8", choices=("static", "dynamic"), help="quantise: smaller, but not an exact copy")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; `words` are the command line's unless given."""
    words = sys.argv[1:] if words is None else words
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be ASCII where standard output is
    if words[:1] == ["check"]:
        from export import check

        return check.main(words[1:])
    if words[:1] == ["conformance"]:
        from export.conformance import command

        return command.main(words[1:])
    options = arguments(words)
    from export.command import export_models

    return export_models(options)


if __name__ == "__main__":
    exit_with(main)
