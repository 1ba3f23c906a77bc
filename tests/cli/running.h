// A `sparsenet train` that runs beside the test, to be stopped at a moment of the test's choice.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace sparsenet::test {

class Running {
 public:
  // Its words go to beside.out and beside.err in the scratch folder; with `output` standard output is that descriptor
  // instead. Signals have their default action, but for those in `ignored`, whatever the test itself was started with.
  explicit Running(std::vector<std::string> words, int output = -1, const std::vector<int>& ignored = {});
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running();  // kills what still runs

  pid_t id() const { return child_; }
  // Waits until the checkpoint is another than `before`, and a little longer; false where the program ends first.
  bool wait_for_checkpoint(const std::string& path, const std::string& before, int more_microseconds);
  void send(int signal);
  // Waits for its own end, 20 seconds at most; then it is killed. The exit code, or 128 + the signal.
  int end();
  // The same with a signal first.
  int end_with(int signal);

 private:
  bool ended();
  pid_t child_ = 0;
  int state_ = 0;
  bool ended_ = false;
};

}  // namespace sparsenet::test
