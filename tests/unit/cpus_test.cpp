// How many CPUs a process may use: control groups of both versions, from made-up files.
#include "session/cpus.h"

#include <doctest/doctest.h>
#include <sparsenet/session.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

using namespace sparsenet;
namespace fs = std::filesystem;

namespace {

class FakeRoot {
 public:
  FakeRoot() {
    std::string name = (fs::temp_directory_path() / "sparsenet_cpus_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~FakeRoot() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  void write(const std::string& file, const std::string& text) const {
    const fs::path whole = path + file;
    fs::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  int cpus() const { return cgroup_cpus(path); }

  std::string path;
};

constexpr char kVersion2[] = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kVersion1[] =
    "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

}  // namespace

TEST_CASE("no control groups, no limit") {
  FakeRoot root;
  CHECK(root.cpus() == kNoLimit);
  root.write("/proc/self/cgroup", "0::/\n");
  root.write("/proc/self/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
  CHECK(root.cpus() == kNoLimit);
}

TEST_CASE("version 2: the smallest quota from the process's group upwards") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "0::/system.slice/app.service/worker\n");
  root.write("/proc/self/mountinfo", std::string("23 1 8:1 / / rw - ext4 /dev/sda1 rw\n") + kVersion2);
  CHECK(root.cpus() == kNoLimit);
  const std::string slice = "/sys/fs/cgroup/system.slice";
  root.write(slice + "/app.service/worker/cpu.max", "max 100000\n");
  CHECK(root.cpus() == kNoLimit);
  root.write(slice + "/cpu.max", "600000 100000\n");
  CHECK(root.cpus() == 6);
  root.write(slice + "/app.service/worker/cpu.max", "800000 100000\n");
  CHECK(root.cpus() == 6);
  root.write(slice + "/app.service/cpu.max", "150000 50000\n");
  CHECK(root.cpus() == 3);
  root.write(slice + "/app.service/worker/cpu.max", "20000 100000\n");
  CHECK(root.cpus() == 1);  // a fifth of a CPU still means one thread
  // A sibling group's quota does not apply.
  root.write(slice + "/app.service/worker/cpu.max", "max 100000\n");
  root.write(slice + "/other.service/cpu.max", "100000 100000\n");
  CHECK(root.cpus() == 3);
}

TEST_CASE("version 1: quota and period, -1 for none, cpuset is not cpu") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "5:cpuset:/elsewhere\n4:cpu,cpuacct:/batch/job 7:x\n1:name=systemd:/init\n");
  root.write("/proc/self/mountinfo", kVersion1);
  const std::string job = "/sys/fs/cgroup/cpu,cpuacct/batch/job 7:x", batch = "/sys/fs/cgroup/cpu,cpuacct/batch";
  root.write(job + "/cpu.cfs_period_us", "100000\n");
  root.write(job + "/cpu.cfs_quota_us", "-1\n");
  CHECK(root.cpus() == kNoLimit);
  root.write(job + "/cpu.cfs_quota_us", "250000\n");
  CHECK(root.cpus() == 3);  // rounded to the nearest number
  root.write(batch + "/cpu.cfs_period_us", "50000\n");
  root.write(batch + "/cpu.cfs_quota_us", "100000\n");
  CHECK(root.cpus() == 2);
  root.write("/sys/fs/cgroup/cpuset/elsewhere/cpu.cfs_quota_us", "1000\n");
  root.write("/sys/fs/cgroup/cpuset/elsewhere/cpu.cfs_period_us", "1000\n");
  CHECK(root.cpus() == 2);
}

TEST_CASE("both versions side by side") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/b\n");
  root.write("/proc/self/mountinfo",
             std::string(kVersion1) + "40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  root.write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "400000");
  root.write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  CHECK(root.cpus() == 4);
  root.write("/sys/fs/cgroup/unified/b/cpu.max", "200000 100000");
  CHECK(root.cpus() == 2);
}

TEST_CASE("containers: the group's name outside, and mount points with blanks") {
  FakeRoot root;
  // Without a namespace of its own, a container is told the host's name of its group and sees that group as the mount's
  // root.
  root.write("/proc/self/cgroup", "0::/docker/0123/sub\n");
  root.write("/proc/self/mountinfo", "29 23 0:26 /docker/0123 /my\\040groups ro - cgroup2 cgroup rw\n");
  root.write("/my groups/cpu.max", "500000 100000\n");
  CHECK(root.cpus() == 5);
  root.write("/my groups/sub/cpu.max", "400000 100000\n");
  CHECK(root.cpus() == 4);
  // A group outside the mounted part: only the mount's root is visible.
  for (const char* group : {"0::/docker/01234\n", "0::/elsewhere\n", "0::/../../other\n"}) {
    root.write("/proc/self/cgroup", group);
    CHECK(root.cpus() == 5);
  }
  // With a namespace it is told "/".
  root.write("/proc/self/cgroup", "0::/\n");
  root.write("/proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  root.write("/sys/fs/cgroup/cpu.max", "700000 100000\n");
  CHECK(root.cpus() == 7);
}

TEST_CASE("files that make no sense set no limit") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "\n0\n0:\n::\n0::\n0::a\n0::/a\n");
  root.write("/proc/self/mountinfo", std::string("\n- \n1 2\n1 2 3 / /x - cgroup2\n1 2 3 4 5 6 7\n") + kVersion2);
  CHECK(root.cpus() == kNoLimit);
  for (const char* group : {"0::", "0::a", "0::..", "0:://", "0::/a/.."}) {
    root.write("/proc/self/cgroup", group);
    CHECK(root.cpus() == kNoLimit);
  }
  root.write("/proc/self/cgroup", "0::/a\n");
  for (const char* text : {"", "x", "0 0", "-5 100000", "100000 0", "100000", "nan 1", "max"}) {
    root.write("/sys/fs/cgroup/a/cpu.max", text);
    CHECK_MESSAGE(root.cpus() == kNoLimit, text);
  }
  root.write("/sys/fs/cgroup/a/cpu.max", "1e300 1");
  CHECK(root.cpus() == kNoLimit);
}

#if defined(__linux__)
TEST_CASE("the affinity mask counts") {
  CHECK(usable_cpus() >= 1);
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(affinity_cpus() == CPU_COUNT(&before));
  CHECK(usable_cpus() <= affinity_cpus());
  int found = 0;
  // In a separate thread, because its mask is changed.
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &before)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    if (sched_setaffinity(0, sizeof one, &one) == 0) found = usable_cpus();
  }).join();
  CHECK(found == 1);
}
#endif
