"""Compressed sizes, with whichever Zstandard there is, and without any."""

import sys
import types
import zlib
from pathlib import Path

import pytest

from analysis.measures.storage import zstd_bytes


class Compressor:
    """zlib behind the interface of zstandard: it compresses in parts."""

    def __init__(self, level: int) -> None:
        assert level == 3
        self.made = zlib.compressobj(9)

    def compressobj(self, size: int) -> "Compressor":
        assert size == 3 * 2**20
        return self

    def compress(self, block: bytes) -> bytes:
        return self.made.compress(block)

    def flush(self) -> bytes:
        return self.made.flush()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "zeros").write_bytes(bytes(3 * 2**20))
    return tmp_path / "zeros"


@pytest.mark.parametrize("name", ["compression.zstd", "zstandard"])
def test_the_size_is_that_of_all_parts(file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(name)
    module.ZstdCompressor = Compressor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, name, module)
    assert zstd_bytes(file) == len(zlib.compress(bytes(3 * 2**20), 9))


def test_without_zstandard_there_is_no_size(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert zstd_bytes(file) is None
