// How many CPUs a process may use, in separate parts so that tests can supply made-up files.
#pragma once

#include <string>

namespace sparsenet {

// CPUs in the affinity mask, in which the kernel includes cpusets; 0: unknown.
int affinity_cpus();

// The CPUs, rounded to a whole number, that the quotas of the process's control groups allow: the smallest quota from
// its own group up to the root of what it can see. Handles versions 1 and 2 of control groups, also side by side and in
// containers. At least 1; kNoLimit if there is no quota. `root` is put in front of /proc/self/... and of the mount
// points named there; it is empty except in tests.
constexpr int kNoLimit = 1 << 20;
int cgroup_cpus(const std::string& root);

}  // namespace sparsenet
