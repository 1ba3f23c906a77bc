#include "limited_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

namespace sparsenet::test {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// Runs in the child and never returns.
[[noreturn]] void become(char* const* argv, const char* out, const char* err) {
#ifndef SPARSENET_SANITIZED
  const rlimit limit{rlim_t{3} << 30, rlim_t{3} << 30};
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(126);
#endif
  const int in = open("/dev/null", O_RDONLY);
  const int to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), errors = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (in < 0 || to < 0 || errors < 0) _exit(126);
  if (dup2(in, 0) < 0 || dup2(to, 1) < 0 || dup2(errors, 2) < 0) _exit(126);
  execv(argv[0], argv);
  _exit(127);
}

}  // namespace

LimitedRun run_limited(const std::vector<std::string>& words, const std::string& folder, double most_seconds) {
  const std::string out = folder + "/limited.out", err = folder + "/limited.err";
  std::vector<std::string> copies = words;
  std::vector<char*> argv;
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);
  LimitedRun run;
  const pid_t child = fork();
  if (child == 0) become(argv.data(), out.c_str(), err.c_str());
  if (child < 0) return run;
  const auto start = std::chrono::steady_clock::now();
  int state = 0;
  rusage usage{};
  while (wait4(child, &state, WNOHANG, &usage) == 0) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (passed.count() > most_seconds && !run.timed_out) {
      run.timed_out = true;
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  run.code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  run.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  run.peak_bytes = static_cast<size_t>(usage.ru_maxrss) * 1024;
  run.out = read_text(out);
  run.err = read_text(err);
  return run;
}

}  // namespace sparsenet::test
