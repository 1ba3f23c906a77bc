// Reads the bytes of a .snet file into a Model. The bytes are hostile until verified, in this order: size, identifier,
// footer, checksum, structure (FlatBuffers verifier), version, then meaning: known numbers, ranges, limits, shapes.
//
// A FlatBuffer may refer to one string or table many times, so a small file could unfold into gigabytes. A budget stops
// that: everything that is copied out of the structure may together be at most kMaxUnfolding times as long as the
// structure, which holds for every file that writes each thing where it is used.
#include <model_generated.h>

#include <cmath>
#include <cstring>
#include <map>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/checksum.h"
#include "base/files.h"
#include "base/guarded.h"
#include "format/integer_vectors.h"
#include "format/model_format.h"
#include "format/plan_format.h"
#include "format/read_attrs.h"
#include "graph/activations.h"

namespace sparsenet {
namespace {

namespace fb = flatbuffers;

struct Sections {
  size_t structure_bytes = 0;
  const uint8_t* data = nullptr;
  uint64_t data_bytes = 0;
};

uint64_t read64(const uint8_t* p) {
  uint64_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return value;
}

Result<Sections> find_sections(const uint8_t* data, size_t size) {
  constexpr size_t kLeast = kMinStructureBytes + kFooterBytes;
  if (size < kLeast) {
    return invalid_model("expected a .snet file of at least " + std::to_string(kLeast) + " bytes, found " +
                         std::to_string(size));
  }
  if (std::memcmp(data + 4, "SNET", 4) != 0) return invalid_model("not a .snet file: expected 'SNET' at byte 4");
  const uint8_t* footer = data + size - kFooterBytes;
  if (std::memcmp(footer, kFooterMagic, 7) != 0) {
    return invalid_model("cut short or damaged: expected '" + std::string(kFooterMagic, sizeof kFooterMagic) +
                         "' at byte " + std::to_string(size - kFooterBytes));
  }
  if (footer[7] != kFooterMagic[7]) {
    return unsupported("expected footer version " + std::string(1, kFooterMagic[7]) + ", found byte " +
                       std::to_string(footer[7]));
  }
  const uint64_t structure = read64(footer + 8), payload = read64(footer + 16);
  if (payload != size - kFooterBytes) {
    return invalid_model("cut short or damaged: expected " + std::to_string(payload) +
                         " bytes before the footer, found " + std::to_string(size - kFooterBytes));
  }
  const uint64_t sum = read64(footer + kChecksumOffset);
  if (xxh64(data, size - kFooterBytes + kChecksumOffset) != sum)
    return invalid_model("damaged: the checksum does not fit");
  if (structure < kMinStructureBytes || structure > kMaxStructureBytes || align_up(structure) > payload) {
    return invalid_model("structure: expected " + std::to_string(kMinStructureBytes) + " to " +
                         std::to_string(kMaxStructureBytes) + " bytes within the file, found " +
                         std::to_string(structure));
  }
  Sections sections;
  sections.structure_bytes = static_cast<size_t>(structure);
  sections.data = data + align_up(structure);
  sections.data_bytes = payload - align_up(structure);
  return sections;
}

class Reader {
 public:
  Reader(const Sections& sections, std::shared_ptr<const void> owner)
      : sections_(sections), owner_(std::move(owner)), budget_(uint64_t{kMaxUnfolding} * sections.structure_bytes) {}

