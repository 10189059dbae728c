"""The progress at the terminal: what a pipe gets."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from bench.output.progress import Progress
from tests.bench.builders import ENVIRONMENT


@pytest.mark.parametrize("path", [None, "bench.json.journal"])
def test_a_line_for_each_process(path: str | None) -> None:
    text = io.StringIO()
    writer: Any = SimpleNamespace(
        fullwidth=80, line=lambda line: text.write(f"{line}\n"), write=lambda part, flush=False: text.write(part)
    )
    session: Any = SimpleNamespace(environment=ENVIRONMENT, path=path)
    progress = Progress(session, writer)
    progress.begin("process 1 of 5", 2)
    for name in ("a", "b", "a"):
        progress.measuring(name)
    progress.end()
    progress.begin("process 6 of 6", 1)
    progress.measuring("a")
    progress.end()
    *first, one, other = text.getvalue().splitlines()
    assert first[0].startswith("A CPU, ")
    assert (first[-1] == "the results will not be saved: give --benchmark-json=FILE") == (path is None)
    assert one == "process 1 of 5: 3 measurements, 1 of them again in 5 s"
    assert other == "process 6 of 6: 1 measurement in 5 s"
