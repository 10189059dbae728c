"""resume.pt: the state of an unfinished run after its last whole epoch. It begins with the SHA-256 of the rest."""

import hashlib
import io
import pickle
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor

from study.artifacts import RunFiles
from study.errors import StudyError, escaped, one_line
from study.files import read_plain, write_bytes
from study.recipe import Recipe
from study.records.base import Record
from study.records.training import EpochRecord, TrainedOn
from train.tasks import Epoch
from train.trainer import Trainer

DIGEST = hashlib.sha256().digest_size


class MadeWith(Record):
    """All that determines the result of a run, apart from its seed and device; a part of run.json."""

    network: str
    network_sha256: str
    recipe: Recipe
    dataset: TrainedOn


@dataclass
class State:
    """The state of a run, apart from its network and optimiser."""

    made_with: MadeWith
    history: list[Epoch]
    best: dict[str, Tensor]
    """Weights after the epoch of the lowest validation loss, in a recipe with patience."""


def save(files: RunFiles, trainer: Trainer, state: State) -> None:
    """Write resume.pt."""
    content = serialise(
        {
            "network": trainer.network.state_dict(),
            "optimiser": trainer.optimiser.state_dict(),
            "made_with": msgspec.to_builtins(state.made_with),
            "seed": files.seed,
            "history": [asdict(row) for row in state.history],
            "best": state.best,
            "device": trainer.device,
        }
    )
    write_bytes(files.resume, hashlib.sha256(content).digest() + content)


def load(files: RunFiles, trainer: Trainer, made: MadeWith) -> State | None:
    """Load the state after the last whole epoch into `trainer`.

    None: there is none, it is damaged, or it is of another run; a line on standard error says which of the last two.
    Then the trainer may have loaded a part of it.

    Raises:
        StudyError: it is of the same run on another device.
    """
    if not files.resume.exists():
        return None
    try:
        content = _read(files)
        if content["made_with"] != msgspec.to_builtins(made) or content["seed"] != files.seed:
            fault = "is of another recipe, network, data set or seed"
        elif content["device"] != trainer.device:
            raise StudyError(
                f"{files.resume}: expected a run on {trainer.device}, found one on {content['device']}; "
                f"continue it with --device {content['device']}, or start it again with --fresh"
            )
        else:
            history = _history(content["history"], made.recipe)
            trainer.optimiser.load_state_dict(content["optimiser"])
            if made.recipe.patience:  # they are loaded at the end: do they fit?
                trainer.network.load_state_dict(content["best"])
            trainer.network.load_state_dict(content["network"])
            return State(made, history, content["best"])
    except (
        *(OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError),
        pickle.UnpicklingError,
    ) as error:
        fault = f"cannot be read ({one_line(error)})"
    print(f"{files.resume} {escaped(fault)}: training from the start", file=sys.stderr)
    return None


def _read(files: RunFiles) -> dict[str, Any]:
    """The content of the file.

    Raises:
        ValueError: its digest is not that of its content.
    """
    content = read_plain(files.resume, None)
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        raise ValueError("expected the SHA-256 that it begins with, found another: it was changed or cut off")
    kept = io.BytesIO(content[DIGEST:])  # of a GPU that may not be here
    state: dict[str, Any] = torch.load(kept, map_location="cpu", weights_only=True)
    return state


def _history(rows: Sequence[object], recipe: Recipe) -> list[Epoch]:
    """
    Raises:
        ValueError: they are not the first epochs of such a run.
    """
    history = [Epoch(**msgspec.structs.asdict(msgspec.convert(row, EpochRecord))) for row in rows]
    if [row.epoch for row in history] != list(range(1, len(history) + 1)) or not 1 <= len(history) <= recipe.epochs:
        raise ValueError(f"expected epochs from 1 to at most {recipe.epochs}")
    return history


def serialise(state: object) -> bytes:
    """`torch.save` as bytes; saved to a path, the file would contain its own temporary name."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
