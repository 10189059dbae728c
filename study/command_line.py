"""Command lines: a mistake in one is a line on standard error like any other, without the usage."""

import argparse
from typing import NoReturn

from study.errors import StudyError, one_line


class Parser(argparse.ArgumentParser):
    """As argparse's; also its subcommands are of this class."""

    def error(self, message: str) -> NoReturn:
        """
        Raises:
            StudyError: always; the message ends with the way to the help.
        """
        raise StudyError(f"{one_line(ValueError(message), 1000)}; see `{self.prog} --help`")