  Status read(const schema::Model& file, Model* model) {
    const uint32_t version = file.format_version(), needed = file.min_runtime();
    if (needed > kFormatVersion) {
      return unsupported("the file needs a runtime for format version " + std::to_string(needed) +
                         ", this one reads up to " + std::to_string(kFormatVersion));
    }
    if (needed < 1 || version < needed) {
      return invalid_model("versions: expected 1 <= min_runtime <= format_version, found " + std::to_string(needed) +
                           " and " + std::to_string(version));
    }
    if (file.data_bytes() != sections_.data_bytes) {
      return invalid_model("data: expected " + std::to_string(file.data_bytes()) + " bytes, found " +
                           std::to_string(sections_.data_bytes));
    }
    if (!file.graph()) {
      const bool for_devices = file.plans() && file.plans()->size() > 0;
      return for_devices ? unsupported("holds plans for devices and no graph: only sn_prepare reads it")
                         : invalid_model("the file has no graph");
    }
    SPARSENET_RETURN_IF_ERROR(read_graph(*file.graph(), &model->graph));
    if (file.metadata()) SPARSENET_RETURN_IF_ERROR(read_metadata(*file.metadata(), &model->metadata));
    SPARSENET_RETURN_IF_ERROR(check_metadata(model->graph, model->metadata));
    SPARSENET_RETURN_IF_ERROR(read_test_vectors(file.test_vectors(), model->graph, &model->test_vectors));
    SPARSENET_RETURN_IF_ERROR(check_test_vectors(model->graph, model->test_vectors));
    return read_plans(file.plans(), *model, &model->plans);
  }

 private:
  Status read_text(const fb::String* text, const std::string& what, size_t limit, bool lines, std::string* out) {
    if (!text) return {};
    SPARSENET_RETURN_IF_ERROR(budget_.charge(text->size()));
    out->assign(text->c_str(), text->size());
    return check_text(what, *out, limit, lines);
  }

  Status read_type(uint8_t number, const std::string& what, DataType* type) {
    *type = static_cast<DataType>(number);
    if (size_of(*type) != 0) return {};
    return invalid_model(what + ": unknown data type " + std::to_string(number));
  }

  Status read_shape(const fb::Vector<int64_t>* list, const std::string& what, Shape* shape) {
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(list, what + ": shape", kMaxRank, shape));
    for (int64_t dim : *shape) {
      if (dim < 1 || dim > INT32_MAX) {
        return invalid_model(what + ": expected dimensions of 1 to 2147483647, found " + to_string(*shape));
      }
    }
    return check_elements(what, *shape);
  }

  static Status check_elements(const std::string& what, const Shape& shape) {
    const int64_t count = element_count(shape);
    if (count >= 0 && count <= kMaxElements) return {};
    return invalid_model(what + ": shape " + to_string(shape) + " is too large");
  }

  // Points the tensor, whose type and shape have been read, at its bytes.
  Status bind(uint64_t offset, const std::string& what, Tensor* tensor) {
    if (offset % kDataAlignment != 0) {
      return invalid_model(what + ": expected an offset that 64 divides, found " + std::to_string(offset));
    }
    const uint64_t bytes = static_cast<uint64_t>(tensor->elements()) * size_of(tensor->type);  // at most 2^43
    if (offset > sections_.data_bytes || bytes > sections_.data_bytes - offset) {
      return invalid_model(what + ": expected " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset) +
                           ", found " + std::to_string(sections_.data_bytes) + " bytes of data");
    }
    tensor->owner = owner_;
    tensor->data = sections_.data + offset;
    return {};
  }

