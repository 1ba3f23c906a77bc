// Memory: what is measured is what is reserved, refused memory leaves nothing behind, and plans are copies.
#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

unsigned long long number(uint64_t bytes) {
  return static_cast<unsigned long long>(bytes);
}

// Cases that are supported, of all families.
std::vector<Case> supported_cases(const Subject& subject, uint64_t seed) {
  std::vector<Case> cases;
  for (const Family& family : families()) {
    if (std::optional<Case> c = subject.supported_case_of(family, seed)) cases.push_back(std::move(*c));
  }
  if (cases.empty()) throw Skip("no step that it would need is supported");
  return cases;
}

void check_measure(Subject& subject, const Settings&, Progress& progress) {
  Host& host = subject.host();
  for (const Case& c : supported_cases(subject, 1)) {
    progress.at(c.describe());
    const Wire wire(c);
    const snp_options options = subject.options();
    const Guarded guarded(sizeof(snp_needs));
    auto* needs = guarded.get<snp_needs>();
    *needs = {};
    needs->struct_size = sizeof *needs;
    const Host::Books before = host.books();
    subject.require_ok(subject.plugin().measure(&wire.plan(), &options, needs), "measure");
    const Host::Books measured = host.books();
    require(measured.bytes[SNP_DEVICE_MEMORY] == before.bytes[SNP_DEVICE_MEMORY] &&
                measured.reservations[SNP_DEVICE_MEMORY] == before.reservations[SNP_DEVICE_MEMORY],
            "measure() allocates memory of the device");
    Prepared prepared(subject, wire.plan(), options);
    const Host::Books after = host.books();
    const uint64_t all = needs->arena_bytes + needs->weights_bytes + needs->scratch_bytes;
    const uint64_t reserved = after.bytes[SNP_DEVICE_MEMORY] - before.bytes[SNP_DEVICE_MEMORY];
    require(reserved == all, text("measure() said %llu bytes of the device's memory, prepare() reserved %llu (%s)",
                                  number(all), number(reserved), c.describe().c_str()));
    const uint64_t calls = after.reservations[SNP_DEVICE_MEMORY] - before.reservations[SNP_DEVICE_MEMORY];
    const uint64_t expected = (needs->arena_bytes > 0) + (needs->weights_bytes > 0) + (needs->scratch_bytes > 0);
    require(calls == expected, text("expected %llu allocations on the device, one for each size that is not 0, found "
                                    "%llu",
                                    number(expected), number(calls)));
    (void)prepared.result(c);
    require(host.books().bytes[SNP_DEVICE_MEMORY] == after.bytes[SNP_DEVICE_MEMORY],
            "a run changes what is reserved on the device");
  }
  const std::string left = host.left();
  require(left.empty(), "after destroy() the plugin keeps " + left);
}

struct Ended {
  snp_status status;
  std::string function, reason;  // of the failure
};

// Runs a plan from beginning to end, or to the first failure.
Ended run_all(const Subject& subject, const Case& c) {
  const snp_plugin& p = subject.plugin();
  const Wire wire(c);
  const snp_options options = subject.options();
  snp_prepared* prepared = nullptr;
  Ended ended{p.prepare(&wire.plan(), &options, &prepared), "prepare()", ""};
  if (ended.status != SNP_OK) ended.reason = subject.reason();
  std::vector<uint8_t> data;
  for (uint32_t i = 0; ended.status == SNP_OK && i < wire.plan().input_count; ++i) {
    data.assign(wire.plan().inputs[i].bytes, 0);
    ended = {p.set_input(prepared, i, data.data(), data.size(), SNP_HOST_MEMORY), "set_input()", ""};
    if (ended.status != SNP_OK) ended.reason = subject.reason();
  }
  if (ended.status == SNP_OK) {
    ended = {p.run(prepared), "run()", ""};
    if (ended.status != SNP_OK) ended.reason = subject.reason();
  }
  for (uint32_t i = 0; ended.status == SNP_OK && i < wire.plan().output_count; ++i) {
    data.assign(wire.plan().outputs[i].bytes, 0);
    ended = {p.get_output(prepared, i, data.data(), data.size(), SNP_HOST_MEMORY), "get_output()", ""};
    if (ended.status != SNP_OK) ended.reason = subject.reason();
  }
  if (ended.function != "prepare()") p.destroy(prepared);  // what was never prepared is not there
  return ended;
}

void check_refused_memory(Subject& subject, const Settings&, Progress& progress) {
  constexpr int kMost = 200;  // of reservations that a small plan may make
  Host& host = subject.host();
  std::vector<Case> cases = supported_cases(subject, 2);
  int refusals = 0;
  for (const Case& c : cases) {
    for (int index = 0;; ++index) {
      require(index < kMost, text("a small plan makes more than %d reservations", kMost));
      progress.at(text("reservation %d refused: ", index) + c.describe());
      host.refuse(index);
      const Ended ended = run_all(subject, c);
      const bool refused = host.books().refused > 0;
      host.refuse(-1);
      const std::string left = host.left();
      require(left.empty(), text("reservation %d was refused: the plugin keeps %s afterwards", index, left.c_str()));
      if (!refused) {
        require(ended.status == SNP_OK, ended.function + ": " + ended.reason);
        break;
      }
      ++refusals;
      require(ended.status == SNP_NO_MEMORY, text("reservation %d was refused: expected status %d, found %d from %s",
                                                  index, SNP_NO_MEMORY, ended.status, ended.function.c_str()));
      require(!ended.reason.empty() && ended.reason.find('\n') == std::string::npos,
              text("reservation %d was refused: expected one line in last_error()", index));
    }
  }
  progress.note(text("%d reservations refused", refusals));
}

// After prepare(), the host overwrites the plan and its constants.
void check_copy(Subject& subject, const Settings&, Progress& progress) {
  for (const Case& c : supported_cases(subject, 3)) {
    progress.at("the plan and its constants overwritten after prepare(): " + c.describe());
    Wire wire(c);
    Prepared prepared(subject, wire.plan(), subject.options());
    wire.scramble();
    compare(c, reference_run(c), prepared.result(c), 1e-4);
  }
}

}  // namespace

void add_memory_checks(std::vector<Check>* all) {
  all->push_back({"measured memory", check_measure});
  all->push_back({"refused memory", check_refused_memory});
  all->push_back({"plan overwritten after prepare", check_copy});
}

}  // namespace sparsenet::plugin_check
