"""Can a network be evaluated at all: logits and nothing else, for each image its own, and the same ones each time?

This is checked on a few images, before a network is trained and before it is exported.
"""

import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, is_out_of_memory, one_line

NOISE = 1e-5
"""Share of the largest logit by which two computations of the same may differ: in their order of summation."""
DEPENDENCE = 1e-3
"""Share of the largest logit that another batch may change, for which a library chooses other algorithms."""
PROJECT = Path(__file__).parent.parent
NOT_THE_USERS = (
    *(str(Path(path)) for path in (torch.__file__.removesuffix("__init__.py"), sysconfig.get_path("stdlib"))),
    *(str(PROJECT / folder) for folder in ("train", "export", "bench")),
    *(str(path) for path in (PROJECT / "study").glob("*.py")),
    str(PROJECT / "study" / "modules"),
    "<",
)
"""Beginnings of the paths whose frames are not shown as a place in a network: torch, Python and this project."""


def check(entry: Entry, network: nn.Module, images: Tensor) -> None:
    """Evaluate `network` on `images`, float32 [N, C, H, W] in 0..1 with an even N; it is in evaluation mode afterwards.

    Raises:
        StudyError: it fails, returns something else than logits [N, classes], draws random numbers, keeps a state, or
            mixes the images of a batch. The message names the line of the network where it can be known.
    """
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = Drawn()
    with torch.inference_mode():
        with drawn:
            first = logits(entry, network, images.clone())  # a network may change its input
        again = logits(entry, network, images.clone())
        halves = torch.cat([logits(entry, network, half.clone()) for half in images.chunk(2)])
    where = f"{entry.name}: {entry.network}"
    if not _same(first, again, NOISE):
        changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
        if drawn.dropout:
            reason = f"drops out{drawn.dropout}; write F.dropout(x, p, training=self.training), or use nn.Dropout"
        elif drawn.other:
            reason = f"draws random numbers, {drawn.other}; draw them only where self.training"
        elif changed:
            reason = f"changes its buffer {changed[0]!r}; change it only where self.training"
        else:
            reason = "gives other results each time, by random numbers or a state; use them where self.training"
        raise StudyError(f"{where}: expected the same results for the same images, but in evaluation mode it {reason}")
    if not _same(first, halves, DEPENDENCE):
        raise StudyError(
            f"{where}: expected results for each image alone, but in evaluation mode they depend on the other images "
            "of its batch; use BatchNorm with its running statistics, and no mean or softmax over the batch"
        )


def logits(entry: Entry, network: nn.Module, images: Tensor) -> Tensor:
    """The logits of `images`, float32 [N, C, H, W].

    Raises:
        StudyError: it fails, or that is no tensor [N, classes].
    """
    mode = "training" if network.training else "evaluation"
    try:
        found = network(images)
    except (Exception, SystemExit) as error:  # a user's network may raise anything
        raise unusable(entry, mode, error) from None
    classes = len(datasets.find(entry.dataset).classes)
    shape = list(found.shape) if isinstance(found, Tensor) else _described(found)
    if isinstance(found, Tensor) and shape == [len(images), classes] and found.is_floating_point():
        return found
    kind = "" if not isinstance(found, Tensor) or found.is_floating_point() else f"{found.dtype} "
    raise StudyError(
        f"{entry.name}: expected logits [N, {classes}] of {entry.network}, found {kind}{shape} for {len(images)} "
        f"images in {mode} mode; return the logits alone, a float for each class"
    )


def unusable(entry: Entry, mode: str, error: BaseException) -> StudyError:
    """The error that a network's code raised in "training" or "evaluation" mode, in one line."""
    dataset = datasets.find(entry.dataset)
    return StudyError(
        f"{entry.name}: {entry.network} cannot be {'trained' if mode == 'training' else 'evaluated'} on the images of "
        f"{dataset.title}, float32 {['N', *dataset.shape]} ({failure(error)})"
    )


def failure(error: BaseException) -> str:
    """An exception of a network's code in one line: type, message, and the line of the network that raised it."""
    if is_out_of_memory(error):
        return "out of memory"
    return f"{type(error).__name__}: {one_line(error)}{place(traceback.extract_tb(error.__traceback__))}"


def place(frames: Iterable[traceback.FrameSummary]) -> str:
    """The innermost line of a network's own code as " at my_models.py:36"; "" where there is none."""
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THE_USERS)]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


class Drawn(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Notes where random numbers are drawn."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dropout = self.other = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            frames = traceback.extract_stack(sys._getframe(1))
            if any("dropout" in text for text in (str(func), *(frame.name for frame in frames))):
                self.dropout = self.dropout or place(frames) or " "
            else:
                self.other = self.other or f"{func.overloadpacket}{place(frames)}"
        return func(*args, **(kwargs or {}))


def _same(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two results are the same up to a share of the largest one; NaN is the same as NaN."""
    largest = float(one.detach().nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True)


def _described(found: object) -> str:
    if isinstance(found, tuple | list | dict):
        return f"a {type(found).__name__} of {len(found)}"
    return "nothing" if found is None else f"a {type(found).__name__}"
