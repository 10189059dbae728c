"""The reference implementation of the ONNX operators, in numpy: it defines their results and is slow."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from threadpoolctl import ThreadpoolController

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import in_one_line
from study.records.bench import Settings


class Reference(Runtime):
    """The ONNX file in onnx.reference, whose only threads are those of numpy's BLAS library.

    They start when numpy is imported and never end; the constructor limits how many of them BLAS uses.
    """

    def __init__(self, model: Model, setting: Setting) -> None:
        with in_one_line(f"{model.onnx}: the reference evaluator does not load it"):
            self.evaluator = ReferenceEvaluator(str(model.onnx))
        self.libraries = ThreadpoolController().select(user_api="blas")
        self.limits = self.libraries.limit(limits=setting.threads)

    def run(self, inputs: Inputs) -> Any:
        return self.evaluator.run(None, dict(inputs))

    def settings(self) -> Settings:
        """`threads` is the largest number that a BLAS library reports, or 1 if none does."""
        threads = [library["num_threads"] for library in self.libraries.info()]
        return {"threads": max(threads, default=1), "device": "cpu", "arithmetic": "numpy"}

    def context(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")  # NaN and infinity are results like others

    def to_numpy(self, outputs: Any) -> list[Any]:
        optional = [kind.HasField("optional_type") for kind in self.evaluator.output_types]
        return [output[0] if wrapped else output for output, wrapped in zip(outputs, optional, strict=True)]

    def close(self) -> None:
        self.limits.restore_original_limits()
        del self.evaluator
