"""The code that travels to the workers: this project's packages, and the user's own modules as they are loaded."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from study.entry import Entry
from study.modules.namesakes import is_installed

PROJECT = Path(__file__).resolve().parents[2]


def stage(folder: Path, package: str, entries: Iterable[Entry]) -> None:
    """Copy `study`, the stage's `package`, the pinned versions and the modules of the entries' networks into `folder`.

    The networks have been built before, so the modules that they import are loaded. Installed packages do not travel.
    """
    for name in ("study", package):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "constraints.txt", folder)
    for root in {root for entry in entries if (root := _root(entry))}:
        for file in _loaded(root):
            target = folder / file.relative_to(root)
            if not target.exists():  # a module of the project comes first here, too
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)


def _root(entry: Entry) -> Path | None:
    """The folder that a user's network is imported from; None for this project's and for installed ones."""
    name = entry.network.partition(":")[0]
    file = _file(name)
    if file is None or name.partition(".")[0] == "study" or is_installed(file):
        return None
    return file.parents[name.count(".") + (file.name == "__init__.py")]


def _loaded(root: Path) -> list[Path]:
    """The source files of the loaded modules that are imported from `root`."""
    files = {name: file for name in list(sys.modules) if (file := _file(name)) and file.is_relative_to(root)}
    return [
        file
        for name, file in files.items()
        if file.relative_to(root).with_suffix("").as_posix().removesuffix("/__init__") == name.replace(".", "/")
    ]


def _file(name: str) -> Path | None:
    """The source file of a loaded module."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") else None
