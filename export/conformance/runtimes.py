"""The runtimes of a conformance run: their requirements, and the heading of their program in docs/portability.md.

A requirement without a version means the one in constraints.txt. The lists are complete, dependencies included, so that
an environment is reproducible and small (pnnx alone would pull in PyTorch).
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from study.errors import StudyError

ROOT = Path(__file__).parent.parent.parent
NODE = Path(__file__).parent / "node"
"""package.json and package-lock.json of the JavaScript runtimes."""


@dataclass(frozen=True)
class Runtime:
    """An engine that runs ONNX files."""

    name: str
    title: str
    """A template with its {version} and the {browser} it runs in."""
    heading: str
    """Heading of its program in docs/portability.md."""
    requirements: tuple[str, ...] = ()
    """Packages, the runtime itself first: from PyPI for Python and C++, from npm for Node and browsers."""
    kind: Literal["python", "c++", "node", "browser"] = "python"
    environment: str = ""
    """Name of its environment's folder, where several runtimes share one."""
    largest_difference: float = 1e-5
    """Largest allowed difference from the probabilities of PyTorch."""
    because: str | None = None
    """Why more than 1e-5 is allowed."""

    @property
    def pinned(self) -> list[str]:
        """Its requirements as `name==version`."""
        versions = npm_versions() if self.kind in {"node", "browser"} else constraints()
        return [word if "==" in word else f"{word}=={versions[word]}" for word in self.requirements]

    @property
    def version(self) -> str | None:
        return self.pinned[0].partition("==")[2] if self.requirements else None


_ORT = ("ONNX Runtime {version}", "ONNX Runtime")
_OPENVINO = ("openvino", "numpy")
_WEB = ("onnxruntime-web",)
RUNTIMES = (
    Runtime("onnxruntime", *_ORT, ("onnxruntime", "numpy", "flatbuffers", "protobuf", "packaging")),
    Runtime("onnxruntime-1.16", *_ORT, ("onnxruntime==1.16.3", "numpy==1.26.4")),
    Runtime("onnxruntime-1.15", *_ORT, ("onnxruntime==1.15.1", "numpy==1.26.4")),
    Runtime(
        "reference",
        "ReferenceEvaluator of onnx {version}",
        "ONNX's reference evaluator",
        ("onnx", "numpy", "protobuf", "ml_dtypes", "typing_extensions"),
    ),
    Runtime("openvino", "OpenVINO {version}", "OpenVINO", _OPENVINO),
    Runtime("openvino-c++", "OpenVINO {version} from C++", "OpenVINO from C++", _OPENVINO, "c++", "openvino"),
    Runtime("opencv-4", "OpenCV {version}", "OpenCV", ("opencv-python-headless==4.14.0.94", "numpy")),
    Runtime("opencv-5", "OpenCV {version}", "OpenCV", ("opencv-python-headless", "numpy")),
    Runtime("tract", "tract {version}", "tract", ("tract", "numpy")),
    Runtime("ncnn", "ncnn {version}", "ncnn", ("ncnn", "pnnx", "numpy")),
    Runtime("node", "onnxruntime-node {version}", "ONNX Runtime in Node", ("onnxruntime-node",), "node", "node"),
    Runtime("web-node", "onnxruntime-web {version} in Node", "ONNX Runtime Web in Node", _WEB, "node", "node"),
    Runtime("web-chromium", "onnxruntime-web {version} in {browser}", "A page in the browser", _WEB, "browser", "node"),
)


def select(names: str | None) -> list[Runtime]:
    """The runtimes of these comma-separated names; all of them for None.

    Raises:
        StudyError: there is no such runtime.
    """
    if names is None:
        return list(RUNTIMES)
    known = {runtime.name: runtime for runtime in RUNTIMES}
    chosen = list(dict.fromkeys(filter(None, names.split(","))))
    for name in chosen:
        if name not in known:
            raise StudyError(f"no runtime is called {name!r}; there are: {', '.join(known)}")
    if not chosen:
        raise StudyError(f"--runtimes names none; there are: {', '.join(known)}")
    return [known[name] for name in chosen]


@cache
def constraints() -> dict[str, str]:
    """The versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


@cache
def npm_versions() -> dict[str, str]:
    """The versions of package.json by name."""
    versions: dict[str, str] = json.loads((NODE / "package.json").read_text())["dependencies"]
    return versions
