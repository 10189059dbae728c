"""Read what `pytest bench` measured: its JSON, or the journal of a session that was interrupted."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from study.errors import StudyError
from study.files import open_plain, read_plain, why
from study.json_pieces import pieces
from study.record_files import parse_text, to_record, to_sealed_record
from study.records.bench import BenchRecord, CaseKey, CaseRecord, ComparisonRecord, JournalEntry, Measurement
from study.records.scenarios import OfflineRecord, ServerRecord
from study.seal import SealOfPieces

M = TypeVar("M", bound=Measurement)
BENCHMARKS, STUDY, COMPARISONS = "benchmarks", "study", "study.comparisons"
OPENED = (BENCHMARKS, STUDY, COMPARISONS)
"""Keys of the file that are read a member at a time."""
BEFORE_SEALS = "bench/4"
"""The last version of bench.json without a seal, which is otherwise like today's."""
DATE = "datetime"
"""Key of the time at which pytest-benchmark wrote the file."""


def moment(text: object) -> datetime | None:
    """The time that a file has under `DATE`; None if there is none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def seal_of(text: str) -> str:
    """The value of the key `sha256` of a bench.json with this text."""
    seal = SealOfPieces()
    for key, value in pieces(io.StringIO(text), OPENED):
        seal.add(key, value)
    return seal.digest()


def read_bench(
    path: Path, remedy: str, kept: Callable[[CaseRecord], CaseRecord] = lambda case: case, older: bool = False
) -> BenchRecord:
    """The block `study` of a pytest-benchmark JSON file, with the `extra_info` of every case under `cases`.

    A file called `.journal` is read as a journal. The cases are read one at a time; `kept` makes a smaller record of
    each where not all of 100,000 are to be kept.

    Args:
        older: read files from before there were seals too: what is compared over months is not measured again.

    Raises:
        StudyError: as `study.record_files.read_record`, or a measurement is in the file twice.
    """
    return read_dated(path, remedy, kept, older)[0]


def read_dated(
    path: Path, remedy: str, kept: Callable[[CaseRecord], CaseRecord] = lambda case: case, older: bool = False
) -> tuple[BenchRecord, object]:
    """The same, and what the file has as the time at which it was written: text; None in a journal."""
    if path.suffix == ".journal":
        record = _read_journal(path, remedy)
        return replace(record, cases=tuple(map(kept, record.cases))), None
    record, date = _read_json(path, remedy, kept, older)
    for records in (
        record.cases,
        record.comparisons,
        record.cold_starts,
        record.offline,
        record.server,
        record.profiles,
    ):
        _refuse_copies(records, path, remedy)
    return record, date


def _read_json(
    path: Path, remedy: str, kept: Callable[[CaseRecord], CaseRecord], older: bool
) -> tuple[BenchRecord, object]:
    seal = SealOfPieces()
    cases: list[CaseRecord] = []
    comparisons: list[ComparisonRecord] = []
    study: dict[str, Any] = {}
    date: object = None
    fault: StudyError | None = None
    try:
        with io.TextIOWrapper(open_plain(path), encoding="utf-8") as file:
            for key, value in pieces(file, OPENED):
                seal.add(key, value)
                try:
                    if key == BENCHMARKS and value["extra_info"] and not fault:
                        where = f"{path}: case {len(cases) + 1}"
                        cases.append(kept(to_record(value["extra_info"], CaseRecord, where, remedy)))
                    elif key == COMPARISONS and not fault:
                        where = f"{path}: comparison {len(comparisons) + 1}"
                        comparisons.append(to_record(value, ComparisonRecord, where, remedy))
                    elif key == DATE:
                        date = value
                    elif key.startswith(f"{STUDY}."):
                        study[key.removeprefix(f"{STUDY}.")] = value
                except StudyError as error:
                    fault = error  # the version of the file, which may be further on, may be the reason
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as JSON ({why(error)}); {remedy}") from None
    except (KeyError, TypeError):
        study = {}
    if not study:
        raise StudyError(f"{path}: expected the pytest-benchmark JSON of this project's bench; {remedy}")
    unsealed = older and study.get("schema") == BEFORE_SEALS
    if unsealed:
        study["schema"] = BenchRecord.__struct_config__.tag
    record = to_record({**study, "cases": (), "comparisons": ()}, BenchRecord, str(path), remedy)
    if fault:
        raise fault
    if damaged := seal.damage(needed=not unsealed):
        raise StudyError(f"{path}: {damaged}; {remedy}")
    return replace(record, cases=tuple(cases), comparisons=tuple(comparisons)), date


def _refuse_copies(records: Sequence[Measurement], path: Path, remedy: str) -> None:
    times = Counter(map(_identity, records))
    if twice := next((key for (key, *_), n in times.items() if n > 1), None):
        engine = f"{twice.model} in {twice.runtime} at batch {twice.batch}"
        raise StudyError(f"{path}: expected each measurement once, found {engine} twice; {remedy}")


def _identity(record: Measurement) -> tuple[CaseKey, str, int]:
    """What no two measurements of a file share: a comparison has a reference, a scenario a number of streams."""
    return record.key, getattr(record, "reference", ""), getattr(record, "streams", 1)


def _read_journal(path: Path, remedy: str) -> BenchRecord:
    """A journal as the JSON would have it, without a last line that was cut off.

    All but cold starts and profiles are written again after each process; the last entry counts.
    """
    try:
        *lines, cut_off = read_plain(path, None).split(b"\n")
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read ({why(error)}); {remedy}") from None
    entries = []
    for n, line in enumerate(lines, 1):
        try:
            content = parse_text(line)
        except ValueError as error:
            raise StudyError(f"{path}: line {n} cannot be read as JSON ({error}); {remedy}") from None
        entries.append(to_sealed_record(content, JournalEntry, f"{path}: line {n}", remedy))
    if _is_whole(cut_off):
        raise StudyError(f"{path}: expected the end of a line after entry {len(lines) + 1}, found none; {remedy}")
    environments = [entry.environment for entry in entries if entry.environment]
    if len(environments) != 1:
        raise StudyError(f"{path}: expected a journal that begins with its session; {remedy}")
    cases = _last(entry.case for entry in entries)
    comparisons = _last(entry.comparison for entry in entries)
    offline = _last(entry.offline for entry in entries)
    server = _last(entry.server for entry in entries)
    measured: list[CaseRecord | ComparisonRecord | OfflineRecord | ServerRecord]
    measured = [*cases, *comparisons, *offline, *server]
    return BenchRecord(
        environment=environments[0],
        harness_overhead_seconds=None,
        processes=max((len(each.processes) for each in measured), default=1),
        pilot=None,
        cases=cases,
        comparisons=comparisons,
        cold_starts=_last(entry.cold_start for entry in entries),
        offline=offline,
        server=server,
        matrix_products=tuple({one.threads: one for entry in entries if (one := entry.matrix_product)}.values()),
        profiles=_last(entry.profile for entry in entries),
    )


def _is_whole(cut_off: bytes) -> bool:
    """Whether the last line of a journal is an entry whose end of line was changed, not one that was cut off."""
    try:
        parse_text(cut_off[:-1])
    except ValueError:
        return False
    return True


def _last(records: Iterable[M | None]) -> tuple[M, ...]:
    """The last record of each measurement, in the order of the first ones."""
    return tuple({_identity(record): record for record in records if record}.values())


def without_file(words: Sequence[str]) -> list[str]:
    """The words of a session's command line without the file that it wrote, which may have been renamed."""
    option = "--benchmark-json"
    behind = [index + 1 for index, word in enumerate(words) if word == option]
    return [
        word
        for index, word in enumerate(words)
        if index not in behind and word != option and not word.startswith(f"{option}=")
    ]
