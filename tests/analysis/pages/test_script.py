"""The script of a report's page, run in Node.js: how its tables are sorted and copied."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from analysis.tables.numbers import MINUS, MISSING, TIMES
from tests.conftest import ROOT

SCRIPT = ROOT / "analysis" / "pages" / "report.js"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(not NODE, reason="Node.js is not installed")


def evaluated(expression: str) -> Any:
    """The value of an expression at the end of the script, in a page without tables."""
    page = "const document = { querySelectorAll: () => [] };"
    code = f"{page}\n{SCRIPT.read_text(encoding='utf-8')}\nconsole.log(JSON.stringify({expression}));"
    assert NODE
    done = subprocess.run([NODE, "-e", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cells_are_sorted_by_their_numbers_and_empty_ones_are_last() -> None:
    texts = [
        "1,234.5 (1 to 2) \N{DAGGER}",
        f"{MINUS}3",
        MISSING,
        f"8.25{TIMES} (8.20 to 8.31)",
        "withheld",
        "2.1e\N{MINUS SIGN}06",
    ]
    cells = json.dumps([{"textContent": text} for text in texts])
    keys = f"{cells}.map(key)"
    assert evaluated(keys) == [1234.5, -3, None, 8.25, "withheld", 2.1e-6]
    for direction, expected in (
        (1, [-3, 2.1e-6, 8.25, 1234.5, "withheld", None]),
        (-1, [1234.5, 8.25, 2.1e-6, -3, "withheld", None]),
    ):
        assert evaluated(f"{keys}.sort((one, other) => compare(one, other, {direction}))") == expected


def test_a_name_that_looks_like_a_formula_is_copied_as_text() -> None:
    assert evaluated('["=1+1", "@a", "\'=a", "+0.14", "-3"].map(quoted)') == ["'=1+1", "'@a", "''=a", "+0.14", "-3"]


def test_a_table_is_copied_in_three_forms() -> None:
    rows = json.dumps([["model", "time, %"], ["l1_|", '5 "a"']])
    assert evaluated(f"Object.fromEntries(Object.entries(FORMS).map(([name, form]) => [name, form({rows})]))") == {
        "CSV": 'model,"time, %"\nl1_|,"5 ""a"""',
        "Markdown": '| model | time, % |\n| :--- | ---: |\n| l1_\\| | 5 "a" |',
        "LaTeX": "\\begin{tabular}{lr}\n\\toprule\nmodel & time, \\% \\\\\n\\midrule\n"
        'l1\\_| & 5 "a" \\\\\n\\bottomrule\n\\end{tabular}',
    }
