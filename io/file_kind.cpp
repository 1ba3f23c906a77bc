#include "io/file_kind.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <vector>

namespace sparsenet::io {
namespace {

using Group = FileKind::Group;

constexpr const char* kExportOnnx = "export the network to ONNX (in PyTorch: torch.onnx.export) and convert that";
constexpr const char* kFromSavedModel =
    "write a .tflite file of it (tf.lite.TFLiteConverter.from_saved_model) or an ONNX file (python -m tf2onnx.convert "
    "--saved-model DIR --output net.onnx), then convert that";
constexpr const char* kConvert = "sparsenet-convert makes a .snet file of it";
constexpr const char* kConvertWeights =
    "sparsenet-convert makes a .snet file of it; --arch says which network it is of";
constexpr const char* kUnpack = "unpack it and give the model inside";
constexpr const char* kDownload = "the download went wrong: fetch the file itself";

struct Row {
  Group group;
  const char* mark;  // first bytes at `at`, or the name's extension
  size_t at;
  const char* what;
  const char* way;
};

// Recognised by content. The first matching row decides.
constexpr Row kContents[] = {
    {Group::kSnet, "SNET", 4, "a .snet file", ""},
    {Group::kGraph, "TFL3", 4, "a TensorFlow Lite file", kConvert},
    {Group::kWeights, "\x89HDF\r\n\x1a\n", 0, "an HDF5 file, as Keras writes (.h5)", kConvertWeights},
    {Group::kForeign, "GGUF", 0, "a GGUF file (weights for llama.cpp)", kExportOnnx},
    {Group::kForeign, "ORTM", 4, "a model in ONNX Runtime's own format (.ort)", "convert the ONNX file it was made of"},
    {Group::kForeign, "ET12", 4, "an ExecuTorch program (.pte)", kExportOnnx},
    {Group::kForeign, "7767517", 0, "a network of ncnn (.param)", kExportOnnx},
    {Group::kNotAModel, "version https://git-lfs", 0, "a pointer of Git LFS, not the file it stands for",
     "fetch the file with `git lfs pull`"},
    {Group::kNotAModel, "<!DOCTYPE", 0, "a web page", kDownload},
    {Group::kNotAModel, "<!doctype", 0, "a web page", kDownload},
    {Group::kNotAModel, "<html", 0, "a web page", kDownload},
    {Group::kNotAModel, "<HTML", 0, "a web page", kDownload},
    {Group::kNotAModel, "\x1f\x8b", 0, "a gzip archive", kUnpack},
    {Group::kNotAModel, "BZh", 0, "a bzip2 archive", kUnpack},
    {Group::kNotAModel,
     "\xfd"
     "7zXZ",
     0, "an xz archive", kUnpack},
    {Group::kNotAModel, "7z\xbc\xaf", 0, "a 7-Zip archive", kUnpack},
    {Group::kNotAModel, "Rar!", 0, "a RAR archive", kUnpack},
    {Group::kNotAModel, "(\xb5/\xfd", 0, "a Zstandard archive", kUnpack},
    {Group::kNotAModel, "\x89PNG", 0, "a PNG image", "give a model"},
    {Group::kNotAModel, "\xff\xd8\xff", 0, "a JPEG image", "give a model"},
    {Group::kWeights, "\x80\x02\x8a\x0a", 0, "a PyTorch file", kConvertWeights},  // torch.save before 1.6
    {Group::kForeign, "\x93NUMPY", 0, "one NumPy array (.npy)",
     "save all arrays of the network into one archive (numpy.savez), and convert that with --arch"},
};

// Recognised by name, if the content does not tell.
constexpr Row kEndings[] = {
    {Group::kGraph, ".onnx", 0, "an ONNX file", kConvert},
    {Group::kGraph, ".tflite", 0, "a TensorFlow Lite file", kConvert},
    {Group::kWeights, ".safetensors", 0, "a safetensors file", kConvertWeights},
    {Group::kWeights, ".npz", 0, "a NumPy archive", kConvertWeights},
    {Group::kWeights, ".pth", 0, "a PyTorch file", kConvertWeights},
    {Group::kWeights, ".pt", 0, "a PyTorch file", kConvertWeights},
    {Group::kWeights, ".th", 0, "a PyTorch file", kConvertWeights},
    {Group::kForeign, "saved_model.pb", 0, "the graph of a TensorFlow SavedModel folder", kFromSavedModel},
    {Group::kForeign, ".pb", 0, "a TensorFlow graph (.pb)",
     "make an ONNX file of it (python -m tf2onnx.convert --graphdef FILE --output net.onnx --inputs X:0 --outputs Y:0) "
     "and convert that; if it is ONNX by another name, say --from onnx"},
    {Group::kWeights, ".h5", 0, "a Keras file (.h5)", kConvertWeights},
    {Group::kWeights, ".keras", 0, "a Keras file (.keras)", kConvertWeights},
    {Group::kForeign, ".caffemodel", 0, "the weights of a Caffe network",
     "make an ONNX file of it and its .prototxt (caffe2onnx), and convert that"},
    {Group::kForeign, ".prototxt", 0, "the description of a Caffe network",
     "make an ONNX file of it and its .caffemodel (caffe2onnx), and convert that"},
    {Group::kForeign, ".mlmodel", 0, "a Core ML model",
     "convert the network it was made of; an older one becomes ONNX with onnxmltools.convert_coreml"},
    {Group::kForeign, ".ckpt.index", 0, "part of a TensorFlow checkpoint", kFromSavedModel},
    {Group::kForeign, ".ckpt.meta", 0, "part of a TensorFlow checkpoint", kFromSavedModel},
    {Group::kForeign, ".data-00000-of-00001", 0, "part of a TensorFlow checkpoint", kFromSavedModel},
    {Group::kForeign, ".pdmodel", 0, "a PaddlePaddle network",
     "make an ONNX file of it (paddle2onnx) and convert that"},
    {Group::kForeign, ".pdiparams", 0, "PaddlePaddle weights",
     "make an ONNX file of it (paddle2onnx) and convert that"},
    {Group::kForeign, ".mnn", 0, "a network of MNN", kExportOnnx},
    {Group::kForeign, ".engine", 0, "a TensorRT engine", "convert the ONNX file it was made of"},
    {Group::kForeign, ".trt", 0, "a TensorRT engine", "convert the ONNX file it was made of"},
    {Group::kForeign, ".msgpack", 0, "a Flax checkpoint",
     "save its parameters with numpy.savez and convert that with --arch and --map"},
    {Group::kForeign, ".params", 0, "MXNet weights", kExportOnnx},
    {Group::kForeign, ".joblib", 0, "a joblib pickle", kExportOnnx},
    {Group::kForeign, ".mar", 0, "an archive of TorchServe", "unpack it and give the weights inside"},
};

// Recognised by an entry of a zip archive, given by its whole name or by what follows the archive's own folder.
constexpr Row kEntries[] = {
    {Group::kForeign, "constants.pkl", 0, "a TorchScript archive (torch.jit.save)",
     "save its weights alone (torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')) and convert these with "
     "--arch, or export the network to ONNX (torch.onnx.export), which needs no --arch"},
    {Group::kWeights, "model.weights.h5", 0, "a Keras file (.keras)", kConvertWeights},
    {Group::kForeign, "archive_format", 0, "a program of torch.export (.pt2)", kExportOnnx},
    {Group::kForeign, "MAR-INF/MANIFEST.json", 0, "an archive of TorchServe", "unpack it and give the weights inside"},
    {Group::kWeights, "data.pkl", 0, "a PyTorch file", kConvertWeights},
};

bool ends_with(const std::string& text, const std::string& ending) {
  if (text.size() < ending.size()) return false;
  return std::equal(ending.rbegin(), ending.rend(), text.rbegin(), [](char a, char b) {
    const bool upper = b >= 'A' && b <= 'Z';
    return a == b || (upper && a == b - 'A' + 'a');
  });
}

FileKind kind(const Row& row, bool by_name = false) {
  return {row.group, row.what, row.way, by_name};
}

struct Sample {
  std::vector<uint8_t> head, tail;  // in a long file the tail does not overlap the head
  bool regular = false, folder = false;
};

bool read_at(int fd, std::vector<uint8_t>* bytes, int64_t offset) {
  size_t done = 0;
  while (done < bytes->size()) {
    const ssize_t got = ::pread(fd, bytes->data() + done, bytes->size() - done, offset + static_cast<int64_t>(done));
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  bytes->resize(done);
  return done > 0;
}

Sample sample(const std::string& path) {
  Sample out;
  constexpr int64_t kHead = 4096, kTail = 256 << 10;
  // Non-blocking: a named pipe is not a model.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return out;
  struct stat info {};
  if (::fstat(fd, &info) == 0) {
    out.folder = S_ISDIR(info.st_mode);
    out.regular = S_ISREG(info.st_mode);
    if (out.regular) {
      const auto size = static_cast<int64_t>(info.st_size);
      out.head.resize(static_cast<size_t>(std::min(size, kHead)));
      out.tail.resize(static_cast<size_t>(std::min(size, kTail)));
      read_at(fd, &out.head, 0);
      read_at(fd, &out.tail, size - static_cast<int64_t>(out.tail.size()));
    }
  }
  ::close(fd);
  return out;
}

// The names in the part of a zip archive's central directory that lies in `tail`.
std::vector<std::string> zip_entries(const std::vector<uint8_t>& tail) {
  constexpr uint8_t kHeader[] = {'P', 'K', 1, 2};
  constexpr size_t kFixed = 46, kNameLength = 28, kMost = 10000;
  std::vector<std::string> names;
  for (auto at = tail.begin(); names.size() < kMost;) {
    at = std::search(at, tail.end(), std::begin(kHeader), std::end(kHeader));
    if (tail.end() - at < static_cast<std::ptrdiff_t>(kFixed)) break;
    const size_t length = at[kNameLength] + 256u * at[kNameLength + 1];
    const auto room = static_cast<size_t>(tail.end() - at) - kFixed;
    const auto name = at + kFixed;
    names.emplace_back(name, name + static_cast<std::ptrdiff_t>(std::min(length, room)));
    at += kFixed;
  }
  return names;
}

FileKind zip_kind(const std::string& path, const std::vector<uint8_t>& tail) {
  if (ends_with(path, ".npz")) return {Group::kWeights, "a NumPy archive", kConvertWeights, true};
  const std::vector<std::string> names = zip_entries(tail);
  for (const Row& row : kEntries) {
    for (const std::string& name : names) {
      if (name == row.mark || ends_with(name, std::string("/") + row.mark)) return kind(row);
    }
  }
  const bool arrays = std::any_of(names.begin(), names.end(), [](const auto& n) { return ends_with(n, ".npy"); });
  if (arrays) return {Group::kWeights, "a NumPy archive", kConvertWeights, false};
  return {Group::kNotAModel, "a zip archive without a model that is known here", kUnpack, false};
}

FileKind folder_kind(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto has = [&](const char* name) { return fs::exists(fs::path(path) / name, ignored); };
  if (has("saved_model.pb")) return {Group::kForeign, "a TensorFlow SavedModel folder", kFromSavedModel, false};
  if (has("Manifest.json") || ends_with(path, ".mlpackage")) {
    return {Group::kForeign, "a Core ML package", "convert the network it was made of", false};
  }
  for (const char* file : {"model.safetensors", "pytorch_model.bin", "model.onnx"}) {
    if (has(file)) return {Group::kForeign, "a folder", std::string("give the file ") + file + " in it", false};
  }
  return {Group::kForeign, "a folder", "give a file", false};
}

bool is_torch_tar(const std::vector<uint8_t>& head) {
  return head.size() >= 262 && std::memcmp(head.data() + 257, "ustar", 5) == 0;
}

}  // namespace

FileKind file_kind(const std::string& path) {
  const Sample bytes = sample(path);
  if (bytes.folder) return folder_kind(path);
  if (!bytes.regular) return {};
  const std::vector<uint8_t>& head = bytes.head;
  if (head.empty()) return {Group::kNotAModel, "an empty file", "make or fetch it again", false};
  for (const Row& row : kContents) {
    const size_t length = std::strlen(row.mark);
    if (head.size() < row.at + length || std::memcmp(head.data() + row.at, row.mark, length) != 0) continue;
    return kind(row);
  }
  constexpr uint8_t kZip[] = {'P', 'K', 3, 4};
  if (head.size() >= sizeof kZip && std::memcmp(head.data(), kZip, sizeof kZip) == 0) return zip_kind(path, bytes.tail);
  if (is_torch_tar(head)) {
    return {Group::kForeign, "a tar archive (PyTorch before 0.1.10 saved weights so)",
            "unpack it, or load and save the weights with a newer PyTorch", false};
  }
  // safetensors: eight bytes with a length, then JSON.
  if (head.size() > 9 && head[8] == '{' && head[6] == 0 && head[7] == 0) {
    return {Group::kWeights, "a safetensors file", kConvertWeights, false};
  }
  for (const Row& row : kEndings) {
    if (ends_with(path, row.mark)) return kind(row, true);
  }
  return {};
}

Status explain_not_snet(const std::string& path, const Status& failure) {
  if (failure.ok()) return failure;
  const FileKind found = file_kind(path);
  if (found.group == Group::kUnknown || found.group == Group::kSnet) return failure;
  const bool readable = found.group == Group::kGraph || found.group == Group::kWeights;
  const std::string arch = found.group == Group::kWeights ? " --arch ARCH" : "";
  const std::string way = readable ? "make one with `sparsenet-convert " + path + arch + " -o MODEL.snet`" : found.way;
  return {failure.code(), path + ": expected a .snet file, found " + found.what + ": " + way};
}

}  // namespace sparsenet::io
