// How many CPUs this process may use.
#include <sparsenet/session.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace sparsenet {
namespace {

// Whole CPUs that a cgroup quota allows, or a large number. Version 2 has one file, version 1 two.
int cgroup_limit() {
  constexpr int kNone = 1 << 20;
#if defined(__linux__)
  double quota = -1, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1;  // "max ..." is no limit
    std::fclose(file);
  } else {
    std::FILE* q = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
    std::FILE* p = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
    if (!q || !p || std::fscanf(q, "%lf", &quota) != 1 || std::fscanf(p, "%lf", &period) != 1) quota = -1;
    if (q) std::fclose(q);
    if (p) std::fclose(p);
  }
  if (quota > 0 && period > 0) return std::max(1, static_cast<int>(std::min(quota / period + 0.5, 1e6)));
#endif
  return kNone;
}

}  // namespace

int usable_cpus() {
  int cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
#endif
  return std::min(cpus, cgroup_limit());
}

}  // namespace sparsenet
