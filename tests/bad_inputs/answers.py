"""Give a command its words in this process, as its module does when it is started, and take its answer."""

import argparse
import io
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock, patch

import pytest

from study.errors import exit_with

MODULES = {"train": "train.__main__", "export": "export.__main__", "analysis": "analysis.__main__"}
MODULES |= {"bench": "bench.__main__", "bench.experiments": "bench.experiments.__main__"}

STOPPING = MagicMock(INTERRUPTED=130, is_interrupted=lambda: False, end=sys.exit)
"""In place of study.stopping, whose signal handlers are for a whole process."""


@dataclass(frozen=True)
class Answer:
    code: int
    output: str
    errors: str


def answer(line: str, folder: Path, within: Callable[[], AbstractContextManager[None]] = nullcontext) -> Answer:
    """What `python -m LINE`, or `pytest bench ...`, prints and ends with; `{dir}` is the folder."""
    program, *words = [word.replace("{dir}", str(folder)) for word in shlex.split(line)]
    main = _pytest_bench if program == "pytest" else import_module(MODULES.get(program, program)).main
    errors = io.StringIO()
    with (
        patch.object(sys, "argv", [program, *words]),
        patch("study.errors.stopping", STOPPING),
        redirect_stdout(io.StringIO()) as output,
        redirect_stderr(errors),
        within(),
        pytest.raises(SystemExit) as ended,
    ):
        exit_with(main)
    assert isinstance(ended.value.code, int)
    return Answer(ended.value.code, output.getvalue(), errors.getvalue())


def _pytest_bench() -> int:
    """Plan a session as bench/conftest.py does, before pytest begins."""
    from bench.plan import add_bench_options, find_session
    from study.command_line import Parser

    parser = Parser(prog="pytest bench")
    add_bench_options(parser.add_argument)
    options = parser.parse_args(sys.argv[2:])
    others = {
        "benchmark_disable": False,
        "benchmark_cprofile": None,
        "benchmark_timer": "time.perf_counter",
        "collectonly": True,
    }
    find_session(argparse.Namespace(**vars(options), **others), sys.argv[2:])
    return 0
