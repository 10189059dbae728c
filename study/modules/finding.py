"""Find the callable that makes a module of the user, and the files that it comes from. No torch here."""

import contextlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from study.errors import StudyError, one_line
from study.files import sha256
from study.modules.namesakes import PROJECT, free_name, is_installed, prefer_own, refuse_namesakes

EXAMPLE = "package.module:callable or PATH.py:callable"
MOST_NAMES = 10
"""Callables that a message lists."""
OWN = tuple(str(PROJECT / folder) for folder in ("analysis", "bench", "docs", "export", "study", "tests", "train"))
"""Folders of this project, whose version its commit says."""


def find(factory: str, folder: str | None = None) -> Any:
    """The callable at "package.module:callable" or "PATH.py:callable".

    The file of the second form is executed; its folder is then on the import path, last.

    Args:
        folder: an additional folder of the import path, last.

    Raises:
        StudyError: there is none, or importing it fails.
    """
    place, name = _parts(factory)
    path = Path(place)
    if place.endswith(".py") and not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise StudyError(f"--module {factory}: expected a Python file, found {found} at {place}")
    _importable(folder)
    try:
        found = with_torchvision(lambda: _found(place, name))
    except StudyError as error:
        raise StudyError(f"--module {factory}: {error}") from None
    except AttributeError as error:
        raise StudyError(f"--module {factory}: {one_line(error)}{_instead(place)}") from None
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        remedy = f"; run `pip install {missing}`, or run from the folder that has it" if missing else ""
        raise StudyError(f"--module {factory} cannot be imported ({one_line(error)}){remedy}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise StudyError(f"--module {factory} cannot be imported ({type(error).__name__}: {one_line(error)})") from None
    if folder and (other := import_folder(factory)) and other != folder:
        raise StudyError(f"--module {factory}: expected the package in {folder}, but Python has that of {other}")
    return found


def _instead(place: str) -> str:
    """The callables that a Python file defines itself, as the end of a message."""
    path = str(Path(place).resolve())
    module = next((one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == path), None)
    own = [
        name
        for name, one in (vars(module) if module else {}).items()
        if callable(one) and getattr(one, "__module__", None) == getattr(module, "__name__", "")
    ]
    return f"; it has: {', '.join(own[:MOST_NAMES])}" if own else ""


def is_imported(factory: str) -> bool:
    """Whether the file of a callable has been imported already."""
    place, _ = _parts(factory)
    if not place.endswith(".py"):
        return place in sys.modules
    path = str(Path(place).resolve())
    return any(getattr(one, "__file__", None) == path for one in list(sys.modules.values()))


def with_torchvision(call: Callable[[], Any]) -> Any:
    """The result of code that may import torchvision, which may be built for another torch: then it is imported first.

    Other packages import it too, such as timm and transformers.
    """
    try:
        return call()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and "torchvision::nms" not in str(cause):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
    from study.data.tensors import import_torchvision

    import_torchvision()
    return call()


def _parts(factory: str) -> tuple[str, str]:
    place, colon, name = factory.rpartition(":")
    written = place.endswith(".py") or all(part.isidentifier() for part in place.split("."))
    if not colon or not written or not all(part.isidentifier() for part in name.split(".")):
        raise StudyError(f"--module: expected {EXAMPLE}, found {factory!r}")
    return place, name


def absolute(factory: str) -> str:
    """The same callable from any working folder: an absolute path, also of a file that is importable from this folder.

    Raises:
        StudyError: it is written otherwise.
    """
    place, name = _parts(factory)
    if place.endswith(".py"):
        return f"{Path(place).absolute()}:{name}"
    spec = importlib.util.find_spec(place) if place.isidentifier() and place not in sys.modules else None
    file = Path(spec.origin) if spec and spec.origin else Path()
    return f"{file.absolute()}:{name}" if file.name == f"{place}.py" and not is_installed(file) else factory


def _importable(folder: str | None) -> None:
    if folder and folder not in sys.path:
        sys.path.append(folder)  # last: nothing in it hides a module of the project


def _found(place: str, name: str) -> Any:
    if not place.endswith(".py"):
        return pkgutil.resolve_name(f"{place}:{name}")
    found: Any = _imported(Path(place))
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _imported(path: Path) -> ModuleType:
    path = path.resolve()
    _importable(str(path.parent))
    for loaded in list(sys.modules.values()):
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
    refuse_namesakes(path)
    prefer_own(path)
    name = free_name(path)
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


def import_folder(factory: str) -> str | None:
    """The folder from which a callable's package was imported; None for PATH.py and for an installed package.

    Another process may have another working folder, from which it could not import it.
    """
    place, _ = _parts(factory)
    if place.endswith(".py"):
        return None
    file = getattr(sys.modules.get(place.partition(".")[0]), "__file__", None)
    if not file or is_installed(Path(file)):
        return None
    path = Path(file).resolve()
    return str(path.parent.parent if path.name == "__init__.py" else path.parent)


def sources(factory: str) -> dict[str, str]:
    """SHA-256 by path of the files that a module is made from: that of the callable, which has been found, and all
    imported ones of the same folder or below, unless they are installed.
    """
    made = find(factory)
    made = made if inspect.isroutine(made) or inspect.isclass(made) else type(made)
    files: set[Path] = set()
    with contextlib.suppress(TypeError):  # one in C
        files.add(Path(inspect.getsourcefile(made) or ""))
    place, _ = _parts(factory)
    folder = Path(place).resolve().parent if place.endswith(".py") else Path(import_folder(factory) or "/nowhere")
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/").resolve()
        if (
            name != "__main__"
            and path.is_relative_to(folder)
            and not is_installed(path)
            and not str(path).startswith(OWN)
        ):
            files.add(path)
    return {str(path): sha256(path) for path in sorted(file.resolve() for file in files) if path.is_file()}


def packages(factory: str, modules: Iterable[str]) -> dict[str, str]:
    """Versions of the installed packages that a callable is from, and the Python modules that define its layers."""
    place, _ = _parts(factory)
    tops = {name.partition(".")[0] for name in (*modules, *([] if place.endswith(".py") else [place]))}
    found = metadata.packages_distributions()
    return {name: metadata.version(name) for name in sorted({one for top in tops for one in found.get(top, ())})}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    known = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            known[name] = metadata.version(name)
    return known
