#include "cli/statistics.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace sparsenet::cli {
namespace {

double percentile(const std::vector<double>& sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

// The value of the line "NAME: 123 kB" in /proc/self/status, in bytes; 0 if there is none.
size_t status_bytes(const char* name) {
  std::FILE* status = std::fopen("/proc/self/status", "r");
  if (status == nullptr) return 0;
  char line[256];
  unsigned long kib = 0;
  const size_t length = std::strlen(name);
  while (std::fgets(line, sizeof line, status) != nullptr) {
    if (std::strncmp(line, name, length) == 0 && std::sscanf(line + length, ": %lu kB", &kib) == 1) break;
  }
  std::fclose(status);
  return static_cast<size_t>(kib) * 1024;
}

}  // namespace

Summary summarize(std::vector<double> values) {
  Summary summary;
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  for (const double value : values) summary.mean += value / count;
  double squares = 0;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  summary.stddev = values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
  summary.min = values.front();
  summary.max = values.back();
  summary.p50 = percentile(values, 0.50);
  summary.p90 = percentile(values, 0.90);
  summary.p95 = percentile(values, 0.95);
  summary.p99 = percentile(values, 0.99);
  return summary;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return percentile(values, 0.5);
}

size_t rss_bytes() {
  return status_bytes("VmRSS");
}

size_t peak_rss_bytes() {
  // VmHWM belongs to this program alone. The value from getrusage survives exec: after a start from a large parent it
  // would be the parent's size, so it is only the second choice.
  if (const size_t peak = status_bytes("VmHWM"); peak > 0) return peak;
  struct rusage usage {};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

}  // namespace sparsenet::cli
