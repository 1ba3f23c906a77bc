// The ranges of values, measured on images.
#pragma once

#include <sparsenet/quantize.h>

#include <vector>

namespace sparsenet {

struct Range {
  float low = 0, high = 0;  // of what was seen, and 0
};

// How often values were seen, in bins of the same width over their range.
class Histogram {
 public:
  static constexpr int kBins = 2048;

  explicit Histogram(const Range& range) : range_(range), counts_(kBins, 0) {}
  void add(const float* values, int64_t count);
  // The part of the range that `method` chooses.
  Range choose(RangeMethod method) const;

 private:
  double middle(int bin) const;
  double mse(const Range& part) const;
  double divergence(const Range& part) const;
  Range percentile() const;

  Range range_;
  std::vector<int64_t> counts_;
};

// The scale and zero point with which int8 covers a range.
Quantization quantization_for(const Range& range);

// The largest magnitude of each channel of all values that a graph computes, by ValueId.
Result<std::vector<std::vector<float>>> measure_channels(const Graph& graph, const float* images, int64_t count,
                                                         const QuantizeOptions& options);

// The ranges of all values of a graph that are computed, by ValueId.
Result<std::vector<Range>> measure_ranges(const Graph& graph, const float* images, int64_t count,
                                          const QuantizeOptions& options);

}  // namespace sparsenet
