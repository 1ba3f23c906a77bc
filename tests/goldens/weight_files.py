"""Writers for the kinds of weight files that importers meet in practice, reproducible byte for byte."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import torch


def to_numpy(state):
    return OrderedDict((name, tensor.detach().cpu().numpy()) for name, tensor in state.items())


def save_npz(path, state, compressed=False, fortran=()):
    """Tensors named in `fortran` are written in column-major order."""
    arrays = {n: np.asfortranarray(a) if n in fortran else a for n, a in to_numpy(state).items()}
    # Not numpy's own writer: the times and extra fields in its archives have changed between versions.
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array)
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = kind
            archive.writestr(info, buffer.getvalue())


def save_safetensors(path, state):
    from safetensors.numpy import save_file

    arrays = {n: np.ascontiguousarray(a) for n, a in to_numpy(state).items()}
    save_file(arrays, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)  # it makes the file writable and readable for the owner only


def save_torch_zip(path, content):
    torch.save(content, path)


class _Storage:
    """Represents one tensor's storage in the pickle; the bytes follow after the pickle."""

    def __init__(self, key, tensor):
        self.key, self.tensor = key, tensor.detach().contiguous()


class _Tensor:
    def __init__(self, storage):
        self.storage = storage

    def __reduce__(self):
        t = self.storage.tensor
        return torch._utils._rebuild_tensor_v2, (self.storage, 0, tuple(t.shape), t.stride(), False, OrderedDict())


class _LegacyPickler(pickle._Pickler):  # the Python implementation, so that a subclass can name storages itself
    def persistent_id(self, obj):
        if not isinstance(obj, _Storage):
            return None
        kind = {torch.float32: torch.FloatStorage, torch.int64: torch.LongStorage}[obj.tensor.dtype]
        return ("storage", kind, obj.key, "cpu", obj.tensor.numel(), None)


def save_torch_legacy(path, content):
    """The form before PyTorch 1.6: three small pickles, the object's pickle, the storages' keys, then their bytes.

    torch.save can still write it, but names storages by their memory addresses, so no two files would be equal.
    """
    storages = []

    def stand_in(value):
        if isinstance(value, torch.Tensor):
            storages.append(_Storage(str(94000000000000 + 64 * len(storages)), value))
            return _Tensor(storages[-1])
        if isinstance(value, dict):
            return type(value)((k, stand_in(v)) for k, v in value.items())
        return value

    content = stand_in(content)
    with open(path, "wb") as f:
        pickle.dump(0x1950A86A20F9469CFC6C, f, protocol=2)
        pickle.dump(1001, f, protocol=2)
        sizes = {"short": 2, "int": 4, "long": 4}
        pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, f, protocol=2)
        _LegacyPickler(f, protocol=2).dump(content)
        pickle.dump([s.key for s in storages], f, protocol=2)
        for s in storages:
            f.write(struct.pack("<q", s.tensor.numel()))
            f.write(s.tensor.numpy().tobytes())
