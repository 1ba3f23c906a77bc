// Keras: .h5 files of weights or of whole models (the form of Keras 2, which Keras 3 still writes), .weights.h5 files
// and .keras archives (Keras 3). All of them hold an HDF5 file; see keras_layers.h for where the weights are in it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "converter/io/zip_archive.h"
#include "converter/report.h"
#include "converter/weights/hdf5_tree.h"
#include "converter/weights/keras_layers.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {
namespace {

constexpr char kWeights[] = "model.weights.h5", kConfig[] = "config.json", kMetadata[] = "metadata.json";

// [H, W, I, O] -> [O, I, H, W] and [I, O] -> [O, I]: the last two dimensions go to the front, reversed.
void reorder_kernel(const Hdf5Dataset& from, SourceTensor* to) {
  const size_t rank = from.shape.size();
  to->shape = {from.shape[rank - 1], from.shape[rank - 2]};
  to->shape.insert(to->shape.end(), from.shape.begin(), from.shape.end() - 2);
  const auto outputs = static_cast<size_t>(to->shape[0]), inputs = static_cast<size_t>(to->shape[1]);
  const auto count = static_cast<size_t>(element_count(to->shape));
  const size_t pixels = count == 0 ? 0 : count / (outputs * inputs), step = size_of(from.type);
  to->values.resize(count);
  float* values = to->values.data();
  const uint8_t* bytes = from.data.data;
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    for (size_t i = 0; i < inputs; ++i) {
      for (size_t o = 0; o < outputs; ++o, bytes += step) {
        values[(o * inputs + i) * pixels + pixel] = load_float(from.type, bytes);
      }
    }
  }
}

// [H, W, C, M] -> [C * M, 1, H, W].
void reorder_depthwise_kernel(const Hdf5Dataset& from, SourceTensor* to) {
  const auto pixels = static_cast<size_t>(from.shape[0] * from.shape[1]);
  const auto channels = static_cast<size_t>(from.shape[2] * from.shape[3]);
  to->shape = {from.shape[2] * from.shape[3], 1, from.shape[0], from.shape[1]};
  to->values.resize(pixels * channels);
  float* values = to->values.data();
  const uint8_t* bytes = from.data.data;
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    for (size_t c = 0; c < channels; ++c, bytes += size_of(from.type)) {
      values[c * pixels + pixel] = load_float(from.type, bytes);
    }
  }
}

// Releases the dataset's own memory.
SourceTensor make_tensor(const KerasWeight& weight, Hdf5Dataset* set) {
  SourceTensor tensor;
  tensor.name = weight.name;
  tensor.type = set->type;
  tensor.shape = tensor.file_shape = set->shape;
  tensor.run = weight.run;
  if (!is_float(set->type)) return tensor;
  const size_t rank = set->shape.size();
  if (weight.kind == KerasWeight::Kind::kDepthwiseKernel && rank == 4) {
    reorder_depthwise_kernel(*set, &tensor);
  } else if (weight.kind == KerasWeight::Kind::kKernel && rank >= 2) {
    reorder_kernel(*set, &tensor);
  } else {
    tensor.values =
        load_or_share_floats(set->type, set->data.data, set->data.size / size_of(set->type), set->data.owner);
  }
  set->data = {};
  return tensor;
}

Result<SourceTensors> read_file_of(const FileBytes& file, const KerasConfig* config) {
  Hdf5Wanted wanted;
  wanted.attributes = {"layer_names", "weight_names", "keras_version", "model_config", "name"};
  wanted.attribute_series = {"layer_names", "weight_names"};
  wanted.skipped_groups = {"optimizer", "optimizer_weights"};
  SPARSENET_ASSIGN_OR_RETURN(Hdf5Tree tree, read_hdf5(file, wanted));
  KerasConfig own;
  const std::vector<std::string>* model_config = tree.attribute("", "model_config");
  if (!config && model_config && model_config->size() == 1) {
    Result<KerasConfig> parsed = parse_keras_config((*model_config)[0].data(), (*model_config)[0].size());
    if (!parsed.ok()) return parsed.status().with_context("attribute 'model_config'");
    own = std::move(*parsed);
    config = &own;
  }
  SourceTensors out;
  out.keras = true;
  if (config) out.bn_epsilons.assign(config->epsilons.begin(), config->epsilons.end());
  for (const char* group : {"", "model_weights"}) {
    const std::vector<std::string>* version = tree.attribute(group, "keras_version");
    if (version && version->size() == 1) out.producer = "Keras " + printable((*version)[0]);
  }
  SPARSENET_ASSIGN_OR_RETURN(const KerasWeights weights, find_keras_weights(tree, config));
  out.ordered = weights.ordered;
  out.ordered_in_runs = weights.ordered_in_runs;
  for (const KerasWeight& weight : weights.list) {
    const Status status = within_budget([&]() -> Status {
      out.tensors.push_back(make_tensor(weight, &tree.datasets[weight.dataset]));
      return {};
    });
    if (!status.ok()) return status.with_context("tensor '" + printable(weight.name) + "'");
  }
  return out;
}

// "3.12.0" of {"keras_version": "3.12.0", ...}; empty if it is not there.
std::string version_of(const FileBytes& metadata) {
  constexpr size_t kMost = 4096;  // bytes of the document; Keras writes a hundred
  if (metadata.size > kMost) return {};
  const char* const text = reinterpret_cast<const char*>(metadata.data);
  const auto document = nlohmann::json::parse(text, text + metadata.size, nullptr, false);
  if (!document.is_object()) return {};
  const auto found = document.find("keras_version");
  return found != document.end() && found->is_string() ? printable(found->get<std::string>()) : std::string();
}

Result<SourceTensors> read_archive(const FileBytes& file) {
  Result<ZipArchive> archive = ZipArchive::open(file.data, file.size);
  if (!archive.ok()) return archive.status();
  if (!archive->contains(kWeights) || !archive->contains(kConfig)) {
    return unsupported(std::string("expected ") + kWeights + " and " + kConfig +
                       " in the archive, as Keras 3 writes them with model.save('net.keras')");
  }
  SPARSENET_ASSIGN_OR_RETURN(const FileBytes text, archive->read(kConfig));
  Result<KerasConfig> config = parse_keras_config(reinterpret_cast<const char*>(text.data), text.size);
  if (!config.ok()) return config.status().with_context(kConfig);
  std::string version;
  if (archive->contains(kMetadata)) {
    SPARSENET_ASSIGN_OR_RETURN(const FileBytes metadata, archive->read(kMetadata));
    version = version_of(metadata);
  }
  SPARSENET_ASSIGN_OR_RETURN(const FileBytes weights, archive->read(kWeights));
  Result<SourceTensors> out = read_file_of(weights, &*config);
  if (!out.ok()) return out.status().with_context(kWeights);
  if (!version.empty()) out->producer = "Keras " + version;
  return out;
}

}  // namespace

Result<SourceTensors> read_keras(const FileBytes& file) {
  const UseBudget budget = UseBudget::keep_or_make(file.size);
  const bool zip = file.size >= 4 && std::equal(file.data, file.data + 4, "PK\x03\x04");
  Result<SourceTensors> out = zip ? read_archive(file) : read_file_of(file, nullptr);
  if (!out.ok()) return out;
  out->format = zip ? "Keras (.keras)" : "Keras (HDF5)";
  if (out->tensors.empty()) return unsupported("the file holds no weights of Keras layers");
  return out;
}

}  // namespace sparsenet::converter
