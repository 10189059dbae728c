"""One pair of fresh processes, one a side: started in random order, it measures every batch size in random order."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from bench import calibration
from bench.ab.alternate import Alternation, Callee, Counted, Result, alternate, calibrated, probe, warmed_up
from bench.ab.process import Process, started
from bench.ab.protocol import Part, Reply, Report, Reported, Timed
from bench.ab.sides import Side
from bench.full_speed import Patience, SlowMachineError, found_level
from bench.machine.interference import Interference, disturbances, external_disturbances, monitor
from bench.sampling import PATIENCE_SECONDS
from study.records.ab import InTurns, PairedProcess
from study.records.bench import Calibration, Machine, Settings

ROUNDS = 14
"""Loads of each model in a process, if blocks and loads fit in the time: each has another place in memory."""
MOST_IDLE_CORES = 0.03
"""Cores that a waiting side may use: reading a pipe uses none, a thread that spins a whole one."""

Sides = tuple[Side, Side]
Levels = tuple[Calibration | None, Calibration | None]
"""How fast the machine was, as A and B have seen it; None: not known."""
Inputs = Mapping[int, tuple[Path, Path]]
"""By batch size the files of inputs of A and of B."""


@dataclass(frozen=True)
class Once:
    """One batch size in one pair of processes."""

    record: PairedProcess
    settings: tuple[Settings, Settings]
    speeds: Levels
    """Median calibration of A and of B, None if it did not calibrate: the session's full speed is the fastest."""


@contextmanager
def both_started(sides: Sides, chance: np.random.Generator) -> Iterator[tuple[Process, Process]]:
    """Fresh processes of A and B."""
    with ExitStack() as stack:
        found = {int(i): stack.enter_context(started(sides[int(i)])) for i in chance.permutation(2)}
        yield found[0], found[1]


def load(pair: Sequence[Process], files: Sequence[Path], chance: np.random.Generator, batch: int) -> None:
    """Load both models, in random order, at random places in memory."""
    for i in map(int, chance.permutation(2)):
        seed = int(chance.integers(2**32))
        pair[i].ask(replace(pair[i].side.request, inputs=str(files[i]), seed=seed, batch=batch), Reply)


def measure(
    sides: Sides, inputs: Inputs, seconds: float, number: int, seed: int, full: Levels = (None, None)
) -> dict[int, Once]:
    """The batch sizes of `inputs`, each for about `seconds`; one that waits in vain for full speed again at the end.

    Args:
        full: full speed, as the processes of A and of B have seen it so far.

    Raises:
        StudyError: a side does not load or run its model, or its process ends.
    """
    chance = np.random.default_rng(seed)
    found: dict[int, tuple[Alternation, tuple[Settings, Settings]]] = {}
    with monitor() as monitored, both_started(sides, chance) as pair:
        waiting = [(int(batch), True) for batch in chance.permutation(sorted(inputs))]
        while waiting:
            batch, postpone = waiting.pop(0)
            again = partial(load, pair, inputs[batch], chance, batch)
            try:
                alternation = take_turns(pair, again, seconds, chance, full=full, postpone=postpone)
            except SlowMachineError:
                waiting.append((batch, False))
                continue
            settings = pair[0].ask(Report(), Reported).settings, pair[1].ask(Report(), Reported).settings
            found[batch] = alternation, settings
    seen = monitored.interference
    return {
        batch: Once(_record(one, sides, seen, number, seed), settings, _speeds(one))
        for batch, (one, settings) in found.items()
    }


def _speeds(done: Alternation) -> Levels:
    a, b = (calibration.median(several) if (several := done.speeds(which)) else None for which in (0, 1))
    return a, b


def take_turns(
    pair: tuple[Callee, Callee],
    load_both: Callable[[], None],
    seconds: float,
    chance: np.random.Generator,
    clock: Callable[[], float] = time.perf_counter,
    full: Levels = (None, None),
    postpone: bool = False,
) -> Alternation:
    """All rounds of one pair at one batch size; each begins with a load, and has its share of `seconds` for turns.

    Raises:
        SlowMachineError: the machine was slow, and `postpone`.
    """
    into = Alternation()
    begin = clock()
    load_both()
    loading = clock() - begin
    most = max(PATIENCE_SECONDS, seconds / 3)
    patience = [
        Patience(known or found_level(ask, clock), most, ask, clock, postpone)
        for ask, known in zip([partial(calibrated, one) for one in pair], full, strict=True)
    ]
    patience[0].calibration()  # before the warm-up
    speeds = [warmed_up(process, seconds / 4) for process in pair]
    probe(pair, speeds, seconds / 4, chance, into)
    block = sum(2 * (counted.lead_in + counted.calls) * one for counted, one in zip(into.sides, speeds, strict=True))
    rounds = max(1, min(ROUNDS, int(seconds / block), int(seconds / loading) if loading else ROUNDS))
    for done in range(rounds):
        if done:
            load_both()
            for process, counted in zip(pair, into.sides, strict=True):
                process.ask(Part(0, counted.lead_in + counted.calls), Timed)
        alternate(pair, seconds / rounds, chance, into, patience)
    return into


def _record(done: Alternation, sides: Sides, seen: Interference, number: int, seed: int) -> PairedProcess:
    result = done.result()
    reasons = [reason for reason in [result.reason] if reason]
    reasons += external_disturbances(seen)
    for side, other, counted in zip(sides, "BA", done.sides, strict=True):
        reasons += [f"{side.name}: {reason}" for reason in _disturbed(counted, side.threads)]
        if (idle := counted.idle_cpu / counted.idle_wall) > MOST_IDLE_CORES:
            remedy = "with ONNX Runtime give options=session.force_spinning_stop:1, or else threads=1"
            reasons.append(f"{side.name} used {idle:.2f} cores while {other} ran: its threads spin; {remedy}")
    both = [one for _, *around in done.calibrations for one in around]
    return PairedProcess(
        process=number,
        ratio=result.ratio,
        a=_in_turns(result, done, 0),
        b=_in_turns(result, done, 1),
        loads=len(done.rounds),
        blocks=result.blocks,
        full_speed_blocks=result.full_speed_blocks,
        random_seed=seed,
        calibration=calibration.median(both),
        waited_seconds=done.waited,
        machine=seen.machine,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def _disturbed(counted: Counted, threads: int) -> list[str]:
    """What disturbed a side in its own turns."""
    nothing = dict.fromkeys(Machine.__struct_fields__)
    switches = {"involuntary_switches_per_second": counted.switches / counted.wall}
    own = Interference(counted.wall, counted.cpu / counted.wall, Machine(**{**nothing, **switches}))
    return disturbances(own, threads)


def _in_turns(result: Result, done: Alternation, which: int) -> InTurns:
    counted = done.sides[which]
    assert counted.after_switch
    return InTurns(
        median_seconds=result.seconds[which],
        control=result.controls[which],
        after_switch=counted.after_switch,
        part_calls=counted.calls,
        cores_used=counted.cpu / counted.wall,
        idle_cores=counted.idle_cpu / counted.idle_wall,
        switches_per_second=counted.switches / counted.wall,
    )
