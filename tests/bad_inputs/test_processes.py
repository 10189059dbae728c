"""What only a process of its own shows: another interpreter, missing packages, streams and locales."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.artifacts import Artifacts
from tests.conftest import ROOT
from tests.support.records import case
from tests.support.study import write_bench


def ended(*words: str | Path, command: str = 'exec "$@"', **variables: str) -> tuple[int, str]:
    """The exit code and standard error of this interpreter with these words."""
    line = ["sh", "-c", command, "sh", sys.executable, *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **variables}, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words", [("train", "--list"), ("export", "gap"), ("analysis",), ("bench", "compare", "a", "b")]
)
def test_a_missing_package_is_named(words: tuple[str, ...]) -> None:
    code, errors = ended("-S", "-m", *words)  # without any installed package
    assert code == 2
    assert errors.startswith("error: expected the package msgspec, found none; install ")
    assert errors.count("\n") == 1


def test_a_missing_module_of_this_project_is_a_fault_with_its_traceback() -> None:
    code, errors = ended(
        "-c", "from study.errors import exit_with\ndef main():\n    import study.nosuch\nexit_with(main)"
    )
    assert code == 1
    assert "Traceback" in errors


def test_an_older_python_is_refused_before_anything_else_is_imported() -> None:
    script = "import sys, runpy; sys.version_info = (3, 10, 1); runpy.run_module('train', run_name='__main__')"
    assert ended("-S", "-c", script) == (2, "error: expected Python 3.11 or newer, found 3.10; run it with that\n")


def test_a_closed_standard_output_loses_what_is_printed_and_nothing_else() -> None:
    assert ended("-m", "train", "--list", command='exec "$@" >&-') == (0, "")
    code, errors = ended("-m", "train", "nosuch", command='exec "$@" >&-')
    assert (code, errors.count("\n"), errors[:7]) == (2, 1, "error: ")


def test_a_locale_without_the_characters_of_a_name_changes_no_exit_code(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    file = write_bench(artifacts, [case(artifacts, "bäse", "torch", 1, 1e-4)])
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    code, errors = ended("-m", "bench", "convert", file, "--to", "bencher", **plain)
    assert (code, errors) == (0, "")
    code, errors = ended("-m", "bench", "compare", file, tmp_path / "ä.json", **plain)
    assert (code, errors.count("\n"), errors[:7]) == (2, 1, "error: ")


@pytest.mark.parametrize("word", ["--nonsense", "--seconds=soon"])
def test_a_wrong_option_of_the_bench_is_one_line_too(word: str) -> None:
    code, errors = ended("-m", "pytest", "bench", word)
    assert code == 2
    assert errors.startswith("error: ")
    assert errors.endswith("; see `python -m pytest bench --help`\n")
    assert errors.count("\n") == 1
