"""Build a torch module of the user, with its weights, and call it with named inputs."""

import inspect
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from study.errors import StudyError
from study.modules import weights as weights_files
from study.modules.finding import find, is_imported, with_torchvision
from study.modules.outputs import flat as flat  # the other half of a call
from study.modules.outputs import tensor
from study.modules.words import ModuleInput, as_onnx, parse_arguments, parse_inputs
from study.onnx_values import generate
from study.records.module import ModuleRecord
from study.soundness import failure

SEED = 0
"""Of the generators of torch, numpy and Python before the callable is called, for weights that are random."""
SEEDED: WeakSet[nn.Module] = WeakSet()
"""The modules that were made after the seed although no callable makes them: by the import of their file."""
KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Built:
    """A module in evaluation mode, and how it is called."""

    network: nn.Module
    by_position: bool

    def arguments(self, inputs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The arguments of a call: positional ones, and keywords."""
        return (tuple(inputs.values()), {}) if self.by_position else ((), dict(inputs))


class Flat(nn.Module):
    """The module with inputs by position and a tuple of tensors as its result: what is exported and compiled."""

    def __init__(self, built: Built, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.built, self.names = built.network, built, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        positional, keywords = self.built.arguments(dict(zip(self.names, inputs, strict=True)))
        return tuple(tensor for _, tensor in flat(self.network(*positional, **keywords)))


def rebuild(record: ModuleRecord) -> Built:
    """The module that an ONNX file was exported from.

    Raises:
        StudyError: as `build`.
    """
    return build(
        record.factory,
        record.arguments,
        Path(record.weights) if record.weights else None,
        parse_inputs(record.inputs),
        record.sizes,
        record.import_folder,
    )


def build(
    factory: str,
    arguments: str,
    weights: Path | None,
    inputs: Sequence[ModuleInput],
    sizes: Mapping[str, int] | None = None,
    import_folder: str | None = None,
    seed: int = SEED,
) -> Built:
    """The module that the callable returns, in evaluation mode.

    Args:
        factory: "package.module:callable" or "PATH.py:callable"; the callable may be a class or a module itself.
        arguments: JSON, a list or an object; "" for none.
        weights: a state dict of `torch.save`, of which only tensors are read, or safetensors; None: as it is made,
            after `torch.manual_seed(seed)`.
        sizes: those of named dimensions, for a module that finds the shapes of its weights in its first call.
        import_folder: an additional folder of the import path.

    Raises:
        StudyError: one of them is not so, or `forward` takes other inputs.
    """
    given = parse_arguments(arguments)
    imported = is_imported(factory)
    _seed(seed)  # before the import too: the callable may be a module that is made there
    made = find(factory, import_folder)
    if isinstance(made, nn.Module):
        if given:
            raise StudyError(f"--module-args: {factory} is a module already, which takes no arguments; leave them out")
        if imported and weights is None and made not in SEEDED:
            raise StudyError(
                f"--module {factory} was made before the seed, by the import of its file; give a function that makes it"
            )
        SEEDED.add(made)
    elif not callable(made):
        raise StudyError(f"--module {factory}: expected a callable, found {type(made).__name__}")
    else:
        try:
            made = with_torchvision(lambda: _called(made, given, seed))
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            reason = "it calls sys.exit" if isinstance(error, SystemExit) else failure(error)
            with_what = f"--module-args {arguments}" if arguments else "no arguments, see --module-args"
            raise StudyError(f"--module {factory} cannot be made with {with_what} ({reason})") from None
    made = getattr(made, "_orig_mod", made)  # what torch.compile has wrapped
    if not isinstance(made, nn.Module):
        raise StudyError(
            f"--module {factory}: expected a callable that returns a torch.nn.Module, found {type(made).__name__}"
        )
    if any(isinstance(one, torch.jit.ScriptModule) for one in made.modules()):
        raise StudyError(
            f"--module {factory} is a module of TorchScript, or has one in it, which torch does not export; give the "
            "Python module that it was made from, without torch.jit"
        )
    made.eval()
    if weights is not None:
        weights_files.load(made, weights)
    built = Built(made, _by_position(made, factory, inputs))
    if any(is_lazy(one) for one in (*made.parameters(), *made.buffers())):
        _materialise(built, factory, inputs, sizes or {})
    for name, one in (*made.named_parameters(), *made.named_buffers()):
        if one.device.type != "cpu":
            raise StudyError(f"--module {factory}: expected weights on the CPU, found {name} on {one.device}")
    return built


def _called(callable_: Any, given: list[Any] | dict[str, Any], seed: int) -> Any:
    _seed(seed)
    return callable_(*given) if isinstance(given, list) else callable_(**given)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # the generator that a user's code draws from


def _materialise(built: Built, factory: str, inputs: Sequence[ModuleInput], sizes: Mapping[str, int]) -> None:
    """Call a module once whose lazy layers find their shapes in their first call."""
    positional, keywords = built.arguments(draw(inputs, sizes, 2, 0, 1)[0])
    try:
        with torch.no_grad():
            with_torchvision(lambda: built.network(*positional, **keywords))
    except (Exception, SystemExit) as error:
        raise StudyError(f"--module {factory}: its lazy layers do not take the inputs ({failure(error)})") from None


def draw(
    inputs: Sequence[ModuleInput], sizes: Mapping[str, int], batch: int, seed: int, count: int
) -> list[dict[str, Tensor]]:
    """Seeded inputs of `count` calls with `batch` items each.

    Raises:
        StudyError: as `study.onnx_values.generate`.
    """
    taken, given = as_onnx(inputs, sizes)
    arrays = generate(taken, given, batch, seed, count)
    return [{name: tensor(array) for name, array in one.items()} for one in arrays]


def _by_position(network: nn.Module, factory: str, inputs: Sequence[ModuleInput]) -> bool:
    """Whether the inputs are given by position: their names are not those of parameters of `forward`."""
    parameters = inspect.signature(network.forward).parameters
    names = [name for name, one in parameters.items() if one.kind in KINDS]
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    named = [one.name for one in inputs if one.name in names]
    if len(named) == len(inputs) or (takes_any and named):
        return False
    if not named:
        return True
    missing = next(one.name for one in inputs if one.name not in names)
    raise StudyError(f"--input {missing}: {factory} has no such input; forward takes: {', '.join(parameters)}")
