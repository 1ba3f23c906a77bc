// Every command on a system that fails: the n-th allocation, read, write, fsync, rename, open, mmap, thread ..., once
// or from then on. Whatever happens, a program ends by itself with exit code 0, 1 or 2; a failure is reported in lines
// "error: ..."; every file is either the old one or a complete new one; nothing else is left behind. Also tests kill -9
// at every system call.
//
// By default tests a few n of each kind, in under a minute. SPARSENET_FAULTS=full tests every n, SPARSENET_FAULTS=300
// at most 300 of each kind for each command, and both print the number of runs; SPARSENET_FAULTS_ONLY=NAME tests only
// the commands whose name contains NAME.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/train_tools.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "commands.h"
#include "server.h"
#include "support/skip.h"
#include "train_command.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;

constexpr const char* kOld = "what was there before";

std::string name_of(int kind) {
  constexpr const char* kNames[] = {"allocation", "thread", "read", "write", "fsync", "rename",
                                    "open",       "mmap",   "stat", "other", "call"};
  static_assert(sizeof kNames / sizeof kNames[0] == FAULTS_KINDS);
  return kNames[kind];
}
std::string action_name(int action) {
  constexpr const char* kNames[] = {"none", "once", "from then on", "killed", "short", "interrupted"};
  return kNames[action];
}

// The largest number of moments of a kind to try on a command; 0: a few.
long most_moments() {
  const char* text = std::getenv("SPARSENET_FAULTS");
  if (text == nullptr) return 0;
  return std::string(text) == "full" ? std::numeric_limits<long>::max() : std::atol(text);
}

// Which of `count` moments to try: all, or those at both ends and evenly spaced ones between them.
std::vector<long> moments(long count, long few) {
  const long most = std::min(count, std::max(few, most_moments()));
  std::vector<long> list;
  for (long i = 0; i < most; ++i) list.push_back(1 + (count - 1) * i / std::max(1L, most - 1));
  return list;
}

// A folder with the inputs of all commands.
const std::string& place() {
  static const std::string folder = scratch("faults");
  return folder;
}
const std::vector<FaultyCommand>& commands() {
  static const std::vector<FaultyCommand> all = [] {
    std::vector<FaultyCommand> list = faulty_commands(place());
    if (const char* only = std::getenv("SPARSENET_FAULTS_ONLY")) {
      list.erase(
          std::remove_if(list.begin(), list.end(), [&](const FaultyCommand& c) { return !contains(c.name, only); }),
          list.end());
    }
    return list;
  }();
  return all;
}
const char* program_of(const FaultyCommand& command) {
  return command.convert ? SPARSENET_CONVERT : SPARSENET_CLI;
}
std::string out_path(const std::string& name) {
  return place() + "/out/" + name;
}

void put_old_files(const FaultyCommand& command, bool there) {
  fs::remove_all(place() + "/out");
  fs::create_directories(place() + "/out");
  if (!there) return;
  for (const std::string& name : command.outputs) std::ofstream(out_path(name)) << kOld;
}

std::map<std::string, std::string> files_in_out() {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(place() + "/out")) {
    files[entry.path().filename().string()] = bytes_of(entry.path().string());
  }
  return files;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Whether a file left by a run is complete. Files that contain times differ from run to run.
bool whole(const std::string& name, const std::string& bytes, const std::string& expected) {
  if (bytes == expected) return true;
  if (ends_with(name, ".snet")) return load_model(out_path(name)).ok();
  if (ends_with(name, ".checkpoint")) return load_checkpoint(out_path(name)).ok();
  if (ends_with(name, ".json")) return !nlohmann::json::parse(bytes, nullptr, false).is_discarded();
  if (ends_with(name, ".svg")) return bytes.rfind("<svg", 0) == 0 && ends_with(bytes, "</svg>\n");
  if (ends_with(name, ".csv")) return bytes.rfind("epoch,", 0) == 0 && ends_with(bytes, "\n");
  return false;
}

std::string without_times(const std::string& text) {
  static const std::regex number("[0-9][0-9,.:]*(e[-+][0-9]+)?");
  static const std::regex space(" +");
  return std::regex_replace(std::regex_replace(text, number, "#"), space, " ");
}

std::string first_difference(const std::string& a, const std::string& b) {
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  at = at < 40 ? 0 : at - 40;
  return "'" + a.substr(at, 100) + "' in place of '" + b.substr(at, 100) + "'";
}

