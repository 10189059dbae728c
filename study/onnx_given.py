"""The options with which a user gives the inputs of a model: shapes, values, and files of arrays."""

import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError, one_line

Arrays = Mapping[str, NDArray[Any]]
"""The inputs of one call, by name."""
Shapes = Mapping[str, tuple[int, ...]]
"""The user's shapes by the input's name."""

BATCH = "batch"
"""Name of the dimension that is the batch wherever it stands."""
MOST_BYTES = 4 * 2**30
"""Bytes of the largest pool of inputs: a typing mistake must not exhaust the memory."""


@dataclass(frozen=True)
class Given:
    """The user's shapes, values and arrays, by the names of the inputs."""

    shapes: Shapes = field(default_factory=dict)
    """Those of `--shape` and of the arrays in `feeds`."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The words of `--input`, such as "16000" or "0..30521"."""
    feeds: tuple[Arrays, ...] = ()
    """The arrays of each `--feed`, all with the same names, dtypes and shapes."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Those of `--size`: of dimensions by their name, in every input."""


def parse_given(
    shapes: Sequence[str], values: Sequence[str], feeds: Sequence[Path], dimensions: Sequence[str] = ()
) -> Given:
    """Parse the words of `--shape`, `--input` and `--size`, and read the files of `--feed`.

    Raises:
        StudyError: a word or file is malformed, or two of them contradict each other.
    """
    sizes = parse_shapes(shapes)
    words: dict[str, str] = {}
    for word in values:
        name, _, text = word.rpartition("=")
        if not name:
            raise StudyError(f"--input: expected name=16000 or name=0..9, found {word!r}")
        if name in words:
            raise StudyError(f"--input: expected one word for each input, found {word!r} as another for {name!r}")
        words[name] = text
    fed = tuple(read_feed(path) for path in feeds)
    signatures = [{name: (array.dtype, array.shape) for name, array in sorted(arrays.items())} for arrays in fed]
    for path, signature in zip(feeds, signatures, strict=True):
        if signature != signatures[0]:
            raise StudyError(f"--feed {path}: expected arrays named and shaped as in {feeds[0]}, found others")
    if (total := sum(array.nbytes for arrays in fed for array in arrays.values())) > MOST_BYTES:
        raise StudyError(f"--feed: expected at most {MOST_BYTES} bytes, found {total}")
    for name, array in fed[0].items() if fed else ():
        if name in words or sizes.get(name, array.shape) != array.shape:
            other = f"--input {name}={words[name]}" if name in words else f"the shape {list(sizes[name])}"
            raise StudyError(f"--feed {feeds[0]}: input {name!r} is there already, leave out {other}")
        sizes[name] = array.shape
    return Given(sizes, words, fed, parse_sizes(dimensions))


def parse_shapes(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by name from words such as `image=1,3,224,224`; `step=` is a scalar, `a=b=1` is called `a=b`.

    Raises:
        StudyError: a word has another syntax, or a name comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, _, numbers = word.rpartition("=")
        parts = numbers.split(",") if numbers else []
        if not name or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
            raise StudyError(f"--shape: expected name=1,3,224,224 (name= for a scalar), found {word!r}")
        if name in shapes:
            raise StudyError(f"--shape: expected one shape for each input, found {word!r} as another for {name!r}")
        shapes[name] = tuple(map(int, parts))
    return shapes


def parse_sizes(words: Sequence[str]) -> dict[str, int]:
    """Sizes of named dimensions from words such as `sequence=128`; a name may have any characters.

    Raises:
        StudyError: a word has another syntax, a name comes twice, or is that of the batch.
    """
    sizes: dict[str, int] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if not name or not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise StudyError(f"--size: expected name=128, found {word!r}")
        if name == BATCH:
            raise StudyError(f"--size {word}: the size of the batch is for --batches")
        if name in sizes:
            raise StudyError(f"--size: expected one size for each dimension, found {word!r} as another for {name!r}")
        sizes[name] = int(number)
    return sizes


def shape_word(name: str, shape: Sequence[int]) -> str:
    """The word of `--shape` for this shape, quoted for a shell."""
    return shlex.quote(f"{name}={','.join(map(str, shape))}")


def read_feed(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name: the inputs of one call.

    Raises:
        StudyError: the file is missing, no plain file or malformed, has no arrays or more than `MOST_BYTES`.
    """
    if (
        path.exists() and not path.is_file() and not path.is_dir()
    ):  # a pipe would be waited for, and a device may be endless
        raise StudyError(f"--feed {path}: expected a file of numpy.savez, found no plain file")
    try:
        with zipfile.ZipFile(path) as file:
            if (total := sum(entry.file_size for entry in file.infolist())) > MOST_BYTES:
                raise StudyError(f"--feed {path}: expected at most {MOST_BYTES} bytes, found {total}")
        with np.load(path, allow_pickle=False) as arrays:
            read = {str(name): np.asarray(array, order="C") for name, array in arrays.items()}
            if any(array.dtype.kind == "S" for array in read.values()):  # the bytes of a member that is no array
                raise ValueError("bytes")
    except OSError as error:
        raise StudyError(f"--feed {path}: {error.strerror or error}") from None
    except StudyError:
        raise
    except Exception as error:  # zipfile and numpy raise exceptions of many types
        remedy = ": give texts as .astype(str)" if "Object arrays" in str(error) else ""
        raise StudyError(f"--feed {path}: expected arrays of numpy.savez, found {one_line(error)}{remedy}") from None
    if not read:
        raise StudyError(f"--feed {path}: expected arrays by the names of the inputs, found none")
    return read


def checked_tolerance(tolerance: float | None) -> float | None:
    """The user's tolerance.

    Raises:
        StudyError: it is no share.
    """
    if tolerance is not None and not 0 < tolerance < 1:
        raise StudyError(f"--tolerance: expected a share between 0 and 1, such as 1e-3, found {tolerance:g}")
    return tolerance
