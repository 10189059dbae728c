"""Damage ONNX files and read them: each is read or refused in one line, in bounded time and memory.

    python -m tests.support.fuzz --files 20000 --seed 1

The seeds are all patterns that the tests know, some with their weights in files of their own, and the smaller bombs of
`tests.support.bombs`. Every damaged file is read by a process of its own (`confined`); one that crashes it, raises
anything but a StudyError, or takes too long or too much is kept in the folder named by --keep, and the exit code is 1.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from tests.support.bombs import CALLING, SLOW, UNFOLDING
from tests.support.confined import Confined, Outcome
from tests.support.mutation import mutated

MOST_SECONDS = 5.0
"""Processor time for a damaged file of some kilobytes."""
MOST_SEED = 200_000
"""Bytes of a file that is worth damaging: in a larger one hardly a byte matters."""
MOST_BOMB = 10_000
"""The same for a bomb."""


@dataclass(frozen=True)
class Seed:
    """A model, and the files beside it."""

    name: str
    content: bytes
    beside: Mapping[str, bytes]


@dataclass(frozen=True)
class Mutant:
    """The outcome of damaged file number `index`, made of the seed called `name`."""

    index: int
    name: str
    outcome: Outcome

    @property
    def fault(self) -> str:
        slow = self.outcome.seconds > MOST_SECONDS
        return self.outcome.fault or (f"{self.outcome.seconds:.1f} s" if slow else "")


def models(sources: Sequence[Mapping[str, object]], folder: Path) -> Iterator[Seed]:
    """The files that these PATTERNS write, as they are and, of every third, with the weights beside."""
    for number, (name, build) in enumerate(each for source in sources for each in source.items()):
        place = folder / str(number)
        place.mkdir(parents=True)
        path: Path = build(place).path  # type: ignore[operator]
        beside = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file() and each != path}
        if path.stat().st_size + sum(map(len, beside.values())) > MOST_SEED:
            continue
        yield Seed(name, path.read_bytes(), beside)
        if number % 3 == 0:
            outside = place / "outside"
            outside.mkdir()
            onnx.save(onnx.load(path), outside / "m.onnx", save_as_external_data=True, location="w", size_threshold=64)
            content = (outside / "m.onnx").read_bytes()
            if (outside / "w").exists():
                yield Seed(f"{name}, weights beside", content, {"w": (outside / "w").read_bytes()})


def bombs() -> Iterator[Seed]:
    """The small ones of `tests.support.bombs`."""
    for name, build in {**UNFOLDING, **SLOW, **CALLING}.items():
        content = build()
        if len(content) < MOST_BOMB:
            yield Seed(name, content, {})


def run(seeds: Sequence[Seed], files: int, seed: int, keep: Path | None, workers: int = 1) -> Iterator[Mutant]:
    """Damage and read so many files; those with a fault are copied to `keep`."""

    def part(worker: int) -> list[Mutant]:
        found = []
        with tempfile.TemporaryDirectory() as name, Confined() as reader:
            for index in range(worker, files, workers):
                found.append(_one(seeds, seed, index, reader, Path(name) / str(index), keep))
        return found

    with ThreadPoolExecutor(workers) as pool:
        for mutants in pool.map(part, range(workers)):
            yield from mutants


def _one(seeds: Sequence[Seed], seed: int, index: int, reader: Confined, folder: Path, keep: Path | None) -> Mutant:
    random = np.random.default_rng([seed, index])
    chosen = seeds[int(random.integers(len(seeds)))]
    folder.mkdir()
    for name, content in chosen.beside.items():
        whole = random.random() < 0.9
        (folder / name).write_bytes(content if whole else content[: int(random.integers(len(content) + 1))])
    (folder / "model.onnx").write_bytes(mutated(chosen.content, [each.content for each in seeds], random))
    mutant = Mutant(index, chosen.name, reader.read(folder / "model.onnx"))
    if mutant.fault and keep is not None:
        shutil.copytree(folder, keep / f"{seed}-{index}", dirs_exist_ok=True)
    shutil.rmtree(folder)
    return mutant


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.fuzz", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--files", metavar="N", type=int, default=20_000, help="how many to damage (20,000)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the random damage (0)")
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="processes (2)")
    parser.add_argument("--keep", metavar="DIR", type=Path, default=Path("artifacts/fuzz"), help="for what fails")
    options = parser.parse_args()

    import logging

    from tests.support import exported, exported_others, exported_runtime, handmade, quantised

    logging.disable()  # the exporters print much that has nothing to do with this
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sources = [each.PATTERNS for each in (exported, exported_runtime, exported_others, handmade)]
        sources += [exported.WITHOUT_LAYERS, handmade.WITHOUT_LAYERS]
        sources += [{", ".join(name): build for name, build in quantised.PATTERNS.items()}]
        seeds = [*models(sources, Path(folder)), *bombs()]
    print(f"{len(seeds)} seeds in {time.perf_counter() - begun:.0f} s")
    begun = time.perf_counter()
    kinds: Counter[str] = Counter()
    faults = layers = 0
    slowest, largest = 0.0, 0.0
    for mutant in run(seeds, options.files, options.seed, options.keep, options.workers):
        kinds[mutant.outcome.kind] += 1
        layers += mutant.outcome.layers
        slowest, largest = max(slowest, mutant.outcome.seconds), max(largest, mutant.outcome.mib)
        if mutant.fault:
            faults += 1
            print(f"{options.seed}-{mutant.index} of {mutant.name}: {mutant.fault}")
    took = time.perf_counter() - begun
    print(f"{options.files} files in {took:.0f} s, seed {options.seed}: {dict(kinds)}, {layers} layers")
    print(f"at most {slowest:.2f} s and {largest:.0f} MiB a file; {faults} at fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
