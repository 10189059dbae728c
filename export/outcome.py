"""What has become of the export of one run, how it is shown, and whether it is current."""

from dataclasses import dataclass, replace
from pathlib import Path

from study.artifacts import RunFiles, current_export
from study.errors import StudyError, described, print_error
from study.files import sha256

DONE, NOT_PROVEN, REFUSED = 0, 1, 2
"""Exit codes; that of the command is the worst of all runs."""


@dataclass(frozen=True)
class Outcome:
    """The end of one export, in words."""

    code: int
    line: str = ""
    """On standard output."""
    error: str = ""
    """On standard error."""

    def show(self) -> None:
        if self.line:
            print(self.line, flush=True)
        if self.error:
            print_error(StudyError(self.error))

    def elsewhere(self, path: str, own: str) -> "Outcome":
        """The same with another path in its words."""
        return replace(self, line=self.line.replace(path, own), error=self.error.replace(path, own))


def results(files: RunFiles) -> tuple[Path, ...]:
    """The files of an export, in the order in which they are written."""
    return files.onnx, files.export, files.card


def refused(files: RunFiles, error: Exception) -> Outcome:
    """The outcome of an export that an error of any kind has ended."""
    if isinstance(error, StudyError | OSError):
        reason = described(error)
    else:
        from study.soundness import failure

        reason = f"FAILED: {failure(error)}"
    return Outcome(REFUSED, error=f"{files.model} seed {files.seed}: {reason.removeprefix(f'{files.model}: ')}")


def is_current(files: RunFiles) -> bool:
    """Whether the ONNX file was made from the checkpoint that is there now."""
    try:
        made_from = current_export(files).checkpoint_sha256
    except StudyError:
        return False
    return files.checkpoint.is_file() and sha256(files.checkpoint) == made_from
