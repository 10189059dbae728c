"""How the conditions of two sessions differ: machine, threads, versions."""

import math
from collections.abc import Collection, Sequence

from msgspec import to_builtins

from bench.keys import case_name
from study.errors import StudyError
from study.records.bench import BenchEnvironment, CaseRecord

MACHINE = ("fingerprint", "cpu", "cores", "memory_bytes", "quota_cores")
ALSO = ("system", "governor", "turbo")
"""Differences that are reported but not refused: the calibration loops measure their effect on the speed."""
CHANGING = ("microcode", "clock_source", "smt")
"""What an update or a reboot may change of a processor, which its fingerprint therefore leaves out."""
NOT_TIMED = {"torchvision", "onnx", "onnxscript", "pytest-benchmark"}
ALLOWABLE = ("machine", "threads", "versions")
Differences = dict[str, tuple[str, ...]]
"""Texts by a word of ALLOWABLE, or "also" for differences that are not refused."""


def differences(
    old: BenchEnvironment, new: BenchEnvironment, pairs: Sequence[tuple[CaseRecord, CaseRecord]]
) -> Differences:
    """How two environments, and the threads of the cases in `pairs`, differ."""
    before, after = _conditions(old, [pair[0] for pair in pairs]), _conditions(new, [pair[1] for pair in pairs])
    if math.isclose(old.memory_bytes, new.memory_bytes, rel_tol=0.01):  # kernels reserve different amounts
        after["machine"]["memory_bytes"] = before["machine"]["memory_bytes"]
    for name in before["versions"].keys() ^ after["versions"].keys():  # no case in both files needs it
        before["versions"].pop(name, None)
        after["versions"].pop(name, None)
    texts = {}
    for word, values in before.items():
        others = after[word]
        differing = [key for key in dict.fromkeys([*values, *others]) if values.get(key) != others.get(key)]
        texts[word] = [f"{key} {values.get(key)!r} against {others.get(key)!r}" for key in differing]
    if flags := set(old.cpu_flags) ^ set(new.cpu_flags):
        texts["also"].append(f"CPU flags of one only: {' '.join(sorted(flags))}")
    return {word: tuple(listed) for word, listed in texts.items() if listed}


def refuse(found: Differences, allowed: Collection[str]) -> None:
    """Refuse the differences that `allowed` does not name.

    Raises:
        StudyError: there is one.
    """
    if refused := [word for word in ALLOWABLE if word in found and word not in allowed]:
        listed = "; ".join(f"{word}: {', '.join(found[word])}" for word in refused)
        words = ",".join(word for word in ALLOWABLE if word in {*refused, *allowed})
        raise StudyError(
            f"the measurement conditions differ (old against new): {listed}; compare anyway with `--allow {words}`"
        )


def _conditions(environment: BenchEnvironment, cases: Sequence[CaseRecord]) -> dict[str, dict[str, object]]:
    affinity = environment.affinity and len(environment.affinity)
    read_back = {f"threads read back of {case_name(it.key)}": it.threads_read_back for it in cases}
    processor = to_builtins(environment.processor)
    changing = {key: processor.pop(key) for key in CHANGING}
    build = environment.torch_build
    kernels = {"oneDNN of torch": build.onednn, "MKL of torch": build.mkl} if build else {}
    timed = {key: version for key, version in environment.packages.items() if key not in NOT_TIMED}
    return {
        "machine": {**{key: getattr(environment, key) for key in MACHINE}, **processor, "cores in affinity": affinity},
        "threads": {**environment.thread_variables, **read_back},
        "versions": {"python": environment.python, **timed, **kernels},
        "also": {**{key: getattr(environment, key) for key in ALSO}, **changing},
    }
