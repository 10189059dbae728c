"""What a command says when it cannot go on, and the exit code it leaves."""

import os
import sys
from collections.abc import Callable


class StudyError(Exception):
    """A user's mistake or a bad file: what was expected, what was found, what to run.

    Printed on standard error without a traceback; the command exits with code 2.
    """


def one_line(error: BaseException, most: int = 200) -> str:
    """What a library has to say, in one line of at most so many characters; the kind of error if it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def tell(error: StudyError | OSError) -> None:
    """Print an error in one line on standard error."""
    message = str(error)
    if isinstance(error, OSError):
        message = f"{error.filename or 'standard output'}: {error.strerror or error}"
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)


def to_nobody() -> None:
    """Send what is still to be printed nowhere: the reader of standard output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_with(main: Callable[[], int]) -> None:
    """Run a command's `main` and leave the process with the project's exit codes.

    0 done, 1 a gate or check failed, 2 the user's mistake or a bad file, 130 interrupted.
    """
    try:
        code = main()
        sys.stdout.flush()
    except StudyError as error:
        tell(error)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; run it again (without --fresh) to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of a pipe (`... | head`) has gone: nothing more to say
        to_nobody()
        code = 0
    except OSError as error:  # a file that cannot be read or written, where nobody had more to say about it
        tell(error)
        code = 2
    sys.exit(code)
