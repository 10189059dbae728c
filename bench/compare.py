"""Compare two results of `pytest bench`, case by case: slower, faster, or no difference shown.

Pure functions of the records of two sessions; `python -m bench compare OLD NEW` prints the result. A slowdown is shown
only if the 95 % interval of the ratio excludes 1 and the ratio exceeds the noise floor: the change of the machine's own
speed, plus the spread between processes or the noise of an engine against itself.
"""

import math
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import to_builtins
from msgspec.structs import replace

from bench.keys import case_name, matched
from bench.significance import significant
from study.errors import StudyError
from study.records.base import Interval
from study.records.bench import BenchEnvironment, BenchRecord, CaseKey, CaseRecord, ComparisonRecord

M = TypeVar("M", CaseRecord, ComparisonRecord)
MACHINE = ("cpu", "cores", "memory_bytes", "quota_cores")
ALSO = ("system", "governor", "turbo")
"""Differences that are reported but not refused: the calibration loop measures their effect on the speed."""
PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")  # the code that is timed
ALLOWABLE = ("machine", "threads", "versions")


@dataclass(frozen=True)
class Change:
    """One case (in seconds), or one speed-up (a ratio), in both files."""

    name: str
    old: float
    new: float
    ratio: Interval
    """New over old."""
    floor: float
    """The noise floor, as |ln ratio|."""
    verdict: str
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """Reasons why the verdict is withheld; empty if it is not."""

    def slower_than(self, limit: float) -> bool:
        """Whether it is shown to be slower by a ratio (the value, not its interval) above 1 + `limit`."""
        return self.verdict == "slower" and self.ratio.value > 1 + limit


@dataclass(frozen=True)
class Changes:
    """The changes from one file to another."""

    cases: tuple[Change, ...]
    speed_ups: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    differences: dict[str, list[str]]
    """How the measurement conditions differ, by a word of ALLOWABLE, or "also" for differences that are not refused."""
    one_process: bool
    """Whether neither file measured the spread between processes."""


def compare(old: BenchRecord, new: BenchRecord, allowed: Collection[str] = ()) -> Changes:
    """Compare two sessions; `allowed` are the words of ALLOWABLE that may differ.

    The speed-ups are compared too, but a changed speed-up is no regression: it depends on the reference as much as on
    the runtime.

    Raises:
        StudyError: the files have no case in common, one has a case twice, or the measurement conditions differ.
    """
    before, after = _by_key(old.cases, "old"), _by_key(new.cases, "new")
    pairs = [(case, after[key]) for key, case in before.items() if key in after]
    if not pairs:
        has, other = (", ".join(case_name(it.key) for it in cases.values()) or "none" for cases in (before, after))
        raise StudyError(
            f"no case is in both files: the old one has {has}; the new one has {other}; measure the same cases"
        )
    conditions = differences(old.environment, new.environment, pairs)
    if refused := [word for word in ALLOWABLE if word in conditions and word not in allowed]:
        listed = "; ".join(f"{word}: {', '.join(conditions[word])}" for word in refused)
        words = ",".join(word for word in ALLOWABLE if word in {*refused, *allowed})
        raise StudyError(
            f"the measurement conditions differ (old against new): {listed}; compare anyway with `--allow {words}`"
        )
    ups, new_ups = _by_key(old.comparisons, "old"), _by_key(new.comparisons, "new")
    return Changes(
        cases=tuple(case_change(*pair, [*old.comparisons, *new.comparisons]) for pair in pairs),
        speed_ups=tuple(speed_up_change(ups[key], new_ups[key]) for key in ups if key in new_ups),
        only_old=tuple(case_name(case.key) for key, case in before.items() if key not in after),
        only_new=tuple(case_name(case.key) for key, case in after.items() if key not in before),
        differences=conditions,
        one_process=old.processes == new.processes == 1,
    )


def quotient(old: Interval, new: Interval) -> Interval:
    """new / old of two independent measurements, with its 95 % interval.

    MOVER ("method of variance estimates recovery") for the difference of the logarithms: the distance of each limit
    from the difference is the root of the summed squares of the two distances that contribute to it. Zou and Donner,
    "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27(10), 2008,
    1693-1702.
    """
    ratio = new.value / old.value
    down = math.hypot(math.log(new.value / new.low), math.log(old.high / old.value))
    up = math.hypot(math.log(new.high / new.value), math.log(old.value / old.low))
    return Interval(value=ratio, low=ratio * math.exp(-down), high=ratio * math.exp(up))


def case_change(old: CaseRecord, new: CaseRecord, comparisons: Sequence[ComparisonRecord]) -> Change:
    """The change of a case's median; `comparisons` of both files give the noise of the engine against itself.

    The floor, in logarithms, is the sum of the change of the calibration loop, which does not depend on the engine, and
    of the largest noise: the spread between processes in either file and the noise floors of the comparisons with this
    case. It is a sum because the change of the machine moves the case and the noise is added to it.
    """
    runtime = new.key.runtime
    noise = [
        it.noise_floor
        for it in comparisons
        if runtime in (it.reference, it.key.runtime) and replace(matched(it.key), runtime=runtime) == matched(new.key)
    ]
    shift = abs(math.log(new.yardstick_seconds / old.yardstick_seconds))
    floor = shift + max(math.log1p(it or 0) for it in (old.between_spread, new.between_spread, *noise))
    return _change(old, new, (median(old), median(new)), floor, ("slower", "faster"))


