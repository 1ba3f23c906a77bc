// A `sparsenet train` that runs in parallel with the test, which can stop it at any moment.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace sparsenet::test {

class Running {
 public:
  // Its output goes to beside.out and beside.err in the scratch folder; with `output`, standard output is that
  // descriptor instead. Signals have their default action, except those in `ignored`, however the test itself was
  // started.
  explicit Running(std::vector<std::string> words, int output = -1, const std::vector<int>& ignored = {});
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running();  // kills it if it still runs

  pid_t id() const { return child_; }
  // Waits until the checkpoint differs from `before`, and a little longer; false if the program ends first.
  bool wait_for_checkpoint(const std::string& path, const std::string& before, int more_microseconds);
  void send(int signal);
  // Waits for it to end by itself, at most 20 seconds; then it is killed. Returns the exit code, or 128 + the signal.
  int end();
  // The same, but sends a signal first.
  int end_with(int signal);

 private:
  bool ended();
  pid_t child_ = 0;
  int state_ = 0;
  bool ended_ = false;
};

}  // namespace sparsenet::test
