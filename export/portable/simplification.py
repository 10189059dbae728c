"""`--simplify`: fold constants and merge nodes with onnxslim, which is an optional dependency."""

from onnx import ModelProto

from study.errors import StudyError, one_line


def simplify(model: ModelProto) -> ModelProto:
    """The same model in fewer nodes; `model` is not changed.

    Raises:
        StudyError: onnxslim is not installed, or fails.
    """
    try:
        import onnxslim
    except ImportError as error:
        reason = one_line(error)
        raise StudyError(f"--simplify: expected onnxslim ({reason}); run `pip install onnxslim`") from None
    given = ModelProto()
    given.CopyFrom(model)
    try:
        made = onnxslim.slim(given)
    except Exception as error:  # of any kind: it walks the whole graph
        raise StudyError(f"--simplify: onnxslim fails ({one_line(error)}); leave out --simplify") from None
    assert isinstance(made, ModelProto)
    return made
