#include "session/cpus.h"

#include <sparsenet/session.h>

#include <algorithm>
#include <memory>
#include <new>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__unix__)
#include <fcntl.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace sparsenet {
namespace {

// Whether a list of comma-separated words has the word: "cpu,cpuacct" has "cpu", but not "cpuset".
bool has_word(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  words.exceptions(std::ios::badbit);
  for (std::string one; std::getline(words, one, ',');) {
    if (one == word) return true;
  }
  return false;
}

// The text of a file of the system's; empty if there is none. Unlike a file stream, it never takes a failed allocation
// for a missing file: it throws std::bad_alloc.
std::istringstream text_of(const std::string& path) {
  std::string text;
#if defined(__unix__)
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const std::unique_ptr<const int, void (*)(const int*)> closed(&fd, [](const int* open) { ::close(*open); });
    char buffer[4096];
    for (ssize_t bytes = 0; (bytes = ::read(fd, buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<size_t>(bytes));
    }
  }
#endif
  std::istringstream stream(text);
  stream.exceptions(std::ios::badbit);  // or reading would end early, without a word
  return stream;
}

// A mounted hierarchy of control groups, and the process's group in it.
struct Hierarchy {
  bool version2 = false;
  std::string mount_point;  // a folder
  std::string mounted;      // the group that is visible there
  std::string group;        // the process's own
};

// Decodes octal escapes, which stand for blanks in mountinfo.
std::string unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// proc(5): "36 35 98:0 ROOT MOUNTPOINT options [optional...] - TYPE source SUPEROPTIONS".
std::vector<Hierarchy> cpu_hierarchies(const std::string& root) {
  std::vector<Hierarchy> found;
  std::istringstream mounts = text_of(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    words.exceptions(std::ios::badbit);
    std::string skip, mounted, mount_point, word, type, source, options;
    words >> skip >> skip >> skip >> mounted >> mount_point;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> options;
    if (type != "cgroup2" && !(type == "cgroup" && has_word(options, "cpu"))) continue;
    found.push_back({type == "cgroup2", unescape(mount_point), unescape(mounted), "/"});
  }
  // cgroups(7): "0::/GROUP" of version 2, "4:cpu,cpuacct:/GROUP" of version 1.
  std::istringstream groups = text_of(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    for (Hierarchy& h : found) {
      if (h.version2 ? controllers.empty() : has_word(controllers, "cpu")) h.group = line.substr(second + 1);
    }
  }
  return found;
}

// The process's group as a path below the mount point: "" or "/a/b". A container may see its own group as the root of
// the mount, but be told the name that the group has outside; if the two do not match, only the root can be looked at.
std::string below_mount(const Hierarchy& h) {
  std::string path = h.group;
  if (h.mounted != "/") {
    const bool inside = path.compare(0, h.mounted.size(), h.mounted) == 0 &&
                        (path.size() == h.mounted.size() || path[h.mounted.size()] == '/');
    path = inside ? path.substr(h.mounted.size()) : "";
  }
  // "/../other" is outside of this namespace.
  if (path.empty() || path.front() != '/' || path.find("/..") != std::string::npos) return "";
  while (!path.empty() && path.back() == '/') path.pop_back();
  return path;
}

// CPUs' worth of time that a group's own files grant; 0: no limit.
double group_quota(const Hierarchy& h, const std::string& folder) {
  double quota = 0, period = 0;
  if (h.version2) {
    std::istringstream file = text_of(folder + "/cpu.max");
    if (!(file >> quota >> period)) return 0;  // "max 100000", or the root, which has none
  } else {
    std::istringstream quota_file = text_of(folder + "/cpu.cfs_quota_us");
    std::istringstream period_file = text_of(folder + "/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  }
  return quota > 0 && period > 0 ? quota / period : 0;  // -1: no limit
}

}  // namespace

int affinity_cpus() {
#if defined(__linux__)
  // The kernel refuses sets that are smaller than its own, and does not say how large that is.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (!set) return 0;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return 0;
}

int cgroup_cpus(const std::string& root) {
  double least = kNoLimit;
  for (const Hierarchy& h : cpu_hierarchies(root)) {
    // A group gets no more than the groups that contain it.
    for (std::string path = below_mount(h);; path.resize(path.rfind('/'))) {
      const double quota = group_quota(h, root + h.mount_point + path);
      if (quota > 0) least = std::min(least, quota);
      if (path.empty()) break;
    }
  }
  return std::max(1, static_cast<int>(least + 0.5));
}

int usable_cpus() {
  int cpus = affinity_cpus();
  if (cpus < 1) cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#if defined(__linux__)
  // An allocation may fail once and succeed the next time. If it does not, the quota stays unknown, which can only cost
  // time.
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      return std::min(cpus, cgroup_cpus(""));
    } catch (const std::bad_alloc&) {
    }
  }
#endif
  return cpus;
}

}  // namespace sparsenet
