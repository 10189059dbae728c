"""How the torch of this process was built, without importing it."""

import re
import sys

from study.records.bench import TorchBuild


def torch_build() -> TorchBuild | None:
    """The libraries and compiler of torch; None unless this process has imported it."""
    torch = sys.modules.get("torch")
    config = getattr(torch, "__config__", None)
    return None if config is None else parsed(config.show())


def parsed(text: str) -> TorchBuild:
    """The facts in the text of `torch.__config__.show()`."""

    def one(pattern: str) -> str | None:
        found = re.search(pattern, text)
        return found[1] if found else None

    return TorchBuild(
        onednn=one(r"(?:MKL-DNN|oneDNN) v(\S+)"),
        mkl=one(r"(?:Math Kernel Library|oneMKL)\D*Version (\S+)"),
        openmp=one(r"OpenMP (\S+)"),
        compiler=one(r"- ((?:GCC|clang|Clang|MSVC) \S+)"),
        cpu_capability=one(r"CPU capability usage: (\S+)"),
    )
