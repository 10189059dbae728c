"""Convert a file of `pytest bench` for a service that keeps benchmarks: github-action-benchmark or Bencher.

    python -m bench convert bench.json --to github-action-benchmark -o github.json
    python -m bench convert bench.json --to bencher -o bencher.json

Measurements that are not valid are left out and listed. Exit code 3: none is valid, and no file is written.
"""

import argparse
import json
import sys
from pathlib import Path

FORMATS = ("github-action-benchmark", "bencher")
REMEDY = "measure with `pytest bench --benchmark-json=FILE`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="what `pytest bench --benchmark-json` wrote")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the tool customSmallerIsBetter; the adapter json")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="default: standard output")


def run(options: argparse.Namespace) -> int:
    """Write the converted file; returns 3 if nothing in it would be valid."""
    from bench.gate.services import bencher, github_action_benchmark, invalid
    from study.bench_file import read_bench
    from study.errors import escaped
    from study.files import write_text

    record = read_bench(options.file, REMEDY)
    left_out = invalid(record)
    for line in left_out:
        print(f"left out: {escaped(line)}", file=sys.stderr)
    if len(left_out) == len(record.cases) + len(record.comparisons) + len(record.cold_starts):
        print("no measurement is valid: nothing is written", file=sys.stderr)
        return 3
    converted = bencher(record) if options.to == "bencher" else github_action_benchmark(record)
    text = json.dumps(converted, indent=1, allow_nan=False) + "\n"
    if options.output:
        write_text(options.output, text)
    else:
        sys.stdout.write(text)
    return 0
