"""A file of the current folder that was imported in place of an installed package: what to do about it. No torch here.

Python looks into the current folder first, so that a user's torch.py hides torch.
"""

import sys
from collections.abc import Collection
from importlib.machinery import PathFinder
from pathlib import Path


def hiding(error: BaseException, ours: Collection[str]) -> str:
    """The line for such a file, which failed itself or lacks what was expected of it; "" if none led to this error.

    The packages called `ours` may have namesakes.
    """
    if not isinstance(error, ImportError | AttributeError):
        return ""
    here, trace, seen = Path.cwd(), error.__traceback__, []
    while trace:
        seen.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    seen += [file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    elsewhere = [path for path in sys.path if Path(path).absolute() != here]
    for file in dict.fromkeys(Path(one).absolute() for one in seen):
        package = file.parent if file.name == "__init__.py" else file.with_suffix("")
        if package.parent != here or not package.name.isidentifier() or package.name in ours:
            continue
        found = PathFinder.find_spec(package.name, elsewhere)
        if found and found.origin and Path(found.origin).absolute() != file:
            return f"expected the package {package.name}, found {file}; rename it, or run the command in another folder"
    return ""
