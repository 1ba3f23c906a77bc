"""SparseNetClassifier in scikit-learn's own checks, and on images."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import sparsenet as sn
from conftest import shapes

sklearn = pytest.importorskip("sklearn")

# Checks that scikit-learn runs and this classifier does not pass, with the reason. At most five.
EXPECTED_FAILURES: dict[str, str] = {}


@pytest.mark.slow
def test_checks_of_scikit_learn() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    if version < (1, 6):
        pytest.skip("check_estimator names expected failures from scikit-learn 1.6 on")
    estimator = sn.SparseNetClassifier(epochs=30, random_state=0)
    results = check_estimator(estimator, expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None)
    failed = [f"{r['check_name']}: {r['exception']!r}" for r in results if r["status"] == "failed"]
    assert len(results) > 40 and not failed, "\n".join(failed)
    assert len(EXPECTED_FAILURES) <= 5
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(EXPECTED_FAILURES)


ARCH = "sparsenet-abc:blocks=1-1-1,k=4,path=2,keep=1-1"


def test_images_and_flattened_images(random: np.random.Generator, tmp_path: object) -> None:
    images, labels = shapes(random, 150)
    names = np.array(["left", "middle", "right"])[labels]
    made = sn.SparseNetClassifier(ARCH, epochs=15, random_state=1).fit(images[:100], names[:100])
    assert made.score(images[100:], names[100:]) > 0.85
    assert list(made.classes_) == ["left", "middle", "right"]
    probabilities = made.predict_proba(images[100:])
    assert probabilities.shape == (50, 3) and np.allclose(probabilities.sum(axis=1), 1)
    flat = images.transpose(0, 3, 1, 2).reshape(150, -1)
    again = sn.SparseNetClassifier(ARCH, image_shape=(3, 8, 8), epochs=15, random_state=1).fit(flat[:100], names[:100])
    assert np.allclose(again.predict_proba(flat[100:]), probabilities, atol=1e-5)
    # The network alone does the same with images of files, because it has the normalisation in it.
    predictions = made.model_.classify(list(images[100:]), top=1)
    assert [p[0].label for p in predictions] == list(made.predict(images[100:]))
    assert np.array_equal(pickle.loads(pickle.dumps(made)).predict_proba(images[100:]), probabilities)


def test_grey_and_oblong_images(random: np.random.Generator) -> None:
    images, labels = shapes(random, 90)
    grey = images[:, :6, :, 0]
    made = sn.SparseNetClassifier(ARCH, epochs=15, random_state=1).fit(grey, labels)
    assert made.score(grey, labels) > 0.8


def test_a_network_to_start_from(random: np.random.Generator, trained: sn.Model) -> None:
    images = random.integers(0, 100, (64, 32, 32, 3)).astype(np.uint8)
    labels = random.integers(0, 3, 64)
    images[np.arange(64), :, :, labels] += 100  # mostly red, green or blue
    options = {"freeze": "all-but-head", "optimizer": "adam", "lr": 0.02, "epochs": 20, "random_state": 1}
    made = sn.SparseNetClassifier(model=trained, **options).fit(images, labels)
    assert made.score(images, labels) > 0.8 and trained.classes == 10
    with pytest.raises(ValueError, match="takes images of shape"):
        sn.SparseNetClassifier(model=trained).fit(images[:, :8, :8], labels)


def test_inside_a_pipeline(random: np.random.Generator) -> None:
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    x = random.standard_normal((300, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    pipeline = make_pipeline(MinMaxScaler(), sn.SparseNetClassifier(epochs=60, random_state=0))
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.75


def test_what_does_not_fit(random: np.random.Generator) -> None:
    images, labels = shapes(random, 30)
    with pytest.raises(ValueError, match="image_shape"):
        sn.SparseNetClassifier(image_shape=(3, 9, 9)).fit(images.reshape(30, -1), labels)
    made = sn.SparseNetClassifier(ARCH, epochs=1).fit(images, labels)
    with pytest.raises(ValueError, match="expected images of shape"):
        made.predict(images[:, :4, :4])
    with pytest.raises(ValueError):
        sn.SparseNetClassifier(ARCH).fit(np.zeros((4, 8, 8, 5)), [0, 1, 0, 1])
