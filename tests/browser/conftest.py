"""Two browsers, and what a visit of a page finds. `tox -e browser` installs Node and its packages, not the browsers."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NAMES = {
    "chrome": ("CHROME", "chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"),
    "firefox": ("FIREFOX", "firefox-esr", "firefox"),
}
"""The variable that names each browser, and its usual names."""
SECONDS = 300
Visit = Callable[..., Any]


@pytest.fixture(params=["chrome", "firefox"])
def visit(request: pytest.FixtureRequest) -> Visit:
    """A function that opens a page: its task and its settings are those of visit.mjs."""
    kind = str(request.param)
    variable, *names = NAMES[kind]
    browser = next(filter(None, map(shutil.which, (os.environ.get(variable, ""), *names))), None)
    assert browser, f"no {kind} on PATH, and {variable} names none: `apt-get install chromium firefox-esr`"

    def visited(task: str, url: str, **settings: object) -> Any:
        words = ("node", HERE / "visit.mjs", kind, browser, task, url, json.dumps(settings))
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return visited
