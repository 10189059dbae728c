"""Which of two engines is faster in one process, and by how much: paired, interleaved, each against itself too.

The speed of a machine drifts within minutes by more than engines often differ, so the two take turns in blocks of some
tens of milliseconds. The speed of one engine changes by 1 or 2 % from load to load, with the place of its weights in
memory. So there are rounds: each loads both engines again, each twice. A block has one part of each of the four loads,
in random order. A part is lead-in calls, then a few timed ones, its value their median. A round that a slow moment
disturbs has further blocks. Within a block

    ratio    sqrt(a1 * a2) / sqrt(b1 * b2)        time of the reference over time of the runtime
    control  a1 / a2 and b1 / b2                  each engine against itself: 1 on a perfect machine

A calibration before and after each block shows the speed of the machine; only blocks at full speed count
(bench/regimes.py). The result of the process is the mean over the rounds of the median of their blocks, in logarithms.
Intervals are over processes (bench/statistics/estimates.py): blocks and rounds of one process say nothing of what the
process itself does to an engine.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import calibration, regimes
from bench.full_speed import Patience
from bench.parts import Parts, Seconds, after_switch, part, probed, timed_seconds
from study.records.bench import AfterSwitch, Calibration, ControlsOnce

FEWEST_ROUNDS = 8
MEDIAN_BLOCKS = 3
"""The median of two would withstand no burst."""
ALIKE = math.log(1.1)
"""Two loads of one engine seldom differ by more; a part in a slow moment takes 1.3 to 1.5 times as long."""
PROBE_SHARE = 0.2
"""Of the time, for blocks with as many lead-in calls as may be needed."""

Timed = tuple[Callable[[Any], object], Iterator[Any]]
"""A callable and the sequence of its arguments."""
Turn = Callable[[], AbstractContextManager[Timed]]
"""Opens an engine for one part; gives the callable to be timed and its arguments."""
Turns = Callable[[np.random.Generator], AbstractContextManager[Sequence[Turn]]]
"""Loads the reference twice and the runtime twice, at random places in memory; gives their turns for one round."""


@dataclass(frozen=True)
class Effort:
    """How long one comparison takes in one process."""

    seconds: float
    """Time of all rounds, loads included."""
    blocks: int = MEDIAN_BLOCKS
    """Most blocks of a round, which ends with its share of the time, after one at least. A disturbed one has three at
    least, if there is time."""
    fewest_rounds: int = FEWEST_ROUNDS
    """Made even if they take longer than `seconds`."""
    most_seconds: float = math.inf
    """No round begins later than this, except the first."""
    loads_stay: bool = True
    """Whether the engines stay loaded for a round; else each part loads its own."""


@dataclass(frozen=True)
class PairedOnce:
    """Two engines, paired, in one process."""

    ratio: float
    """Time of the reference over that of the runtime: above 1, the runtime is faster."""
    controls: ControlsOnce
    rounds: int
    blocks: int
    full_speed_blocks: int
    """Those that count; if there are none, all do, and there is a reason."""
    calls: int
    """Number of timed calls of both engines together."""
    call_seconds: float
    """Geometric mean of the time of a call of both engines, median over the blocks that count."""
    engine_seconds: tuple[float, float]
    """Time of a call of the reference and of the runtime, averaged as the ratio is."""
    after_switch_reference: AfterSwitch
    after_switch_runtime: AfterSwitch
    calibration: Calibration
    """Median over those around the blocks that count."""
    log_ratios_by_round: tuple[Seconds, ...]
    """Logarithm of the ratio in each block that counts, of each round that has one: for variances within and between
    rounds. Of a disturbed round the median alone, or its slow moment would be all that shows how blocks vary."""
    block_seconds: float
    """Mean time of a block, calibration included."""
    round_seconds: float
    """Mean time of a round, loads included."""
    load_seconds: float
    """Mean time of a round without its blocks."""
    reasons: tuple[str, ...] = ()
    """Why it is not valid, and what to do."""


@dataclass(frozen=True)
class Block:
    """What was timed in one block."""

    parts: tuple[Seconds, ...]
    """Seconds of all calls of each part, in the order of the turns."""
    around: tuple[Calibration, Calibration]
    """Before it and after it."""
    seconds: float


def compare(
    load: Turns,
    parts: Parts,
    effort: Effort,
    seed: int,
    patience: Patience,
    fastest_call_seconds: float | None = None,
) -> PairedOnce:
    """Time the two in turns; each block waits for full speed, and is timed again if that does not last.

    Args:
        seed: of the order within blocks and of the places in memory.
        fastest_call_seconds: the smallest `call_seconds` of this comparison in earlier processes.
    """
    order, placement = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    rounds: list[list[Block]] = []
    started = time.perf_counter() - patience.waited
    elapsed = 0.0

    def elapsed_seconds() -> float:
        return time.perf_counter() - started - patience.waited

    while not rounds or (
        elapsed < effort.most_seconds and (len(rounds) < effort.fewest_rounds or elapsed < effort.seconds)
    ):
        with load(placement) as turns:
            rounds.append([])
            until = elapsed_seconds() + effort.seconds / effort.fewest_rounds
            while another(rounds, parts, effort, elapsed_seconds(), until):
                began = elapsed_seconds()
                timed, *around = patience.steadily(lambda: block(turns, parts, order))  # noqa: B023
                now = elapsed_seconds()
                rounds[-1].append(Block(timed, (around[0], around[1]), now - began))
                if not parts.known:
                    parts = probed(parts, by_engine(rounds), short=now > PROBE_SHARE * effort.seconds)
        del turns  # or these engines stay while the next ones load, which then get other memory than those of a case
        elapsed = elapsed_seconds()
    return evaluate(rounds, parts, elapsed / len(rounds), patience.full, fastest_call_seconds)


def block(turns: Sequence[Turn], parts: Parts, generator: np.random.Generator) -> tuple[Seconds, ...]:
    """The seconds of all calls of one part of each turn, made in random order; in the order of `turns`."""
    timed = [np.zeros(0)] * len(turns)
    for i in generator.permutation(len(turns)):
        with turns[i]() as (call, inputs):
            timed[i] = part(call, inputs, parts.lead_in[i // 2] + parts.calls[i // 2])
    return tuple(timed)


def another(rounds: Sequence[Sequence[Block]], parts: Parts, effort: Effort, elapsed: float, until: float) -> bool:
    """Whether the last round gets one more block, by the time elapsed and the end of its share.

    A slow moment of some milliseconds may hit one part and escape the calibrations around the block. The median of
    three blocks withstands it; a load that is slow by its place in memory is so in all three, and counts as it is.
    Where each part loads its own engine it would not, so there a disturbed round has no further blocks. Nor has it if
    the other rounds would not fit into the time then. Blocks that were not at full speed are left out later.
    """
    blocks = rounds[-1]
    if not blocks or (len(blocks) < effort.blocks and elapsed < until):
        return True
    if len(blocks) >= MEDIAN_BLOCKS or not effort.loads_stay:
        return False
    others = (effort.fewest_rounds - len(rounds)) * elapsed / len(rounds)
    return elapsed + blocks[-1].seconds + others < effort.most_seconds and disturbed(np.log(seconds_of(blocks, parts)))


def disturbed(logs: Seconds) -> bool:
    """Whether two loads of an engine differ by more than loads do, from logarithms [blocks, 4]."""
    return bool((np.abs(logs[:, [0, 2]] - logs[:, [1, 3]]) > ALIKE).any())


def seconds_of(blocks: Sequence[Block], parts: Parts) -> Seconds:
    """Seconds of a call in each part, [blocks, 4]."""
    return np.array([[timed_seconds(one.parts[i], parts.calls[i // 2]) for i in range(4)] for one in blocks])


def by_engine(rounds: Sequence[Sequence[Block]]) -> tuple[list[Seconds], list[Seconds]]:
    """All parts of the reference, and of the runtime."""
    blocks = [one for blocks in rounds for one in blocks]
    return [timed for one in blocks for timed in one.parts[:2]], [timed for one in blocks for timed in one.parts[2:]]


def evaluate(
    rounds: Sequence[Sequence[Block]],
    parts: Parts,
    round_seconds: float,
    full_speed: Calibration | None = None,
    fastest_call_seconds: float | None = None,
) -> PairedOnce:
    """The comparison from the blocks of each round; `parts` has the lead-in calls that each block has at least.

    The mean over the rounds is the mean over the loads that the engine may get, whatever their distribution. The median
    over all blocks has 1.2 times its standard deviation where loads have two speeds, and then Student's interval over
    processes misses that mean: simulated (14 rounds of 3 blocks, 30 % of the loads 5 % slower), 95 % intervals of 5
    processes hold it in 93 % with the median, in 95 % with the mean. Within a round the median withstands bursts.
    """
    blocks = [one for several in rounds for one in several]
    seconds = seconds_of(blocks, parts)
    around = np.log([[[c.arithmetic_seconds, c.memory_seconds] for c in one.around] for one in blocks])
    ends = np.cumsum([len(several) for several in rounds])[:-1]
    fast = regimes.fast_blocks(seconds, around, full_speed, fastest_call_seconds)
    reason = regimes.two_speeds(np.split(fast, ends))
    counted = fast if fast.any() else np.ones_like(fast)
    logs = [one[kept] for one, kept in zip(np.split(np.log(seconds), ends), np.split(counted, ends), strict=True)]
    logs = [one for one in logs if len(one)]
    ratios = [(one[:, 0] + one[:, 1] - one[:, 2] - one[:, 3]) / 2 for one in logs]
    kept_blocks = [one for one, kept in zip(blocks, counted, strict=True) if kept]
    switches = [
        after_switch([timed for one in kept_blocks for timed in one.parts[2 * i : 2 * i + 2]], calls, before)
        for i, (calls, before) in enumerate(zip(parts.calls, parts.lead_in, strict=True))
    ]
    return PairedOnce(
        ratio=_mean(ratios),
        controls=ControlsOnce(
            reference=_mean([one[:, 0] - one[:, 1] for one in logs]),
            runtime=_mean([one[:, 2] - one[:, 3] for one in logs]),
        ),
        rounds=len(rounds),
        blocks=len(blocks),
        full_speed_blocks=int(fast.sum()),
        calls=2 * sum(parts.calls) * len(blocks),
        call_seconds=math.exp(float(np.median(np.concatenate(logs).mean(axis=1)))),
        engine_seconds=(
            _mean([one[:, :2].mean(axis=1) for one in logs]),
            _mean([one[:, 2:].mean(axis=1) for one in logs]),
        ),
        after_switch_reference=switches[0],
        after_switch_runtime=switches[1],
        calibration=calibration.median([c for one in kept_blocks for c in one.around]),
        log_ratios_by_round=tuple(
            np.array([np.median(ratio)]) if disturbed(one) else ratio for ratio, one in zip(ratios, logs, strict=True)
        ),
        block_seconds=float(np.mean([one.seconds for one in blocks])),
        round_seconds=round_seconds,
        load_seconds=max(0.0, round_seconds - sum(one.seconds for one in blocks) / len(rounds)),
        reasons=() if reason is None else (reason,),
    )


def _mean(rounds: Sequence[Seconds]) -> float:
    """The mean over the rounds of the median of their blocks, from logarithms."""
    return math.exp(float(np.mean([np.median(logs) for logs in rounds])))
