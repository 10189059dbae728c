"""Write the generated parts of docs/formats.md, or print a JSON Schema.

`python -m docs.formats` writes the tables of keys from the records and those of columns from the tables of the
analysis; `python -m docs.formats run/1` prints the JSON Schema of run.json.
"""

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from analysis.tables import exports, latency, portability, results, search, sparsity, summary, training
from analysis.tables.columns import Column
from study.records.analysis import PruningRecord, SparsityRecord, TableRecord
from study.records.base import Record
from study.records.bench import BenchRecord, JournalEntry
from study.records.export import ExportRecord, PortabilityRecord
from study.records.training import RunRecord, SearchRecord

PAGE = Path(__file__).parent / "formats.md"
FILES: Mapping[str, type[Record]] = {
    "run.json": RunRecord,
    "export.json": ExportRecord,
    "pruning.json": PruningRecord,
    "search.json": SearchRecord,
    "portability.json": PortabilityRecord,
    "bench.json": BenchRecord,
    "bench.json.journal": JournalEntry,
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
    "report/comparisons.csv": latency.COMPARISONS,
    "report/throughput.csv": latency.THROUGHPUT,
    "report/accuracy.csv": latency.ACCURACY,
    "report/cold_starts.csv": latency.COLD_STARTS,
    "report/variants.csv": exports.VARIANTS,
    "report/portability.csv": portability.CELLS,
    "report/search.csv, docs/results/search.csv": search.SEARCH,
    "report/importance.csv, docs/results/importance.csv": search.IMPORTANCE,
    "docs/results/results.csv": results.RESULTS,
    "docs/results/accuracy.csv": results.ACCURACY,
    "docs/results/batches.csv": results.BATCHES,
    "docs/results/sparsity.csv": results.SPARSITY,
}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.formats", description=__doc__)
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
    (root,), components = msgspec.json.schema_components([kind])
    for struct in structs(kind):
        for key, meaning in meanings(struct).items():
            properties = components[struct.__name__]["properties"]
            properties[key] = {**properties[key], "description": meaning}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": components}


def keys() -> Iterator[str]:
    """A table of keys for each file, followed by those of its objects; objects of several files come last."""
    users: dict[type[msgspec.Struct], list[str]] = {}
    for file, kind in FILES.items():
        for struct in structs(kind):
            users.setdefault(struct, []).append(file)
    for file, kind in FILES.items():
        yield from ("", f"### {file} (`{tag(kind)}`)")
        for struct in structs(kind):
            if struct is kind or len(users[struct]) == 1:
                yield from _table(struct, "" if struct is kind else "####")
    yield from ("", "### Objects of several files")
    for struct, files in users.items():
        if len(files) > 1:
            yield from _table(struct, "####")


def _table(struct: type[msgspec.Struct], heading: str) -> Iterator[str]:
    if heading:
        yield from ("", f"{heading} {struct.__name__}")
    yield from ("", (struct.__doc__ or "").partition("\n")[0], "", "| key | value | meaning |", "|---|---|---|")
    meaning = meanings(struct)
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    for field in info.fields:
        optional = "" if field.required else "; may be absent"
        yield f"| `{field.encode_name}` | {value(field.type)}{optional} | {meaning.get(field.name, '')} |"


def columns() -> Iterator[str]:
    """A table of columns for each CSV file."""
    for file, table in TABLES.items():
        yield from ("", f"### {file}", "", "| column | meaning |", "|---|---|")
        for column in table:
            yield f"| `{column.key}` | {column.meaning} |"


def structs(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """`kind` and every struct within it, each once."""
    found: dict[type[msgspec.Struct], None] = {}

    def walk(node: Any) -> None:
        if isinstance(node, types.StructType) and node.cls not in found:
            found[node.cls] = None
            for field in node.fields:
                walk(field.type)
        elif isinstance(node, types.UnionType):
            for one in node.types:
                walk(one)
        elif isinstance(node, types.VarTupleType):
            walk(node.item_type)
        elif isinstance(node, types.DictType):
            walk(node.value_type)

    walk(types.type_info(kind))
    return list(found)


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


def value(node: types.Type) -> str:
    """What a key may have, in a few words."""
    match node:
        case types.StructType():
            return f"[{node.cls.__name__}](#{node.cls.__name__.lower()})"
        case types.UnionType():
            return " or ".join(map(value, node.types))
        case types.VarTupleType():
            return f"list of {value(node.item_type)}"
        case types.DictType():
            return f"object of {value(node.value_type)}"
        case types.LiteralType():
            return ", ".join(f"`{one}`" for one in node.values)
        case types.IntType():
            return f"integer{_bounds(node)}"
        case types.FloatType():
            return f"number{_bounds(node)}"
        case types.StrType():
            return "hexadecimal digits" if node.pattern else "text"
        case types.BoolType():
            return "true, false"
        case types.NoneType():
            return "null"
        case _:
            return "any"


def _bounds(node: types.IntType | types.FloatType) -> str:
    limits = {"> ": node.gt, ">= ": node.ge, "<= ": node.le}
    shown = [f"{sign}{limit:g}" for sign, limit in limits.items() if limit is not None]
    return f" {', '.join(shown)}" if shown else ""


if __name__ == "__main__":
    sys.exit(main())
