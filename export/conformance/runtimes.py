"""The runtimes that a conformance run tries: what each needs, and where docs/portability.md has its program.

A requirement without a version means the one in constraints.txt. The lists are complete: nothing else is installed, so
that an environment is the same tomorrow, and small (pnnx alone would ask for PyTorch).
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
    """Something that runs ONNX files, and what it is allowed."""

    name: str
    title: str
    """With a place for its {version}, and for the {browser} it is run in."""
    heading: str
    """Of its program in docs/portability.md."""
    requirements: tuple[str, ...] = ()
    """Packages, the runtime itself first: of PyPI for Python and C++, of npm for Node and browsers."""
    kind: Literal["python", "c++", "node", "browser"] = "python"
    environment: str = ""
    """Its folder's name, where it shares one."""
    largest_difference: float = 1e-5
    """Between its probabilities and those of PyTorch."""
    because: str | None = None
    """Why its arithmetic is allowed more than 1e-5."""

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
    """The runtimes of these names, with commas between them; all without any.

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
    found: dict[str, str] = json.loads((NODE / "package.json").read_text())["dependencies"]
    return found
