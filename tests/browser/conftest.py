"""Two browsers, and what a visit of a page finds. The tests install Node's packages, not the browsers."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import once_a_session

HERE = Path(__file__).parent
NAMES = {
    "chrome": ("CHROME", "chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"),
    "firefox": ("FIREFOX", "firefox-esr", "firefox"),
}
"""The variable that names each browser, and its usual names."""
SECONDS = 300
Visit = Callable[..., Any]


@pytest.fixture(scope="session")
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """visit.mjs with its packages beside it, in the versions of package-lock.json."""

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json", "visit.mjs"):
            shutil.copy(HERE / name, folder)
        words = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr

    return once_a_session(request, tmp_path_factory, "visit", install) / "visit.mjs"


@pytest.fixture(params=["chrome", "firefox"])
def visit(request: pytest.FixtureRequest, script: Path) -> Visit:
    """A function that opens a page: its task and its settings are those of visit.mjs."""
    kind = str(request.param)
    variable, *names = NAMES[kind]
    browser = next(filter(None, map(shutil.which, (os.environ.get(variable, ""), *names))), None)
    assert browser, f"no {kind} on PATH, and {variable} names none: `apt-get install chromium firefox-esr`"

    def visited(task: str, url: str, **settings: object) -> Any:
        words = ("node", script, kind, browser, task, url, json.dumps(settings))
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return visited
