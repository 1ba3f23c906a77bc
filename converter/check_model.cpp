#include "converter/check_model.h"

#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "converter/io/file_bytes.h"
#include "converter/io/memory_budget.h"
#include "converter/io/npy.h"
#include "io/session_tensors.h"

namespace sparsenet::converter {
namespace {

SessionOptions session_options(const Model& model) {
  SessionOptions options;
  options.backend = Backend::kPortable;  // supports every op, on any machine
  options.batch = model.graph.shape(model.graph.inputs[0])[0];
  return options;
}

// One array given by the user: `images` times `shape`, in the graph's order.
struct UserArray {
  std::string path;
  Elements<float> values;
  int64_t images = 0;
  size_t per_image = 0;
  DataType type = DataType::kFloat32;

  const float* image(int64_t i) const { return values.data() + static_cast<size_t>(i) * per_image; }
  Tensor tensor(int64_t i, const Shape& shape) const {
    const float *from = image(i), *end = from + per_image;
    if (type == DataType::kFloat32) return Tensor::from(shape, std::vector<float>(from, end));
    std::vector<uint8_t> bytes;
    for (; from < end; ++from) bytes.push_back(static_cast<uint8_t>(static_cast<int>(*from)));
    return io::integer_tensor(type, shape, std::move(bytes));
  }
};

// [N, H, W, C] -> [N, C, H, W]
Elements<float> channels_first(const Elements<float>& values, const Shape& shape) {
  const auto c = static_cast<size_t>(shape[3]), area = static_cast<size_t>(shape[1] * shape[2]);
  std::vector<float> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t channel = i % c, pixel = i / c % area, image = i / c / area;
    out[(image * c + channel) * area + pixel] = values[i];
  }
  return out;
}

// Where an array of images has its channels.
enum class Order { kFirst, kLast, kEither };

// `port`: of the graph. Its integers are compared as they are.
Result<UserArray> read_array(const std::string& path, const std::string& what, const Value& port, Order order) {
  const Shape& expected = port.shape;
  SPARSENET_ASSIGN_OR_RETURN(FileBytes bytes, load_file(path));
  const Result<NpyView> view = parse_npy(bytes.data, bytes.size);
  if (!view.ok()) return view.status().with_context(path);
  const ElementType integers = port.type == DataType::kInt8 ? ElementType::kInt8 : ElementType::kUInt8;
  if (port.type != DataType::kFloat32 && view->type != integers) {
    return invalid_argument(path + ": " + what + ": expected elements of " + name(port.type) + ", found " +
                            name(view->type));
  }
  UserArray out;
  out.path = path;
  out.type = port.type;
  Shape wanted = expected;
  const bool has_images = !view->shape.empty() && view->shape[0] >= 1;
  if (has_images) wanted[0] = view->shape[0];
  // Images of a network that took [N, H, W, C] in its own format are still given so.
  bool channels_last = false;
  if (expected.size() == 4 && order != Order::kFirst) {
    const Shape last{wanted[0], expected[2], expected[3], expected[1]};
    channels_last = order == Order::kLast || (view->shape != wanted && view->shape == last);
    if (channels_last) wanted = last;
  }
  if (!has_images || view->shape != wanted) {
    Shape rest(wanted.begin() + 1, wanted.end());
    return invalid_argument(path + ": " + what + ": expected [images, " + to_string(rest).substr(1) + ", found " +
                            to_string(view->shape));
  }
  out.images = view->shape[0];
  out.per_image = static_cast<size_t>(element_count(expected) / expected[0]);
  const Elements<float> values = npy_floats(*view, bytes.owner);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return invalid_argument(path + ": " + what + ": element " + std::to_string(i) + " is not a finite number");
  }
  out.values = channels_last ? channels_first(values, view->shape) : values;
  return out;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// The arrays named by one list: inputs, then outputs.
Result<std::vector<UserArray>> read_arrays(const std::string& list, const Model& model, bool channels_last) {
  const Graph& graph = model.graph;
  const size_t inputs = graph.inputs.size(), outputs = graph.outputs.size();
  const std::vector<std::string> paths = split(list);
  if (paths.size() != inputs + outputs) {
    return invalid_argument("expected " + std::to_string(inputs + outputs) + " files, separated by commas (" +
                            std::to_string(inputs) + " for inputs, then " + std::to_string(outputs) +
                            " for outputs), found " + std::to_string(paths.size()) + " in '" + printable(list) + "'");
  }
  std::vector<UserArray> arrays;
  for (size_t i = 0; i < paths.size(); ++i) {
    const Value& value = graph.value(i < inputs ? graph.inputs[i] : graph.outputs[i - inputs]);
    const std::string what = (i < inputs ? "input '" : "output '") + printable(value.name) + "'";
    const Order order = channels_last ? Order::kLast : i < inputs ? Order::kEither : Order::kFirst;
    SPARSENET_ASSIGN_OR_RETURN(UserArray array, read_array(paths[i], what, value, order));
    if (!arrays.empty() && array.images != arrays[0].images) {
      return invalid_argument(paths[i] + ": " + what + ": expected " + std::to_string(arrays[0].images) +
                              " images as in " + arrays[0].path + ", found " + std::to_string(array.images));
    }
    arrays.push_back(std::move(array));
  }
  return arrays;
}

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

// The largest difference, relative to the largest expected value; infinite if a value is not finite. Same definition as
// in `sparsenet verify`.
double relative_error(const std::vector<float>& found, const float* expected) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double d = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    if (!std::isfinite(d)) return INFINITY;
    difference = std::max(difference, d);
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / std::max(1e-6, largest);
}

class OutputCheck {
 public:
  OutputCheck(const CheckOptions& options, Model* model, Report* report)
      : options_(options), model_(*model), report_(*report) {}

