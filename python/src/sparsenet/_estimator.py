"""A classifier in the form of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from . import _core
from ._model import Model, create
from ._training import Trainer

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn before 1.6

    def validate_data(estimator: Any, X: Any, reset: bool = True, **options: Any) -> Any:
        return estimator._validate_data(X, reset=reset, **options)


_PREDICT_BATCH = 32


class SparseNetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trains a network on images, or a perceptron on vectors, with fit, predict, predict_proba and score.

    X is one of: images [N, H, W], [N, H, W, 3] or [N, H, W, 1] of uint8; images [N, C, H, W] of real numbers; flattened
    images [N, C * H * W] with ``image_shape=(C, H, W)``; or vectors [N, features] without it. Numbers are standardised
    with the training data's mean and standard deviation, which for images are those of each channel (or, with
    ``model``, with what that model states).

    Args:
        arch: the network for images, as for :func:`sparsenet.create`; its classes and image size follow from the data.
        model: a network to start from instead; it gets a new last layer. Images must have its size.
        hidden: neurons of the hidden layers, for vectors.
        image_shape: (C, H, W) of flattened images.
        epochs, batch, lr, optimizer, weight_decay, schedule, augment, freeze: as for :class:`sparsenet.Trainer`.
            lr None: 0.05 for SGD and 0.002 for Adam and AdamW.
        random_state: of weights, order and augmentation.
        threads: 0: as many as CPUs this process may use. Results do not depend on it.
        verbose: show how far the training is, on stderr.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained network. For images it holds labels and normalisation, so that it can be saved and used for
            image files too (square ones: others are padded here, while a model resizes them).
        history_: of the training.
        n_features_in_: features of vectors and flattened images.
    """

    def __init__(
        self,
        arch: str = "sparsenet-abc-v0",
        *,
        model: Model | None = None,
        hidden: int | Sequence[int] = (64,),
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch: int = 32,
        lr: float | None = None,
        optimizer: str = "sgd",
        weight_decay: float = 1e-4,
        schedule: str = "cosine",
        augment: str = "none",
        freeze: str = "none",
        random_state: Any = None,
        threads: int = 0,
        verbose: bool = False,
    ) -> None:
        self.arch = arch
        self.model = model
        self.hidden = hidden
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.augment = augment
        self.freeze = freeze
        self.random_state = random_state
        self.threads = threads
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SparseNetClassifier:
        """Trains on images or vectors X with labels y of any kind (numbers, texts)."""
        X = self._check(X, reset=True)
        if y is None:
            raise ValueError("This SparseNetClassifier estimator requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(X) != len(y):
            raise ValueError(f"Found input variables with inconsistent numbers of samples: {[len(X), len(y)]}")
        self.classes_, labels = np.unique(y, return_inverse=True)
        images = self._unflatten(X)
        self.mean_, self.std_ = self._normalisation(images)
        inputs = self._inputs(images)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        network = self._network(inputs, seed)
        trainer = Trainer(
            network,
            batch=min(self.batch, len(inputs)),
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            freeze=self.freeze,
            threads=self.threads,
        )
        self.history_ = trainer.fit(
            inputs,
            labels.astype(np.int32),
            epochs=self.epochs,
            lr=(0.05 if self.optimizer == "sgd" else 0.002) if self.lr is None else self.lr,
            schedule=self.schedule,
            augment=self.augment,
            seed=seed,
            progress=self.verbose,
        )
        self.model_ = trainer.model
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities [N, classes], in the order of ``classes_``."""
        check_is_fitted(self)
        inputs = self._inputs(self._unflatten(self._check(X, reset=False)))
        # Full batches only, so that what is computed for one image does not depend on how many there are.
        rest = -len(inputs) % _PREDICT_BATCH
        if rest:
            inputs = np.concatenate([inputs, np.zeros((rest, *inputs.shape[1:]), np.float32)])
        scores = self.model_.predict(inputs, batch=_PREDICT_BATCH, threads=self.threads)
        rows = self.model_.probabilities(scores)[: len(inputs) - rest, : len(self.classes_)]
        rows /= rows.sum(axis=1, keepdims=True)
        return rows

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each image or vector."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def _check(self, X: Any, reset: bool) -> NDArray[Any]:
        if getattr(X, "ndim", 0) in (3, 4) or (isinstance(X, list) and np.ndim(X) in (3, 4)):
            images: NDArray[Any] = check_array(X, allow_nd=True, dtype=None)
            shape = images.shape[1:]
            if reset:
                self.n_features_in_ = int(np.prod(shape))
                self.shape_in_: tuple[int, ...] | None = shape
            elif shape != getattr(self, "shape_in_", None):
                raise ValueError(f"X: expected images of shape {list(self.shape_in_ or ())}, found {list(shape)}")
            return images
        vectors: NDArray[np.float64] = validate_data(self, X, reset=reset, dtype=np.float64)
        if reset:
            self.shape_in_ = None
        elif self.shape_in_ is not None:
            raise ValueError(f"X: expected images of shape {list(self.shape_in_)}, found {list(vectors.shape[1:])}")
        return vectors

    def _unflatten(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Images as [N, C, H, W], vectors as they are."""
        if X.ndim == 2 and self.image_shape is None:
            return X
        if X.ndim == 2:
            if len(self.image_shape or ()) != 3 or int(np.prod(self.image_shape or ())) != X.shape[1]:
                raise ValueError(f"image_shape: expected (C, H, W) with {X.shape[1]} numbers, found {self.image_shape}")
            return X.reshape(-1, *(self.image_shape or ()))
        if X.ndim == 3:
            X = X[:, None]
        elif X.dtype == np.uint8 and X.shape[3] in (1, 3):
            X = X.transpose(0, 3, 1, 2)
        if X.shape[1] not in (1, 3):
            raise ValueError(
                f"X: expected images [N, H, W], [N, H, W, 3] of uint8, or [N, C, H, W] with 1 or 3 channels, found "
                f"{list(X.shape)} of {X.dtype}"
            )
        return X.astype(np.float64)

    def _normalisation(self, images: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        stated = self.model.metadata if self.model is not None else None
        if stated is not None and stated.mean and stated.std:  # what the network to start from was trained with
            return np.array(stated.mean, np.float64), np.array(stated.std, np.float64)
        axes = (0, 2, 3) if images.ndim == 4 else (0,)
        std = images.std(axis=axes)
        return images.mean(axis=axes), np.where(std > 1e-12, std, 1.0)

    def _inputs(self, images: NDArray[np.float64]) -> NDArray[np.float32]:
        """Standardised; images with three channels and square."""
        if images.ndim == 2:
            return ((images - self.mean_) / self.std_).astype(np.float32)
        if images.shape[1] == 1 and len(self.mean_) == 3:
            images = np.repeat(images, 3, axis=1)
        x = ((images - self.mean_[:, None, None]) / self.std_[:, None, None]).astype(np.float32)
        wanted = self.model.inputs[0].shape[1] if self.model is not None else 3
        if x.shape[1] == 1 and wanted == 3:
            x = np.repeat(x, 3, axis=1)
        height, width = x.shape[2:]
        side = max(height, width)
        if height != width and self.model is None:
            above, left = (side - height) // 2, (side - width) // 2
            x = np.pad(x, ((0, 0), (0, 0), (above, side - height - above), (left, side - width - left)))
        return np.ascontiguousarray(x)

    def _network(self, inputs: NDArray[np.float32], seed: int) -> Model:
        classes = max(2, len(self.classes_))  # there is nothing to learn about one class, but nothing wrong with it
        if self.model is not None:
            if inputs.shape[1:] != self.model.inputs[0].shape[1:]:
                raise ValueError(
                    f"model: takes images of shape {list(self.model.inputs[0].shape[1:])}, X has {list(inputs.shape[1:])}"
                )
            network = self.model.replace_head(classes, seed=seed)
        elif inputs.ndim == 2:
            return Model(
                _core.create_perceptron(inputs.shape[1], [int(n) for n in np.atleast_1d(self.hidden)], classes, seed)
            )
        else:
            given = self.arch + ("," if ":" in self.arch else ":")
            network = create(f"{given}image-size={inputs.shape[2]}", classes=classes, seed=seed)
        channels = inputs.shape[1]
        mean, std = np.broadcast_to(self.mean_, channels), np.broadcast_to(self.std_, channels)
        network.metadata = replace(
            network.metadata,
            labels=tuple(str(label) for label in self.classes_) if len(self.classes_) == classes else (),
            mean=tuple(map(float, mean)),
            std=tuple(map(float, std)),
        )
        return network
