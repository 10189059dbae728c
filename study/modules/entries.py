"""Entries of a user's catalogue file that are torch modules: checked, and found from any folder. No torch here."""

from dataclasses import replace
from pathlib import Path

from study.entry import Entry
from study.errors import StudyError
from study.modules.words import checked_sizes, parse_arguments, parse_inputs, parse_sizes


def checked_entry(entry: Entry, folder: Path) -> Entry:
    """The entry with absolute paths of its code and weights, which are relative to the folder of the catalogue file.

    Raises:
        StudyError: a field has another type, or its words another syntax.
    """
    for field in ("inputs", "sizes"):
        words = getattr(entry, field)
        if not isinstance(words, tuple | list) or not all(isinstance(word, str) for word in words):
            example = '("image=float32[batch,3,224,224]",)' if field == "inputs" else '("sequence=128",)'
            raise StudyError(f"{entry.name}: expected {field}={example}, found {words!r}")
    for field in ("arguments", "weights"):
        if not isinstance(text := getattr(entry, field), str):
            remedy = "; write it as JSON, with json.dumps" if field == "arguments" else ""
            raise StudyError(f"{entry.name}: expected a string as {field}, found {type(text).__name__}{remedy}")
    if entry.tolerance is not None and not (isinstance(entry.tolerance, int | float) and entry.tolerance > 0):
        raise StudyError(f"{entry.name}: expected a number above 0 as tolerance, found {entry.tolerance!r}")
    try:
        checked_sizes(parse_inputs(entry.inputs), parse_sizes(entry.sizes))
    except StudyError as error:
        raise StudyError(f"{entry.name}: {error}") from None
    try:
        parse_arguments(entry.arguments)
    except StudyError:
        raise StudyError(
            f"{entry.name}: expected arguments as JSON, a list or an object, found {entry.arguments!r}"
        ) from None
    return replace(
        entry,
        network=_beside(entry.network, folder),
        weights=str(_path(entry.weights, folder)) if entry.weights else "",
        inputs=tuple(entry.inputs),
        sizes=tuple(entry.sizes),
    )


def _beside(factory: str, folder: Path) -> str:
    """A callable in a Python file of the folder, by the file's path: other processes do not have it to import from."""
    place, _, name = factory.rpartition(":")
    if place.endswith(".py"):
        return f"{_path(place, folder)}:{name}"
    file = folder / f"{place}.py"
    return f"{file}:{name}" if place.isidentifier() and file.is_file() else factory


def _path(text: str, folder: Path) -> Path:
    """Relative to the folder if it is there, else to the working folder."""
    path = Path(text)
    return (folder / path) if (folder / path).exists() else path.absolute()
