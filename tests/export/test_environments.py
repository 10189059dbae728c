"""Environments of the runtimes: made once, with exact versions; commands that are missing; the browser's driver."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from export.conformance import browser
from export.conformance.environments import MARK, Prepared, prepare
from export.conformance.processes import CommandError, run
from export.conformance.programs import write_program
from export.conformance.runtimes import NODE, RUNTIMES, Runtime, constraints, select
from study.errors import StudyError


def make_wheel(folder: Path, version: str) -> None:
    """A package `answer` that pip can install without an index."""
    info = f"answer-{version}.dist-info"
    files = {
        "answer.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: answer\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"answer-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


def prepared_with(pin: str, folder: Path) -> str | Path:
    """The Python of a runtime with one requirement."""
    document = folder / "portability.md"
    document.write_text("# This\n\n```python\npass\n```\n")
    prepared = prepare(Runtime("this", "This", "This", (pin,)), folder / "environment", folder, document)
    assert prepared.reason is None
    return prepared.command[0]


def test_an_environment_is_made_once_for_its_versions_and_again_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraint = tmp_path / "constraints.txt"  # as tox sets it, with another version, which must be ignored
    constraint.write_text("answer==2.0\n")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "CONSTRAINT": str(constraint)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    make_wheel(tmp_path, "1.0")
    make_wheel(tmp_path, "1.1")
    mine, mark = tmp_path / "environment" / "mine", tmp_path / "environment" / MARK

    def version(pin: str) -> str:
        python = prepared_with(pin, tmp_path)
        return run([python, "-I", "-c", "import answer; print(answer.VERSION)"], tmp_path, 60).strip()

    assert version("answer==1.0") == "1.0"
    mine.touch()
    assert version("answer==1.0") == "1.0"
    assert mine.exists()

    assert version("answer==1.1") == "1.1"
    assert not mine.exists()

    mark.unlink()  # as after a kill
    mine.touch()
    assert version("answer==1.1") == "1.1"
    assert not mine.exists()


def test_an_installed_version_needs_no_environment(tmp_path: Path) -> None:
    assert prepared_with(f"numpy=={np.__version__}", tmp_path) == Path(sys.executable)
    assert not (tmp_path / "environment").exists()


def test_a_missing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {
        "node": "no `node` and `npm` on PATH",
        "web-chromium": "no Chromium on PATH, and the variable CHROME names none",
        "openvino-c++": "no `g++` or `clang++` on PATH, and the variable CXX names none",
    }
    monkeypatch.setenv("PATH", str(tmp_path))
    for named in ("", str(tmp_path / "nowhere")):
        monkeypatch.setenv("CHROME", named)
        monkeypatch.setenv("CXX", named)
        for name, reason in reasons.items():
            assert prepare(select(name)[0], tmp_path / "environment", tmp_path) == Prepared(reason=reason)


def test_a_program_that_does_not_compile_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("echo \"$PWD/classify.cpp:3:1: error: no such type\"; echo '  3 | x'; exit 1\n")
    monkeypatch.setenv("CXX", f"sh {compiler}")  # two words
    prepared = prepare(select("openvino-c++")[0], tmp_path / "environment", tmp_path)
    assert prepared.broken
    assert prepared.reason == "exit code 1: classify.cpp:3:1: error: no such type 3 | x"


# ---- the browser's driver, with a browser made by hand

BROWSER = """#!{python}
import sys, urllib.request as web
address = sys.argv[-1]
assert "--headless" in sys.argv and address.endswith("?batch=7")
page = web.urlopen(address).read().decode()
assert page.startswith("<p>the page</p>") and "window.classified" in page
base = address.partition("?")[0]
assert web.urlopen(base + "model.onnx").read() == b"the model"
library = web.urlopen(base + "ort.mjs")
assert library.read() == b"the library" and library.headers.get_content_subtype() == "javascript"
{end}
"""


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("web.urlopen(web.Request(base + 'probabilities', data=bytes(4 * 27)))", None),
        ("web.urlopen(web.Request(base + 'error', data=b'TypeError: no'))", "exit code 1: Error: TypeError: no"),
        ("web.urlopen(web.Request(base + 'probabilities', data=bytes(100)))", "exit code 1: ValueError: "),
        ("sys.exit('no display')", "exit code 1: Error: the browser ended with 1: no display"),
    ],
)
def test_the_browser_gets_the_page_and_its_result_is_read(end: str, reason: str | None, tmp_path: Path) -> None:
    fake = tmp_path / "chromium"
    fake.write_text(BROWSER.format(python=sys.executable, end=end + "\nimport time; time.sleep(30)" * (reason is None)))
    fake.chmod(0o755)
    page, model, library = (tmp_path / name for name in ("page.html", "model.onnx", "dist"))
    page.write_text("<p>the page</p>")
    model.write_text("the model")
    library.mkdir()
    (library / "ort.mjs").write_text("the library")
    images, result = tmp_path / "images.npy", tmp_path / "probabilities.npy"
    np.save(images, np.zeros((9, 1, 28, 28), np.float32))
    command = (sys.executable, Path(browser.__file__), fake, library, page, model, images, "7", result)
    if reason is None:
        run(command, tmp_path, 25)
        assert np.array_equal(np.load(result), np.zeros((9, 3), np.float32))
    else:
        with pytest.raises(CommandError) as raised:
            run(command, tmp_path, 25)
        assert str(raised.value).startswith(reason)


# ---- the table and the document


def test_every_runtime_has_exact_versions_a_name_a_title_and_a_program(tmp_path: Path) -> None:
    assert len({this.name for this in RUNTIMES}) == len({this.title + str(this.version) for this in RUNTIMES})
    for this in RUNTIMES:
        assert this.pinned
        assert all(pin.partition("==")[2] for pin in this.pinned), this.name
        assert (this.because is not None) == (this.largest_difference > 1e-5), this.name
        assert write_program(this.heading, tmp_path).stat().st_size > 300
    assert select("tract,onnxruntime")[1].version == constraints()["onnxruntime"]


def test_the_lock_of_npm_fits_its_package_file_and_has_a_checksum_for_everything() -> None:
    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    locked = json.loads((NODE / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == wanted
    assert all(package["integrity"].startswith("sha512-") for package in locked.values())
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version


def test_a_document_needs_exactly_one_program_below_the_heading(tmp_path: Path) -> None:
    document = tmp_path / "portability.md"
    document.write_text("# Programs\n```sh\nls\n```\n## Two\n```js\n1\n```\n```python\n2\n```\n")
    for heading, count in (("Programs", 0), ("Nowhere", 0), ("Two", 2)):
        with pytest.raises(StudyError, match=f"heading '{heading}', found {count}"):
            write_program(heading, tmp_path, document)
