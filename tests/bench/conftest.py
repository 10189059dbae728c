"""A trained model, for the tests that run engines."""

import pytest

from bench.models import Model, from_catalogue
from study import catalogue
from tests.conftest import Trained


@pytest.fixture(scope="session")
def gap(trained: Trained) -> Model:
    return from_catalogue(trained.artifacts, catalogue.entry("gap"))
