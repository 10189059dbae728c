"""Exported modules by their names: the entry that each was exported from, and the inputs it takes. No torch here."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from study.artifacts import Artifacts
from study.entry import Entry
from study.errors import StudyError
from study.modules.files import ModuleFiles, current_module, exported_modules, module_files
from study.record_files import read_record
from study.records.module import ModuleRecord

if TYPE_CHECKING:
    from study.onnx_given import Given


def exported_entries(artifacts: Artifacts, taken: Collection[str] = ()) -> tuple[Entry, ...]:
    """An entry for each exported module whose name is not one of `taken`.

    Raises:
        StudyError: a module.json is damaged.
    """
    return tuple(_entry(files) for files in exported_modules(artifacts) if files.name not in taken)


def _entry(files: ModuleFiles) -> Entry:
    record = read_record(files.record, ModuleRecord, f"delete {files.folder}, or export {files.name} again")
    return Entry(
        files.name,
        record.factory,
        inputs=record.inputs,
        sizes=tuple(f"{name}={size}" for name, size in record.sizes.items()),
        arguments=record.arguments,
        weights=record.weights or "",
        tolerance=record.tolerance,
    )


def difference(entry: Entry, record: ModuleRecord) -> str:
    """What an export was made from otherwise than an entry says: "sizes n=4 instead of n=8"; "" where nothing is.

    Raises:
        StudyError: the inputs or the arguments are not described as they should be.
    """
    from study.modules.finding import absolute
    from study.modules.words import checked_sizes, parse_inputs, parse_sizes, same_arguments

    inputs, sizes = parse_inputs(entry.inputs), parse_sizes(entry.sizes)
    checked_sizes(inputs, sizes)
    wanted = {
        "callable": _resolved(absolute(entry.network)),
        "arguments": same_arguments(entry.arguments),
        "inputs": " ".join(map(str, inputs)),
        "sizes": _in_words(sizes),
        "weights": os.path.realpath(entry.weights) if entry.weights else "",
        "tolerance": entry.tolerance,
    }
    made = {
        "callable": _resolved(record.factory),
        "arguments": same_arguments(record.arguments),
        "inputs": " ".join(record.inputs),
        "sizes": _in_words(record.sizes),
        "weights": os.path.realpath(record.weights) if record.weights else "",
        "tolerance": record.tolerance,
    }
    other = next((key for key, value in wanted.items() if value != made[key]), None)
    return f"{other} {made[other] or 'none'} instead of {wanted[other] or 'none'}" if other else ""


def _in_words(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sorted(sizes.items()))


def _resolved(text: str) -> str:
    """A callable with the file that a symbolic link leads to."""
    place, colon, name = text.rpartition(":")
    return f"{os.path.realpath(place)}{colon}{name}" if place.endswith(".py") else text


def refuse_another(entry: Entry, files: ModuleFiles, remedy: str) -> None:
    """
    Raises:
        StudyError: what has been exported under the name of an entry was made from something else than it says.
    """
    if not files.record.is_file():
        return
    record = read_record(files.record, ModuleRecord, f"export {files.name} again")
    if found := difference(entry, record):
        raise StudyError(f"{entry.name} was exported with {found}; {remedy}")


def given_of(record: ModuleRecord) -> "Given":
    """The values of a module's inputs and the sizes of the dimensions that its file has free, as for any ONNX file."""
    from study.modules.words import parse_inputs
    from study.onnx_given import Given

    values = {one.name: one.values for one in parse_inputs(record.inputs) if one.values}
    free = {name: size for name, size in record.sizes.items() if name not in record.fixed}
    return Given(values=values, sizes=free)


def onnx_file(word: Path, artifacts: Artifacts) -> Path:
    """The ONNX file that a word of a command line means: a path, or where there is none the name of what was exported.

    Of a trained model that is the standard export of its first run.

    Raises:
        StudyError: the word is the name of neither; or the module's file is not the one that was proved.
    """
    name = str(word)
    if os.path.lexists(word) or word.suffix or word.name != name:
        return word
    for run in artifacts.runs(name):
        if run.onnx.is_file():
            return run.onnx
    files = module_files(artifacts, name)
    if files.record.is_file():
        current_module(files)
        return files.onnx
    names = sorted({path.parent.parent.name for path in artifacts.root.glob("models/*/seed*/model.onnx")})
    names += [module.name for module in exported_modules(artifacts)]
    exported = ", ".join(names) or "nothing"
    raise StudyError(f"{name}: there is no such file, and no exported model is called so; exported are: {exported}")
