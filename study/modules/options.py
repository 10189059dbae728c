"""The options of export and bench that describe a torch module, and the entry of the catalogue that they mean."""

import re
import shlex
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from study.catalogue import ENTRIES
from study.entry import Entry
from study.errors import StudyError

MODULE_OPTIONS = ("module", "name", "module_args", "weights", "size", "tolerance")


def add_module_options(add: Callable[..., Any], inputs: bool = True) -> None:
    """Add them with `add`, the method of an argument parser or of pytest; `inputs`: --input too."""
    add("--module", metavar="PLACE", help="any torch module: package.module:callable, or PATH.py:callable")
    add("--name", metavar="NAME", help="its name in files and tables (default: that of the callable)")
    if inputs:
        add("--input", action="append", default=[], metavar="NAME=DTYPE[...]", help="an input: ids=int64[batch,n]:0..9")
    add("--size", action="append", default=[], metavar="NAME=N", help="size of a named dimension, such as sequence=128")
    add("--module-args", default="", metavar="JSON", help="arguments of the callable: a list, or an object of keywords")
    add("--weights", default="", metavar="FILE", help="a state dict of torch.save, or safetensors (default: random)")
    add("--tolerance", type=float, metavar="X", help="largest difference, / the output's largest value (by dtype)")


def entry_of(options: Namespace) -> Entry | None:
    """The entry that --module and its options describe; None without --module.

    Raises:
        StudyError: an option is given without --module, or the callable's name is no name for a model.
    """
    if not options.module:
        given = [name for name in MODULE_OPTIONS[1:] if name not in ("size", "tolerance") and getattr(options, name)]
        if given:
            raise StudyError(f"--{given[0].replace('_', '-')} describes a torch module: give --module as well")
        return None
    name = options.name or options.module.rpartition(":")[2].rpartition(".")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise StudyError(f"--name: expected letters, digits, '.', '_' and '-', found {name!r}")
    if name in {entry.name for entry in ENTRIES}:
        raise StudyError(f"--name: {name} is a model of the catalogue; give the module another name")
    return Entry(
        name,
        options.module,
        inputs=tuple(options.input),
        sizes=tuple(options.size),
        arguments=options.module_args,
        weights=options.weights,
        tolerance=options.tolerance,
    )


def words_of(entry: Entry) -> list[str]:
    """The words of a command line that describe the module of an entry."""
    words = ["--module", entry.network, "--name", entry.name]
    words += [word for value in entry.inputs for word in ("--input", value)]
    words += [word for value in entry.sizes for word in ("--size", value)]
    words += ["--module-args", entry.arguments] if entry.arguments else []
    words += ["--weights", entry.weights] if entry.weights else []
    return words + (["--tolerance", repr(entry.tolerance)] if entry.tolerance is not None else [])


def export_command(entry: Entry) -> str:
    """The command that exports the module of an entry."""
    return shlex.join(["python", "-m", "export", *words_of(entry)])
