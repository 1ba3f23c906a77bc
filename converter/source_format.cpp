// Which format a file to convert has.
#include <cstring>

#include "converter/convert.h"
#include "converter/io/zip_archive.h"

namespace sparsenet::converter {
namespace {

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

bool is_keras_archive(const FileBytes& bytes) {
  const Result<ZipArchive> archive = ZipArchive::open(bytes.data, bytes.size);
  return archive.ok() && archive->contains("model.weights.h5");
}

}  // namespace

Result<Format> parse_format(const std::string& text) {
  static const struct {
    const char* name;
    Format format;
  } kRows[] = {{"auto", Format::kAuto},     {"onnx", Format::kOnnx},
               {"torch", Format::kTorch},   {"safetensors", Format::kSafetensors},
               {"npz", Format::kNpz},       {"keras", Format::kKeras},
               {"tflite", Format::kTflite}, {"snet", Format::kSnet}};
  for (const auto& row : kRows) {
    if (text == row.name) return row.format;
  }
  return invalid_argument("--from: expected auto, onnx, torch, safetensors, npz, keras, tflite or snet, found '" +
                          printable(text) + "'");
}

Result<Format> detect_format(const std::string& path, const FileBytes& bytes) {
  const auto begins = [&bytes](const char* magic, size_t length, size_t at) {
    return bytes.size >= at + length && std::memcmp(bytes.data + at, magic, length) == 0;
  };
  if (begins("TFL3", 4, 4)) return Format::kTflite;
  if (begins("SNET", 4, 4)) return Format::kSnet;
  if (begins("\x89HDF\r\n\x1a\n", 8, 0)) return Format::kKeras;
  if (begins("PK\x03\x04", 4, 0) && (ends_with(path, ".keras") || is_keras_archive(bytes))) return Format::kKeras;
  if (begins("PK\x03\x04", 4, 0)) return ends_with(path, ".npz") ? Format::kNpz : Format::kTorch;
  if (begins("\x80\x02\x8a\x0a", 4, 0)) return Format::kTorch;  // a pickle that begins with the magic number
  if (ends_with(path, ".onnx")) return Format::kOnnx;
  if (ends_with(path, ".safetensors") || begins("{", 1, 8)) return Format::kSafetensors;
  if (ends_with(path, ".tflite")) return Format::kTflite;
  if (ends_with(path, ".npz")) return Format::kNpz;
  for (const char* ending : {".pth", ".pt", ".th", ".bin", ".ckpt"}) {
    if (ends_with(path, ending)) return Format::kTorch;
  }
  for (const char* ending : {".h5", ".hdf5", ".keras"}) {
    if (ends_with(path, ending)) return Format::kKeras;
  }
  return unsupported("neither its content nor its name tells its format: say it with --from");
}

}  // namespace sparsenet::converter
