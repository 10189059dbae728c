"""Which of the models asked for have a finished run: one rule and one wording for all later stages. No torch here.

A model that is named must have one, or nothing is done. Of a study that nobody named a model of, those without one are
left out, with a line on standard error.
"""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence

from study.artifacts import Artifacts
from study.catalogue import DEFAULT_STUDY
from study.errors import StudyError, escaped

OPTIONS = {"study": DEFAULT_STUDY, "dataset": "", "catalogue": None, "data": None}
"""Options that a later stage shares with the training, and their defaults."""


def finished(artifacts: Artifacts, models: Sequence[str], options: Namespace, named: bool) -> list[str]:
    """Those of `models` with a finished run; `named` if the user has named them, `options` being the command's.

    Raises:
        StudyError: one that is named has none, or all have none.
    """
    missing = [model for model in models if not artifacts.runs(model)]
    if missing and (named or len(missing) == len(models)):
        raise StudyError(untrained(artifacts, missing, options, named))
    if missing:
        print(f"left out: {escaped(untrained(artifacts, missing, options))}", file=sys.stderr)
    return [model for model in models if model not in missing]


def untrained(artifacts: Artifacts, names: Sequence[str], options: Namespace, named: bool = True) -> str:
    """What is said of models without a finished run: what was expected, what was found, what to run."""
    given = {name: value for name, usual in OPTIONS.items() if (value := getattr(options, name, usual)) != usual}
    words = [*(names if named else ()), *(word for name, value in given.items() for word in (f"--{name}", str(value)))]
    command = shlex.join(["python", "-m", "train", *words, *artifacts.words])
    return f"expected a finished run of {', '.join(names)} in {artifacts.root}/models, found none; run `{command}`"
