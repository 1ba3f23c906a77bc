// What a file is called if a program cannot read it.
#include "io/file_kind.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/scratch_folder.h"

namespace sparsenet::io {
namespace {

namespace fs = std::filesystem;
using Group = FileKind::Group;

// A literal that contains zero bytes.
template <size_t N>
std::string literal(const char (&text)[N]) {
  return std::string(text, N - 1);
}

// The relevant parts of a zip archive: its first bytes, and the names in its directory.
std::string zip(const std::vector<std::string>& names) {
  std::string file = literal("PK\x03\x04") + std::string(100, 'x');
  for (const std::string& name : names) {
    std::string header = literal("PK\x01\x02") + std::string(42, '\0');
    header[28] = static_cast<char>(name.size());
    file += header + name;
  }
  return file + literal("PK\x05\x06") + std::string(18, '\0');
}

TEST_CASE("file kinds: by content, whatever the name; else by name") {
  const test::ScratchFolder folder;
  const std::string anything = "no magic bytes at all here";
  const struct {
    const char* name;
    std::string content;
    Group group;
    const char* part;
  } rows[] = {
      {"a.snet", literal("\x10\0\0\0SNET"), Group::kSnet, ".snet"},
      {"a.bin", literal("\x10\0\0\0TFL3"), Group::kGraph, "TensorFlow Lite"},
      {"a.onnx", anything, Group::kGraph, "ONNX"},
      {"A.ONNX", anything, Group::kGraph, "ONNX"},
      {"a.pth", zip({"archive/data.pkl", "archive/data/0"}), Group::kWeights, "PyTorch"},
      {"a.pt", zip({"net/data.pkl", "net/code/x.py", "net/constants.pkl"}), Group::kForeign, "TorchScript"},
      {"a.pt2", zip({"a/archive_format", "a/models/model.json"}), Group::kForeign, "torch.export"},
      {"a.keras", zip({"metadata.json", "config.json", "model.weights.h5"}), Group::kWeights, "Keras"},
      {"b.npz", zip({"arr_0.npy"}), Group::kWeights, "NumPy"},
      {"a.zip", zip({"holiday.txt"}), Group::kNotAModel, "zip archive"},
      {"old.pth", literal("\x80\x02\x8a\x0a\x6c\xfc"), Group::kWeights, "PyTorch"},
      {"a.safetensors", literal("\x40\0\0\0\0\0\0\0{\"a\": ..."), Group::kWeights, "safetensors"},
      {"a.h5", literal("\x89HDF\r\n\x1a\n...."), Group::kWeights, "Keras"},
      {"saved_model.pb", anything, Group::kForeign, "SavedModel"},
      {"frozen.pb", anything, Group::kForeign, "TensorFlow graph"},
      {"a.caffemodel", anything, Group::kForeign, "Caffe"},
      {"a.mlmodel", anything, Group::kForeign, "Core ML"},
      {"a.gguf", "GGUF....", Group::kForeign, "GGUF"},
      {"lfs.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00", Group::kNotAModel, "Git LFS"},
      {"page.pth", "<!DOCTYPE html><html>", Group::kNotAModel, "web page"},
      {"empty.onnx", "", Group::kNotAModel, "empty"},
      {"a.tgz", literal("\x1f\x8b\x08"), Group::kNotAModel, "gzip"},
      {"mystery", anything, Group::kUnknown, ""},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const FileKind kind = file_kind(folder.write(row.name, row.content));
    CHECK(static_cast<int>(kind.group) == static_cast<int>(row.group));
    CHECK_MESSAGE(kind.what.find(row.part) != std::string::npos, kind.what);
    CHECK(kind.way.empty() == (row.group == Group::kUnknown || row.group == Group::kSnet));
  }
  CHECK(static_cast<int>(file_kind(folder.file("missing.onnx")).group) == static_cast<int>(Group::kUnknown));
}

TEST_CASE("file kinds: folders") {
  const test::ScratchFolder folder;
  CHECK(file_kind(folder.path().string()).what == "a folder");
  folder.write("pytorch_model.bin", "x");
  CHECK(file_kind(folder.path().string()).way.find("pytorch_model.bin") != std::string::npos);
  folder.write("saved_model.pb", "x");
  CHECK(file_kind(folder.path().string()).what == "a TensorFlow SavedModel folder");
}

TEST_CASE("file kinds: programs that run .snet files point to the converter") {
  const test::ScratchFolder folder;
  const Status failure = invalid_model("as it was");
  const std::string onnx = folder.write("net.onnx", "x"), weights = folder.write("net.safetensors", "x");
  CHECK(explain_not_snet(onnx, failure).message() == onnx +
                                                         ": expected a .snet file, found an ONNX file: make one with "
                                                         "`sparsenet-convert " +
                                                         onnx + " -o MODEL.snet`");
  CHECK(explain_not_snet(weights, failure).message().find(" --arch ARCH -o MODEL.snet`") != std::string::npos);
  CHECK(
      explain_not_snet(folder.write("net.h5", "\x89HDF\r\n\x1a\n"), failure).message().find("net.h5 --arch ARCH -o") !=
      std::string::npos);
  CHECK(explain_not_snet(folder.write("net.mlmodel", "x"), failure).message().find("onnxmltools") != std::string::npos);
  for (const std::string& path : {folder.write("mystery", "x"), folder.write("damaged.snet", "\x10\x10\x10\x10SNET.."),
                                  folder.file("missing.onnx")}) {
    CHECK(explain_not_snet(path, failure).message() == "as it was");
  }
  CHECK(explain_not_snet(onnx, Status()).ok());
}

}  // namespace
}  // namespace sparsenet::io
