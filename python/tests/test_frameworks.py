"""Networks from PyTorch and Keras objects, where those are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparsenet as sn
from conftest import relative_difference, torch_or_skip

# Ten families of torchvision, with random weights and images as small as they allow.
NETWORKS: dict[str, tuple[int, float]] = {
    "mnasnet0_5": (64, 1e-4),
    "regnet_x_400mf": (64, 1e-4),
    "resnet18": (64, 1e-4),
    "resnext50_32x4d": (64, 1e-4),
    "squeezenet1_1": (64, 1e-4),
    "densenet121": (64, 1e-4),
    "mobilenet_v2": (64, 1e-4),
    "mobilenet_v3_small": (64, 1e-4),
    "shufflenet_v2_x0_5": (64, 1e-4),
    "efficientnet_b0": (64, 1e-4),
}


def realistic(torch: Any, module: Any) -> Any:
    """Random weights, and batch normalisation with statistics that are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.8, 1.2, generator=generator)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_torchvision(name: str) -> None:
    torch = torch_or_skip()
    models = pytest.importorskip("torchvision.models")
    size, tolerance = NETWORKS[name]
    torch.manual_seed(1)
    module = realistic(torch, getattr(models, name)(num_classes=10)).train()
    x = torch.randn(1, 3, size, size)
    model = sn.from_torch(module, x, tolerance=tolerance, labels=[f"class {i}" for i in range(10)])
    assert module.training and model.verify().passed and model.classes == 10
    other = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = module.eval()(other).numpy()
    assert relative_difference(model.predict(other, batch=1), expected) < tolerance


def test_several_inputs_and_outputs() -> None:
    torch = torch_or_skip()

    class Two(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 5, 3)

        def forward(self, a: Any, b: Any) -> Any:
            y = self.layer(a) + self.layer(b)
            return y, torch.relu(y).mean((2, 3))

    a, b = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    module = Two()
    model = sn.from_torch(module, (a, b))
    found = model.session().run({"input": a, "input1": b})
    with torch.no_grad():
        expected = module(a, b)
    assert [spec.name for spec in model.outputs] == ["output", "output1"]
    for name, tensor in zip(("output", "output1"), expected):
        assert relative_difference(found[name], tensor.numpy()) < 1e-5


def test_keras() -> None:
    keras = pytest.importorskip("keras")
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    module = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))
    model = sn.from_keras(module)
    image = np.random.default_rng(1).standard_normal((1, 16, 16, 3)).astype(np.float32)
    assert relative_difference(model.predict(image.transpose(0, 3, 1, 2)), np.asarray(module(image))) < 1e-4


# The last one with torch: some versions of its exporter do not recover from a failure.
def test_modules_that_cannot_be_converted() -> None:
    torch = torch_or_skip()

    class Odd(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return torch.linalg.svd(x)[1] if x.ndim == 4 else x

    with pytest.raises(sn.Error) as caught:
        sn.from_torch(Odd(), torch.randn(1, 1, 4, 4))
    assert "svd" in str(caught.value).lower()

    class Noisy(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x * float(np.random.default_rng().random())

    with pytest.raises(sn.ConversionError):  # the outputs are not those of the module
        sn.from_torch(Noisy(), torch.randn(1, 1, 4, 4))
