#include "converter/image_input.h"

#include <algorithm>
#include <cmath>

#include "converter/graph_writer.h"
#include "converter/image_layout.h"
#include "converter/normalisation.h"

namespace sparsenet::converter {
namespace {

// What the arithmetic at the beginning of a network makes of a channel: scale x + shift.
struct Normalising {
  std::vector<double> scale, shift;
  bool any = false;
};

// x op constant, or constant op x, of one channel. False if that is no scale and shift.
bool follow(Op op, bool constant_first, double number, double* scale, double* shift) {
  if (op == Op::kDiv && constant_first) return false;
  if (op == Op::kAdd) *shift += number;
  if (op == Op::kSub) *shift -= number;
  if (op == Op::kSub && constant_first) {
    *scale = -*scale;
    *shift = -*shift;
  }
  if (op == Op::kMul || op == Op::kDiv) {
    const double factor = op == Op::kMul ? number : 1 / number;
    *scale *= factor;
    *shift *= factor;
  }
  return true;
}

Normalising read_normalising(const Graph& graph, ValueId input) {
  const auto channels = static_cast<size_t>(graph.shape(input)[1]);
  Normalising out{std::vector<double>(channels, 1), std::vector<double>(channels, 0)};
  const std::vector<std::vector<size_t>> readers = find_readers(graph);
  for (ValueId x = input;;) {
    const std::vector<size_t>& use = readers[static_cast<size_t>(x)];
    if (use.size() != 1 || use[0] == SIZE_MAX) return out;
    const Node& node = graph.nodes[use[0]];
    const ValueId operand = channel_operand(graph, node, x);
    if (operand == kNoValue) return out;
    Normalising next = out;
    for (size_t c = 0; c < channels; ++c) {
      const auto number = static_cast<double>(channel_number(graph.value(operand), c));
      if (!follow(node.op, node.inputs[0] == operand, number, &next.scale[c], &next.shift[c])) return out;
      if (!std::isfinite(next.scale[c]) || !std::isfinite(next.shift[c]) || next.scale[c] == 0) return out;
    }
    out = std::move(next);
    out.any = true;
    x = node.outputs[0];
  }
}

// For which pixels a network that normalises its input by itself takes them, in the usual forms: divided by a standard
// deviation of at least 2 they are of 0..255; with a mean and a standard deviation within 0..1 they are of 0..1. 0: it
// cannot be told.
int pixel_range(const Normalising& n, bool bytes) {
  if (bytes) return 255;
  bool large = true, unit = true;
  for (size_t c = 0; c < n.scale.size(); ++c) {
    const double std_dev = 1 / n.scale[c], mean = -n.shift[c] * std_dev;
    large = large && std_dev >= 2;
    unit = unit && std_dev > 0 && std_dev < 1 && mean > 0 && mean <= 1;
  }
  return large ? 255 : unit ? 1 : 0;
}

void set_pixels(const Normalising& n, int range, bool bytes, Model* model, Report* report) {
  Metadata& metadata = model->metadata;
  const size_t channels = n.scale.size();
  metadata.mean.assign(channels, 0.f);
  metadata.std_dev.assign(channels, range == 1 ? 255.f : 1.f);
  if (!n.any) {
    report->note("the input is bytes: images go in as pixels of 0..255 (mean 0, std 1)");
    return;
  }
  report->normalises_itself = true;
  std::vector<float> mean, std_dev;
  for (size_t c = 0; c < channels; ++c) {
    const double width = 1 / n.scale[c];
    std_dev.push_back(static_cast<float>(width));
    mean.push_back(static_cast<float>(-n.shift[c] * width));
  }
  report->note("the network normalises its input by itself, with mean " + number_list(mean) + " and std " +
               number_list(std_dev) + (bytes ? "" : ", as for pixels of 0.." + std::to_string(range)) +
               ": images go in as pixels of 0.." + std::to_string(range));
}

// Whether the bytes of an input are those of pixels: they stand for numbers of 0..255, 0..1 or -1..1. With any other
// scale they may be of images that were normalised in some other way and then quantised.
bool holds_pixels(const Value& input) {
  if (input.type != DataType::kUInt8 || input.quantization.empty()) return false;
  const auto width = 1 / static_cast<double>(input.quantization.scales[0]);
  const int32_t zero = input.quantization.zero_points[0];
  const auto about = [width](double expected) { return std::fabs(width - expected) < 1e-3 * expected; };
  return zero == 0 ? about(1) || about(255)
                   : (zero == 127 || zero == 128) && (about(127.5) || about(127) || about(128));
}

void set_byte_pixels(const Value& input, Model* model, Report* report) {
  const auto channels = static_cast<size_t>(input.shape[1]);
  const auto zero = static_cast<float>(input.quantization.zero_points[0]);
  const float width = 1.f / input.quantization.scales[0];
  model->metadata.mean.assign(channels, zero);
  model->metadata.std_dev.assign(channels, width);
  report->note("images go in as their bytes, which the network takes for numbers with mean " + number_list({zero}) +
               " and std " + number_list({width}));
}

}  // namespace

bool settle_byte_input(Model* model, Report* report) {
  const Value& input = model->graph.value(model->graph.inputs[0]);
  const bool image = input.shape.size() == 4 && (input.shape[1] == 1 || input.shape[1] == 3);
  if (!image || model->graph.inputs.size() != 1 || !holds_pixels(input)) return false;
  set_byte_pixels(input, model, report);
  return true;
}

void settle_image_input(Model* model, Report* report) {
  Graph& graph = model->graph;
  bool changed = false;
  for (const ValueId input : std::vector<ValueId>(graph.inputs)) {
    const std::string name = printable(graph.value(input).name);
    const Shape before = graph.shape(input);
    if (make_channels_first(&graph, input)) {
      changed = true;
      report->note("input '" + name + "': images [N, H, W, C] = " + to_string(before) +
                   " become [N, C, H, W] = " + to_string(graph.shape(input)));
    }
    if (fold_picked_channels(&graph, input)) {
      changed = true;
      report->note("input '" + name + "': the network picks or reverses channels, which is folded into its weights");
    }
  }
  // Rewrites only add constants and drop nodes, so this cannot fail.
  if (changed) remove_unused(&graph);
  if (changed) (void)graph.infer_shapes();
  const Shape& image = graph.shape(graph.inputs[0]);
  if (image.size() != 4 || (image[1] != 1 && image[1] != 3)) return;
  if (settle_byte_input(model, report)) return;
  const Normalising n = read_normalising(graph, graph.inputs[0]);
  const bool bytes = report->byte_inputs && graph.inputs.size() == 1;
  if (!n.any && !bytes) return;
  const int range = pixel_range(n, bytes);
  if (range != 0) set_pixels(n, range, bytes, model, report);
}

}  // namespace sparsenet::converter
