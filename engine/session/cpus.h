// How many CPUs a process may use, in parts that tests can give made-up files.
#pragma once

#include <string>

namespace sparsenet {

// CPUs in the affinity mask, in which the kernel also counts cpusets; 0: unknown.
int affinity_cpus();

// Whole CPUs that the quotas of the process's control groups allow, the smallest from its own group up to the root of
// what it can see; versions 1 and 2, also side by side and in containers. At least 1; kNoLimit where there is none.
// `root` comes in front of /proc/self/... and of the mount points named there; empty outside of tests.
constexpr int kNoLimit = 1 << 20;
int cgroup_cpus(const std::string& root);

}  // namespace sparsenet
