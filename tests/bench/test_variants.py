"""Variants of a trained model in the bench: quantised, and with raw images as input."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs

from bench.cases import Case, find_cases, opened
from bench.models import Model, from_catalogue
from bench.parity import expected, parity
from export.conversion import take_raw_images
from export.quantisation import calibration_images, quantise
from study import catalogue
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record, write_record
from study.records.export import ExportRecord
from study.variants import Variant
from tests.conftest import Trained


@pytest.fixture(scope="module")
def exported(trained: Trained, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """The trained models with two more variants of the baseline: quantised, and with raw images as input."""
    artifacts = trained.copy(tmp_path_factory.mktemp("quantised") / "artifacts")
    standard = artifacts.run("baseline", 0)
    record = read_record(standard.export, ExportRecord, "")
    raw = onnx.load(standard.onnx)
    quantised = quantise(raw, calibration_images(data, "fashion-mnist"), "static")
    take_raw_images(raw)
    for variant, model in ((Variant(int8="static"), quantised), (Variant(input="uint8"), raw)):
        files = standard.of(variant)
        files.onnx.write_bytes(model.SerializeToString())
        write_record(files.export, structs.replace(record, onnx_sha256=sha256(files.onnx), variant=variant))
    return artifacts


def of(artifacts: Artifacts, variant: str) -> Model:
    return from_catalogue(artifacts, catalogue.entry("baseline"), variant)


def test_a_variant_is_a_model_of_its_own_without_torch(exported: Artifacts) -> None:
    models = [of(exported, name) for name in ("standard", "int8-static", "uint8")]
    assert [model.name for model in models] == ["baseline", "baseline-int8-static", "baseline-uint8"]
    assert models[1].onnx_sha256 == sha256(models[1].onnx)
    cases = find_cases(models, ["torch", "onnxruntime", "openvino"], [7], [1])
    assert [(case.model.name, case.runtime, case.against) for case in cases] == [
        ("baseline", "torch", ("onnxruntime",)),
        ("baseline", "onnxruntime", ("torch",)),
        ("baseline", "openvino", ("torch",)),
        ("baseline-int8-static", "onnxruntime", ()),
        ("baseline-int8-static", "openvino", ("onnxruntime",)),
        ("baseline-uint8", "onnxruntime", ()),
        ("baseline-uint8", "openvino", ("onnxruntime",)),
    ]


def test_a_variant_with_raw_images_as_input_gets_them(exported: Artifacts) -> None:
    scaled, pictures = of(exported, "standard").pool(7)[3]["image"], of(exported, "uint8").pool(7)[3]["image"]
    assert pictures.dtype == np.uint8
    np.testing.assert_allclose(pictures / 255, scaled, atol=1e-6)


def test_a_variant_that_is_not_exported_is_an_error(exported: Artifacts) -> None:
    exported_as = "only as: standard, int8-static, uint8"
    with pytest.raises(StudyError, match=f"'opset17', {exported_as}; run `python -m export .* --opset 17`"):
        of(exported, "opset17")


def test_a_damaged_record_of_a_variant_does_not_affect_the_standard_form(trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "artifacts")
    artifacts.run("baseline", 0).of(Variant(opset=17)).export.write_text("{")
    assert of(artifacts, "standard").name == "baseline"
    with pytest.raises(StudyError, match=r"export-opset17\.json cannot be read"):
        of(artifacts, "opset17")


def test_in_integers_a_few_classes_may_differ_and_not_more(exported: Artifacts) -> None:
    model = of(exported, "int8-static")
    pool = model.pool(64)[:4]
    case = Case(model, "openvino", 64, against=("onnxruntime",))
    wanted = expected(case, pool)
    assert wanted is not None
    with opened(case, pool) as engine, engine.runtime.context():
        outputs, first = engine.outputs(), wanted.calls[0][0]
        found, _ = parity(engine, outputs, wanted)
        assert found is not None
        assert (found.images, found.against) == (256, "onnxruntime")
        assert isinstance(first, np.ndarray)
        first[:3] = np.roll(first[:3], 1, axis=1)
        with pytest.raises(StudyError, match=r"expected at most 0\.05; 3 of 256 classes differ, expected 1%$"):
            parity(engine, outputs, wanted)