// What is wrong with the outcome of a run; empty if nothing is.
std::string fault_of(const FaultyCommand& command, const faults_order& order, const FaultyRun& run,
                     const FaultyRun& good, const std::map<std::string, std::string>& expected) {
  if (run.hung) return "it hangs";
  if (run.code < 0 || run.code > 2) return "exit code " + std::to_string(run.code);
  bool told = false, warned = false;
  for (size_t at = 0; at < run.err.size();) {
    const size_t end = std::min(run.err.find('\n', at), run.err.size());
    const std::string line = run.err.substr(at, end - at);
    told = told || line.rfind("error: ", 0) == 0;
    warned = warned || line.rfind("warning: ", 0) == 0;
    if (line == "error: " || contains(line, "bad_alloc") || contains(line, "terminate called") ||
        contains(line, "unknown error") || contains(line, "Success")) {
      return "an error line that tells nothing: " + line;
    }
    at = end + 1;
  }
  if (run.code != 0 && !told) return "exit code " + std::to_string(run.code) + " without an error line";
  if (run.code == 0 && told) return "an error line with exit code 0";
  for (const auto& [name, bytes] : files_in_out()) {
    const auto known = expected.find(name);
    // A file that cannot be removed stays, of course; so does one whose owner cannot be determined.
    const bool removing_fails = order.kind == FAULTS_OTHER || order.kind == FAULTS_ANY_CALL ||
                                (order.kind == FAULTS_STAT && order.action == FAULTS_FROM_THEN_ON);
    const bool passing = contains(name, ".tmp-") || ends_with(name, ".lock");
    if (known == expected.end() && removing_fails && passing) continue;
    if (known == expected.end()) return "a file that should not be there: " + name;
    const bool old = bytes == kOld;
    if (old && run.code == 0 && !warned) return "exit code 0, but " + name + " is the old file";
    // Without enough memory for its best code, oneDNN uses simpler code, which rounds differently.
    if (contains(command.name, "onednn") && bytes.size() == known->second.size()) continue;
    if (!old && !whole(name, bytes, known->second)) return "neither the old file nor a whole one: " + name;
    // Trained networks and computed arrays: no fault may change them without an error.
    const bool exact = ends_with(name, ".snet") || ends_with(name, ".npy");
    if (run.code == 0 && exact && bytes != known->second) return "exit code 0, but other bytes in " + name;
  }
  if (run.code == 0 && without_times(run.out) != without_times(good.out)) {
    return "exit code 0, but it prints another thing: " +
           first_difference(without_times(run.out), without_times(good.out));
  }
  if (run.code == 0 && !command.times && run.out != good.out) {
    return "exit code 0, but it prints other numbers: " + first_difference(run.out, good.out);
  }
  return {};
}

// Some faults inside oneDNN cannot be fixed here: version 2.6 does not check the allocation for the code that it
// generates.
bool left_to_onednn(const FaultyCommand& command, const faults_order& order, const FaultyRun& run) {
  const bool memory = order.kind == FAULTS_ALLOCATION || order.kind == FAULTS_MMAP || order.kind == FAULTS_OTHER ||
                      order.kind == FAULTS_ANY_CALL;
  return contains(command.name, "onednn") && memory && run.code > 128;
}

struct Tally {
  long runs = 0, found = 0, left = 0;
  std::map<std::string, long> by_kind;
};

void report(const FaultyCommand& command, const faults_order& order, const FaultyRun& run, const std::string& fault,
            Tally& tally) {
  ++tally.runs;
  ++tally.by_kind[name_of(order.kind)];
  if (fault.empty()) return;
  if (left_to_onednn(command, order, run)) {
    ++tally.left;
    return;
  }
  // A single defect shows at many moments.
  if (++tally.found > 10) return;
  FAIL_CHECK(std::string(command.name) << ": " << name_of(order.kind) << " " << order.n << ", "
                                       << action_name(order.action) << ": " << fault << "; exit code " << run.code
                                       << ", stderr: " << run.err);
}

void print(const char* what, const FaultyCommand& command, const Tally& tally) {
  if (most_moments() == 0) return;
  std::string text;
  for (const auto& [kind, runs] : tally.by_kind) text += (text.empty() ? "" : ", ") + std::to_string(runs) + " " + kind;
  std::printf("%s: %s: %ld runs (%s), %ld findings, %ld left to oneDNN\n", what, command.name, tally.runs, text.c_str(),
              tally.found, tally.left);
  std::fflush(stdout);
}

