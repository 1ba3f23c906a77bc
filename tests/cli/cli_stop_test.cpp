// How programs end if they are asked to, if nobody reads their output, and if two of them want the same file.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sparsenet/model.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "running.h"
#include "support/skip.h"
#include "train_command.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;

// A folder in the scratch folder, containing only what a test case puts there.
std::string empty_folder(const std::string& name) {
  fs::remove_all(scratch(name));
  fs::create_directories(scratch(name));
  return scratch(name);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// A training that is not finished before a signal arrives.
std::vector<std::string> long_line(const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> line = train_line(out, more);
  line[7] = "100000";
  return line;
}

using Names = std::vector<std::string>;

TEST_CASE("train: Ctrl-C, SIGTERM and SIGHUP save, say how to go on, and leave with the shell's code") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal);
    const std::string folder = empty_folder("stopped");
    const std::string checkpoint = folder + "/net.snet.checkpoint";
    Running running(long_line("stopped/net.snet", {"--resume"}));
    REQUIRE(running.wait_for_checkpoint(checkpoint, "", 20000));
    CHECK(running.end_with(signal) == 128 + signal);
    const std::string message = bytes_of(scratch("beside.err"));
    CHECK(contains(message, "error: interrupted after step "));
    CHECK(contains(message, signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP"));
    CHECK(contains(message, "--resume goes on"));
    CHECK(contains(message, checkpoint));
    CHECK(std::count(message.begin(), message.end(), '\n') == 1);
    CHECK(names_in(folder) == Names{"net.snet.checkpoint"});
  }
}

TEST_CASE("train: a signal that was ignored at the start stays so, as nohup wants it") {
  const std::string folder = empty_folder("nohup");
  Running running(long_line("nohup/net.snet"), -1, {SIGHUP});
  REQUIRE(running.wait_for_checkpoint(folder + "/net.snet.checkpoint", "", 0));
  const std::string before = bytes_of(folder + "/net.snet.checkpoint");
  running.send(SIGHUP);
  CHECK(running.wait_for_checkpoint(folder + "/net.snet.checkpoint", before, 0));
  CHECK(running.end_with(SIGTERM) == 128 + SIGTERM);
}

TEST_CASE("train: when nobody reads its output any more it saves and leaves") {
  const std::string folder = empty_folder("closed");
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Running running(long_line("closed/net.snet"), ends[1]);
  ::close(ends[1]);
  REQUIRE(running.wait_for_checkpoint(folder + "/net.snet.checkpoint", "", 0));
  ::close(ends[0]);
  CHECK(running.end() == 128 + SIGPIPE);
  const std::string message = bytes_of(scratch("beside.err"));
  CHECK(contains(message, "error: interrupted after step "));
  CHECK(contains(message, "standard output was closed"));
  CHECK(names_in(folder) == Names{"net.snet.checkpoint"});
}

TEST_CASE("train: a standard output that was closed from the start never becomes one of the files") {
  const std::string expected = plain_result();
  const std::string folder = empty_folder("none");
  std::string line = std::string("exec ") + SPARSENET_CLI;
  for (const std::string& word : train_line("none/net.snet", {"--log", folder + "/net.csv"})) line += " '" + word + "'";
  line += " >&- 2>'" + scratch("none.err") + "'";
  const int state = std::system(line.c_str());
  // Its output could not be written, which is reported; the result is complete.
  CHECK(WEXITSTATUS(state) == 1);
  CHECK(bytes_of(scratch("none.err")) == "error: cannot write to standard output\n");
  CHECK(bytes_of(folder + "/net.snet") == expected);
  const std::string log = bytes_of(folder + "/net.csv");
  CHECK(std::count(log.begin(), log.end(), '\n') == 7);
  CHECK(log.find("epoch", 1) == std::string::npos);
}

TEST_CASE("train: files that another training writes are refused, with its process") {
  const std::string folder = empty_folder("two");
  Running first(long_line("two/net.snet", {"--log", folder + "/net.csv", "--plot", folder + "/net.svg"}));
  REQUIRE(first.wait_for_checkpoint(folder + "/net.snet.checkpoint", "", 0));
  const std::string process = "process " + std::to_string(first.id());
  CHECK(contains(bytes_of(folder + "/net.snet.lock"), process));

  const auto refused = [&](const std::string& out, const std::vector<std::string>& more, const char* option) {
    const Outcome outcome = train(out, more);
    CHECK(outcome.code == 1);
    CHECK(contains(outcome.err, std::string("error: ") + option + ": "));
    CHECK(contains(outcome.err, process));
  };
  refused("two/net.snet", {}, "--output");
  refused("two/net.snet", {"--checkpoint", folder + "/other"}, "--output");
  refused("two/other.snet", {"--checkpoint", folder + "/net.snet.checkpoint"}, "--checkpoint");
  refused("two/other.snet", {"--log", folder + "/net.csv"}, "--log");
  refused("two/other.snet", {"--plot", folder + "/net.svg"}, "--plot");
  fs::create_symlink("net.snet.checkpoint", folder + "/link");
  refused("two/other.snet", {"--checkpoint", folder + "/link"}, "--checkpoint");
  fs::remove(folder + "/link");
  // Writing beside it is allowed, and the rejected trainings have left nothing.
  CHECK(train("two/other.snet").code == 0);

  // What a killed training leaves behind blocks nobody, and disappears with the next one.
  CHECK(first.end_with(SIGKILL) == 128 + SIGKILL);
  CHECK(fs::exists(folder + "/net.snet.lock"));
  const Outcome next = train("two/net.snet", {"--log", folder + "/net.csv", "--plot", folder + "/net.svg"});
  CHECK_MESSAGE(next.code == 0, next.err);
  CHECK(names_in(folder) ==
        Names{"net.csv", "net.snet", "net.snet.checkpoint", "net.svg", "other.snet", "other.snet.checkpoint"});
}

