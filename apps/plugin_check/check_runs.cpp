// Runs: the same bits each time, several plans, devices and threads at once, and the optional functions.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

constexpr double kTolerance = 1e-4;

// A plan that is prepared, with what it should give.
struct Job {
  Job(const Subject& subject, Case made, const snp_options& options)
      : c(std::move(made)), expected(reference_run(c)), wire(c), prepared(subject, wire.plan(), options) {}
  void check() { compare(c, expected, prepared.result(c), kTolerance); }

  Case c;
  std::vector<uint8_t> expected;
  Wire wire;
  Prepared prepared;
};

// A network if all of its steps are supported, else a step that is.
Case network_or_step(const Subject& subject, uint64_t seed) {
  Case network = make_network("network", seed, false);
  const Wire wire(network);
  return subject.why_not(wire.plan(), subject.options()).empty() ? std::move(network) : subject.supported_case(seed);
}

// All numbers of an arena, at half of their size with the opposite sign.
std::vector<uint8_t> other_numbers(const Case& c) {
  std::vector<uint8_t> arena = c.arena();
  for (const Region& region : c.regions()) {
    for (int64_t i = 0; region.type == rt::DataType::kFloat32 && i < region.elements; ++i) {
      float value;
      std::memcpy(&value, arena.data() + region.offset + i * 4, sizeof value);
      value *= -0.5f;
      std::memcpy(arena.data() + region.offset + i * 4, &value, sizeof value);
    }
  }
  return arena;
}

void check_repeats(Subject& subject, const Settings&, Progress& progress) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Case c = network_or_step(subject, seed);
    const Wire wire(c);
    progress.at(c.describe());
    Prepared first(subject, wire.plan(), subject.options());
    const std::vector<uint8_t> once = first.result(c);
    compare(c, reference_run(c), once, kTolerance);
    first.set_inputs(c, other_numbers(c));
    first.run();
    (void)first.outputs(c);
    require(first.result(c) == once, "the same inputs gave other bits after a run with other inputs");
    Prepared second(subject, wire.plan(), subject.options());
    require(second.result(c) == once, "the same plan prepared again gave other bits");
    (void)second.outputs(c);
    require(second.outputs(c) == once, "outputs that are read twice are not the same");
  }
}

void check_two_plans(Subject& subject, const Settings&, Progress& progress) {
  const auto make = [&](uint64_t seed) {
    return std::make_unique<Job>(subject, seed % 2 == 0 ? network_or_step(subject, seed) : subject.supported_case(seed),
                                 subject.options());
  };
  std::unique_ptr<Job> a = make(2), b = make(3);
  progress.at("two plans that take turns: " + a->c.describe());
  a->prepared.set_inputs(a->c, a->c.arena());
  b->prepared.set_inputs(b->c, b->c.arena());
  a->prepared.run();
  b->prepared.run();
  compare(a->c, a->expected, a->prepared.outputs(a->c), kTolerance);
  compare(b->c, b->expected, b->prepared.outputs(b->c), kTolerance);
  std::unique_ptr<Job> c = make(4);
  progress.at("the plan that was prepared first is destroyed first");
  a.reset();
  b->check();
  c->check();
  progress.at("the plan that was prepared last is destroyed first");
  c.reset();
  b->check();
}

void check_two_devices(Subject& subject, const Settings&, Progress& progress) {
  const uint32_t count = subject.devices();
  if (count < 2) throw Skip("there is one device");
  std::vector<std::unique_ptr<Job>> jobs;
  for (uint32_t device = 0; device < std::min(count, 4u); ++device) {
    progress.at(text("a plan on device %u", device));
    snp_options options = subject.options();
    options.device = device;
    jobs.push_back(std::make_unique<Job>(subject, network_or_step(subject, device), options));
  }
  for (const auto& job : jobs) job->prepared.set_inputs(job->c, job->c.arena());
  for (const auto& job : jobs) job->prepared.run();
  for (const auto& job : jobs) compare(job->c, job->expected, job->prepared.outputs(job->c), kTolerance);
  jobs.erase(jobs.begin());
  for (const auto& job : jobs) job->check();
  progress.note(text("%zu devices", jobs.size() + 1));
}

