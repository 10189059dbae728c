"""A user's module in one test is not that of the next."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _mine_is_forgotten() -> Iterator[None]:
    """Forget the module `mine`, which several tests write, each its own, and the folder in which it was found."""
    path = [*sys.path]
    yield
    sys.path[:] = path
    sys.modules.pop("mine", None)
