#include "converter/device_source.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace sparsenet::converter {
namespace {

namespace fs = std::filesystem;

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// As a C string literal: anything but plain ASCII in octal, which a following digit cannot extend.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 32 || byte > 126 || c == '?') {
      out += '\\';
      for (int shift = 6; shift >= 0; shift -= 3) out += static_cast<char>('0' + ((byte >> shift) & 7));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

Status write(const std::string& directory, const std::string& name, const std::string& text) {
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed) return io_error(directory + ": cannot create the folder: " + failed.message());
  return write_file_atomically((fs::path(directory) / name).string(), text.data(), text.size());
}

int64_t elements(const Graph& graph, ValueId id) {
  Shape shape = graph.shape(id);
  if (!shape.empty()) shape[0] = 1;
  return element_count(shape);
}

int64_t bytes(const Graph& graph, ValueId id) {
  return elements(graph, id) * static_cast<int64_t>(size_of(graph.value(id).type));
}

std::string header(const std::string& name, const Model& model, const DeviceParts& parts) {
  const std::string macro = upper(name), guard = macro + "_H";
  const auto define = [&](const char* what, int64_t value, const char* comment) {
    return "#define " + macro + "_" + what + " " + std::to_string(value) + " /* " + comment + " */\n";
  };
  std::string text =
      "/* A model for sn_prepare. Made by sparsenet-convert --c-array.\n *\n * " + macro +
      "_MEMORY_BYTES is for the compact kernels: those of libsparsenet_device.a, or of the whole\n"
      " * library (libsparsenet) with sn_options.kernels = SN_KERNELS_COMPACT. Its vector kernels, which it\n"
      " * takes otherwise, keep weights in an order of their own and need several times as much: there,\n"
      " * and with more threads than one, sn_measure tells. */\n#ifndef " +
      guard + "\n#define " + guard + "\n\n#include <stdint.h>\n\n";
  text += define("BYTES", static_cast<int64_t>(parts.file.size()), "of the array");
  text += define("ARENA_BYTES", static_cast<int64_t>(parts.arena_bytes), "activations, inputs and outputs");
  text += define("MEMORY_BYTES", static_cast<int64_t>(parts.memory_bytes),
                 "enough for sn_prepare with the compact kernels and one thread, no others");
  text += define("TRAINING_MEMORY_BYTES", static_cast<int64_t>(parts.training_memory_bytes),
                 "the same for training; 0: it has no training plan");
  const ValueId input = model.graph.inputs[0], output = model.graph.outputs[0];
  text += define("INPUT_ELEMENTS", elements(model.graph, input), "of input 0");
  text += define("INPUT_BYTES", bytes(model.graph, input), "of input 0, in its own type: see sn_tensor.type");
  text += define("OUTPUT_ELEMENTS", elements(model.graph, output), "of output 0");
  text += define("OUTPUT_BYTES", bytes(model.graph, output), "of output 0, in its own type");
  text += define("LABELS", static_cast<int64_t>(model.metadata.labels.size()), "0: it has none");
  text += define("TEST_VECTORS", static_cast<int64_t>(model.test_vectors.size()), "for sn_verify");
  text += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\nextern const uint8_t " + name + "_model[" + macro +
          "_BYTES]; /* at a multiple of 64 */\n";
  if (!model.metadata.labels.empty()) {
    text += "extern const char* const " + name + "_labels[" + macro + "_LABELS];\n";
  }
  return text + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
}

std::string source(const std::string& name, const Model& model, const DeviceParts& parts) {
  std::string text = "/* Made by sparsenet-convert --c-array. */\n#include \"" + name + ".h\"\n\n";
  if (!model.metadata.labels.empty()) {
    text += "const char* const " + name + "_labels[" + upper(name) + "_LABELS] = {\n";
    for (const std::string& label : model.metadata.labels) text += "    " + quoted(label) + ",\n";
    text += "};\n\n";
  }
  text += "__attribute__((aligned(64))) const uint8_t " + name + "_model[" + upper(name) + "_BYTES] = {";
  constexpr char kDigits[] = "0123456789abcdef";
  text.reserve(text.size() + parts.file.size() * 5 + parts.file.size() / 3);
  for (size_t i = 0; i < parts.file.size(); ++i) {
    if (i % 24 == 0) text += "\n    ";
    const uint8_t byte = parts.file[i];
    text += "0x";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
    text += ',';
  }
  return text + "\n};\n";
}

}  // namespace

std::string c_identifier(const std::string& text) {
  std::string name;
  for (const char c : text) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "model_" + name;
  return name;
}

Status write_c_array(const std::string& directory, const std::string& stem, const Model& model,
                     const DeviceParts& parts) {
  const std::string name = c_identifier(stem);
  SPARSENET_RETURN_IF_ERROR(write(directory, name + ".h", header(name, model, parts)));
  return write(directory, name + ".c", source(name, model, parts));
}

Status write_kernel_table(const std::string& directory, const DeviceParts& parts) {
  return write(directory, "sparsenet_kernels.cpp", parts.kernel_table);
}

}  // namespace sparsenet::converter