void check_threads(Subject& subject, const Settings&, Progress& progress) {
  constexpr int kThreads = 4, kRounds = 3;
  (void)network_or_step(subject, 0);  // there must be one
  progress.at(text("%d threads with a plan each", kThreads));
  std::vector<std::string> failures(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      try {
        for (int round = 0; round < kRounds; ++round) {
          Job(subject, network_or_step(subject, static_cast<uint64_t>(i * kRounds + round)), subject.options()).check();
        }
      } catch (const std::exception& error) {
        failures[static_cast<size_t>(i)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) require(failure.empty(), failure);

  progress.at("last_error() of two threads");
  snp_device device{};
  device.struct_size = sizeof device;
  (void)subject.plugin().describe_device(4000000, &device);
  const std::string mine = subject.reason();
  std::thread([&] {
    snp_device other{};
    other.struct_size = sizeof other;
    (void)subject.plugin().describe_device(5000000, &other);
  }).join();
  require(subject.reason() == mine, "last_error() gives the reason of another thread's failure");
}

void check_async(Subject& subject, const Settings&, Progress& progress) {
  if (!subject.plugin().run_async) throw Skip("not there");
  Job job(subject, network_or_step(subject, 1), subject.options());
  const std::vector<uint8_t> once = job.prepared.result(job.c);
  job.prepared.set_inputs(job.c, other_numbers(job.c));
  job.prepared.run();
  for (int i = 0; i < 2; ++i) {
    progress.at("run_async() and wait()");
    job.prepared.set_inputs(job.c, job.c.arena());
    subject.require_ok(subject.plugin().run_async(job.prepared.get()), "run_async");
    subject.require_ok(subject.plugin().wait(job.prepared.get()), "wait");
    require(job.prepared.outputs(job.c) == once, "run_async() and wait() gave other bits than run()");
  }
  progress.at("destroy() while a plan runs");
  Job other(subject, network_or_step(subject, 2), subject.options());
  other.prepared.set_inputs(other.c, other.c.arena());
  subject.require_ok(subject.plugin().run_async(other.prepared.get()), "run_async");
}

void check_profile(Subject& subject, const Settings&, Progress& progress) {
  if (!subject.plugin().profile) throw Skip("not there");
  Job job(subject, network_or_step(subject, 1), subject.options());
  const size_t count = job.c.steps().size();
  const std::vector<uint8_t> once = job.prepared.result(job.c);
  for (const uint32_t growth : {0u, 24u}) {
    progress.at(text("profile() with structures %u bytes longer", growth));
    Structures<snp_step_profile> profiles(count, growth);
    job.prepared.set_inputs(job.c, job.c.arena());
    subject.require_ok(subject.plugin().profile(job.prepared.get(), profiles.data(), static_cast<uint32_t>(count)),
                       "profile");
    require(job.prepared.outputs(job.c) == once, "profile() gave other bits than run()");
    require(subject.plugin().minor > SNP_MINOR || profiles.intact(), "profile() wrote beyond the members it knows");
    for (size_t i = 0; i < count; ++i) {
      require(std::isfinite(profiles[i].milliseconds) && profiles[i].milliseconds >= 0,
              text("profile(): step %zu took %g milliseconds", i, profiles[i].milliseconds));
      require(profiles[i].kernel != nullptr && std::strlen(profiles[i].kernel) < 1000,
              text("profile(): step %zu has no kernel's name", i));
    }
  }
  Structures<snp_step_profile> more(count + 1, 0);
  subject.require_refused(subject.plugin().profile(job.prepared.get(), more.data(), static_cast<uint32_t>(count + 1)),
                          {SNP_INVALID_ARGUMENT}, "profile() with a profile too many");
}

void check_requirements(Subject& subject, const Settings&, Progress& progress) {
  if (!subject.plugin().requirements) throw Skip("not there");
  constexpr size_t kRoom = 4096;
  const auto text_of = [&](const snp_options& options, size_t capacity) -> std::string {
    const Guarded room(capacity);
    std::memset(room.get(), 'x', capacity);
    const snp_status status = subject.plugin().requirements(&options, room.get<char>(), capacity);
    if (capacity == kRoom) subject.require_ok(status, "requirements");
    if (status != SNP_OK) return {};
    require(std::memchr(room.get(), 0, capacity) != nullptr, "requirements(): its text has no end");
    return room.get<char>();
  };
  const std::string whole = text_of(subject.options(), kRoom);
  require(!whole.empty(), "requirements() gives no text");
  for (const size_t capacity : {size_t{1}, size_t{4}, whole.size(), whole.size() + 1}) {
    progress.at(text("requirements() with room for %zu bytes", capacity));
    (void)text_of(subject.options(), capacity);
  }
  require(text_of(subject.options(), kRoom) == whole, "requirements() gives another text each time");
  if (subject.can(SNP_CAN_FLOAT16)) {
    require(text_of(subject.options(SNP_FLOAT16), kRoom) != whole, "requirements() are the same for float16");
  }
}

// Folders for compiled kernels: a fresh one, the same again, and one that is not there.
void check_cache(Subject& subject, const Settings&, Progress& progress) {
  std::string folder = (std::filesystem::temp_directory_path() / "plugin-check-XXXXXX").string();
  require(::mkdtemp(folder.data()) != nullptr, "cannot make a folder for temporary files");
  const struct Remove {
    std::string folder;
    ~Remove() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  } remove{folder};
  const std::string missing = folder + "/missing/folder";
  for (const uint32_t flags : {0u, SNP_TUNE}) {
    if (flags == SNP_TUNE && !subject.can(SNP_CAN_TUNE)) break;
    for (const std::string& place : {folder, folder, missing}) {
      snp_options options = subject.options();
      options.flags = flags;
      options.cache_folder = place.c_str();
      progress.at(text("%s cache folder %s", flags ? "tuning, with" : "with", place.c_str()));
      Job(subject, network_or_step(subject, 3), options).check();
    }
  }
}

}  // namespace

void add_run_checks(std::vector<Check>* all) {
  all->push_back({"repeated runs", check_repeats});
  all->push_back({"two plans at a time", check_two_plans});
  all->push_back({"two devices at a time", check_two_devices});
  all->push_back({"several threads", check_threads});
  all->push_back({"run_async and wait", check_async});
  all->push_back({"profile", check_profile});
  all->push_back({"requirements", check_requirements});
  all->push_back({"cache folder", check_cache});
}

}  // namespace sparsenet::plugin_check
