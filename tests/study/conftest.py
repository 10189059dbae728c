"""A user's module in one test is not that of the next."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _mine_is_forgotten() -> Iterator[None]:
    """Forget the module `mine`, which several tests write, each its own."""
    yield
    sys.modules.pop("mine", None)
