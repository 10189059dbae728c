"""Build a torch module of the user, with its weights, and call it with named inputs."""

import inspect
import json
import pickle
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from study.artifacts import sha256
from study.data.tensors import import_torchvision
from study.errors import StudyError, one_line
from study.modules.words import ModuleInput
from study.soundness import failure

SEED = 0
"""Of torch's generator before the callable is called, for weights that are random."""
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Built:
    """A module in evaluation mode, and how it is called."""

    network: nn.Module
    by_position: bool

    def arguments(self, inputs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The arguments of a call: positional ones, and keywords."""
        return (tuple(inputs.values()), {}) if self.by_position else ((), dict(inputs))


def build(factory: str, arguments: str, weights: Path | None, inputs: Sequence[ModuleInput]) -> Built:
    """The module that the callable returns, in evaluation mode.

    Args:
        factory: "package.module:callable" or "PATH.py:callable"; the callable may be a class or a module itself.
        arguments: JSON, a list or an object; "" for none.
        weights: a state dict of `torch.save`, of which only tensors are read, or safetensors; None: as it is made,
            after `torch.manual_seed(SEED)`.

    Raises:
        StudyError: one of them is not so, or `forward` takes other inputs.
    """
    made = find(factory)
    given = _arguments(arguments)
    if not isinstance(made, nn.Module):
        torch.manual_seed(SEED)
        try:
            made = made(*given) if isinstance(given, list) else made(**given)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise StudyError(
                f"--module {factory}: it cannot be made with {arguments or 'no arguments'} ({failure(error)})"
            ) from None
    if not isinstance(made, nn.Module):
        raise StudyError(
            f"--module {factory}: expected a callable that returns a torch.nn.Module, found {type(made).__name__}"
        )
    if weights is not None:
        _load(made, weights)
    return Built(made.eval(), _by_position(made, factory, inputs))


def find(factory: str) -> Any:
    """The callable at "package.module:callable" or "PATH.py:callable".

    The file of the second form is executed; its folder is then on the import path, last.

    Raises:
        StudyError: there is none, or importing it fails.
    """
    place, colon, name = factory.rpartition(":")
    if not colon or not place or not name:
        raise StudyError(f"--module: expected package.module:callable or PATH.py:callable, found {factory!r}")
    path = Path(place)
    if path.suffix == ".py" and not path.is_file():
        raise StudyError(f"--module {factory}: there is no file {place}")
    try:
        try:
            return _found(place, name)
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            import_torchvision()  # which may be built for another torch, and is needed by other packages too
            return _found(place, name)
    except (Exception, SystemExit) as error:
        raise StudyError(f"--module {factory} cannot be imported ({type(error).__name__}: {one_line(error)})") from None


def _found(place: str, name: str) -> Any:
    if not place.endswith(".py"):
        return pkgutil.resolve_name(f"{place}:{name}")
    found: Any = _imported(Path(place))
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _imported(path: Path) -> Any:
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    name = path.stem if loaded is None else f"_fashionbench_{path.stem}"  # the name of another module is taken
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = sys.modules[name] = module_from_spec(spec)  # before: dataclasses and pickles look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def source_sha256(factory: str) -> str | None:
    """SHA-256 of the source file of the callable; None if it has none, such as one in C."""
    try:
        file = inspect.getsourcefile(find(factory))
    except TypeError:
        return None
    return sha256(Path(file)) if file and Path(file).is_file() else None


def _arguments(text: str) -> list[Any] | dict[str, Any]:
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:
        raise StudyError(
            f"--module-args: expected a list or an object in JSON, found {text[:60]!r} ({error})"
        ) from None
    if not isinstance(given, list | dict):
        raise StudyError(f"--module-args: expected a list or an object in JSON, found {text[:60]!r}")
    return given


def _load(network: nn.Module, path: Path) -> None:
    """Load a state dict into the network, which takes over its tensors: no copy of the weights is left."""
    if not path.is_file():
        raise StudyError(f"--weights {path}: there is no such file")
    try:
        if path.suffix == SAFETENSORS:
            state = _safetensors(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except StudyError:
        raise
    except (
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise StudyError(
            f"--weights {path}: expected tensors by name, as torch.save(module.state_dict(), FILE) or safetensors "
            f"write them, found {one_line(error)}"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(one, Tensor) for one in state.values()):
        raise StudyError(
            f"--weights {path}: expected tensors by name, found {type(state).__name__}; save module.state_dict()"
        )
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise StudyError(f"--weights {path} does not fit the module: {one_line(error, 300)}") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise StudyError(f"--weights {path}: run `pip install safetensors` to read it") from None
    try:
        return dict(load_file(path))
    except Exception as error:  # safetensors raises a type of its own
        raise StudyError(f"--weights {path}: expected a safetensors file, found {one_line(error)}") from None


def _by_position(network: nn.Module, factory: str, inputs: Sequence[ModuleInput]) -> bool:
    """Whether the inputs are given by position: their names are not those of parameters of `forward`."""
    parameters = inspect.signature(network.forward).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    named = [one.name for one in inputs if one.name in parameters]
    if len(named) == len(inputs) or (takes_any and named):
        return False
    if not named:
        return True
    missing = next(one.name for one in inputs if one.name not in parameters)
    raise StudyError(f"--input {missing}: {factory} has no such input; forward takes: {', '.join(parameters)}")


def flat(outputs: Any) -> list[tuple[str, Tensor]]:
    """The tensors of what a module returns, each with its name, in their order.

    A tensor is called "output"; of a tuple or list "output_0" and so on; of a dictionary or dataclass by its key, and
    inside of it "key_0" or "key.inner". What is None is left out, as torch's exporter does.

    Raises:
        StudyError: there is something else in it.
    """
    named = list(_flat(outputs, "output"))
    if not named:
        raise StudyError("expected a module that returns tensors, found one that returns none")
    return named


def _flat(value: Any, name: str, top: bool = True) -> Iterator[tuple[str, Tensor]]:
    if value is None:
        return
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, str(key) if top else f"{name}.{key}", top=False)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _flat(getattr(value, field.name), field.name if top else f"{name}.{field.name}", top=False)
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from _flat(one, f"{name}_{index}", top=False)
    else:
        raise StudyError(f"output {name!r} of the module: expected tensors, found {type(value).__name__}")


class Flat(nn.Module):
    """The module with named inputs by position and a tuple of tensors as its result: what is exported."""

    def __init__(self, built: Built, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.built, self.names = built.network, built, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        positional, keywords = self.built.arguments(dict(zip(self.names, inputs, strict=True)))
        return tuple(tensor for _, tensor in _flat(self.network(*positional, **keywords), "output"))
