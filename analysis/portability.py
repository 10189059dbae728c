"""Matrix of runtimes and models, from the results of `tox -e portability`.

    python -m analysis portability                    portability.csv, .md, .svg and .png in artifacts/report
    python -m analysis portability --publish          and into the repository: docs/portability.md and docs/portability
    python -m analysis portability --artifacts DIR

The page of `python -m analysis` has the matrix of its own models. Needs no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from study.command_line import Parser


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis portability", description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("--artifacts", metavar="DIR", type=Path, default=Path("artifacts"), help="default: artifacts")
    parser.add_argument(
        "--publish", action="store_true", help="then put the matrix into docs/portability.md and docs/portability"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Write the matrix; `words` are the command line's unless given."""
    options = arguments(sys.argv[1:] if words is None else words)

    from analysis.inputs.files import PROJECT
    from analysis.inputs.portability import read_portability
    from study import locks
    from study.artifacts import Artifacts

    artifacts = Artifacts(options.artifacts)
    portability = read_portability(artifacts)

    from analysis.pages.portability import page, write
    from analysis.pages.publish import publish_portability

    with locks.folder_held(artifacts.report):
        for path in write(portability, artifacts.report):
            print(f"wrote {path}")
    if options.publish:
        for path in publish_portability(page(portability, "portability/portability.png"), artifacts.report, PROJECT):
            print(f"wrote {path}")
    return 0
