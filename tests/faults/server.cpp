#include "server.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "train_command.h"

namespace sparsenet::test {
namespace {

constexpr int kHangMilliseconds = 60000;  // far longer than any run takes, even on the slowest machine

}  // namespace

FaultServer::FaultServer(const std::string& program, const std::vector<std::string>& arguments,
                         const std::string& folder)
    : folder_(folder) {
  int orders[2], answers[2];
  REQUIRE(::pipe2(orders, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(answers, O_CLOEXEC) == 0);
  shared_ = ::memfd_create("counts", MFD_CLOEXEC);
  REQUIRE(shared_ >= 0);
  REQUIRE(::ftruncate(shared_, sizeof(faults_counts)) == 0);
  void* const page = ::mmap(nullptr, sizeof(faults_counts), PROT_READ | PROT_WRITE, MAP_SHARED, shared_, 0);
  REQUIRE(page != MAP_FAILED);
  counts_ = static_cast<faults_counts*>(page);
  // High numbers, so that the program's own files get the same descriptors as always.
  const int their_orders = ::fcntl(orders[0], F_DUPFD, 100), their_answers = ::fcntl(answers[1], F_DUPFD, 100),
            their_counts = ::fcntl(shared_, F_DUPFD, 100);
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  server_ = ::fork();
  REQUIRE(server_ >= 0);
  if (server_ == 0) {
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::close(null);
    // On a single CPU, a program that may choose uses one thread; otherwise it would report how many it got, which is
    // not a fault.
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (::sched_getaffinity(0, sizeof all, &all) == 0) {
      for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
      }
      (void)::sched_setaffinity(0, sizeof one, &one);
    }
    ::setenv("LD_PRELOAD", SPARSENET_FAULTS_LIBRARY, 1);
    ::setenv("FAULTS_ORDERS", std::to_string(their_orders).c_str(), 1);
    ::setenv("FAULTS_ANSWERS", std::to_string(their_answers).c_str(), 1);
    ::setenv("FAULTS_COUNTS", std::to_string(their_counts).c_str(), 1);
    if (::chdir(folder.c_str()) == 0) ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  for (const int fd : {orders[0], answers[1], their_orders, their_answers, their_counts}) ::close(fd);
  orders_ = orders[1];
  answers_ = answers[0];
}

FaultServer::~FaultServer() {
  ::close(orders_);  // the program ends when nobody can give orders any more
  ::close(answers_);
  ::close(shared_);
  ::munmap(counts_, sizeof(faults_counts));
  ::waitpid(server_, nullptr, 0);
}

bool FaultServer::read_answer(int* value, int milliseconds) {
  pollfd ready{answers_, POLLIN, 0};
  if (::poll(&ready, 1, milliseconds) <= 0) return false;
  return ::read(answers_, value, sizeof *value) == static_cast<ssize_t>(sizeof *value);
}

FaultyRun FaultServer::run(const faults_order& order) {
  std::memset(counts_, 0, sizeof *counts_);
  REQUIRE(::write(orders_, &order, sizeof order) == static_cast<ssize_t>(sizeof order));
  FaultyRun result;
  int child = 0, state = 0;
  REQUIRE(read_answer(&child, kHangMilliseconds));
  REQUIRE(child > 0);
  if (!read_answer(&state, kHangMilliseconds)) {
    result.hung = true;
    ::kill(child, SIGKILL);
    REQUIRE_MESSAGE(read_answer(&state, kHangMilliseconds), "the server has ended, not its child");
  }
  result.code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  result.counts = *counts_;
  result.out = bytes_of(folder_ + "/stdout.txt");
  result.err = bytes_of(folder_ + "/stderr.txt");
  return result;
}

}  // namespace sparsenet::test
