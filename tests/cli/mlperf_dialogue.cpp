#include "mlperf_dialogue.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

extern char** environ;

namespace sparsenet::test {
namespace {

constexpr char kReady[] = "m-ready";
constexpr size_t kBytesPerCommand = 31;

std::string hex(const std::vector<uint8_t>& bytes, size_t from, size_t count) {
  std::string digits;
  for (size_t i = from; i < std::min(from + count, bytes.size()); ++i) {
    char two[3];
    std::snprintf(two, sizeof two, i % 2 ? "%02X" : "%02x", bytes[i]);
    digits += two;
  }
  return digits;
}

}  // namespace

Dialogue::Dialogue(const std::vector<std::string>& arguments) {
  signal(SIGPIPE, SIG_IGN);  // a program that died is noticed by a missing answer
  int in[2], out[2];
  REQUIRE(pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  std::vector<std::string> words{SPARSENET_MLPERF};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int spawned = posix_spawn(&child_, SPARSENET_MLPERF, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  to_ = in[1];
  from_ = out[0];
  REQUIRE(spawned == 0);
}

Lines Dialogue::read() {
  Lines lines;
  while (true) {
    size_t end = text_.find("\r\n");
    while (end == std::string::npos) {
      pollfd ready{from_, POLLIN, 0};
      REQUIRE_MESSAGE(poll(&ready, 1, 60000) == 1, "no answer; so far: ", text_);
      char bytes[4096];
      const ssize_t got = ::read(from_, bytes, sizeof bytes);
      REQUIRE_MESSAGE(got > 0, "the program ended; so far: ", text_);
      text_.append(bytes, static_cast<size_t>(got));
      end = text_.find("\r\n");
    }
    lines.push_back(text_.substr(0, end));
    text_.erase(0, end + 2);
    if (lines.back() == kReady) break;
  }
  lines.pop_back();
  return lines;
}

void Dialogue::write(const std::string& text) {
  REQUIRE(::write(to_, text.data(), text.size()) == ssize_t(text.size()));
}

Lines Dialogue::ask(const std::string& command) {
  write(command + "%");
  return read();
}

std::string Dialogue::ask_one(const std::string& command) {
  const Lines lines = ask(command);
  REQUIRE_MESSAGE(lines.size() == 1, command);
  return lines[0];
}

void Dialogue::load(const std::vector<uint8_t>& bytes) {
  const std::string count = std::to_string(bytes.size());
  CHECK(ask_one("db load " + count) == "m-[Expecting " + count + " bytes]");
  for (size_t at = 0; at < bytes.size(); at += kBytesPerCommand) {
    const Lines lines = ask("db " + hex(bytes, at, kBytesPerCommand));
    CHECK(lines == (at + kBytesPerCommand < bytes.size() ? Lines{} : Lines{"m-load-done"}));
  }
}

std::string Dialogue::infer(const std::vector<uint8_t>& bytes) {
  load(bytes);
  const Lines lines = ask("infer 1 0");
  REQUIRE(lines.size() == 7);
  return lines[6];
}

int Dialogue::end() {
  if (child_ == 0) return 0;
  close(to_);
  int state = 0;
  waitpid(child_, &state, 0);
  child_ = 0;
  close(from_);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

std::string results_line(const std::vector<float>& values) {
  std::string list = "m-results-[";
  for (size_t i = 0; i < values.size(); ++i) {
    char text[64];
    std::snprintf(text, sizeof text, "%s%0.3f", i ? "," : "", static_cast<double>(values[i]));
    list += text;
  }
  return list + "]";
}

Outcome mlperf(const std::vector<std::string>& arguments) {
  std::string command = SPARSENET_MLPERF;
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  command += " >'" + scratch("m-out.txt") + "' 2>'" + scratch("m-err.txt") + "' </dev/null";
  const int state = std::system(command.c_str());
  Outcome outcome;
  outcome.code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  const auto text = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  };
  outcome.out = text(scratch("m-out.txt"));
  outcome.err = text(scratch("m-err.txt"));
  return outcome;
}

}  // namespace sparsenet::test
