"""Look up models by name, study and data set, and add those of a user's own file. No torch here.

The entries themselves are in study/entries.py. A catalogue is a tuple of them: the project's `ENTRIES`, or what
`extended` returns for `--catalogue FILE`.
"""

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from study import entries as data
from study.entry import FASHION_MNIST as FASHION_MNIST
from study.entry import Entry as Entry  # users import it from here
from study.errors import StudyError, one_line

ENTRIES = tuple(entry for entries in data.STUDIES.values() for entry in entries)
STUDIES = {study: tuple(entry.name for entry in entries) for study, entries in data.STUDIES.items()}
"""Named sets of models; the first model of a study is the baseline of its comparisons."""
DEFAULT_STUDY = "regularisers"
DEFAULT_SEEDS = (0, 1, 2)


def entry(name: str, catalogue: Sequence[Entry] = ENTRIES) -> Entry:
    """The entry called `name`.

    Raises:
        StudyError: there is none; the message lists the names.
    """
    for candidate in catalogue:
        if candidate.name == name:
            return candidate
    raise StudyError(f"no model is called {name!r}; the catalogue has: {', '.join(e.name for e in catalogue)}")


def select(
    names: Sequence[str] = (), study: str = DEFAULT_STUDY, dataset: str = "", catalogue: Sequence[Entry] = ENTRIES
) -> list[Entry]:
    """The entries called `names`, without duplicates and in that order; without names, those of `study`.

    With `dataset`, the same models for that data set: an entry that is for it, or else the one called NAME-DATASET.

    Raises:
        StudyError: there is no such study or model, or none for that data set.
    """
    if study not in STUDIES:
        raise StudyError(f"no study is called {study!r}; there are: {', '.join(STUDIES)}")
    chosen = [entry(name, catalogue) for name in names or STUDIES[study]]
    return list(dict.fromkeys(_for_dataset(one, dataset, catalogue) if dataset else one for one in chosen))


def _for_dataset(one: Entry, dataset: str, catalogue: Sequence[Entry]) -> Entry:
    candidates = {candidate.name: candidate for candidate in catalogue if candidate.dataset == dataset}
    for name in (one.name, f"{one.name}-{dataset}"):
        if name in candidates:
            return candidates[name]
    raise StudyError(f"{one.name} has no counterpart for {dataset}; the models for it are: {', '.join(candidates)}")


def extended(file: Path) -> tuple[Entry, ...]:
    """The catalogue with the `ENTRIES` of a user's Python file, whose folder is added to the import path.

    The file is executed. It may define networks, or import them from its folder: an entry's `network` is then
    "my_models:MyNetwork". The paths of a torch module that is not trained here are relative to that folder.

    Raises:
        StudyError: the file cannot be read or imported, has no entries, or one has a name that is taken or invalid.
    """
    if not file.is_file():
        raise StudyError(f"--catalogue {file}: expected a Python file with ENTRIES, found no such file")
    if not file.stem.isidentifier() or file.suffix != ".py":
        raise StudyError(f"--catalogue {file}: expected a name that can be imported, such as my_models.py")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: nothing in it hides a module of the project
    try:
        module = import_module(file.stem)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise StudyError(f"--catalogue {file} cannot be imported ({type(error).__name__}: {one_line(error)})") from None
    if Path(getattr(module, "__file__", None) or "").resolve() != file.resolve():
        raise StudyError(f"--catalogue {file}: a module called {file.stem} exists already; give the file another name")
    own = getattr(module, "ENTRIES", ())
    if not isinstance(own, tuple | list) or not own or not all(isinstance(one, Entry) for one in own):
        raise StudyError(f"--catalogue {file}: expected ENTRIES = (Entry(...), ...) with study.catalogue.Entry")
    names = [known.name for known in ENTRIES]
    for one in own:
        if not all(isinstance(value, str) for value in (one.name, one.network, one.dataset)):
            raise StudyError(f"--catalogue {file}: expected strings as name, network and dataset, found {one}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", one.name) or one.name == "search":
            raise StudyError(
                f"--catalogue {file}: {one.name!r} is no name for a model; use letters, digits, '.', '_' and '-'"
            )
        if one.name in names:
            raise StudyError(f"--catalogue {file}: two models are called {one.name!r}; rename one")
        names.append(one.name)
    return (*ENTRIES, *(_checked(one, file) if one.inputs else one for one in own))


def _checked(one: Entry, file: Path) -> Entry:
    from study.modules.entries import checked_entry  # which needs the library onnx

    try:
        return checked_entry(one, file.resolve().parent)
    except StudyError as error:
        raise StudyError(f"--catalogue {file}: {error}") from None
