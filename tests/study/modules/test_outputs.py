"""The tensors of what a module returns, with their names."""

import collections

import pytest
import torch

from study.errors import StudyError
from study.modules.outputs import flat, left_out, unique_names
from tests.study.modules.sample import Result

A, B = torch.zeros(1), torch.ones(1)
Pair = collections.namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (A, ["output"]),
        ((A, None, B), ["output_0", "output_2"]),
        ({"logits": A, "aux": [A, B]}, ["logits", "aux_0", "aux_1"]),
        ({"features": {"0": A}}, ["features.0"]),
        (Result(A, (A, B), object()), ["logits", "hidden_0", "hidden_1"]),
        (Pair(A, B), ["first", "second"]),
    ],
)
def test_outputs_are_called_by_key_or_number(returned: object, names: list[str]) -> None:
    assert [name for name, _ in flat(returned)] == names


def test_a_cache_is_left_out_and_named() -> None:
    """By the name that transformers gives it, or by its class."""
    cache = type("DynamicCache", (), {})()
    assert left_out(Result(A, None, object())) == ["past_key_values"]
    assert left_out({"logits": A, "kept": cache}) == ["kept"]
    assert [name for name, _ in flat({"logits": A, "kept": cache})] == ["logits"]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "returns none"),
        ({"a": A, "label": "cat"}, "output 'label' of the module: expected tensors, found str"),
        (torch.zeros(1, dtype=torch.complex64), "is complex, which ONNX is not; return torch.view_as_real"),
        (torch.eye(2).to_sparse(), "expected a dense tensor"),
    ],
)
def test_what_onnx_does_not_have_is_refused(returned: object, reason: str) -> None:
    with pytest.raises(StudyError, match=reason):
        flat(returned)


def test_an_output_that_has_the_name_of_an_input_or_of_another_output_gets_one_of_its_own() -> None:
    assert unique_names(["ids", "a", "a", "a"], ["ids"]) == ["ids_out", "a", "a_out", "a_out2"]