  Status read_graph(const schema::Graph& file, Graph* graph) {
    const size_t value_count = file.values() ? file.values()->size() : 0;
    const size_t node_count = file.nodes() ? file.nodes()->size() : 0;
    if (value_count > kMaxValues || node_count > kMaxNodes) {
      return invalid_model("graph: expected at most " + std::to_string(kMaxValues) + " values and " +
                           std::to_string(kMaxNodes) + " nodes, found " + std::to_string(value_count) + " and " +
                           std::to_string(node_count));
    }
    // What one value or node counts for here: less than four times its bytes in a file that writes each of them out.
    constexpr uint64_t kEntryBytes = 64;
    SPARSENET_RETURN_IF_ERROR(budget_.charge(kEntryBytes * (value_count + node_count)));
    graph->values.resize(value_count);
    for (size_t i = 0; i < value_count; ++i) {
      SPARSENET_RETURN_IF_ERROR(read_value(*file.values()->Get(static_cast<fb::uoffset_t>(i)), i, &graph->values[i]));
    }
    graph->nodes.resize(node_count);
    for (size_t i = 0; i < node_count; ++i) {
      SPARSENET_RETURN_IF_ERROR(read_node(*file.nodes()->Get(static_cast<fb::uoffset_t>(i)), i, &graph->nodes[i]));
    }
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.inputs(), "graph inputs", value_count, &graph->inputs));
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.outputs(), "graph outputs", value_count, &graph->outputs));
    // Checks ids, order, names, arity, kinds of attributes and shapes.
    SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
    for (const Value& value : graph->values) {
      SPARSENET_RETURN_IF_ERROR(check_elements("value '" + value.name + "'", value.shape));
    }
    return {};
  }

  Status read_value(const schema::Value& file, size_t index, Value* value) {
    std::string what = "value " + std::to_string(index);
    SPARSENET_RETURN_IF_ERROR(read_text(file.name(), what + ": name", kMaxNameBytes, false, &value->name));
    what = "value '" + value->name + "'";
    SPARSENET_RETURN_IF_ERROR(read_type(file.type(), what, &value->type));
    SPARSENET_RETURN_IF_ERROR(read_shape(file.shape(), what, &value->shape));
    if (file.quantization()) {
      SPARSENET_RETURN_IF_ERROR(read_quantization(*file.quantization(), what, &value->quantization));
    }
    value->is_constant = file.constant();
    if (!value->is_constant) return {};
    value->constant.type = value->type;
    value->constant.shape = value->shape;
    return bind(file.offset(), what, &value->constant);
  }

  Status read_quantization(const schema::Quantization& file, const std::string& what, Quantization* out) {
    constexpr size_t kMostScales = size_t{1} << 20;
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.scales(), what + ": scales", kMostScales, &out->scales));
    SPARSENET_RETURN_IF_ERROR(
        budget_.read_list(file.zero_points(), what + ": zero points", kMostScales, &out->zero_points));
    if (!file.zero_points()) out->zero_points.assign(out->scales.size(), 0);
    out->axis = file.axis();
    if (out->empty()) return invalid_model(what + ": quantisation without scales");
    return {};
  }

  Status read_node(const schema::Node& file, size_t index, Node* node) {
    std::string what = "node " + std::to_string(index);
    SPARSENET_RETURN_IF_ERROR(read_text(file.name(), what + ": name", kMaxNameBytes, false, &node->name));
    what = "node '" + node->name + "'";
    node->op = static_cast<Op>(file.op());
    const OpDefinition* definition = find_op(node->op);
    if (!definition || !definition->storable) {
      return invalid_model(what + ": unknown op number " + std::to_string(file.op()));
    }
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.inputs(), what + ": inputs", kMaxValues, &node->inputs));
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.outputs(), what + ": outputs", kMaxValues, &node->outputs));
    if (file.rounding() > static_cast<uint8_t>(Rounding::kDouble)) {
      return invalid_model(what + ": unknown rounding " + std::to_string(file.rounding()));
    }
    node->rounding = static_cast<Rounding>(file.rounding());
    return read_attrs(file, &budget_, &node->attrs).with_context(what);
  }

  Status read_metadata(const schema::Metadata& file, Metadata* out) {
    // The limits for texts are those of check_metadata.
    SPARSENET_RETURN_IF_ERROR(read_text(file.name(), "metadata: name", kMaxTextBytes, false, &out->name));
    SPARSENET_RETURN_IF_ERROR(
        read_text(file.architecture(), "metadata: architecture", kMaxTextBytes, false, &out->architecture));
    SPARSENET_RETURN_IF_ERROR(
        read_text(file.provenance(), "metadata: provenance", kMaxTextBytes, true, &out->provenance));
    SPARSENET_RETURN_IF_ERROR(read_text(file.license(), "metadata: license", kMaxTextBytes, true, &out->license));
    SPARSENET_RETURN_IF_ERROR(
        read_text(file.color_order(), "metadata: colour order", kMaxNameBytes, false, &out->color_order));
    SPARSENET_RETURN_IF_ERROR(read_text(file.resize(), "metadata: resize rule", kMaxNameBytes, false, &out->resize));
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.mean(), "metadata: mean", kMaxLabels, &out->mean));
    SPARSENET_RETURN_IF_ERROR(budget_.read_list(file.std_dev(), "metadata: std", kMaxLabels, &out->std_dev));
    const size_t count = file.labels() ? file.labels()->size() : 0;
    if (count > kMaxLabels) {
      return invalid_model("metadata: labels: expected at most " + std::to_string(kMaxLabels) + ", found " +
                           std::to_string(count));
    }
    SPARSENET_RETURN_IF_ERROR(budget_.charge(32 * count));
    out->labels.resize(count);
    for (size_t i = 0; i < count; ++i) {
      SPARSENET_RETURN_IF_ERROR(read_text(file.labels()->Get(static_cast<fb::uoffset_t>(i)),
                                          "metadata: label " + std::to_string(i), kMaxNameBytes, false,
                                          &out->labels[i]));
    }
    return {};
  }

  Status read_tensors(const fb::Vector<fb::Offset<schema::Tensor>>* list, const std::string& what,
                      std::vector<Tensor>* out) {
    const size_t count = list ? list->size() : 0;
    SPARSENET_RETURN_IF_ERROR(budget_.charge(8 * count));
    out->resize(count);
    for (size_t i = 0; i < count; ++i) {
      const schema::Tensor& file = *list->Get(static_cast<fb::uoffset_t>(i));
      Tensor& tensor = (*out)[i];
      SPARSENET_RETURN_IF_ERROR(read_type(file.type(), what, &tensor.type));
      SPARSENET_RETURN_IF_ERROR(read_shape(file.shape(), what, &tensor.shape));
      SPARSENET_RETURN_IF_ERROR(bind(file.offset(), what, &tensor));
    }
    return {};
  }

  // Turns integers that a float32 input is stored as into the numbers that they stand for: those of several vectors
  // that are the same integers once, and all integers together no more than the file has bytes for.
  Status widen_inputs(const Graph& graph, const std::string& what, std::vector<Tensor>* inputs) {
    for (size_t i = 0; i < inputs->size() && i < graph.inputs.size(); ++i) {
      Tensor& input = (*inputs)[i];
      const Quantization* q = input.type == DataType::kInt8 ? quantization_of_input(graph, graph.inputs[i]) : nullptr;
      if (!q) continue;
      Tensor& numbers = widened_[{input.data, input.shape, q}];
      if (!numbers.data) {
        if (input.bytes() > sections_.data_bytes - widened_bytes_) {
          return invalid_model(what + ": the test vectors refer to the same bytes again and again");
        }
        widened_bytes_ += input.bytes();
        numbers = numbers_of(input, *q);
      }
      input = numbers;
    }
    return {};
  }

  Status read_test_vectors(const fb::Vector<fb::Offset<schema::TestVector>>* list, const Graph& graph,
                           std::vector<TestVector>* out) {
    const size_t count = list ? list->size() : 0;
    if (count > kMaxTestVectors) {
      return invalid_model("test vectors: expected at most " + std::to_string(kMaxTestVectors) + ", found " +
                           std::to_string(count));
    }
    SPARSENET_RETURN_IF_ERROR(budget_.charge(8 * count));
    out->resize(count);
    for (size_t i = 0; i < count; ++i) {
      const schema::TestVector& file = *list->Get(static_cast<fb::uoffset_t>(i));
      const std::string what = "test vector " + std::to_string(i);
      (*out)[i].tolerance = file.tolerance();
      SPARSENET_RETURN_IF_ERROR(read_tensors(file.inputs(), what + ": input", &(*out)[i].inputs));
      SPARSENET_RETURN_IF_ERROR(widen_inputs(graph, what, &(*out)[i].inputs));
      SPARSENET_RETURN_IF_ERROR(read_tensors(file.outputs(), what + ": output", &(*out)[i].outputs));
    }
    return {};
  }

  Status read_plans(const fb::Vector<fb::Offset<schema::Plan>>* list, const Model& model,
                    std::vector<StoredPlan>* out) {
    const size_t count = list ? list->size() : 0;
    if (count > kMaxPlans) {
      return invalid_model("plans: expected at most " + std::to_string(kMaxPlans) + ", found " + std::to_string(count));
    }
    const uint64_t identity = count > 0 ? graph_identity(model.graph) : 0;
    for (size_t i = 0; i < count; ++i) {
      const schema::Plan& file = *list->Get(static_cast<fb::uoffset_t>(i));
      if (!is_known_plan(file)) continue;
      const rt::PlanFile plan{&file, sections_.data, sections_.data_bytes};
      Result<StoredPlan> stored =
          read_plan(plan, model.graph, owner_, [this](uint64_t bytes) { return budget_.charge(bytes); });
      if (!stored.ok()) {
        return stored.status().with_context("plan " + std::to_string(i) + " for " + file.target()->str());
      }
      stored->graph_identity = identity;
      out->push_back(std::move(*stored));
    }
    return {};
  }

  const Sections sections_;
  const std::shared_ptr<const void> owner_;
  StructureBudget budget_;
  std::map<std::tuple<const void*, Shape, const Quantization*>, Tensor> widened_;
  uint64_t widened_bytes_ = 0;  // of the integers
};

