"""Files of a module's folder that have the name of another module: of another folder, or of an installed package."""

import ast
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from study.errors import StudyError
from study.files import read_plain

INSTALLED = tuple({str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")})
"""Folders of Python itself and of installed packages, whose version says what is in them."""
PROJECT = Path(__file__).parents[2]


class _Own:
    """Finds the files of a module's folder before installed packages of the same name."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self.folders[name]]) if name in self.folders else None


_OWN = _Own()


def prefer_own(path: Path) -> None:
    """Let a Python file, and those of its folder, import their own folder's files before installed packages.

    That is what they import if they are run by themselves. But Python's own modules, the packages that this project
    needs, such as torch and onnx, and those that are imported already stay: another one would break the project.
    """
    own = {}
    for one in path.parent.iterdir():
        name = one.stem if one.suffix == ".py" else one.name
        regular = one.suffix == ".py" or (one / "__init__.py").is_file()
        if regular and name.isidentifier() and name not in sys.modules and name not in sys.stdlib_module_names:
            other = PathFinder.find_spec(name)
            if other and other.origin and is_installed(Path(other.origin)):
                own[name] = str(path.parent)
    needed = _needed() if own else set()
    imported = set(_imports(path)) if own.keys() - needed else set()
    _OWN.folders |= {name: folder for name, folder in own.items() if name in imported and name not in needed}
    if _OWN.folders and _OWN not in sys.meta_path:
        sys.meta_path.insert(0, _OWN)


def _needed() -> set[str]:
    """The top-level modules of the packages that some stage of this project needs."""
    lines = (PROJECT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {_normal(line.partition("==")[0]) for line in lines}
    return {top for top, names in metadata.packages_distributions().items() if pinned & set(map(_normal, names))}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def free_name(path: Path) -> str:
    """A name for a Python file among the imported modules that is no other module's, now or when that is imported."""
    name = path.stem
    try:
        other = find_spec(name) if name.isidentifier() and name not in sys.modules else None
        if name.isidentifier() and name not in sys.modules and (other is None or other.origin == str(path)):
            return name
    except (ImportError, ValueError):  # of a package that is damaged
        pass
    name = f"_fashionbench_{name}"
    while name in sys.modules:
        name += "_"
    return name


def is_installed(path: Path) -> bool:
    return "site-packages" in path.parts or str(path.resolve()).startswith(INSTALLED)


def refuse_namesakes(path: Path) -> None:
    """Check what a Python file, whose folder is on the import path, would import as files of its own folder.

    Its code is read only where a name is in two folders, which costs a single module no time.

    Raises:
        StudyError: Python has another file or folder under one of these names.
    """
    others = dict(_namesakes(path.parent))
    if others and (name := next((one for one in _imports(path) if one in others), None)):
        own, other = others[name]
        raise StudyError(
            f"{path} imports {name}, which is {own}, but Python has {other} already; rename one of them, or use a "
            "command for each"
        )


def _namesakes(folder: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Names of the folder's files and packages of which Python has or finds another one, with both."""
    before = []
    for one in sys.path:
        if (earlier := Path(one or ".").resolve()) == folder:
            break
        if earlier.is_dir() and not is_installed(earlier):
            before.append(earlier)
    for own in folder.iterdir():
        name = own.stem if own.suffix == ".py" else own.name
        if not name.isidentifier() or not (own.suffix == ".py" or own.is_dir()):
            continue
        other = _loaded(name) or _first(name, before)
        if other and other != own.resolve() and not is_installed(other):
            yield name, (own, other)


def _loaded(name: str) -> Path | None:
    """The file of an imported module, or the folder of a package."""
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        return None
    if written := getattr(module, "__file__", None):
        file = Path(written).resolve()
        return file.parent if file.name == "__init__.py" else file
    return next((Path(one).resolve() for one in getattr(module, "__path__", ())), None)


def _first(name: str, folders: list[Path]) -> Path | None:
    places = (place for folder in folders for place in (folder / name, folder / f"{name}.py"))
    return next((one for one in places if one.is_file() or (one / "__init__.py").is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """The top-level names that a file imports, and the files of its folder that it imports."""
    folder, done, waiting = path.parent, set[Path](), [path]
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        try:
            tree = ast.parse(read_plain(path))
        except (SyntaxError, ValueError, OSError):  # which the import reports
            continue
        for name in _names(tree):
            yield name
            waiting += [folder / f"{name}.py"] if (folder / f"{name}.py").is_file() else (folder / name).rglob("*.py")


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
