"""Two results of `pytest bench`, case by case: what has become slower, what faster, and what cannot be told.

Pure functions of what `study.artifacts.read_bench` gives; `python -m bench compare OLD NEW` prints them. A slowdown is
shown only where the 95 % interval of the ratio excludes 1 and the ratio lies beyond the noise floor: what separates the
machine at the one time from the machine at the other, and, beyond that, fresh processes or an engine from itself.
"""

import math
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from study.errors import StudyError

Record = dict[str, Any]
CASE = ("model", "runtime", "batch", "threads", "mode", "device")
"""What makes two cases the same one; latency does not depend on the seed, so that is left out."""
SPEED_UP = (*CASE, "reference")
MEDIAN = ("median_seconds", "median_low_seconds", "median_high_seconds")
MACHINE = ("cpu", "cores", "memory_bytes", "quota_cores")
ALSO = ("system", "governor", "turbo")
"""Told where they differ, but not refused: what they do to the speed is in the yardstick."""
PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")  # what is timed consists of these
ALLOWABLE = ("machine", "threads", "versions")


class Measured(NamedTuple):
    """A positive value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Change:
    """One case (in seconds), or one speed-up (a ratio), in both files."""

    name: str
    old: float
    new: float
    ratio: Measured
    """New over old."""
    floor: float
    """The noise floor, as |ln ratio|."""
    verdict: str
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """Why the verdict is withheld; none if it is not."""

    def slower_than(self, limit: float) -> bool:
        """Whether it is shown to be slower, and by a ratio (the value, not its interval) above 1 + `limit`."""
        return self.verdict == "slower" and self.ratio.value > 1 + limit


@dataclass(frozen=True)
class Comparison:
    cases: tuple[Change, ...]
    speed_ups: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    differences: dict[str, list[str]]
    """How the measurements were not alike: by a word of ALLOWABLE, or "also" for what is never refused."""
    one_process: bool
    """Neither file knows what separates one process from the next."""


def compare(old: Record, new: Record, allowed: Collection[str] = ()) -> Comparison:
    """Compare two records of `study.artifacts.read_bench`; `allowed` are the words of ALLOWABLE that may differ.

    The speed-ups against torch are compared too. They never decide whether something has become slower: they change
    with torch as much as with the other runtime.

    Raises:
        StudyError: they have no case in common, or one twice, or were not measured alike.
    """
    before, after = _by_key(old["cases"], CASE, "old"), _by_key(new["cases"], CASE, "new")
    pairs = [(case, after[key]) for key, case in before.items() if key in after]
    if not pairs:
        has, other = (", ".join(map(name, cases.values())) or "none" for cases in (before, after))
        raise StudyError(f"no case is in both files: the old one has {has}; the new one {other}; measure the same ones")
    found = differences(old["environment"], new["environment"], pairs)
    if refused := [word for word in ALLOWABLE if word in found and word not in allowed]:
        told = "; ".join(f"{word}: {', '.join(found[word])}" for word in refused)
        words = ",".join(word for word in ALLOWABLE if word in {*refused, *allowed})
        raise StudyError(f"the files were not measured alike (old against new): {told}; compare with `--allow {words}`")
    ups, new_ups = _by_key(old["comparisons"], SPEED_UP, "old"), _by_key(new["comparisons"], SPEED_UP, "new")
    return Comparison(
        cases=tuple(case_change(*pair, [*old["comparisons"], *new["comparisons"]]) for pair in pairs),
        speed_ups=tuple(speed_up_change(ups[key], new_ups[key]) for key in ups if key in new_ups),
        only_old=tuple(name(case) for key, case in before.items() if key not in after),
        only_new=tuple(name(case) for key, case in after.items() if key not in before),
        differences=found,
        one_process=old["processes"] == new["processes"] == 1,
    )


def quotient(old: Measured, new: Measured) -> Measured:
    """new / old of two independent measurements, with its 95 % interval.

    MOVER ("method of variance estimates recovery") for the difference of the logarithms: each limit lies as far from
    the difference as the root of the summed squares of the two distances that push it there. Zou and Donner,
    "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27(10), 2008,
    1693-1702.
    """
    ratio = new.value / old.value
    down = math.hypot(math.log(new.value / new.low), math.log(old.high / old.value))
    up = math.hypot(math.log(new.high / new.value), math.log(old.value / old.low))
    return Measured(ratio, ratio * math.exp(-down), ratio * math.exp(up))


def judge(ratio: Measured, floor: float, above: str, below: str) -> str:
    """`above` or `below` where the interval excludes 1 and |ln ratio| exceeds `floor`, or no difference shown."""
    if ratio.low <= 1 <= ratio.high or abs(math.log(ratio.value)) <= floor:
        return "no difference shown"
    return above if ratio.value > 1 else below


def case_change(old: Record, new: Record, comparisons: Sequence[Record]) -> Change:
    """The change of a case's median; `comparisons` are those of both files, for the engine's noise against itself.

    The floor, in logarithms, is the sum of two: by how much the yardstick, which has nothing to do with the engine, has
    changed; and the largest of the spread between processes in either file and the noise floors of the comparisons
    which this case takes part in. A sum, since the machine's shift moves the case and its noise comes on top.
    """
    place = [field for field in CASE if field != "runtime"]
    alike = [record for record in comparisons if all(record[field] == new[field] for field in place)]
    noise = [it["noise_floor"] for it in alike if new["runtime"] in (it["reference"], it["runtime"])]
    shift = abs(math.log(new["yardstick_seconds"] / old["yardstick_seconds"]))
    floor = shift + max(math.log1p(it or 0) for it in (old["between_spread"], new["between_spread"], *noise))
    return _change((old, new), median(old), median(new), floor, ("slower", "faster"))


def median(case: Record) -> Measured:
    """A case's median with its 95 % interval, no narrower than the loads of its model allow.

    With each load an engine is 1 or 2 % faster or slower, as its weights lie elsewhere in memory. The interval of order
    statistics, for independent calls, does not see that. So its limits are at least as far from the median, in
    logarithms, as those of Student's interval for the n medians of the loads: t(0.975, n - 1) * sd / sqrt(n).
    """
    value, low, high = (case[key] for key in MEDIAN)
    loads = [math.log(seconds) for seconds in case["load_medians_seconds"]]
    half, n = 0.0, len(loads)
    if n > 1:
        from scipy.stats import t  # here, so that --help does not wait for it

        half = float(t.ppf(0.975, n - 1)) * statistics.stdev(loads) / math.sqrt(n)
    return Measured(value, min(low, value * math.exp(-half)), max(high, value * math.exp(half)))


def speed_up_change(old: Record, new: Record) -> Change:
    """The change of a runtime's speed-up over the reference; the floor is the largest noise or spread of the two.

    Its interval is rather wide than narrow: `low` and `high` of either file are drawn at 99 %, to hold in at least 95
    of 100 sessions (bench/pairing.py, CONFIDENCE).
    """
    floor = max(math.log1p(it[key] or 0) for it in (old, new) for key in ("noise_floor", "between_spread"))
    before, after = (Measured(it["ratio"], it["low"], it["high"]) for it in (old, new))
    return _change((old, new), before, after, floor, ("speed-up rose", "speed-up fell"))


def _change(pair: tuple[Record, Record], old: Measured, new: Measured, floor: float, words: tuple[str, str]) -> Change:
    """The change from `old` to `new`, of the records in `pair`; `words` are for a ratio above 1, and for one below."""
    ratio = quotient(old, new)
    doubts = [
        f"{which}: {'; '.join(record['reasons']) or 'a quick run'}"
        for which, record in zip(("old", "new"), pair, strict=True)
        if record["quick"] or not record["valid"]
    ]
    before, after = (record.get("inputs_sha256") for record in pair)  # a speed-up's record has none
    if before != after:
        doubts.append("other inputs than in the old file")
    verdict = "withheld" if doubts else judge(ratio, floor, *words)
    return Change(name(pair[0]), old.value, new.value, ratio, floor, verdict, tuple(_remarks(*pair)), tuple(doubts))


def _remarks(old: Record, new: Record) -> Iterator[str]:
    if old["onnx_sha256"] != new["onnx_sha256"]:
        yield "another ONNX file"
    before, after = old.get("settings", {}), new.get("settings", {})
    if settings := sorted(key for key in before | after if before.get(key) != after.get(key)):
        yield f"other settings: {', '.join(settings)}"


def differences(old: Record, new: Record, pairs: Sequence[tuple[Record, Record]]) -> dict[str, list[str]]:
    """How two environments, and the threads of the cases in `pairs`, differ; by the words of `Comparison`."""
    before, after = _facts(old, [pair[0] for pair in pairs]), _facts(new, [pair[1] for pair in pairs])
    if math.isclose(old["memory_bytes"], new["memory_bytes"], rel_tol=0.01):  # kernels keep more or less for themselves
        after["machine"]["memory_bytes"] = before["machine"]["memory_bytes"]
    found = {}
    for word, facts in before.items():
        others = after[word]
        differing = [key for key in dict.fromkeys([*facts, *others]) if facts.get(key) != others.get(key)]
        found[word] = [f"{key} {facts.get(key)!r} against {others.get(key)!r}" for key in differing]
    if flags := set(old["cpu_flags"]) ^ set(new["cpu_flags"]):
        found["also"].append(f"CPU flags of one only: {' '.join(sorted(flags))}")
    return {word: texts for word, texts in found.items() if texts}


def _facts(environment: Record, cases: Sequence[Record]) -> dict[str, dict[str, Any]]:
    affinity, back = environment["affinity"], "threads_read_back"
    return {
        "machine": {**{key: environment[key] for key in MACHINE}, "cores in affinity": affinity and len(affinity)},
        "threads": environment["thread_variables"] | {f"threads read back of {name(it)}": it[back] for it in cases},
        "versions": {"python": environment["python"], **{key: environment["packages"].get(key) for key in PACKAGES}},
        "also": {key: environment[key] for key in ALSO},
    }


def name(record: Record) -> str:
    """What a case is called; in a comparison, its two engines with a slash between them."""
    engine = "/".join(record[key] for key in ("reference", "runtime") if key in record)
    device = "" if record["device"] == "cpu" else f"-{record['device']}"
    return f"{record['model']}-{engine}-batch{record['batch']}-threads{record['threads']}-{record['mode']}{device}"


def _by_key(records: Sequence[Record], fields: Sequence[str], which: str) -> dict[tuple[Any, ...], Record]:
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        key = tuple(record[field] for field in fields)
        if key in found:
            raise StudyError(f"the {which} file has {name(record)} twice; measure each once, in a file of its own")
        found[key] = record
    return found
