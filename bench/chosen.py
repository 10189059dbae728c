"""The models that a command line means, exported first if that is asked for."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from bench import models
from study import children
from study.artifacts import Artifacts
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError
from study.finished import finished
from study.modules.exported import refuse_another
from study.modules.files import module_files
from study.modules.options import entry_of, export_command, words_of
from study.onnx_given import checked_tolerance, parse_given
from study.selection import selected
from study.stopping import INTERRUPTED


def chosen_models(option: Namespace) -> list[models.Model]:
    """The models of the catalogue, if named or if no file is given, and the user's files."""
    chosen = []
    module = entry_of(option)
    if module and option.onnx:
        raise StudyError("--module and --onnx: give one of them; --input would mean both")
    if module:
        chosen.append(_module(option, module, export=not option.collectonly))
    if option.models is not None or not (option.onnx or module):
        artifacts = Artifacts(option.artifacts)
        names = [name for name in (option.models or "").split(",") if name]
        entries = selected(option, names)
        if trainable := [one.name for one in entries if not one.is_module]:
            trained = finished(artifacts, trainable, option, bool(names))
            entries = [one for one in entries if one.is_module or one.name in trained]
        if option.export and not option.collectonly:
            _export(option, entries)
        variants = dict.fromkeys(option.variants.split(","))
        for entry in entries:
            if entry.is_module:
                chosen.append(_module(option, entry, option.export and not option.collectonly))
            else:
                chosen += [models.from_catalogue(artifacts, entry, variant) for variant in variants]
        if not option.collectonly:
            datasets.prepare((one.dataset for one in entries if not one.is_module), artifacts.data, option.data)
    if module and option.shape:
        raise StudyError("--shape applies to a file given with --onnx; the shapes of a module are in its --input")
    if module:
        return chosen
    if option.feed and any(one.module for one in chosen):
        raise StudyError("--feed applies to --module or --onnx, not to modules of a catalogue")
    for name in ("shape", "input", "feed", "size"):
        if getattr(option, name) and not option.onnx:
            raise StudyError(f"--{name} applies to a file given with --onnx; a module is exported with its own")
    if option.tolerance is not None and not option.onnx:
        raise StudyError("--tolerance applies to a file given with --onnx or to a module; entries have their own limit")
    given = parse_given(option.shape, option.input, option.feed, option.size)
    tolerance = checked_tolerance(option.tolerance)
    files: list[Path] = option.onnx
    return chosen + [
        models.from_file(path, given, files[:i] + files[i + 1 :], tolerance) for i, path in enumerate(files)
    ]


def _module(option: Namespace, entry: Entry, export: bool) -> models.Model:
    """The module of an entry, exported first if that is asked for; a current export is kept."""
    files = module_files(Artifacts(option.artifacts), entry.name)
    if export:
        command = [sys.executable, "-m", "export", *words_of(entry), f"--artifacts={option.artifacts}"]
        if _code(command):
            raise StudyError(f"`{export_command(entry)}` failed; see above")
    elif not option.module:
        refuse_another(entry, files, "run with --export")
    return models.from_module(files, option.feed if option.module else ())


def _export(option: Namespace, entries: Sequence[Entry]) -> None:
    """Run the stage before: `python -m export` of these models."""
    words = [*(entry.name for entry in entries), f"--artifacts={option.artifacts}"]
    words += [f"--{name}={value}" for name in ("catalogue", "data") if (value := getattr(option, name))]
    if _code([sys.executable, "-m", "export", *words]):
        raise StudyError(f"`python -m export {' '.join(words)}` failed; see above")


def _code(command: Sequence[str]) -> int:
    """The exit code of another stage; it is interrupted with this one."""
    code = children.run(command).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code
