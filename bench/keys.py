"""Names of cases, and which cases of two files are the same."""

from msgspec.structs import replace

from study.records.bench import CaseKey
from study.variants import STANDARD_NAME


def model_name(key: CaseKey) -> str:
    """The model, with its variant unless that is the standard one."""
    return key.model if key.variant == STANDARD_NAME else f"{key.model}-{key.variant}"


def case_name(key: CaseKey, reference: str | None = None) -> str:
    """The name of a case; that of a comparison has both engines, separated by a slash."""
    engine = f"{reference}/{key.runtime}" if reference else key.runtime
    device = "" if key.device == "cpu" else f"-{key.device}"
    return f"{model_name(key)}-{engine}-batch{key.batch}-threads{key.threads}-{key.mode}{device}"


def short_name(key: CaseKey, reference: str | None = None) -> str:
    """The name of a case or comparison in words, without settings that are the default."""
    words = [model_name(key), f"{reference}/{key.runtime}" if reference else key.runtime, f"batch {key.batch}"]
    words += [f"threads {key.threads}"] if key.threads > 1 else []
    words += [setting for setting in (key.mode, key.device) if setting not in ("native", "cpu")]
    return " ".join(words)


def load_name(key: CaseKey, streams: int) -> str:
    """The name of a case under load, in so many streams."""
    return f"{short_name(key)} streams {streams}"


def matched(key: CaseKey) -> CaseKey:
    """The key by which cases of two files match: latency depends neither on the seed nor on the values of weights."""
    return replace(key, seed=None, onnx_sha256="")
