"""The pages, whole, as tests/golden/ has them: every heading, cell and sentence of a made-up study."""

import pytest

from tests.support.golden import GOLDEN, NAMES, pages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pages(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_as_the_golden_one(made: dict[str, str], name: str) -> None:
    golden = (GOLDEN / name).read_text(encoding="utf-8")
    assert made[name] == golden, "if that is wanted: python -m tests.support.golden"
