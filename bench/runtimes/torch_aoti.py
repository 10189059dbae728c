"""PyTorch compiled ahead of time: `torch.export`, then AOTInductor, which writes a package with the weights in it.

The package is made once a session for each batch size and number of threads, and every load reads it: no Python runs
between the operators, and none of the module's code is needed. A package is code of the machine, so one is loaded only
from files that nobody else can write, and whose hash is the one that was recorded when they were made.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.models import Inputs, Model
from bench.runtimes import Setting
from bench.runtimes.conversions import converted, made_before, record_hashes, verified
from bench.runtimes.pytorch import Arguments, Torch, started
from bench.runtimes.torch_compiled import quiet, reason
from bench.runtimes.torch_network import identity, input_names, network_of
from study.errors import StudyError, in_one_line
from study.modules.building import Flat
from study.modules.outputs import tensor
from study.records.bench import Settings

PACKAGE = "model.pt2"
FROZEN = {"freezing": True, "compile_threads": 1}
MAPPED_BYTES = 2**29
"""Weights from which on they are mapped from the library's file, not linked into it, which takes minutes."""


class TorchAOTI(Torch):
    """The package of a network; its inputs are given by position."""

    compiles = True

    def __init__(self, model: Model, setting: Setting) -> None:
        self.device = started(setting)
        self.model, self.setting = model, setting
        self.inputs = input_names(model) if model.in_torch else ()
        self.converter = " ".join(
            ["aoti", torch.__version__, identity(model), str(setting.batch), str(setting.threads), setting.device]
        )
        self.call: Any = None
        if not model.in_torch:
            network_of(model)  # raises
        if setting.batch and (made := made_before(model, self.converter)):
            self._load(made)

    def to_native(self, inputs: Inputs) -> Arguments:
        native = tuple(tensor(inputs[name]).to(self.device) for name in self.inputs)
        if self.call is None:
            self._load(converted(self.model, self.converter, lambda folder: self._compile(folder, native)))
        return native, {}

    def settings(self) -> Settings:
        return {**super().settings(), "compiler": "aotinductor", "freezing": True, "dynamic": False}

    def _load(self, made: Path) -> None:
        verified(made)
        with quiet(), in_one_line(f"{self.model.name}: the package of AOTInductor does not load"):
            self.call = torch._inductor.aoti_load_package(str(made / PACKAGE), run_single_threaded=True)

    def _compile(self, folder: Path, example: tuple[Tensor, ...]) -> None:
        try:
            with quiet(), torch.inference_mode(False), torch.no_grad():
                network = Flat(network_of(self.model), self.inputs).eval().to(self.device)
                large = sum(one.nbytes for one in (*network.parameters(), *network.buffers())) > MAPPED_BYTES
                program = torch.export.export(network, tuple(one.clone() for one in example), strict=False)
                torch._inductor.aoti_compile_and_package(
                    program,
                    package_path=str(folder / PACKAGE),
                    inductor_configs={**FROZEN, "aot_inductor.force_mmap_weights": large},
                )
        except StudyError:
            raise
        except Exception as error:  # compilers raise exceptions of any type
            raise StudyError(f"{self.model.name}: AOTInductor fails ({reason(error)})") from None
        record_hashes(folder)
