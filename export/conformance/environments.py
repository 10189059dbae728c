"""One environment for each runtime below artifacts/environments, made once with the exact versions of runtimes.py."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from export.conformance.processes import CommandError, run
from export.conformance.programs import DOCUMENT, any_model, write_program
from export.conformance.runtimes import NODE, Runtime
from study.files import write_text

INSTALLATION = 1800.0
"""Time limit of an installation in seconds."""
COMPILATION = 600.0
MARK = "complete.json"
"""File that records the versions of an environment; written last, so that an interrupted installation starts again."""
BROWSERS = (
    *("chromium", "chromium-browser", "chromium-headless-shell", "chrome-headless-shell"),
    *("google-chrome", "google-chrome-stable", "chrome"),
)


@dataclass(frozen=True)
class Prepared:
    """A runtime that is ready to run, or the reason why it is not."""

    command: tuple[str | Path, ...] = ()
    """The command line, up to the arguments that say what to run."""
    reason: str | None = None
    broken: bool = False
    """Whether the program is at fault, rather than something that is missing on this machine."""


def prepare(runtime: Runtime, folder: Path, work: Path, document: Path | None = DOCUMENT) -> Prepared:
    """Make the environment of `runtime` in `folder`, unless it is there, and write its program to `work`.

    Args:
        document: has its program; None for the program that runs any model.

    Raises:
        StudyError: the document has no program for it.
    """
    words: tuple[str, ...] = ()
    if document is None:
        program, words = any_model(runtime.kind, work), (runtime.requirements[0].partition("==")[0],)
    else:
        program = write_program(runtime.heading, work, document)
    try:
        if runtime.kind in {"node", "browser"}:
            return _prepare_javascript(runtime, program, folder, words)
        python = _python(runtime, folder)
    except CommandError as error:
        return Prepared(reason=str(error))
    return Prepared((python, "-I", program, *words)) if runtime.kind == "python" else _compile(python, program)


def _python(runtime: Runtime, folder: Path) -> Path:
    """A Python that has the runtime: this one if it has these versions, else one of its own."""
    if all(_version(name) == version for name, _, version in (pin.partition("==") for pin in runtime.pinned)):
        return Path(sys.executable)
    python = folder.absolute() / "bin" / "python"

    def install() -> None:
        shared_pip = ("--without-pip",) if _version("pip") else ()
        run([sys.executable, "-m", "venv", *shared_pip, folder.absolute()], folder, INSTALLATION)
        pip = (sys.executable, "-m", "pip", "--python", python) if shared_pip else (python, "-m", "pip")
        options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet")
        # tox constrains the versions; an old runtime is older than those
        variables = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        run((*pip, "install", *options, *runtime.pinned), folder, INSTALLATION, variables=variables)

    _make_once(folder, {"python": sys.version, "requirements": runtime.pinned}, install)
    return python


def _make_once(folder: Path, content: Mapping[str, object], install: Callable[[], object]) -> None:
    """Run `install` in an empty `folder`, unless it has finished there before with the same `content`."""
    mark = folder / MARK
    if mark.is_file() and mark.read_bytes() == json.dumps(content).encode():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    write_text(mark, json.dumps(content))


def _version(name: str) -> str | None:
    """Version of an installed package, from its metadata: importing pip would make setuptools give up distutils."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _prepare_javascript(runtime: Runtime, program: Path, folder: Path, words: tuple[str, ...]) -> Prepared:
    browser = browser_command()
    if runtime.kind == "browser" and browser is None:
        return Prepared(reason="no Chromium on PATH, and the variable CHROME names none")
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return Prepared(reason="no `node` and `npm` on PATH")
    files = {name: (NODE / name).read_text() for name in ("package.json", "package-lock.json")}

    def install() -> None:
        for name, content in files.items():
            write_text(folder / name, content)
        run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, INSTALLATION)

    _make_once(folder, files, install)
    packages = folder.absolute() / "node_modules"
    if runtime.kind == "browser":
        driver = Path(__file__).parent / "browser.py"
        return Prepared((sys.executable, driver, browser or "", packages / runtime.requirements[0] / "dist", program))
    (program.parent / "node_modules").symlink_to(packages)  # `import` looks beside the program and above it
    return Prepared((node, program, *words))


def browser_command() -> str | None:
    """The installed Chromium: the one that CHROME names, else the first of its usual names on PATH."""
    names = (os.environ.get("CHROME", ""), *BROWSERS)
    return next(filter(None, map(shutil.which, names)), None)


def browser_version() -> str:
    """Such as "Chromium 156"; "Chromium" where the version is unknown."""
    try:
        printed = run([browser_command() or "", "--version"], Path.cwd(), 60)
    except CommandError:
        return "Chromium"
    version = re.search(r"^(.*?(?:Chromium|Chrome)\D*?) (\d+)\.\d", printed, re.MULTILINE)
    return f"{version[1]} {version[2]}" if version else "Chromium"


def _compile(python: Path, program: Path) -> Prepared:
    """Compile a C++ program against the headers and the library in OpenVINO's wheel."""
    named = os.environ.get("CXX", "").split()  # such as "ccache g++"
    compiler = next((words for words in (named, ["g++"], ["clang++"]) if words and shutil.which(words[0])), None)
    if compiler is None:
        return Prepared(reason="no `g++` or `clang++` on PATH, and the variable CXX names none")
    locate = (python, "-I", "-c", "import openvino; print(openvino.__path__[0])")
    try:
        wheel = Path(run(locate, program.parent, COMPILATION).splitlines()[-1])
    except CommandError as error:
        return Prepared(reason=str(error))
    libraries = wheel / "libs"
    library = next(libraries.glob("libopenvino.so.*"), libraries / "libopenvino.dylib")
    binary = program.with_suffix("")
    linked = (f"-I{wheel / 'include'}", library, f"-Wl,-rpath,{libraries}")
    try:
        run((*compiler, "-std=c++17", "-O1", program, *linked, "-o", binary), program.parent, COMPILATION)
    except CommandError as error:
        return Prepared(reason=str(error), broken=True)
    return Prepared((binary,))
