"""Importing: files of all formats against what other frameworks computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from conftest import GOLDENS, golden_cases, relative_difference
from sparsenet import _hdf5

CASES = golden_cases("weights") + golden_cases("onnx")


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']}-{case['name']}" for case in CASES])
def test_goldens(case: dict) -> None:
    arch = case["arch"] if case["kind"] == "weights" else ""
    if "stem=imagenet" in arch:
        arch += ",image-size=64"
    model = sn.convert(GOLDENS / case["model"], arch=arch)
    assert model.report is not None and model.report.format
    inputs = {entry["name"]: np.load(GOLDENS / entry["file"]) for entry in case["inputs"]}
    for spec in model.inputs:  # images of the source may have their channels last
        if len(spec.shape) == 4 and inputs[spec.name].shape[1:] != spec.shape[1:]:
            inputs[spec.name] = inputs[spec.name].transpose(0, 3, 1, 2)
    batch = inputs[model.inputs[0].name].shape[0]
    found = model.session(batch=batch).run(inputs)
    for entry in case["outputs"]:
        expected = np.load(GOLDENS / entry["file"])
        assert relative_difference(found[entry["name"]].reshape(expected.shape), expected) <= case["tolerance"]


KERAS = GOLDENS / "keras"


@pytest.mark.parametrize("name", [path.name for path in sorted(KERAS.iterdir()) if path.suffix in (".h5", ".keras")])
def test_keras_files_are_read_with_h5py(name: str) -> None:
    pytest.importorskip("h5py")
    source = Path(__file__).resolve().parents[2] / "tests" / "unit" / "converter_keras_test.cpp"
    arch = re.search(r'kArch\w* = "([^"]+)"', source.read_text())
    assert arch is not None
    model = sn.convert(KERAS / name, arch=arch[1] + ",bn-eps=0.001")
    images = np.load(KERAS / "images.npy")
    images = images if images.shape[1:] == model.inputs[0].shape[1:] else images.transpose(0, 3, 1, 2)
    assert relative_difference(model.predict(images), np.load(KERAS / "logits.npy")) < 1e-4


@pytest.mark.parametrize("path", sorted((KERAS / "hostile").iterdir()), ids=lambda path: path.name)
def test_hostile_keras_files(path: Path) -> None:
    pytest.importorskip("h5py")
    with pytest.raises(sn.ConversionError) as caught:
        sn.convert(path, format="keras", arch="resnet20")
    assert len(caught.value.report.problems) >= 1 and path.name in str(caught.value)


def test_without_h5py_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert _hdf5.read(b"", [], [], [], 0)[0] == "Keras files are read by the package h5py: pip install h5py"


@pytest.fixture
def onnx_file() -> Path:
    return GOLDENS / golden_cases("onnx")[0]["model"]


def test_what_a_model_states(onnx_file: Path, tmp_path: Path) -> None:
    labels = [f"class number {i}" for i in range(10)]
    model = sn.convert(
        onnx_file,
        tmp_path / "net.snet",
        labels=labels,
        mean=[0.5, 0.5, 0.5],
        std=0.25,
        name="a network",
        license="MIT",
        precision="f16",
        test_vectors=2,
        plan="portable-f32",
    )
    assert (model.labels, model.name, model.metadata.license) == (tuple(labels), "a network", "MIT")
    assert model.metadata.mean == (127.5,) * 3 and model.metadata.std == (63.75,) * 3
    kept = sn.load(tmp_path / "net.snet")
    assert kept.to_bytes() == model.to_bytes()
    assert kept.verify().passed and kept.info().stored_plan and kept.info().parameter_type == "float16"
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n\n")
    assert sn.convert(onnx_file, labels=tmp_path / "labels.txt").labels == tuple(labels)
    report = model.report
    assert report.operators and report.tensors and report.to_dict()["output"] == str(tmp_path / "net.snet")
    assert "ONNX" in str(report) and "<table>" in report._repr_html_()
    json.dumps(report.to_dict())


def test_check_compares_with_the_source(onnx_file: Path, tmp_path: Path) -> None:
    case = golden_cases("onnx")[0]
    inputs, outputs = GOLDENS / case["inputs"][0]["file"], GOLDENS / case["outputs"][0]["file"]
    model = sn.convert(onnx_file, check=[f"{inputs},{outputs}"])
    assert model.verify().passed
    np.save(tmp_path / "wrong.npy", np.load(outputs) + 1)
    with pytest.raises(sn.ConversionError, match="wrong.npy|differ"):
        sn.convert(onnx_file, check=[f"{inputs},{tmp_path / 'wrong.npy'}"])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"arch": "resnet20"}, sn.ConversionError, "leave them out"),
        ({"labels": ["a"]}, sn.ConversionError, "expected 10 names"),
        ({"format": "docx"}, sn.Error, "docx"),
        ({"plan": "z80"}, sn.Error, "portable-f32"),
        ({"test_vectors": 1, "check": ["a.npy,b.npy"]}, sn.Error, "give one"),
        ({"mean": [1, 2]}, sn.ConversionError, "mean"),
        ({"normalize": "sky"}, sn.Error, "sky"),
        ({"pixel_scale": 3}, sn.Error, "pixel_scale"),
        ({"max_memory": 5000}, sn.ConversionError, "memory"),
        ({"format": "tflite"}, sn.ConversionError, "TensorFlow Lite|tflite"),
    ],
)
def test_conversions_that_fail(onnx_file: Path, options: dict, error: type, text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text) as caught:
        sn.convert(onnx_file, tmp_path / "out.snet", **options)
    assert not list(tmp_path.iterdir())
    if error is sn.ConversionError:
        assert caught.value.code == "invalid_model" and caught.value.report.problems


def test_files_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b"garbage" * 100, b"PK\x03\x04" + b"x" * 100, b"<html></html>"):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(sn.ConversionError, match="net.onnx"):
            sn.convert(tmp_path / "net.onnx")
    with pytest.raises(sn.ConversionError, match="nowhere.onnx"):
        sn.convert(tmp_path / "nowhere.onnx")


def test_names_that_are_no_text(onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_file.read_bytes().replace(b"logits", b"l\xffgits"))
    model = sn.convert(tmp_path / "net.onnx")
    name = model.outputs[0].name
    assert name.startswith("l") and name.endswith("gits")
    assert list(model.session().run({"input": np.zeros(model.inputs[0].shape, np.float32)})) == [name]
    assert name in repr(model) and model.info().outputs[0].name == name


def test_arrays_of_numpy_describe_a_model(onnx_file: Path) -> None:
    labels = np.array([f"class {i}" for i in range(10)])
    model = sn.convert(onnx_file, labels=labels, mean=np.full(3, 0.5), std=np.float32(0.25))
    assert model.labels == tuple(labels) and model.metadata.std == (63.75,) * 3
    for options, text in (
        ({"labels": [["a"]]}, "expected 10 names"),
        ({"input_shape": [1, 3, 32, 32]}, "input_shape"),
        ({"tolerance": "1e-3"}, "tolerance"),
        ({"test_vectors": 1.5}, "test_vectors"),
        ({"name": None}, "name: expected a text"),
        ({"labels": "missing.txt"}, "missing.txt"),
    ):
        with pytest.raises(sn.Error, match=text):
            sn.convert(onnx_file, **options)