def median(case: CaseRecord) -> Interval:
    """The median of a case with its 95 % interval, widened by the variation between loads of the model.

    The speed of an engine changes by 1 or 2 % from load to load, with the place of its weights in memory. The interval
    of order statistics assumes independent calls and does not include that. So its limits are at least as far from the
    median, in logarithms, as those of Student's interval for the n medians of loads: t(0.975, n - 1) * sd / sqrt(n).
    """
    calls = case.median_seconds
    loads = [math.log(seconds) for seconds in case.load_medians_seconds]
    half, n = 0.0, len(loads)
    if n > 1:
        from scipy.stats import t  # imported here to keep --help fast

        half = float(t.ppf(0.975, n - 1)) * statistics.stdev(loads) / math.sqrt(n)
    return Interval(
        value=calls.value,
        low=min(calls.low, calls.value * math.exp(-half)),
        high=max(calls.high, calls.value * math.exp(half)),
    )


def speed_up_change(old: ComparisonRecord, new: ComparisonRecord) -> Change:
    """The change of a runtime's speed-up over the reference; the floor is the largest noise or spread of the two.

    Its interval is conservative: that of either ratio is drawn at 99 %, to contain the true ratio in at least 95 of 100
    sessions (bench/pairing.py, CONFIDENCE).
    """
    floor = max(math.log1p(noise or 0) for it in (old, new) for noise in (it.noise_floor, it.between_spread))
    return _change(old, new, (old.ratio, new.ratio), floor, ("speed-up rose", "speed-up fell"))


def _change(
    old: CaseRecord | ComparisonRecord,
    new: CaseRecord | ComparisonRecord,
    values: tuple[Interval, Interval],
    floor: float,
    words: tuple[str, str],
) -> Change:
    """The change from the first of `values` to the second; `words` are the verdicts for a ratio above and below 1."""
    ratio = quotient(*values)
    doubts = [
        f"{which}: {'; '.join(record.reasons) or 'a quick run'}"
        for which, record in (("old", old), ("new", new))
        if record.quick or not record.valid
    ]
    if getattr(old, "inputs_sha256", None) != getattr(new, "inputs_sha256", None):  # comparisons have none
        doubts.append("the inputs differ from those of the old file")
    if doubts:
        verdict = "withheld"
    elif not significant(ratio, floor):
        verdict = "no difference shown"
    else:
        verdict = words[ratio.value < 1]
    return Change(
        name=case_name(old.key, getattr(old, "reference", None)),
        old=values[0].value,
        new=values[1].value,
        ratio=ratio,
        floor=floor,
        verdict=verdict,
        remarks=tuple(_remarks(old, new)),
        doubts=tuple(doubts),
    )


def _remarks(old: CaseRecord | ComparisonRecord, new: CaseRecord | ComparisonRecord) -> Iterator[str]:
    if old.key.onnx_sha256 != new.key.onnx_sha256:
        yield "different ONNX file"
    before, after = to_builtins(old.settings), to_builtins(new.settings)
    if settings := sorted(key for key in before | after if before.get(key) != after.get(key)):
        yield f"different settings: {', '.join(settings)}"


def differences(
    old: BenchEnvironment, new: BenchEnvironment, pairs: Sequence[tuple[CaseRecord, CaseRecord]]
) -> dict[str, list[str]]:
    """How two environments, and the threads of the cases in `pairs`, differ: texts by the words of `Changes`."""
    before, after = _conditions(old, [pair[0] for pair in pairs]), _conditions(new, [pair[1] for pair in pairs])
    if math.isclose(old.memory_bytes, new.memory_bytes, rel_tol=0.01):  # kernels reserve different amounts
        after["machine"]["memory_bytes"] = before["machine"]["memory_bytes"]
    texts = {}
    for word, values in before.items():
        others = after[word]
        differing = [key for key in dict.fromkeys([*values, *others]) if values.get(key) != others.get(key)]
        texts[word] = [f"{key} {values.get(key)!r} against {others.get(key)!r}" for key in differing]
    if flags := set(old.cpu_flags) ^ set(new.cpu_flags):
        texts["also"].append(f"CPU flags of one only: {' '.join(sorted(flags))}")
    return {word: listed for word, listed in texts.items() if listed}


def _conditions(environment: BenchEnvironment, cases: Sequence[CaseRecord]) -> dict[str, dict[str, object]]:
    affinity = environment.affinity and len(environment.affinity)
    read_back = {f"threads read back of {case_name(it.key)}": it.threads_read_back for it in cases}
    return {
        "machine": {**{key: getattr(environment, key) for key in MACHINE}, "cores in affinity": affinity},
        "threads": {**environment.thread_variables, **read_back},
        "versions": {"python": environment.python, **{key: environment.packages.get(key) for key in PACKAGES}},
        "also": {key: getattr(environment, key) for key in ALSO},
    }


def _by_key(records: Sequence[M], which: str) -> dict[tuple[CaseKey, str | None], M]:
    """The records by what must be equal in two files: the key, and the reference of a comparison."""
    by_key: dict[tuple[CaseKey, str | None], M] = {}
    for record in records:
        reference = getattr(record, "reference", None)
        key = matched(record.key), reference
        if key in by_key:
            name = case_name(record.key, reference)
            raise StudyError(f"the {which} file has {name} twice; measure each once, in a file of its own")
        by_key[key] = record
    return by_key
