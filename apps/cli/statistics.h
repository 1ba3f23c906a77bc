// Clocks, percentiles, and memory figures from the operating system.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace sparsenet::cli {

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }
  double seconds() const { return milliseconds() / 1000; }

 private:
  std::chrono::steady_clock::time_point start_;
};

struct Summary {
  double min = 0, mean = 0, stddev = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};

// Needs at least one value. Percentiles interpolate between neighbours (NumPy's default); stddev divides by n - 1.
Summary summarize(std::vector<double> values);
double median(std::vector<double> values);

// The largest resident size of this process so far, 0 if the system does not report it.
size_t peak_rss_bytes();
// The current resident size, 0 if the system does not report it.
size_t rss_bytes();

}  // namespace sparsenet::cli
