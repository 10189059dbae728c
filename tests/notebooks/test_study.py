"""notebooks/study.ipynb is made from its source, and runs on a report."""

from pathlib import Path

import jupytext
import nbclient
import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "notebooks"


def test_is_what_its_source_makes() -> None:
    made = jupytext.read(FOLDER / "source.py")
    stored = jupytext.read(FOLDER / "study.ipynb")
    assert [(cell.cell_type, cell.source) for cell in stored.cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ]
    assert not any(cell.get("outputs") for cell in stored.cells)


def test_draws_the_table_and_the_sparsity_of_each_model(
    reported: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a kernel of its own; its last cell compares the ONNX files with the report."""
    monkeypatch.setenv("ARTIFACTS", str(reported[0]))
    notebook = jupytext.read(FOLDER / "study.ipynb")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": FOLDER}}).execute()
    kinds = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert any("baseline" in data.get("text/html", "") for data in kinds)
    assert any("image/png" in data for data in kinds)