TEST_CASE("train: a file that is no lock of ours is left alone") {
  const std::string folder = empty_folder("foreign");
  std::ofstream(folder + "/net.snet.lock") << "something of somebody";
  fails(train("foreign/net.snet"), 1, {"--output", "net.snet.lock", "found another file"});
  CHECK(bytes_of(folder + "/net.snet.lock") == "something of somebody");
  CHECK(names_in(folder) == Names{"net.snet.lock"});
}

TEST_CASE("train: a checkpoint of which it cannot be told whether it is there is no reason to begin anew") {
  const std::string folder = empty_folder("loop");
  fs::create_symlink("checkpoint", folder + "/checkpoint");  // points to itself
  const Outcome outcome = train("loop/net.snet", {"--resume", "--checkpoint", folder + "/checkpoint"});
  CHECK(outcome.code == 1);
  CHECK(contains(outcome.err, "error: " + folder + "/checkpoint: cannot look for it: "));
  CHECK(names_in(folder) == Names{"checkpoint"});
}

// Runs the command line as the first process of a new namespace, as in a container: its id is always 1. Kills it once
// the checkpoint differs from `before`; with a null pointer, lets it finish. Returns the exit code as in Outcome; -1:
// not permitted here.
int in_a_container(std::vector<std::string> words, const std::string& checkpoint, const std::string* before) {
  words.insert(words.begin(), SPARSENET_CLI);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  constexpr int kNotPermitted = 99;
  const pid_t outer = ::fork();
  REQUIRE(outer >= 0);
  if (outer == 0) {
    if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) ::_exit(kNotPermitted);
    const pid_t inner = ::fork();
    if (inner < 0) ::_exit(kNotPermitted);
    if (inner == 0) {
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 1);
      ::execv(SPARSENET_CLI, argv.data());
      ::_exit(98);
    }
    if (before != nullptr) {
      for (int i = 0; i < 10000; ++i) {
        if (const std::string now = bytes_of(checkpoint); !now.empty() && now != *before) break;
        ::usleep(1000);
      }
      ::kill(inner, SIGKILL);
    }
    int state = 0;
    ::waitpid(inner, &state, 0);
    ::_exit(WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state));
  }
  int state = 0;
  REQUIRE(::waitpid(outer, &state, 0) == outer);
  const int code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return code == kNotPermitted ? -1 : code;
}

TEST_CASE("train: killed in container after container, where every process has the same id, it goes on") {
  const std::string expected = plain_result();
  const std::string folder = empty_folder("container"), checkpoint = folder + "/net.snet.checkpoint";
  const std::vector<std::string> line =
      train_line("container/net.snet", {"--resume", "--checkpoint-every", "1", "--log", folder + "/net.csv"});
  // Temporary files as a kill in the middle of writing leaves them, including ones whose names contain a process id.
  std::ofstream(checkpoint + ".tmp-0123456789abcdef") << "half";
  for (const char* number : {"0", "1", "2"}) std::ofstream(checkpoint + ".tmp-1-" + number) << "by another version";
  std::string before;
  for (int i = 0; i < 5; ++i) {
    const int code = in_a_container(line, checkpoint, &before);
    if (code < 0) return skip("containers", "permission to make a namespace of processes (unshare)");
    REQUIRE((code == 128 + SIGKILL || code == 0));
    before = bytes_of(checkpoint);
  }
  CHECK(in_a_container(line, checkpoint, nullptr) == 0);
  CHECK(bytes_of(folder + "/net.snet") == expected);
  CHECK(names_in(folder) == Names{"net.csv", "net.snet", "net.snet.checkpoint", "net.snet.checkpoint.tmp-1-0",
                                  "net.snet.checkpoint.tmp-1-1", "net.snet.checkpoint.tmp-1-2"});
}

TEST_CASE("a limit on the size of files is an error line in every command that writes, and leaves nothing") {
  const std::string folder = empty_folder("limit");
  struct rlimit old {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto limited = [&](const std::vector<std::string>& line) {
    struct rlimit small = old;
    small.rlim_cur = 1024;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    Running running(line);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK(running.end() == 1);
    const std::string message = bytes_of(scratch("beside.err"));
    INFO(line[0] << ": " << message);
    CHECK(message.rfind("error: ", 0) == 0);
    CHECK(contains(message, folder));
    CHECK(contains(message, "File too large"));
    CHECK(names_in(folder).empty());
  };
  limited({"create", "sparsenet-abc-v0", "-o", folder + "/a.snet"});
  limited({"info", small_model(), "--plan-svg", folder + "/plan.svg"});
  limited({"profile", tiny_model(), "-r", "2", "--trace", folder + "/trace.json"});
  limited(train_line("limit/net.snet"));
}

}  // namespace