  Status run() {
    const SessionOptions run_options = session_options(model_);
    if (run_options.batch != 1) {
      return unsupported("the network works for a batch of " + std::to_string(run_options.batch) + " alone");
    }
    SPARSENET_ASSIGN_OR_RETURN(MemoryReport needs, Session::measure(model_, run_options));
    MemoryCharge charge;
    SPARSENET_RETURN_IF_ERROR(charge.raise_to(needs.total_bytes).with_context("running the network"));
    SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(model_, run_options));
    report_.check.tolerance = static_cast<double>(options_.tolerance);
    for (const std::string& list : options_.lists) {
      SPARSENET_ASSIGN_OR_RETURN(std::vector<UserArray> arrays, read_arrays(list, model_, options_.channels_last));
      for (int64_t i = 0; i < arrays[0].images; ++i) SPARSENET_RETURN_IF_ERROR(compare(&session, arrays, i));
    }
    report_.check.stored = vectors_.size();
    if (report_.check.largest_error > report_.check.tolerance) {
      return invalid_argument(worst_ + " differs by " + scientific(report_.check.largest_error) +
                              " of its largest expected value, more than the tolerance of " +
                              scientific(report_.check.tolerance) + " (" + std::to_string(report_.check.images) +
                              " images compared; inputs are what the network reads, normalised if it expects that)");
    }
    model_.test_vectors = std::move(vectors_);
    return {};
  }

 private:
  Status compare(Session* session, const std::vector<UserArray>& arrays, int64_t image) {
    const size_t inputs = session->inputs().size();
    TestVector vector;
    vector.tolerance = options_.tolerance;
    for (size_t i = 0; i < inputs; ++i) {
      vector.inputs.push_back(arrays[i].tensor(image, session->inputs()[i].shape));
      SPARSENET_RETURN_IF_ERROR(io::set_input(session, i, vector.inputs[i]));
    }
    SPARSENET_RETURN_IF_ERROR(session->run());
    for (size_t i = 0; i < session->outputs().size(); ++i) {
      const UserArray& expected = arrays[inputs + i];
      SPARSENET_ASSIGN_OR_RETURN(const Tensor found, io::get_output(*session, i));
      const double error = relative_error(io::numbers_of(found), expected.image(image));
      if (worst_.empty() || error > report_.check.largest_error) {
        report_.check.largest_error = error;
        worst_ = expected.path + ": image " + std::to_string(image) + ": output '" +
                 printable(session->outputs()[i].name) + "'";
      }
      vector.outputs.push_back(expected.tensor(image, session->outputs()[i].shape));
    }
    ++report_.check.images;
    if (vectors_.size() < kMostStored) vectors_.push_back(std::move(vector));
    return {};
  }

  const CheckOptions& options_;
  Model& model_;
  Report& report_;
  std::vector<TestVector> vectors_;
  std::string worst_;  // where the largest difference is
};

}  // namespace

// The node on its own, with the values that it reads as inputs.
Model alone(const Graph& graph, const Node& node) {
  Model model;
  Graph& own = model.graph;
  std::unordered_map<ValueId, ValueId> ids;
  const auto add = [&](ValueId& id, bool made) {
    if (id == kNoValue) return;
    const auto found = ids.emplace(id, static_cast<ValueId>(own.values.size()));
    if (found.second) {
      own.values.push_back(graph.value(id));
      if (!made && !own.values.back().is_constant) own.inputs.push_back(found.first->second);
    }
    id = found.first->second;
  };
  Node copy = node;
  for (ValueId& id : copy.inputs) add(id, false);
  for (ValueId& id : copy.outputs) add(id, true);
  own.outputs = copy.outputs;
  own.nodes.push_back(std::move(copy));
  return model;
}

void list_refused_nodes(const Graph& graph, Report* report) {
  const auto floats = [&](ValueId id) { return id == kNoValue || graph.value(id).type == DataType::kFloat32; };
  const auto by_channel = [&](ValueId id) {  // which no input of a network is
    return id != kNoValue && !graph.value(id).is_constant && graph.value(id).quantization.scales.size() > 1;
  };
  for (const Node& node : graph.nodes) {
    if (std::all_of(node.inputs.begin(), node.inputs.end(), floats) &&
        std::all_of(node.outputs.begin(), node.outputs.end(), floats)) {
      continue;
    }
    if (node.op == Op::kIdentity || std::any_of(node.inputs.begin(), node.inputs.end(), by_channel)) continue;
    Model model = alone(graph, node);
    if (model.graph.inputs.empty() || !model.graph.infer_shapes().ok()) continue;
    SessionOptions options = session_options(model);
    options.threads = 1;
    const Result<MemoryReport> needs = Session::measure(model, options);
    if (needs.ok()) continue;
    const std::string subject = std::string(name(node.op)) + " '" + node.name + "'";
    const std::string message = needs.status().message(), start = subject + ": ";
    const bool named = message.compare(0, start.size(), start) == 0;
    report->problem(printable(subject), named ? message.substr(start.size()) : message);
  }
}

Status check_runs(const Model& model, bool here) {
  SessionOptions options = session_options(model);
  options.threads = 1;
  const Result<MemoryReport> needs = Session::measure(model, options);
  if (!needs.ok()) return needs.status().with_context("the network cannot be run");
  if (here) {
    MemoryCharge charge;
    SPARSENET_RETURN_IF_ERROR(charge.raise_to(needs->total_bytes).with_context("running the network"));
  }
  if (needs->total_bytes > kMostBytesToBind) return {};
  return Session::create(model, options).status().with_context("the network cannot be run");
}

Status check_outputs(const CheckOptions& options, Model* model, Report* report) {
  return OutputCheck(options, model, report).run().with_context("--check");
}

}  // namespace sparsenet::converter
