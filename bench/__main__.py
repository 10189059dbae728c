"""Work on what `pytest bench` measured, and on what decides how well it measures."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from study.command_line import Parser
from study.errors import StudyError, exit_with

COMMANDS = ("ab", "ci", "compare", "convert", "doctor", "history", "zeros")
"""Modules of bench.commands. Each has its summary in the first line of its docstring, and `add_arguments` and `run`.

NEEDS, if it has that, are the packages that `run` imports and that not every environment has.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = Parser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(f"bench.commands.{name}") for name in COMMANDS}
    for name, module in modules.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    options = parser.parse_args(words)
    command = modules[options.command]
    if missing := [name for name in getattr(command, "NEEDS", ()) if not find_spec(name)]:
        raise StudyError(
            f"bench {options.command} needs {', '.join(missing)}, which this environment lacks; install the bench's "
            f"with `tox -e bench --notest` and run `.tox/bench/bin/python -m bench {options.command} ...`"
        )
    code: int = command.run(options)
    return code


if __name__ == "__main__":
    exit_with(main, interrupted="run the command again")
