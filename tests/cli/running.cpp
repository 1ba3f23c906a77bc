#include "running.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "train_command.h"

extern char** environ;

namespace sparsenet::test {

Running::Running(std::vector<std::string> words, int output, const std::vector<int>& ignored) {
  words.insert(words.begin(), SPARSENET_CLI);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output >= 0) {
    posix_spawn_file_actions_adddup2(&actions, output, 1);
  } else {
    posix_spawn_file_actions_addopen(&actions, 1, scratch("beside.out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  }
  posix_spawn_file_actions_addopen(&actions, 2, scratch("beside.err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  // Signals ignored here are ignored in the child too, unless their default action is requested.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) sigaddset(&defaults, signal);
  for (const int signal : ignored) {
    sigdelset(&defaults, signal);
    std::signal(signal, SIG_IGN);
  }
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int spawned = posix_spawn(&child_, SPARSENET_CLI, &actions, &attributes, argv.data(), environ);
  for (const int signal : ignored) std::signal(signal, SIG_DFL);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  REQUIRE(spawned == 0);
}

Running::~Running() {
  if (ended()) return;
  ::kill(child_, SIGKILL);
  waitpid(child_, &state_, 0);
}

bool Running::wait_for_checkpoint(const std::string& path, const std::string& before, int more_microseconds) {
  for (int i = 0; i < 20000; ++i) {
    if (ended()) return false;
    if (const std::string now = bytes_of(path); !now.empty() && now != before) {
      std::this_thread::sleep_for(std::chrono::microseconds(more_microseconds));
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAIL("no checkpoint in 20 seconds");
  return false;
}

void Running::send(int signal) {
  if (!ended()) ::kill(child_, signal);
}

int Running::end() {
  for (int i = 0; i < 4000 && !ended(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return end_with(SIGKILL);
}

int Running::end_with(int signal) {
  if (!ended()) {
    ::kill(child_, signal);
    REQUIRE(waitpid(child_, &state_, 0) == child_);
    ended_ = true;
  }
  return WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_);
}

bool Running::ended() {
  if (!ended_ && waitpid(child_, &state_, WNOHANG) == child_) ended_ = true;
  return ended_;
}

}  // namespace sparsenet::test
