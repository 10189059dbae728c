"""Inputs and outputs of a model as .npz files without pickles, for processes in other environments.

numpy's file format knows bfloat16, the only type of an input that numpy lacks, as two bytes (V2).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pool = Sequence[Mapping[str, NDArray[Any]]]
"""The arguments of calls, each an array for each input by its name; all with the same names, shapes and types."""
PREFIX = "array "
"""Prefix of the names in a file: np.savez has arguments of its own, such as "file"."""


def save_inputs(path: Path, pool: Pool) -> None:
    """Write a pool as one array [calls, ...] for each input."""
    arrays = {f"{PREFIX}{name}": np.stack([each[name] for each in pool]) for name in pool[0]}
    np.savez(path, allow_pickle=False, **arrays)


def load_inputs(path: Path) -> list[dict[str, NDArray[Any]]]:
    """Read what `save_inputs` wrote; each array is C-contiguous and has memory of its own."""
    with np.load(path, allow_pickle=False) as file:
        stacked = {name.removeprefix(PREFIX): _typed(file[name]) for name in file.files}
    calls = len(next(iter(stacked.values())))
    return [{name: np.array(array[i], order="C") for name, array in stacked.items()} for i in range(calls)]


def _typed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.dtype("V2"):
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)


def save_outputs(path: Path, calls: Sequence[Sequence[Any]]) -> Any:
    """Write the arrays of outputs; returns their structure, which JSON can hold, for `load_outputs`."""
    arrays: dict[str, NDArray[Any]] = {}

    def structure(output: Any) -> Any:
        if output is None:
            return None
        if isinstance(output, Mapping):
            return {"keys": [structure(key) for key in output], "values": [structure(one) for one in output.values()]}
        if isinstance(output, list | tuple):
            return [structure(one) for one in output]
        array = np.asarray(output)
        if array.dtype.kind == "O":  # texts
            array = array.astype(str)
        arrays[f"{PREFIX}{len(arrays)}"] = array
        return len(arrays) - 1

    result = [[structure(output) for output in outputs] for outputs in calls]
    np.savez(path, allow_pickle=False, **arrays)
    return result


def load_outputs(path: Path, structure: Any) -> list[list[Any]]:
    """The outputs of each call, from the file and the structure of `save_outputs`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {int(name.removeprefix(PREFIX)): file[name] for name in file.files}

    def output(of: Any) -> Any:
        if of is None:
            return None
        if isinstance(of, dict):
            keys = (output(key).item() for key in of["keys"])
            return dict(zip(keys, map(output, of["values"]), strict=True))
        return [output(one) for one in of] if isinstance(of, list) else arrays[of]

    return [[output(one) for one in outputs] for outputs in structure]