// The data at a 64-byte boundary: the data itself, or a copy that `owner` then owns.
const uint8_t* aligned(const uint8_t* data, size_t size, std::shared_ptr<const void>* owner) {
  if (reinterpret_cast<uintptr_t>(data) % kDataAlignment == 0) return data;
  auto copy = std::make_shared<std::vector<uint8_t>>(size + kDataAlignment);
  uint8_t* start = copy->data() + (kDataAlignment - reinterpret_cast<uintptr_t>(copy->data()) % kDataAlignment);
  std::memcpy(start, data, size);
  *owner = std::move(copy);
  return start;
}

}  // namespace

Result<Model> parse_model(const uint8_t* data, size_t size, const std::shared_ptr<const void>& owner) {
  if (!FLATBUFFERS_LITTLEENDIAN) return unsupported("reading model files on a big-endian machine");
  SPARSENET_ASSIGN_OR_RETURN(Sections sections, find_sections(data, size));
  fb::Verifier verifier(data, sections.structure_bytes, rt::kMaxDepth, rt::kMaxTables);
  if (!schema::VerifyModelBuffer(verifier))
    return invalid_model("the structure is not a sound FlatBuffer of this format");
  Model model;
  SPARSENET_RETURN_IF_ERROR(Reader(sections, owner).read(*schema::GetModel(data), &model));
  return model;
}

Result<Model> load_model(const void* data, size_t size, std::shared_ptr<const void> owner, const std::string& what) {
  return guarded("loading a model", what, [&]() -> Result<Model> {
    if (!data) size = 0;
    // A file too small to hold a model needs no copy to be refused.
    const auto* bytes = static_cast<const uint8_t*>(data);
    if (size >= kMinStructureBytes + kFooterBytes) bytes = aligned(bytes, size, &owner);
    Result<Model> model = parse_model(bytes, size, owner);
    if (!model.ok()) return model.status().with_context(what);
    return model;
  });
}

Result<Model> load_model(const std::string& path) {
  return load_model(path, LoadOptions());
}

Result<Model> load_model(const std::string& path, const LoadOptions& options) {
  return guarded("loading a model", path, [&]() -> Result<Model> {
    SPARSENET_ASSIGN_OR_RETURN(MappedFile file, options.copy ? copy_file(path) : map_file(path));
    return load_model(file.data, file.size, file.owner, path);
  });
}

}  // namespace sparsenet
