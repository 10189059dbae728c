"""Write the generated parts of docs/formats.md, or print a JSON Schema.

`python -m docs.formats` writes the tables of keys from the records and those of columns from the tables of the
analysis; `python -m docs.formats run/2` prints the JSON Schema of run.json.
"""

import ast
import inspect
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from analysis.tables import (
    cold_starts,
    costs,
    exports,
    latency,
    layers,
    loads,
    matrices,
    modules,
    pictured,
    portability,
    profiles,
    results,
    search,
    sparsity,
    summary,
    training,
    zeros,
)
from analysis.tables.columns import Column
from study.command_line import Parser
from study.errors import exit_with
from study.recipe import Recipe
from study.records.ab import AbRecord
from study.records.analysis import PruningRecord, SparsityRecord, TableRecord
from study.records.base import Record
from study.records.bench import BenchRecord, JournalEntry
from study.records.compact import CompactRecord
from study.records.export import ExportRecord, PortabilityRecord
from study.records.gate import GateRecord
from study.records.history import HistoryRecord
from study.records.pack import PackRecord
from study.records.training import RunRecord, SearchRecord

PAGE = Path(__file__).parent / "formats.md"
FILES: Mapping[str, type[Record]] = {
    "run.json": RunRecord,
    "export.json": ExportRecord,
    "python -m export compact, OUT.json": CompactRecord,
    "pruning.json": PruningRecord,
    "search.json": SearchRecord,
    "portability.json": PortabilityRecord,
    "pack.json": PackRecord,
    "bench.json": BenchRecord,
    "bench.json.journal": JournalEntry,
    "python -m bench compare --format json": GateRecord,
    "python -m bench ab --json FILE": AbRecord,
    "bench-history/history.json": HistoryRecord,
    "report/sparsity.json, report/weights_histogram.json": TableRecord,
    "python -m analysis sparsity --format json": SparsityRecord,
}
TABLES: Mapping[str, Sequence[Column]] = {
    "report/summary.csv": summary.SUMMARY,
    "report/runs.csv": training.RUNS,
    "report/sparsity.csv": sparsity.SPARSITY,
    "report/weights_histogram.csv": sparsity.HISTOGRAM,
    "report/pruning.csv": sparsity.PRUNING,
    "report/convergence.csv": training.CONVERGENCE,
    "report/history.csv": training.HISTORY,
    "report/latency.csv": latency.LATENCY,
    "report/costs.csv": costs.COSTS,
    "report/comparisons.csv": latency.COMPARISONS,
    "report/images_per_second.csv": pictured.IMAGES_PER_SECOND,
    "report/accuracy.csv": pictured.ACCURACY,
    "report/overview.csv": pictured.OVERVIEW,
    "report/errors.csv": pictured.ERRORS,
    "report/confusion.csv": pictured.CONFUSION,
    "report/mistakes.csv": pictured.MISTAKES,
    "report/filters.csv": matrices.FILTER,
    "report/matrices.csv": matrices.MATRICES,
    "report/cold_starts.csv": cold_starts.COLD_STARTS,
    "report/loads.csv": loads.LOADS,
    "report/modules.csv": modules.MODULES,
    "report/parity.csv": modules.PARITY,
    "report/profile.csv": profiles.PROFILE,
    "report/profile_modules.csv": profiles.MODULES,
    "report/variants.csv": exports.VARIANTS,
    "report/zeros.csv": zeros.ZEROS,
    "report/ranks.csv": zeros.RANKS,
    "report/portability.csv": portability.CELLS,
    "report/search.csv, docs/results/search.csv": search.SEARCH,
    "report/importance.csv, docs/results/importance.csv": search.IMPORTANCE,
    "docs/results/results.csv": results.RESULTS,
    "docs/results/accuracy.csv": results.ACCURACY,
    "docs/results/batches.csv": results.BATCHES,
    "docs/results/sparsity.csv": layers.LAYERS,
}


