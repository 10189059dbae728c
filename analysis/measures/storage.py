"""Bytes of a file: on disk, and compressed with Zstandard."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from study.files import open_plain

LEVEL = 3
"""Zstandard's default. Nonzero weights hardly compress: level 19 takes many times as long for 2 to 3 % less."""
BLOCK = 2**20


def zstd_bytes(path: Path) -> int | None:
    """Size of the file compressed with Zstandard at `LEVEL`; None where Python has no Zstandard.

    Python 3.14 brings `compression.zstd`; before, it is in the package `zstandard`.
    """
    for name in ("compression.zstd", "zstandard"):
        try:
            return _compressed(import_module(name), path)
        except ModuleNotFoundError:
            continue
    return None


def _compressed(zstd: ModuleType, path: Path) -> int:
    if hasattr(zstd, "ZstdCompressor") and zstd.__name__ == "compression.zstd":
        compressor = zstd.ZstdCompressor(level=LEVEL)
    else:
        compressor = zstd.ZstdCompressor(level=LEVEL).compressobj(size=path.stat().st_size)
    size = 0
    with open_plain(path) as file:
        while block := file.read(BLOCK):
            size += len(compressor.compress(block))
    return size + len(compressor.flush())
