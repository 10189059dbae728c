"""What a side of `python -m bench ab` means: a model in an engine, with its settings and its environment.

model.onnx                        an ONNX file; its name may have commas
artifacts/modules/NAME, or NAME   an exported torch module, of which torch runs the module itself (runtime=torch)
baseline,variant=int8-static      a model of the catalogue, in one of its exports
model.onnx,threads=2              intra-op threads
model.onnx,runtime=openvino       another engine
model.onnx,options=NAME:VALUE     an option of the engine, as often as needed
model.onnx,python=DIR/bin/python  another virtual environment, such as one with another version of the engine
baseline,checkout=../other        another checkout of this project, whose code runs the side
baseline,artifacts=../a           another folder of trained models than --artifacts
"""

import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from bench.ab.protocol import Load
from bench.cases import Case, Device, Mode
from bench.models import Model, from_catalogue, from_file, from_module
from study import catalogue
from study.artifacts import Artifacts
from study.cores import usable_cores
from study.errors import StudyError
from study.modules.exported import refuse_another
from study.modules.files import ModuleFiles, module_files
from study.onnx_given import Given
from study.selection import known
from study.variants import STANDARD_NAME

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = ("variant", "threads", "runtime", "options", "python", "checkout", "artifacts")
STARTS = re.compile(rf",(?=(?:{'|'.join(SETTINGS)})=)")
"""A comma that begins a setting; any other belongs to the word that it is in."""


@dataclass(frozen=True)
class Side:
    """One side, as the command line describes it."""

    name: Literal["A", "B"]
    word: str
    model: Model
    threads: int
    runtime: str = "onnxruntime"
    options: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    checkout: Path = PROJECT
    mode: Mode = "native"
    device: Device = "cpu"

    def __str__(self) -> str:
        return f"{self.name} ({self.word})"

    def case(self, batch: int) -> Case:
        """The side at a batch size, as records name it."""
        return Case(self.model, self.runtime, batch, self.threads, self.mode, self.device)

    @cached_property
    def request(self) -> Load:
        """What a process needs to load the model, but for its inputs."""
        model = self.model
        return Load(
            runtime=self.runtime,
            threads=self.threads,
            device=self.device,
            mode=self.mode,
            options=dict(self.options),
            onnx=str(model.onnx.resolve()),
            model=model.name,
            network=model.entry.network if model.entry else None,
            run=str(model.run.folder.resolve()) if model.run else None,
            trained=model.in_torch,
            module=str(model.module.folder.resolve()) if model.module else None,
            sha256=model.onnx_sha256,
            shapes=dict(model.given.shapes),
            sizes=dict(model.given.sizes),
        )


def words_of(word: str) -> tuple[str, dict[str, list[str]]]:
    """The model and the settings of a side's word, each setting with its values in their order.

    Raises:
        StudyError: a setting other than `options` comes twice, or something is empty.
    """
    model, *parts = STARTS.split(word)
    settings: dict[str, list[str]] = {}
    for part in parts:
        name, _, value = part.partition("=")
        settings.setdefault(name, []).append(value)
    if not model or not all(all(values) for values in settings.values()):
        raise StudyError(f"expected MODEL,NAME=VALUE, found {word!r}")
    if twice := [name for name, values in settings.items() if len(values) > 1 and name != "options"]:
        raise StudyError(f"{word}: expected {twice[0]} once")
    return model, settings


def side(name: Literal["A", "B"], word: str, common: Namespace, given: Given) -> Side:
    """The side that a word of the command line describes.

    Args:
        common: the options of the command, whose values hold where the side has none of its own.
        given: the user's inputs, for an ONNX file.

    Raises:
        StudyError: a setting is wrong, or something that it names is missing.
    """
    target, settings = words_of(word)
    one = {key: values[-1] for key, values in settings.items()}
    model = _model(target, one, common, given)
    runtime = one.get("runtime", "onnxruntime")
    if runtime.startswith("torch") and not model.in_torch:
        raise StudyError(f"{name} ({word}): {runtime} runs modules, and the standard variant of trained models")
    threads = one.get("threads", str(common.threads))
    if not threads.isdecimal() or not 1 <= int(threads) <= usable_cores():
        raise StudyError(f"{name} ({word}): expected 1 to {usable_cores()} threads, found {threads}")
    return Side(
        name=name,
        word=word,
        model=model,
        threads=int(threads),
        runtime=runtime,
        options=dict(_option(text) for text in settings.get("options", [])),
        python=_python(one["python"]) if "python" in one else sys.executable,
        checkout=_checkout(one["checkout"]) if "checkout" in one else PROJECT,
        mode=common.mode,
        device=common.device,
    )


def _model(target: str, one: Mapping[str, str], common: Namespace, given: Given) -> Model:
    entries = known(common)
    path = Path(target)
    if target in {entry.name for entry in entries}:
        artifacts = Artifacts(Path(one.get("artifacts", common.artifacts)))
        entry = catalogue.entry(target, entries)
        if entry.is_module:
            files = module_files(artifacts, target)
            refuse_another(entry, files, f"run `python -m export {target} --catalogue={common.catalogue}`")
            return _module(target, one, files)
        return from_catalogue(artifacts, entry, one.get("variant", STANDARD_NAME))
    if (folder := ModuleFiles(path)).record.is_file():
        return _module(target, one, folder)
    exported = module_files(Artifacts(Path(one.get("artifacts", common.artifacts))), target)
    if not path.exists() and exported.record.is_file():
        return _module(target, one, exported)
    if not path.exists():
        names = ", ".join(SETTINGS)
        raise StudyError(f"expected an ONNX file or a model of the catalogue, found {target!r}; settings are {names}")
    if wrong := {"variant", "artifacts"} & one.keys():
        raise StudyError(f"{target} is a file: {' and '.join(sorted(wrong))} applies to a model of the catalogue")
    return from_file(path, given, tolerance=common.tolerance)


def _module(target: str, one: Mapping[str, str], files: ModuleFiles) -> Model:
    """An exported torch module: the ONNX file, and for torch's runtimes the module itself."""
    if "variant" in one:
        raise StudyError(f"{target} is a torch module: variant applies to a trained model of the catalogue")
    return from_module(files)


def _option(text: str) -> tuple[str, str]:
    name, colon, value = text.rpartition(":")
    if not (colon and name and value):
        raise StudyError(f"options: expected NAME:VALUE, found {text!r}")
    return name, value


def _python(text: str) -> str:
    path = Path(text).absolute()  # not resolved: a virtual environment is known by the place of its link
    if not path.is_file():
        raise StudyError(f"python={text}: expected an interpreter, such as DIR/bin/python, found nothing there")
    return str(path)


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "bench" / "__main__.py").is_file():
        raise StudyError(f"checkout={text}: expected a checkout of this project, found no bench/__main__.py")
    if not (path / "bench" / "ab" / "turns.py").is_file():
        raise StudyError(
            f"checkout={text}: expected bench/ab/turns.py: that commit is older than `bench ab`; measure both with "
            "`pytest bench` and use `python -m bench compare`"
        )
    return path