def main(words: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m docs.formats", description=__doc__)
    parser.add_argument("schema", nargs="?", choices=[tag(kind) for kind in FILES.values()])
    options = parser.parse_args(words)
    if options.schema:
        kind = next(kind for kind in FILES.values() if tag(kind) == options.schema)
        print(json.dumps(schema(kind), indent=2))
    else:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


def page() -> str:
    """docs/formats.md with its generated parts as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for part, lines in (("keys", keys()), ("columns", columns())):
        before, begin, rest = text.partition(f"<!-- {part}: written by `python -m docs.formats` -->\n")
        _, end, after = rest.partition(f"<!-- end of {part} -->\n")
        text = "".join((before, begin, *(f"{line}\n" for line in lines), "\n", end, after))
    return text


def tag(kind: type[Record]) -> str:
    return str(kind.__struct_config__.tag)


def schema(kind: type[Record]) -> dict[str, Any]:
    """The JSON Schema of a file, with a description of every key."""
    (root,), definitions = msgspec.json.schema_components([kind])
    for name, definition in definitions.items():
        for key, meaning in meanings(_structs()[name]).items():
            definition["properties"][key] = {**definition["properties"][key], "description": meaning}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def keys() -> Iterator[str]:
    """A table of keys for each file, followed by those of its objects; objects of several files come last."""
    objects = {file: schema(kind)["$defs"] for file, kind in FILES.items()}
    uses = Counter(name for definitions in objects.values() for name in definitions)
    shared: dict[str, Any] = {}
    for file, kind in FILES.items():
        definitions = objects[file]
        yield from ("", f"### {file} (`{tag(kind)}`)", *_table(definitions.pop(kind.__name__)))
        for name, definition in definitions.items():
            if uses[name] > 1:
                shared[name] = definition
            else:
                yield from ("", f"#### {name}", *_table(definition))
    yield from ("", "### Objects of several files")
    for name, definition in shared.items():
        yield from ("", f"#### {name}", *_table(definition))


def _table(definition: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", definition["description"].partition("\n")[0], "", "| key | value | meaning |", "|---|---|---|")
    for key, content in definition["properties"].items():
        optional = "" if key in definition["required"] else "; may be absent"
        if key != "schema":
            yield f"| `{key}` | {value(content)}{optional} | {content.get('description', '')} |"


def value(content: Mapping[str, Any]) -> str:
    """What a key may have, in a few words, from its JSON Schema."""
    match content:
        case {"$ref": path}:
            name = path.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": choices}:
            return " or ".join(map(value, choices))
        case {"enum": choices}:
            return ", ".join("null" if one is None else f"`{one}`" for one in choices)
        case {"type": "array", "items": one}:
            return f"list of {value(one)}"
        case {"type": "object", "additionalProperties": one}:
            return f"object of {value(one)}"
        case {"type": ("integer" | "number") as kind}:
            limits = {"exclusiveMinimum": "> ", "minimum": ">= ", "exclusiveMaximum": "< ", "maximum": "<= "}
            number = str if kind == "integer" else "{:g}".format
            shown = ", ".join(f"{sign}{number(content[limit])}" for limit, sign in limits.items() if limit in content)
            return f"{kind} {shown}".rstrip()
        case {"type": "string"}:
            return "hexadecimal digits" if "pattern" in content else "text"
        case {"type": kind}:
            return "true, false" if kind == "boolean" else str(kind)
    return "any"


def columns() -> Iterator[str]:
    """A table of columns for each CSV file."""
    for file, table in TABLES.items():
        yield from ("", f"### {file}", "", "| column | meaning |", "|---|---|")
        for column in table:
            yield f"| `{column.key}` | {column.meaning} |"


@cache
def _structs() -> dict[str, type[msgspec.Struct]]:
    """Every struct that a file may have, by its name."""
    found: dict[str, type[msgspec.Struct]] = {"Recipe": Recipe}
    ahead = [Record]
    while ahead:
        kind = ahead.pop()
        found[kind.__name__] = kind
        ahead += kind.__subclasses__()
    return found


@cache
def meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings below a struct's fields, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is msgspec.Struct or not issubclass(base, msgspec.Struct):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in pairwise(body.body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(meaning))),
                ):
                    found[name] = " ".join(meaning.split())
    return found


if __name__ == "__main__":
    exit_with(main)
