"""Models as scikit-learn's and Keras' exporters write them, with the weights that the libraries themselves report.

Every entry of PATTERNS writes one file into an empty folder, but for Keras', whose file is kept in `fixtures/keras`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.linear_model import (  # type: ignore[import-untyped]
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC, LinearSVR  # type: ignore[import-untyped]

from tests.support.exported import Builder, Expected, Matrix

KERAS = Path(__file__).parent / "fixtures" / "keras"
FEATURES, SAMPLES = 12, 60


def data() -> tuple[Matrix, Matrix]:
    """Samples, float32, and three numbers for each, the first of which decides its class."""
    random = np.random.default_rng(0)
    x = random.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
    return x, x @ random.normal(size=(FEATURES, 3))


def fitted(model: Any, targets: int | str, folder: Path) -> tuple[Any, Path]:
    """The model fitted to `targets` numbers, or to "two", "three" or "named" classes, and its file."""
    x, y = data()
    first = y[:, 0]
    wanted = {
        "two": first > 0,
        "three": np.digitize(first, [-1, 1]),
        "named": np.array(["ankle boot", "bag", "coat"])[np.digitize(first, [-1, 1])],
        1: first,
        3: y,
    }[targets]
    model = clone(model).fit(x, wanted)
    (folder / "model.onnx").write_bytes(to_onnx(model, x[:1]).SerializeToString())
    return model, folder / "model.onnx"


def linear(folder: Path, model: Any, targets: int | str) -> Expected:
    """One matrix in the attributes of LinearClassifier or LinearRegressor, a row for each class or target.

    Of two classes scikit-learn has one row; the file has two, the negated one first.
    """
    model, path = fitted(model, targets, folder)
    coefficients = np.atleast_2d(getattr(model, "steps", [(None, model)])[-1][1].coef_).astype(np.float32)
    if targets == "two":
        coefficients = np.concatenate([-coefficients, coefficients])
    operator = "LinearClassifier" if isinstance(targets, str) else "LinearRegressor"
    return Expected(path, {operator: coefficients}, (operator,))


def perceptron(folder: Path, model: Any, targets: int | str) -> Expected:
    """A MatMul for each layer."""
    model, path = fitted(model, targets, folder)
    names = ("MatMul", "MatMul1", "MatMul2")[: len(model.coefs_)]
    weights = {name: weight.T.astype(np.float32) for name, weight in zip(names, model.coefs_, strict=True)}
    return Expected(path, weights, ("MatMul",))


def by_descent(folder: Path) -> Expected:
    """The same model as a LinearClassifier, but written as a MatMul."""
    model, path = fitted(SGDClassifier(random_state=0), "three", folder)
    return Expected(path, {"MatMul": model.coef_.astype(np.float32)}, ("MatMul",))


def keras(folder: Path) -> Expected:
    """Three layers of rank 2 and, first, one of rank 3, which becomes Reshape, MatMul and Reshape."""
    with np.load(KERAS / "dense.npz") as kernels:
        weights = {f"dense_1.{name}_1": kernels[name].T for name in ("first", "second", "third", "head")}
    return Expected(KERAS / "dense.onnx", weights, ("MatMul",))


def quick(model: type, **options: Any) -> Any:
    """One hidden layer is square; a few steps are enough, and the warning that they are few is not wanted."""
    return model(**options, max_iter=400, tol=1.0, n_iter_no_change=2, random_state=0)


PATTERNS: dict[str, Builder] = {
    "logistic regression of two classes": partial(linear, model=LogisticRegression(), targets="two"),
    "logistic regression of three classes": partial(linear, model=LogisticRegression(), targets="three"),
    "logistic regression of named classes": partial(linear, model=LogisticRegression(), targets="named"),
    "logistic regression after scaling": partial(
        linear, model=make_pipeline(StandardScaler(), LogisticRegression()), targets="three"
    ),
    "linear SVM of two classes": partial(linear, model=LinearSVC(random_state=0), targets="two"),
    "linear SVM of three classes": partial(linear, model=LinearSVC(random_state=0), targets="three"),
    "ridge classifier": partial(linear, model=RidgeClassifier(), targets="three"),
    "linear regression": partial(linear, model=LinearRegression(), targets=1),
    "linear regression of three targets": partial(linear, model=LinearRegression(), targets=3),
    "ridge regression of three targets": partial(linear, model=Ridge(), targets=3),
    "linear SVM regression": partial(linear, model=LinearSVR(random_state=0), targets=1),
    "stochastic gradient descent": by_descent,
    "perceptron of two classes": partial(
        perceptron, model=quick(MLPClassifier, hidden_layer_sizes=(12,)), targets="two"
    ),
    "perceptron of three classes": partial(
        perceptron, model=quick(MLPClassifier, hidden_layer_sizes=(12,)), targets="three"
    ),
    "perceptron regression": partial(perceptron, model=quick(MLPRegressor, hidden_layer_sizes=(12, 8)), targets=3),
    "keras": keras,
}
