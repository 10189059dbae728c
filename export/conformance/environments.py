"""One environment for each runtime, below artifacts/environments, made once with exactly the versions of the table."""

import json
import os
import re
import shutil
import sys
import threading
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from export.conformance.processes import CommandError, run
from export.conformance.programs import DOCUMENT, write_program
from export.conformance.runtimes import NODE, Runtime
from study.artifacts import write_text

INSTALLATION = 1800.0
"""Seconds after which an installation is given up."""
COMPILATION = 600.0
MARK = "complete.json"
"""What an environment was made of; written last, so that one that was killed half-way is made anew."""
BROWSERS = (
    *("chromium", "chromium-browser", "chromium-headless-shell", "chrome-headless-shell"),
    *("google-chrome", "google-chrome-stable", "chrome"),
)


@dataclass(frozen=True)
class Prepared:
    """A runtime that is ready, or why it is not."""

    command: tuple[str | Path, ...] = ()
    """What is run, up to the program's own four words."""
    reason: str | None = None
    broken: bool = False
    """Whether the reason is a fault of its program, not something that is not to be had here."""


def prepare(
    runtime: Runtime, folder: Path, work: Path, document: Path = DOCUMENT, stop: threading.Event | None = None
) -> Prepared:
    """Make the environment of `runtime` in `folder`, unless it is there, and put its program into `work`.

    Raises:
        StudyError: the document has no program for it.
    """
    program = write_program(runtime.heading, work, document)
    try:
        if runtime.kind in {"node", "browser"}:
            return _prepare_javascript(runtime, program, folder, stop)
        python = _python(runtime, folder, stop)
    except CommandError as error:
        return Prepared(reason=str(error))
    if runtime.kind == "python":
        return Prepared((python, "-I", program))
    return _compile(python, program, stop)


def _python(runtime: Runtime, folder: Path, stop: threading.Event | None) -> Path:
    """A Python that has the runtime: this one where it has these very versions, else one of its own."""
    if all(_installed(pin) for pin in runtime.pinned):
        return Path(sys.executable)
    python = folder / "bin" / "python"
    wanted: dict[str, object] = {"python": sys.version, "requirements": runtime.pinned}
    if not _is_made(folder, wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with_pip = ("--without-pip",) if _version("pip") else ()
        run([sys.executable, "-m", "venv", *with_pip, folder.absolute()], folder.parent, INSTALLATION, stop)
        own = str(python.absolute())
        pip = (sys.executable, "-m", "pip", "--python", own) if with_pip else (own, "-m", "pip")
        options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet")
        # without the constraints that tox sets: an old runtime is older than those
        variables = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        run((*pip, "install", *options, *runtime.pinned), folder, INSTALLATION, stop, variables)
        write_text(folder / MARK, json.dumps(wanted))
    return python.absolute()


def _installed(pin: str) -> bool:
    name, _, version = pin.partition("==")
    return _version(name) == version


def _version(name: str) -> str | None:
    """Of an installed package, by its metadata: a search for the module pip would make setuptools give up distutils."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_made(folder: Path, wanted: dict[str, object]) -> bool:
    try:
        return bool(json.loads((folder / MARK).read_text()) == wanted)
    except (OSError, ValueError):
        return False


def _prepare_javascript(runtime: Runtime, program: Path, folder: Path, stop: threading.Event | None) -> Prepared:
    browser = browser_command()
    if runtime.kind == "browser" and browser is None:
        return Prepared(reason="no Chromium on PATH, and the variable CHROME names none")
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return Prepared(reason="no `node` and `npm` on PATH")
    wanted = {name: (NODE / name).read_text() for name in ("package.json", "package-lock.json")}
    if not _is_made(folder, dict(wanted)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in wanted.items():
            (folder / name).write_text(content)
        run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, INSTALLATION, stop)
        write_text(folder / MARK, json.dumps(wanted))
    if runtime.kind == "browser":
        distribution = folder.absolute() / "node_modules" / runtime.requirements[0] / "dist"
        return Prepared((sys.executable, Path(__file__).parent / "browser.py", browser or "", distribution, program))
    packages = program.parent / "node_modules"  # where `import` looks: beside the program and above it
    packages.symlink_to(folder.absolute() / "node_modules")
    return Prepared((node, program))


def browser_command() -> str | None:
    """The Chromium there is: what CHROME names, else the first of its usual names on PATH."""
    names = (os.environ.get("CHROME", ""), *BROWSERS)
    return next(filter(None, map(shutil.which, names)), None)


def _compile(python: Path, program: Path, stop: threading.Event | None) -> Prepared:
    """Compile a C++ program against the headers and the library in OpenVINO's wheel."""
    named = os.environ.get("CXX", "").split()  # such as "ccache g++"
    compiler = next((words for words in (named, ["g++"], ["clang++"]) if words and shutil.which(words[0])), None)
    if compiler is None:
        return Prepared(reason="no `g++` or `clang++` on PATH, and the variable CXX names none")
    where = (python, "-I", "-c", "import openvino; print(openvino.__path__[0])")
    try:
        wheel = Path(run(where, program.parent, COMPILATION, stop).splitlines()[-1])
    except CommandError as error:
        return Prepared(reason=str(error))
    libraries = wheel / "libs"
    library = next(libraries.glob("libopenvino.so.*"), libraries / "libopenvino.dylib")
    binary = program.with_suffix("")
    linked = (f"-I{wheel / 'include'}", str(library), f"-Wl,-rpath,{libraries}")
    try:
        run((*compiler, "-std=c++17", "-O1", program, *linked, "-o", binary), program.parent, COMPILATION, stop)
    except CommandError as error:
        return Prepared(reason=str(error), broken=True)
    return Prepared((binary,))


def browser_version() -> str:
    """Such as "Chromium 156"; "Chromium" where it does not tell."""
    command = browser_command()
    try:
        printed = run([command or "", "--version"], Path.cwd(), 60)
    except CommandError:
        return "Chromium"
    found = re.search(r"^(.*?(?:Chromium|Chrome)\D*?) (\d+)\.\d", printed, re.MULTILINE)
    return f"{found[1]} {found[2]}" if found else "Chromium"
