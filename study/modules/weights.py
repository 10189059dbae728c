"""Load the weights of a module of the user from a file: tensors alone, and nothing that could run."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from study.errors import StudyError, one_line

SAFETENSORS = ".safetensors"
INNER = ("state_dict", "model_state_dict", "model", "module", "net", "params", "weights")
"""Keys under which training scripts keep a state dict in a checkpoint."""


def load(network: nn.Module, path: Path) -> None:
    """Load a state dict into the network, which takes over its tensors: no copy of the weights is left.

    Tied weights stay tied, also where the file has them once. A tensor of another dtype is converted to the network's.

    Raises:
        StudyError: the file cannot be read, has something else than tensors, or those of another network.
    """
    state = dict(_read(path))
    own: dict[str, list[str]] = {}
    tensors = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    by_identity: dict[int, list[str]] = {}
    for name, one in tensors.items():
        by_identity.setdefault(id(one), []).append(name)
    own = {names[0]: names for names in by_identity.values() if len(names) > 1}
    for names in own.values():
        given = [state[name] for name in names if name in state]
        if any(one.shape == given[0].shape and not torch.equal(one, given[0]) for one in given[1:]):
            raise StudyError(f"--weights {path}: the module ties {names[0]} and {names[1]}, the file has two of them")
        state.update({name: given[0] for name in names if given and name in network.state_dict()})
    for name, one in state.items():
        wanted = tensors.get(name)
        if wanted is not None and wanted.dtype != one.dtype:
            state[name] = one.to(wanted.dtype)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        hint = ""
        if all(name.startswith("module.") for name in state):
            hint = "; its names begin with module.: save the state dict of model.module"
        raise StudyError(f"--weights {path} does not fit the module: {one_line(error, 300)}{hint}") from None
    for names in own.values():
        _tie(network, names)


def _tie(network: nn.Module, names: list[str]) -> None:
    """Make tied weights one object again, which `assign` has made several."""
    shared = None
    for name in names:
        place, _, leaf = name.rpartition(".")
        module = network.get_submodule(place)
        kept = module._parameters if leaf in module._parameters else module._buffers
        shared = kept[leaf] if shared is None else shared
        kept[leaf] = shared  # type: ignore[assignment]  # of the same kind: they were one object


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise StudyError(f"--weights {path}: expected a file, found {'a folder' if path.is_dir() else 'nothing there'}")
    state: object
    if path.suffix == SAFETENSORS:
        state = _safetensors(path)
    else:
        try:
            state = _pickled(path)
        except pickle.UnpicklingError:
            raise StudyError(
                f"--weights {path}: expected tensors by name, found other objects, which are not unpickled: they could "
                "run code; save module.state_dict()"
            ) from None
        except Exception as error:  # torch raises exceptions of many types, the file is anyone's
            what = one_line(error)
            raise StudyError(
                f"--weights {path}: expected tensors by name, as torch.save(module.state_dict(), FILE) or safetensors "
                f"write them, found {'a module of TorchScript' if 'TorchScript' in what else what}"
            ) from None
    if not isinstance(state, Mapping):
        raise StudyError(
            f"--weights {path}: expected tensors by name, found {type(state).__name__}; save module.state_dict()"
        )
    if other := next((key for key, one in state.items() if not isinstance(one, Tensor)), None):
        inner = next((key for key in INNER if isinstance(state.get(key), Mapping)), None)
        remedy = f"save what is under its key {inner!r} alone" if inner else "save module.state_dict()"
        raise StudyError(
            f"--weights {path}: expected tensors by name, found {type(state[other]).__name__} as {other!r}; {remedy}"
        )
    return state


def _pickled(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise StudyError(f"--weights {path}: run `pip install safetensors` to read it") from None
    try:
        return dict(load_file(path))
    except Exception as error:  # safetensors raises a type of its own
        raise StudyError(f"--weights {path}: expected a safetensors file, found {one_line(error)}") from None
