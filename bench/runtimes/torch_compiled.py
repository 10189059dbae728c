"""PyTorch compiled within the process: by `torch.compile`, and as TorchScript.

A network is compiled once a process for each batch size, at its first call, and later loads get the same compiled
network: to compile it takes seconds each time, because Inductor's cache on disk has the kernels, but no frozen graphs.
So the loads of one process share one place in memory; those of other processes have their own.
"""

import contextlib
import io
import logging
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.models import Inputs, Model
from bench.runtimes import Setting
from bench.runtimes.pytorch import Arguments, Torch, started
from bench.runtimes.torch_network import identity, input_names, network_of
from bench.session_folder import folder as session_folder
from study.errors import StudyError, one_line
from study.modules.building import Built, Flat
from study.modules.outputs import tensor
from study.records.bench import Settings

os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(session_folder() / "inductor")  # which the processes of a session share

MOST_KEPT_BYTES = 2**29
"""Weights of all networks that a process keeps compiled; the last one is kept in any case."""


@dataclass
class Compiled:
    """A network, and what its first call makes of it."""

    built: Built
    call: Callable[..., Any] | None = None
    settings: Settings | None = None

    @property
    def bytes(self) -> int:
        return sum(one.nbytes for one in (*self.built.network.parameters(), *self.built.network.buffers()))


_kept: dict[tuple[object, ...], Compiled] = {}


class CompiledTorch(Torch):
    """A network that the first call of each batch size compiles."""

    compiles = True

    def __init__(self, model: Model, setting: Setting) -> None:
        self.device = started(setting)
        self.name, self.inputs = model.name, input_names(model) if model.in_torch else ()
        key = (type(self), identity(model), setting.batch, setting.threads, setting.device)
        if key not in _kept:
            made = Compiled(network_of(model))
            made.built.network.to(self.device)
            while _kept and sum(one.bytes for one in (*_kept.values(), made)) > MOST_KEPT_BYTES:
                _kept.pop(next(iter(_kept)))
            _kept[key] = made
        self.compiled = _kept[key]
        self.built, self.network = self.compiled.built, self.compiled.built.network

    def run(self, inputs: Arguments) -> Any:
        positional, keywords = inputs
        call = self.compiled.call
        if call is None:  # not by its truth: a module may have a length
            call = self._first(positional, keywords)
        result = call(*positional, **keywords)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result

    def _first(self, positional: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> Callable[..., Any]:
        with quiet():
            call, self.compiled.settings = self.compile(positional, keywords)
        self.compiled.call = call
        return call

    @abstractmethod
    def compile(
        self, positional: tuple[Tensor, ...], keywords: dict[str, Tensor]
    ) -> tuple[Callable[..., Any], Settings]:
        """Compile for such arguments.

        Returns:
            What is called instead of the network, and how it was compiled.

        Raises:
            StudyError: that fails.
        """

    def settings(self) -> Settings:
        return {**super().settings(), **(self.compiled.settings or {})}


class TorchCompile(CompiledTorch):
    """`torch.compile` (Inductor): weights frozen, for this batch size alone, and called from C++ where that compiles.

    Freezing is set in Inductor's configuration: as one of the `options` of torch.compile it comes too late for Dynamo,
    and weights stay arguments, which are neither folded nor packed (torch 2.13).
    """

    def compile(
        self, positional: tuple[Tensor, ...], keywords: dict[str, Tensor]
    ) -> tuple[Callable[..., Any], Settings]:
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor

        failed: Exception | None = None
        for cpp_wrapper in (True, False):
            # One graph: a second one, made outside of the configuration below, would not be frozen.
            only: Any = {"fullgraph": True, "dynamic": False, "isolate_recompiles": True, "recompile_limit": 1}
            try:
                call = torch.compile(self.network, **only)
                with (
                    inductor.patch(freezing=True, cpp_wrapper=cpp_wrapper, compile_threads=1),
                    dynamo.patch(allow_rnn=True),
                ):
                    call(*positional, **keywords)
            except Exception as error:  # compilers raise exceptions of any type
                failed = failed or error
                if no_compiler(error):
                    break
            else:
                how: Settings = {"compiler": "inductor", "freezing": True, "cpp_wrapper": cpp_wrapper, "dynamic": False}
                return call, how
        assert failed
        raise StudyError(f"{self.name}: torch.compile fails ({reason(failed)})") from None


class TorchJit(CompiledTorch):
    """TorchScript: traced, frozen and optimised for inference; its inputs are given by position."""

    def to_native(self, inputs: Inputs) -> Arguments:
        return tuple(tensor(inputs[name]).to(self.device) for name in self.inputs), {}

    def compile(
        self, positional: tuple[Tensor, ...], keywords: dict[str, Tensor]
    ) -> tuple[Callable[..., Any], Settings]:
        try:
            with torch.inference_mode(False), torch.no_grad():  # its fusion takes no tensors of inference mode
                given = tuple(one.clone() for one in positional)
                traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                    Flat(self.built, self.inputs).eval(), given, check_trace=False
                )
                call = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            call(*positional)
        except Exception as error:  # compilers raise exceptions of any type
            raise StudyError(f"{self.name}: torch.jit fails ({reason(error)})") from None
        return call, {"compiler": "torch.jit", "freezing": True, "optimised": True}


def no_compiler(error: Exception) -> bool:
    """Whether it says that there is no C++ compiler."""
    return "C++ compiler" in str(error) or "InvalidCxxCompiler" in repr(error)


def reason(error: Exception) -> str:
    """The cause of a failure, with what to install if there is no C++ compiler."""
    if no_compiler(error):
        return "it finds no C++ compiler; install one such as g++"
    return f"{type(error).__name__}: {one_line(error)}; leave it out of --runtimes"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings and logs of torch's compilers from the terminal."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(disabled)
