#include "quantize/ranges.h"

#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/ops.h"

namespace sparsenet {

const char* name(RangeMethod method) {
  switch (method) {
    case RangeMethod::kMinMax:
      return "minmax";
    case RangeMethod::kPercentile:
      return "percentile";
    case RangeMethod::kKl:
      return "kl";
    case RangeMethod::kMse:
      return "mse";
  }
  return "unknown";
}

Result<RangeMethod> parse_range_method(const std::string& text) {
  for (const RangeMethod method :
       {RangeMethod::kMinMax, RangeMethod::kPercentile, RangeMethod::kKl, RangeMethod::kMse}) {
    if (text == name(method)) return method;
  }
  return invalid_argument("method: expected minmax, percentile, kl or mse, found '" + text + "'");
}

void Histogram::add(const float* values, int64_t count) {
  const double low = static_cast<double>(range_.low), width = static_cast<double>(range_.high) - low;
  if (!(width > 0)) return;
  const double factor = kBins / width;
  for (int64_t i = 0; i < count; ++i) {
    const auto bin = static_cast<int>((static_cast<double>(values[i]) - low) * factor);
    ++counts_[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
  }
}

double Histogram::middle(int bin) const {
  const double low = static_cast<double>(range_.low), high = static_cast<double>(range_.high);
  return low + (bin + 0.5) * (high - low) / kBins;
}

double Histogram::mse(const Range& part) const {
  const double low = static_cast<double>(part.low), high = static_cast<double>(part.high), step = (high - low) / 255;
  double sum = 0;
  for (int b = 0; b < kBins; ++b) {
    const int64_t count = counts_[static_cast<size_t>(b)];
    if (count == 0) continue;
    const double x = middle(b), inside = std::clamp(x, low, high);
    // Within a step, errors are spread evenly.
    const double clipped = x - inside;
    sum += static_cast<double>(count) * (clipped == 0 ? step * step / 12 : clipped * clipped);
  }
  return sum;
}

// Of the histogram, what is outside of the part added to its outermost bins (P), and of the same without what is
// outside, where each of 255 steps spreads its count over the bins that had any (Q).
double Histogram::divergence(const Range& part) const {
  constexpr int kSteps = 255;
  const double low = static_cast<double>(part.low), width = static_cast<double>(part.high) - low;
  std::vector<double> p(kBins, 0), total(kSteps, 0), used(kSteps, 0);
  std::vector<int> step(kBins, -1);
  int first = -1, last = -1;
  for (int b = 0; b < kBins; ++b) {
    const double at = (middle(b) - low) / width;
    if (at < 0 || at >= 1) continue;
    if (first < 0) first = b;
    last = b;
    step[static_cast<size_t>(b)] = static_cast<int>(at * kSteps);
  }
  if (first < 0) return INFINITY;
  double inside = 0, all = 0;
  for (int b = 0; b < kBins; ++b) {
    const auto count = static_cast<double>(counts_[static_cast<size_t>(b)]);
    p[static_cast<size_t>(std::clamp(b, first, last))] += count;
    all += count;
    if (const int s = step[static_cast<size_t>(b)]; s >= 0 && count > 0) {
      total[static_cast<size_t>(s)] += count;
      used[static_cast<size_t>(s)] += 1;
      inside += count;
    }
  }
  double sum = 0;
  for (int b = first; b <= last; ++b) {
    if (p[static_cast<size_t>(b)] == 0) continue;
    const auto s = static_cast<size_t>(step[static_cast<size_t>(b)]);
    const double q = counts_[static_cast<size_t>(b)] > 0 ? total[s] / used[s] / inside : 1e-9;
    sum += p[static_cast<size_t>(b)] / all * std::log(p[static_cast<size_t>(b)] / all / q);
  }
  return sum;
}

Range Histogram::percentile() const {
  int64_t all = 0;
  for (const int64_t count : counts_) all += count;
  const int64_t most = all / 20000;  // on each side
  int first = 0, last = kBins - 1;
  for (int64_t left = most; first < last && counts_[static_cast<size_t>(first)] <= left; ++first) {
    left -= counts_[static_cast<size_t>(first)];
  }
  for (int64_t left = most; last > first && counts_[static_cast<size_t>(last)] <= left; --last) {
    left -= counts_[static_cast<size_t>(last)];
  }
  return {std::min(0.f, static_cast<float>(middle(first))), std::max(0.f, static_cast<float>(middle(last)))};
}

Range Histogram::choose(RangeMethod method) const {
  if (method == RangeMethod::kMinMax || !(range_.high > range_.low)) return range_;
  if (method == RangeMethod::kPercentile) return percentile();
  Range best = range_;
  double least = -1;
  for (int percent = 100; percent >= 30; percent -= 2) {
    const float factor = static_cast<float>(percent) / 100.f;
    const Range part{range_.low * factor, range_.high * factor};
    const double cost = method == RangeMethod::kMse ? mse(part) : divergence(part);
    if (least >= 0 && cost >= least) continue;
    least = cost;
    best = part;
  }
  return best;
}

Quantization quantization_for(const Range& range) {
  const double width = static_cast<double>(range.high) - static_cast<double>(range.low);
  Quantization q;
  q.scales = {width > 0 ? std::max(static_cast<float>(width / 255), 1e-30f) : 1.f};
  const double zero = -128 - static_cast<double>(range.low) / static_cast<double>(q.scales[0]);
  q.zero_points = {static_cast<int32_t>(std::clamp(std::round(zero), -128., 127.))};
  return q;
}

namespace {

// Runs a network on images and shows everything that it computes.
class Observer {
 public:
  static Result<Observer> create(const Graph& graph, const QuantizeOptions& options) {
    Graph observed = graph;
    observed.outputs.clear();
    for (const Node& node : graph.nodes) {
      for (ValueId id : node.outputs) observed.outputs.push_back(id);
    }
    SessionOptions session_options;
    session_options.threads = options.threads;
    session_options.optimize = false;
    SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(observed, session_options));
    return Observer(std::move(session), graph.inputs[0], std::move(observed.outputs));
  }

  // Calls visit(value, its elements, how many).
  template <class Visit>
  Status run(const float* pixels, const Visit& visit) {
    const auto elements = static_cast<size_t>(element_count(session_.inputs()[0].shape));
    SPARSENET_RETURN_IF_ERROR(session_.set_input(0, pixels, elements));
    SPARSENET_RETURN_IF_ERROR(session_.run());
    SPARSENET_RETURN_IF_ERROR(visit(input_, pixels, static_cast<int64_t>(elements)));
    for (size_t i = 0; i < outputs_.size(); ++i) {
      values_.resize(static_cast<size_t>(element_count(session_.outputs()[i].shape)));
      SPARSENET_RETURN_IF_ERROR(session_.get_output(i, values_.data(), values_.size()));
      SPARSENET_RETURN_IF_ERROR(visit(outputs_[i], values_.data(), static_cast<int64_t>(values_.size())));
    }
    return {};
  }

 private:
  Observer(Session session, ValueId input, std::vector<ValueId> outputs)
      : session_(std::move(session)), input_(input), outputs_(std::move(outputs)) {}

  Session session_;
  ValueId input_;
  std::vector<ValueId> outputs_;
  std::vector<float> values_;
};

}  // namespace

Result<std::vector<std::vector<float>>> measure_channels(const Graph& graph, const float* images, int64_t count,
                                                         const QuantizeOptions& options) {
  SPARSENET_ASSIGN_OR_RETURN(Observer observer, Observer::create(graph, options));
  std::vector<std::vector<float>> largest(graph.values.size());
  const auto elements = element_count(graph.shape(graph.inputs[0]));
  for (int64_t image = 0; image < count; ++image) {
    SPARSENET_RETURN_IF_ERROR(observer.run(images + image * elements, [&](ValueId id, const float* v, int64_t n) {
      const Shape& shape = graph.shape(id);
      const int64_t channels = shape.size() < 2 ? 1 : shape[1], area = n / channels;
      std::vector<float>& most = largest[static_cast<size_t>(id)];
      most.resize(static_cast<size_t>(channels), 0.f);
      for (int64_t i = 0; i < n; ++i) {
        float& m = most[static_cast<size_t>(i / area)];
        m = std::max(m, std::abs(v[i]));
      }
      return Status();
    }));
  }
  return largest;
}

Result<std::vector<Range>> measure_ranges(const Graph& graph, const float* images, int64_t count,
                                          const QuantizeOptions& options) {
  SPARSENET_ASSIGN_OR_RETURN(Observer observer, Observer::create(graph, options));
  std::vector<Range> ranges(graph.values.size());
  const auto elements = element_count(graph.shape(graph.inputs[0]));
  const bool twice = options.method != RangeMethod::kMinMax;
  for (int64_t image = 0; image < count; ++image) {
    SPARSENET_RETURN_IF_ERROR(
        observer.run(images + image * elements, [&](ValueId id, const float* v, int64_t n) -> Status {
          Range& range = ranges[static_cast<size_t>(id)];
          for (int64_t i = 0; i < n; ++i) {
            if (!std::isfinite(v[i])) {
              return invalid_argument("image " + std::to_string(image) + ": value '" + graph.value(id).name +
                                      "': expected finite numbers, found " + std::to_string(v[i]));
            }
            range.low = std::min(range.low, v[i]);
            range.high = std::max(range.high, v[i]);
          }
          return {};
        }));
    if (options.progress) options.progress(image + 1, twice ? 2 * count : count);
  }
  if (!twice) return ranges;
  std::vector<Histogram> histograms;
  for (const Range& range : ranges) histograms.emplace_back(range);
  for (int64_t image = 0; image < count; ++image) {
    SPARSENET_RETURN_IF_ERROR(observer.run(images + image * elements, [&](ValueId id, const float* v, int64_t n) {
      histograms[static_cast<size_t>(id)].add(v, n);
      return Status();
    }));
    if (options.progress) options.progress(count + image + 1, 2 * count);
  }
  // The largest score is what a classifier's output is for, so that nothing of an output is cut off.
  for (size_t i = 0; i < ranges.size(); ++i) {
    const bool output =
        std::find(graph.outputs.begin(), graph.outputs.end(), static_cast<ValueId>(i)) != graph.outputs.end();
    if (!output) ranges[i] = histograms[i].choose(options.method);
  }
  return ranges;
}

}  // namespace sparsenet