TEST_CASE("commands: whatever fails under them, they end with a word and leave whole files") {
  struct Plan {
    int kind, action;
    long few;
  };
  constexpr Plan kPlans[] = {
      {FAULTS_ALLOCATION, FAULTS_ONCE, 10},
      {FAULTS_ALLOCATION, FAULTS_FROM_THEN_ON, 5},
      {FAULTS_THREAD, FAULTS_ONCE, 2},
      {FAULTS_THREAD, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_READ, FAULTS_ONCE, 2},
      {FAULTS_READ, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_WRITE, FAULTS_ONCE, 3},
      {FAULTS_WRITE, FAULTS_FROM_THEN_ON, 2},
      {FAULTS_FSYNC, FAULTS_ONCE, 2},
      {FAULTS_FSYNC, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_RENAME, FAULTS_ONCE, 2},
      {FAULTS_RENAME, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_OPEN, FAULTS_ONCE, 3},
      {FAULTS_OPEN, FAULTS_FROM_THEN_ON, 2},
      {FAULTS_MMAP, FAULTS_ONCE, 3},
      {FAULTS_MMAP, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_STAT, FAULTS_ONCE, 3},
      {FAULTS_STAT, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_OTHER, FAULTS_ONCE, 3},
      {FAULTS_OTHER, FAULTS_FROM_THEN_ON, 1},
      {FAULTS_ANY_CALL, FAULTS_FROM_THEN_ON, 3},
      {FAULTS_READ, FAULTS_SHORT, 2},
      {FAULTS_WRITE, FAULTS_SHORT, 2},
      {FAULTS_WRITE, FAULTS_INTERRUPTED, 2},
      {FAULTS_OTHER, FAULTS_INTERRUPTED, 3},
  };
  for (const FaultyCommand& command : commands()) {
    FaultServer server(program_of(command), command.arguments, place());
    put_old_files(command, false);
    const FaultyRun good = server.run({FAULTS_ALLOCATION, FAULTS_NONE, 0});
    if (good.code == FAULTS_NOT_PERMITTED) return skip("faults", "system calls that can be trapped (seccomp)");
    REQUIRE_MESSAGE(good.code == 0, std::string(command.name) << ": " << good.err);
    const auto expected = files_in_out();
    for (const std::string& name : command.outputs)
      REQUIRE_MESSAGE(expected.count(name) == 1, std::string(command.name) << ": " << name);
    REQUIRE(expected.size() == command.outputs.size());
    put_old_files(command, true);
    const FaultyRun good_over_old = server.run({FAULTS_ALLOCATION, FAULTS_NONE, 0});
    Tally tally;
    bool there = false;
    for (const Plan& plan : kPlans) {
      for (const long n : moments(good.counts.calls[plan.kind], plan.few)) {
        there = !there;  // with an old file and without one, in turn
        put_old_files(command, there);
        const faults_order order{plan.kind, plan.action, n};
        const FaultyRun run = server.run(order);
        std::string fault = fault_of(command, order, run, there ? good_over_old : good, expected);
        const bool harmless = plan.action == FAULTS_SHORT || plan.action == FAULTS_INTERRUPTED;
        if (fault.empty() && harmless && run.code != 0) fault = "a short or interrupted call is no failure";
        report(command, order, run, fault, tally);
      }
    }
    print("failing", command, tally);
    CHECK_MESSAGE(tally.found == 0, std::string(command.name)
                                        << ": " << tally.found << " of " << tally.runs << " runs");
  }
}

TEST_CASE("kill -9 at any system call: files are whole, the next run gives the same bytes and leaves nothing over") {
  const std::vector<std::string> every_step{"--resume", "--checkpoint-every", "1"};
  for (FaultyCommand command : commands()) {
    if (command.outputs.empty()) continue;
    if (command.arguments[0] == "train") {
      command.arguments.insert(command.arguments.end(), every_step.begin(), every_step.end());
    }
    FaultServer server(program_of(command), command.arguments, place());
    put_old_files(command, false);
    const FaultyRun good = server.run({FAULTS_ANY_CALL, FAULTS_NONE, 0});
    if (good.code == FAULTS_NOT_PERMITTED) return skip("faults", "system calls that can be trapped (seccomp)");
    REQUIRE_MESSAGE(good.code == 0, std::string(command.name) << ": " << good.err);
    const auto expected = files_in_out();
    Tally tally;
    for (const long n : moments(good.counts.calls[FAULTS_ANY_CALL], 6)) {
      const faults_order order{FAULTS_ANY_CALL, FAULTS_KILL, n};
      put_old_files(command, false);
      const FaultyRun killed = server.run(order);
      std::string fault;
      // Counts may differ a little from run to run: then the program ends before that moment.
      if (killed.code != 128 + 9 && killed.code != 0) fault = "exit code " + std::to_string(killed.code);
      for (const auto& [name, bytes] : files_in_out()) {
        const auto known = expected.find(name);
        if (known != expected.end() && !whole(name, bytes, known->second)) fault = "half a file: " + name;
      }
      const FaultyRun next = server.run({FAULTS_ANY_CALL, FAULTS_NONE, 0});
      if (next.code != 0) fault = "the next run fails: " + next.err;
      const auto after = files_in_out();
      for (const auto& [name, bytes] : expected) {
        const auto found = after.find(name);
        if (found == after.end()) {
          fault = "the next run leaves no " + name;
        } else if (ends_with(name, ".snet") ? found->second != bytes : !whole(name, found->second, bytes)) {
          fault = "the next run leaves another " + name;
        }
      }
      for (const auto& [name, bytes] : after) {
        if (expected.count(name) == 0) fault = "after the next run there still is " + name;
      }
      report(command, order, killed, fault, tally);
    }
    print("killed", command, tally);
    CHECK_MESSAGE(tally.found == 0, std::string(command.name)
                                        << ": " << tally.found << " of " << tally.runs << " runs");
  }
}

}  // namespace
