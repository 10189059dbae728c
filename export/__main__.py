"""Export trained models to ONNX and prove them against PyTorch: `python -m export [MODEL ...]`.

python -m export check FILE.onnx ...            in which runtimes does this ONNX file load?
python -m export conformance                    do the exported files compute the same in every runtime?
python -m export conformance --onnx FILE.onnx   does any other?
python -m export compact FILE.onnx              a smaller file that computes the same
python -m export pack                           exported models with inputs and the outputs of PyTorch
python -m export verify PACK                    does ONNX Runtime compute these?
"""

import argparse
import sys
from collections.abc import Sequence

from export.options import add_arguments
from study.command_line import Parser
from study.errors import StudyError, exit_with
from study.modules.options import add_module_options, entry_of
from study.remote.options import add_engine
from study.variants import OPSET


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="See also: `python -m export check FILE.onnx ...` (in which runtimes does any ONNX file load?), "
        "`python -m export conformance` (do the exported files, or any other, compute the same in every runtime?), "
        "`python -m export compact FILE.onnx` (any ONNX file without the units that decide nothing), "
        "`python -m export pack` and `python -m export verify PACK` (models with inputs and expected outputs).",
    )
    add_arguments(parser)
    add_engine(parser, "exports of trained models")
    module = parser.add_argument_group("a torch module of your own", "exported to artifacts/modules/NAME")
    add_module_options(module.add_argument, inputs=False)
    variant = parser.add_argument_group("variants", "write another variant beside model.onnx, named after its options")
    variant.add_argument("--opset", type=int, default=OPSET, metavar="N", help="14 to 26 (default: %(default)s)")
    variant.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="WORD",
        help="uint8: images in 0..255, not float32 in 0..1; of --module an input, such as ids=int64[batch,n]:0..30521",
    )
    variant.add_argument("--simplify", action="store_true", help="simplify the graph with onnxslim (to be installed)")
    variant.add_argument("--int8", choices=("static", "dynamic"), help="quantise: smaller, but not an exact copy")
    variant.add_argument("--remove-dead", action="store_true", help="remove units that decide nothing: equal outputs")
    variant.add_argument("--sparse", action="store_true", help="store weights as their nonzero values where smaller")
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
    if words[:1] == ["compact"]:
        from export.compact import command as compact_command

        return compact_command.main(words[1:])
    if words[:1] == ["pack"]:
        from export.pack import command as pack_command

        return pack_command.main(words[1:])
    if words[:1] == ["verify"]:
        from export.pack import verify

        return verify.main(words[1:])
    options = arguments(words)
    if entry := entry_of(options):
        from export.module_command import export_entries

        if options.models:
            raise StudyError(f"--module: leave out {' '.join(options.models)}")
        if options.engine != "local":
            raise StudyError("--module: expected --engine local, found --engine ray; only trained models travel to Ray")
        return export_entries([entry], options)
    from export.command import export_models

    options.input = _image_type(options.input)
    return export_models(options)


def _image_type(words: Sequence[str]) -> str:
    if not words:
        return "float32"
    if len(words) > 1 or words[0] not in ("float32", "uint8"):
        raise StudyError(f"--input: expected float32 or uint8, found {' '.join(words)!r}; inputs are for --module")
    return words[0]


if __name__ == "__main__":
    exit_with(main)
