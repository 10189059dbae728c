"""Kill the real commands of a tiny study at random moments, run each again, and compare with an undisturbed run.

    python -m tests.kills                                     100 kills over all stages, about half an hour on two cores
    python -m tests.kills --kills 20 --stages train,export --seed 1

The signals are SIGKILL and SIGTERM to the command alone, SIGINT and SIGTERM to all its processes. Exit code 1:
something finished was lost or made again, the result differs, a process has survived, or a traceback was shown.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from study.data import fashion_mnist
from study.stopping import INTERRUPTED
from tests.conftest import ROOT
from tests.kills.processes import KILLS, Kill, run
from tests.kills.stages import CATALOGUE, STAGES, Stage

START_SECONDS = 1.0
"""Python and pytest answer SIGINT and SIGTERM in their own way before the first module of this project is imported."""
MOST_SECONDS = 2.0
"""For the end after SIGINT or SIGTERM."""


@dataclass(frozen=True)
class Outcome:
    """What one kill did."""

    stage: str
    signal: str
    after_seconds: float
    exit_code: int
    end_seconds: float
    """From the signal to the end."""
    faults: tuple[str, ...]
    """None if all is well."""
    slow: bool
    """Whether the end took longer than it should, also that of a command which ended as if nothing had come."""


class Laboratory:
    """A folder in which stages are run and killed."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.catalogue, self.log = folder / "kills_models.py", folder / "log.txt"
        self.catalogue.write_text(CATALOGUE)
        self.before: dict[str, Path] = {}
        """The artifacts before each stage."""
        self.seconds: dict[str, float] = {}
        self.expected: dict[str, dict[str, object]] = {}

    def prepare(self, name: str) -> None:
        """Run a stage undisturbed, after those that it needs."""
        stage, before = STAGES[name], self.folder / f"before-{name}"
        before.mkdir()
        (before / "data").symlink_to(self.data)
        for needed in stage.needs:
            self._run(STAGES[needed], before)
        self.before[name] = before
        artifacts = self.copy(name)
        self.seconds[name] = self._run(stage, artifacts)
        self.expected[name] = stage.result(artifacts)

    def copy(self, name: str) -> Path:
        """The artifacts before a stage, always in the same place: some files have its name."""
        artifacts = self.folder / "artifacts"
        shutil.rmtree(artifacts, ignore_errors=True)
        shutil.copytree(self.before[name], artifacts, symlinks=True)
        return artifacts

    def _run(self, stage: Stage, artifacts: Path) -> float:
        end = run(stage.words(artifacts, self.catalogue), self.log)
        if end.code:
            sys.exit(
                f"error: `{' '.join(stage.words(artifacts, self.catalogue))}` ended with {end.code}:\n{end.output}"
            )
        return end.seconds

    def kill(self, name: str, kill: Kill, after: float) -> Outcome:
        """Kill a stage, run it again, and compare."""
        stage, artifacts = STAGES[name], self.copy(name)
        words = stage.words(artifacts, self.catalogue)
        killed = run(words, self.log, kill, after)
        faults = [f"survived: {line}" for line in killed.survivors]
        if "Traceback" in killed.output:
            faults.append(f"traceback: {killed.output.strip().splitlines()[-1]}")
        if killed.code not in (0, -9 if kill.number == signal.SIGKILL else INTERRUPTED):
            faults.append(f"exit code {killed.code}")
        if killed.code == INTERRUPTED and killed.output.count("interrupted: ") != 1:
            faults.append(f"{killed.output.count('interrupted: ')} lines say that it was interrupted")
        finished = stage.finished(artifacts)
        again = run(words, self.log)
        if again.code:
            faults.append(f"again: exit code {again.code}: {(again.output.strip().splitlines() or [''])[-1]}")
        else:
            result, afterwards = stage.result(artifacts), stage.finished(artifacts)
            faults += [f"made again: {key}" for key, made in finished.items() if afterwards.get(key) != made]
            keys = result.keys() | self.expected[name].keys()
            faults += [f"differs: {key}" for key in sorted(keys) if result.get(key) != self.expected[name].get(key)]
        slow = kill.number != signal.SIGKILL and killed.seconds > MOST_SECONDS
        return Outcome(name, str(kill), round(after, 2), killed.code, round(killed.seconds, 2), tuple(faults), slow)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """For each stage and signal: kills, how many came before the end, faults, the longest end."""
    lines = [f"{'stage':10} {'signal':15} {'kills':>5} {'in time':>7} {'faults':>6} {'slow':>4} {'longest end, s':>14}"]
    for stage, kill in dict.fromkeys((one.stage, one.signal) for one in sorted(outcomes, key=lambda one: one.stage)):
        ours = [one for one in outcomes if (one.stage, one.signal) == (stage, kill)]
        hit = [one for one in ours if one.exit_code]
        longest = max((one.end_seconds for one in hit), default=0)
        faults, slow = sum(bool(one.faults) for one in ours), sum(one.slow for one in ours)
        lines.append(f"{stage:10} {kill:15} {len(ours):5} {len(hit):7} {faults:6} {slow:4} {longest:14.2f}")
    kinds = Counter(fault.partition(":")[0] for one in outcomes for fault in one.faults)
    return [*lines, f"{len(outcomes)} kills; faults: {', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'none'}"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", metavar="N", type=int, default=100)
    parser.add_argument("--stages", metavar="A,B", default=",".join(STAGES), help="default: %(default)s")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of stages, signals and moments")
    result = Path("artifacts/kills.json")
    parser.add_argument("--json", metavar="FILE", type=Path, default=result, help="default: %(default)s")
    options = parser.parse_args()
    options.stages = options.stages.split(",")
    if unknown := set(options.stages) - STAGES.keys():
        parser.error(f"--stages: expected some of {', '.join(STAGES)}, found {', '.join(unknown)}")
    return options


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background, and what it starts, ignores it
    chance = random.Random(options.seed)  # noqa: S311  no secret
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        laboratory = Laboratory(Path(name), fashion_mnist.prepare(ROOT / "artifacts" / "data").resolve())
        for stage in options.stages:
            laboratory.prepare(stage)
            print(f"{stage}: {laboratory.seconds[stage]:.1f} s undisturbed", flush=True)
        for number in range(options.kills):
            stage = options.stages[number % len(options.stages)]
            kill = chance.choice(KILLS)
            first = 0 if kill.number == signal.SIGKILL else START_SECONDS
            after = chance.uniform(first, max(first, laboratory.seconds[stage]))
            outcome = laboratory.kill(stage, kill, after)
            outcomes.append(outcome)
            text = "; ".join(outcome.faults) or "as undisturbed"
            ended = f"exit code {outcome.exit_code} {outcome.end_seconds} s later"
            print(f"{number + 1}/{options.kills} {stage}, {kill} after {after:.1f} s: {ended}: {text}", flush=True)
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=2) + "\n")
    print("\n".join(table(outcomes)))
    print(f"wrote {options.json}")
    return int(any(one.faults for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
