#include "converter/weights/recognise.h"

#include <algorithm>

namespace sparsenet::converter {
namespace {

// [O, I, 1, 1] and [O, I] can stand for each other.
Shape plain(const Shape& shape) {
  if (shape.size() == 4 && shape[2] == 1 && shape[3] == 1) return {shape[0], shape[1]};
  return shape;
}

bool take(ShapeCounts* counts, const Shape& shape) {
  const auto found = counts->find(shape);
  if (found == counts->end()) return false;
  if (--found->second == 0) counts->erase(found);
  return true;
}

// Avoids building networks that cannot match: every layer has one 3x3 convolution, and so does the CIFAR stem.
bool may_fit(const Architecture& arch, const ShapeCounts& counts) {
  int64_t found = 0;
  for (const auto& [shape, count] : counts) found += shape.size() == 4 && shape[2] == 3 && shape[3] == 3 ? count : 0;
  int64_t expected = arch.depth - 1;
  if (arch.family != Architecture::Family::kResNet) {
    expected = arch.stem == Architecture::Stem::kCifar ? 1 : 0;
    for (const int layers : arch.blocks) expected += layers;
  }
  return found == expected;
}

// The number of classes with which `arch` has these shapes; 0: none.
int64_t fitting_classes(Architecture arch, ShapeCounts counts) {
  if (!may_fit(arch, counts)) return 0;
  const Result<Graph> graph = build_graph(arch);
  if (!graph.ok()) return 0;
  // The last layer's shapes depend on the number of classes, which follows from what remains of the file's shapes in
  // the end.
  const Node* head = nullptr;
  for (const Node& node : graph->nodes) {
    if (node.op == Op::kFullyConnected) head = &node;
  }
  if (!head || head->inputs.size() != 3) return 0;
  for (size_t i = 0; i < graph->values.size(); ++i) {
    const Value& value = graph->values[i];
    const auto id = static_cast<ValueId>(i);
    if (!value.is_constant || id == head->inputs[1] || id == head->inputs[2]) continue;
    const bool is_weight = std::any_of(graph->nodes.begin(), graph->nodes.end(), [id](const Node& node) {
      const bool reads = std::find(node.inputs.begin(), node.inputs.end(), id) != node.inputs.end();
      return reads && (node.op == Op::kConv || node.op == Op::kFullyConnected || node.op == Op::kBatchNorm);
    });
    if (is_weight && !take(&counts, plain(value.shape))) return 0;
  }
  const int64_t features = graph->shape(head->inputs[1])[1];
  if (counts.size() != 2) return 0;
  const auto& [bias, biases] = *counts.begin();  // shapes compare as lists, so [N] comes before [N, features]
  const auto& [weight, weights] = *counts.rbegin();
  const bool fits = biases == 1 && weights == 1 && bias.size() == 1 && weight == Shape{bias[0], features};
  return fits ? bias[0] : 0;
}

// `arch` as people write it: its name and what differs.
std::string spelled(const std::string& name, const Architecture& arch, int64_t classes) {
  if (classes == arch.classes) return name;
  return name + (name.find(':') == std::string::npos ? ":" : ",") + "classes=" + std::to_string(classes);
}

std::vector<Architecture> variants_of(const Architecture& given) {
  std::vector<Architecture> out{given};
  if (given.family == Architecture::Family::kResNet) {
    const bool padded = given.shortcut == Architecture::Shortcut::kPad;
    out.push_back(given);
    out.back().shortcut = padded ? Architecture::Shortcut::kConv : Architecture::Shortcut::kPad;
    return out;
  }
  for (const auto attention :
       {Architecture::Attention::kNone, Architecture::Attention::kPaper, Architecture::Attention::kSqueezeExcite}) {
    for (const auto stem : {Architecture::Stem::kCifar, Architecture::Stem::kImageNet}) {
      Architecture other = given;
      other.attention = attention;
      other.stem = stem;
      if (attention != given.attention || stem != given.stem) out.push_back(other);
    }
  }
  return out;
}

}  // namespace

ShapeCounts count_shapes(const SourceTensors& source, const NameRules& rules) {
  ShapeCounts counts;
  for (const SourceTensor& tensor : source.tensors) {
    std::string to;
    const bool dropped = rules.apply(tensor.name, &to) > 0 && to.empty();
    if (is_float(tensor.type) && !dropped) ++counts[plain(tensor.shape)];
  }
  return counts;
}

std::vector<std::string> recognise(const ShapeCounts& shapes, const Architecture* given) {
  std::vector<std::string> names = known_architectures(), found;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool plain_resnet = names[i].rfind("resnet", 0) == 0 && names[i].find(':') == std::string::npos;
    if (plain_resnet) names.push_back(names[i] + ":shortcut=conv");
  }
  for (const std::string& name : names) {
    const Result<Architecture> arch = parse_architecture(name);
    if (!arch.ok()) continue;
    const int64_t classes = fitting_classes(*arch, shapes);
    if (classes > 0) found.push_back(spelled(name, *arch, classes));
  }
  if (!found.empty() || !given) return found;
  for (Architecture arch : variants_of(*given)) {
    const int64_t classes = fitting_classes(arch, shapes);
    if (classes == 0) continue;
    arch.classes = static_cast<int>(classes);
    found.push_back(to_string(arch));
  }
  return found;
}

std::string recognised_text(const std::vector<std::string>& architectures) {
  constexpr size_t kMost = 3;
  std::string text;
  for (size_t i = 0; i < std::min(architectures.size(), kMost); ++i) text += (i > 0 ? " or " : "") + architectures[i];
  return text;
}

void explain_mismatch(const ShapeCounts& shapes, const Architecture& given, const std::string& given_text, size_t first,
                      Report* report) {
  size_t filled = 0, empty = 0;
  for (const TensorRecord& record : report->tensors) {
    filled += !record.source.empty() && !record.target.empty();
    empty += record.source.empty();
  }
  // If the shapes fit the given architecture, names or order are the problem.
  const bool fits = fitting_classes(given, shapes) == given.classes;
  const std::vector<std::string> others = fits ? std::vector<std::string>() : recognise(shapes, &given);
  const std::string fit = std::to_string(filled) + " of " + std::to_string(filled + empty) + " constants filled";
  Cause cause{"the tensors are not those of --arch " + given_text, "", "problems"};
  if (fits && empty > filled) {
    cause.text = "the tensors have the shapes of --arch " + given_text + ", but other names";
    cause.remedy = fit + "; say with --map which tensor is which constant";
  } else if (fits) {
    return;
  } else if (!others.empty()) {
    cause.remedy = "this looks like " + recognised_text(others) + ": say so with --arch";
  } else if (empty > filled) {
    cause.remedy = fit +
                   "; no known architecture has these shapes: spell out with --arch the network they are of, or export "
                   "it to ONNX, which needs no --arch";
  } else {
    return;
  }
  const size_t number = report->cause(std::move(cause));
  for (size_t i = first; i < report->problems.size(); ++i) report->problems[i].cause = number;
}

}  // namespace sparsenet::converter
