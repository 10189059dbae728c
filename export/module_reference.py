"""What torch computes for a module that is exported: its reference outputs, and facts about its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.entry import Entry
from study.errors import StudyError, one_line
from study.modules.building import SEED, Built, build, draw
from study.modules.finding import absolute, find, with_torchvision
from study.modules.outputs import array, flat, left_out
from study.modules.words import ModuleInput, batches_of, checked_sizes, parse_inputs, parse_sizes
from study.onnx_given import checked_tolerance
from study.parity import CALLS, Calls
from study.soundness import NOISE, Drawn, failure

BATCHES = (1, 2, 7)
"""Batch sizes of the proof."""
INPUT_SEED = 0

Inputs = Sequence[Mapping[str, Tensor]]
"""Those of each call."""


@dataclass(frozen=True)
class Subject:
    """What is exported: the entry of the catalogue, read."""

    entry: Entry
    factory: str
    inputs: tuple[ModuleInput, ...]
    sizes: dict[str, int]
    weights: Path | None

    def build(self, seed: int = SEED) -> Built:
        return build(self.factory, self.entry.arguments, self.weights, self.inputs, self.sizes, seed=seed)

    def draw(self, batch: int, calls: int = CALLS) -> Inputs:
        return draw(self.inputs, self.sizes, batch, INPUT_SEED, calls)

    @property
    def other_sizes(self) -> dict[str, int]:
        """Sizes for a second look at the free dimensions: half of each, if that is a number of 2 or more."""
        return {
            name: size // 2 if size >= 4 and size % 2 == 0 else max(size - 1, 2) for name, size in self.sizes.items()
        }


def subject_of(entry: Entry) -> Subject:
    """
    Raises:
        StudyError: the inputs are not described as they should be.
    """
    inputs, sizes = parse_inputs(entry.inputs), parse_sizes(entry.sizes)
    checked_sizes(inputs, sizes)
    checked_tolerance(entry.tolerance)
    weights = Path(entry.weights).absolute() if entry.weights else None
    return Subject(entry, absolute(entry.network), inputs, sizes, weights)


@dataclass(frozen=True)
class Reference:
    """What torch computes."""

    names: list[str]
    """Of the outputs."""
    expected: dict[int, Calls]
    """The outputs of each call by batch size, for those at which the module runs."""
    elsewhere: tuple[int, Inputs, Calls] | None
    """A call at other sizes of the named dimensions, with its batch size and outputs; None if it does not run so."""
    notes: list[str]


@dataclass(frozen=True)
class Weights:
    """The parameters and buffers of a module."""

    parameters: int
    """Trainable numbers."""
    bytes: int
    dtypes: frozenset[torch.dtype]
    random: tuple[str, ...]
    """The names of those that another seed gives other values."""
    imported: bool
    """Whether no callable makes them but the import of a file, which happens once: none are known to be random."""

    @classmethod
    def of(cls, subject: Subject, network: nn.Module) -> "Weights":
        tensors = {id(one): one for one in (*network.parameters(), *network.buffers())}.values()
        return cls(
            sum(one.numel() for one in network.parameters() if one.requires_grad),
            sum(one.nbytes for one in tensors),
            frozenset(one.dtype for one in tensors),
            () if subject.weights else _random(subject, network),
            not subject.weights and isinstance(find(subject.factory), nn.Module),
        )


def _random(subject: Subject, network: nn.Module) -> tuple[str, ...]:
    before = _weights(network)
    if not before:
        return ()
    try:
        other = _weights(subject.build(SEED + 1).network)
    except StudyError:
        return ()
    return tuple(name for name, one in before.items() if name in other and not _equal(one, other[name]))


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in (*network.named_parameters(), *network.named_buffers())}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


Named = list[tuple[str, NDArray[Any]]]


def outputs_of(built: Built, given: Mapping[str, Tensor]) -> tuple[Named, list[str]]:
    """The outputs of one call, copied, with their names; and the names of those that are left out.

    Raises:
        StudyError: it changes an input in place: the arrays of the bench, which every engine gets, would not be the
            same any more.
    """
    taken = {name: one.clone() for name, one in given.items()}
    positional, keywords = built.arguments(taken)
    with torch.inference_mode():
        found = with_torchvision(lambda: built.network(*positional, **keywords))  # which `forward` may import
        outputs = [(name, np.array(array(one))) for name, one in flat(found)]
    if changed := next(
        (name for name, one in given.items() if taken[name]._version or not _equal(one, taken[name])), None
    ):
        raise StudyError(f"it changes its input {changed!r} in place; write {changed} = {changed}.mul(...) or the like")
    return outputs, left_out(found)


def in_torch(subject: Subject, built: Built) -> Reference:
    """The names and values of the outputs, at all batch sizes at which the module runs.

    Raises:
        StudyError: it does not run, stays in training mode, draws random numbers, keeps a state or changes an
            input in place, at any batch size.
    """
    name = subject.entry.name
    if training := next((name for name, one in built.network.named_modules() if one.training), None):
        raise StudyError(f"{name}: {training or 'it'} stays in training mode, although eval() was called")
    before = {name: (one, one._version) for name, one in built.network.named_buffers()}
    names: list[str] = []
    notes: list[str] = []
    results: dict[int, Calls] = {}
    for batch in batches_of(subject.inputs, subject.sizes, BATCHES):
        outputs: list[list[NDArray[Any]]] = []
        try:
            for given in subject.draw(batch):
                with Drawn() as drawn:
                    named, caches = outputs_of(built, given)
                if not results and not outputs:
                    names = [name for name, _ in named]
                    notes += [f"its output {name} is left out: the file keeps no cache" for name in caches]
                if not outputs:
                    _check_repeats(built, given, named, drawn, before)
                outputs.append([one for _, one in named])
        except StudyError as error:
            raise StudyError(f"{name}: {error}") from None
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            if not results:
                words = " ".join(map(str, subject.inputs))
                reason = f"does not run with {words} at batch {batch} ({failure(error)})"
                raise StudyError(f"{name} {reason}{_other_values(subject.inputs)}") from None
            notes.append(f"the module itself does not run at batch {batch} ({one_line(error, 80)})")
            results = {1: results[1]}
            break
        if [name for name, _ in named] != names:
            raise StudyError(f"{name}: expected the outputs {', '.join(names)}, found others at batch {batch}")
        results[batch] = outputs
    notes += [
        f"output {one!r} is the same for all inputs, so that its proof shows little: try trained weights, --weights"
        for index, one in enumerate(names)
        if results and all(_constant(calls, index) for calls in results.values())
    ]
    return Reference(names, results, _elsewhere(subject, built, max(results)), notes)


def _other_values(inputs: Sequence[ModuleInput]) -> str:
    """A remedy where a mask or indices are drawn at random, which may be such as the module does not take."""
    drawn = next((one for one in inputs if one.values is None and "float" not in one.dtype), None)
    if drawn is None:
        return ""
    given = replace(drawn, values="false" if drawn.dtype == "bool" else "0")
    return f"; {drawn.name} is drawn at random: give values that it takes, such as --input {given}"


def _constant(calls: Calls, index: int) -> bool:
    """Whether an output, of floating-point numbers, is the same in all calls."""
    first = np.asarray(calls[0][index])
    return first.dtype.kind not in "biu" and all(np.array_equal(first, np.asarray(one[index])) for one in calls[1:])


def _elsewhere(subject: Subject, built: Built, batch: int) -> tuple[int, Inputs, Calls] | None:
    if not subject.sizes:
        return None
    calls = draw(subject.inputs, subject.other_sizes, batch, INPUT_SEED, 1)
    try:
        return batch, calls, [[one for _, one in outputs_of(built, given)[0]] for given in calls]
    except (Exception, SystemExit):  # a user's module may raise anything
        return None


def _check_repeats(
    built: Built,
    given: Mapping[str, Tensor],
    first: Named,
    drawn: Drawn,
    before: Mapping[str, tuple[Tensor, int]],
) -> None:
    """Check that a second call with the same inputs gives the same outputs."""
    again, _ = outputs_of(built, given)
    if len(first) == len(again) and all(_same(one, two) for (_, one), (_, two) in zip(first, again, strict=True)):
        return
    after = dict(built.network.named_buffers())
    changed = [name for name, (one, version) in before.items() if after.get(name) is not one or one._version != version]
    if drawn.dropout:
        reason = f"drops out{drawn.dropout}; write F.dropout(x, p, training=self.training), or use nn.Dropout"
    elif drawn.other:
        reason = f"draws random numbers, {drawn.other}; take them as an input instead"
    elif changed:
        reason = f"changes its buffer {changed[0]!r}; take it as an input and return it instead"
    else:
        reason = "keeps a state or draws random numbers; take them as an input instead"
    raise StudyError(f"expected the same outputs for the same inputs, but in evaluation mode it {reason}")


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    left, right = one.astype(np.float64), other.astype(np.float64)
    largest = float(np.abs(np.nan_to_num(left)).max(initial=0))
    return np.allclose(left, right, rtol=0, atol=NOISE * largest, equal_nan=True)
