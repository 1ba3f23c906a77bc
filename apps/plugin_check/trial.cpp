#include "plugin_check/trial.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>

#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

// What parent and child share.
struct Shared {
  char at[480];    // what the child is doing
  char text[960];  // its verdict, or a note
  char reason[240];
  uint32_t ended;  // 1 + Verdict::Kind; 0: not yet
  uint32_t cases, unsupported, capabilities;
  double worst;
};

template <size_t kSize>
void copy(char (&to)[kSize], const std::string& from) {
  std::snprintf(to, kSize, "%s", from.c_str());
}

class SharedProgress : public Progress {
 public:
  explicit SharedProgress(Shared* shared) : shared_(shared) {}
  void at(const std::string& what) override { copy(shared_->at, what); }
  void count_case(double error) override {
    ++shared_->cases;
    if (error > shared_->worst) shared_->worst = error;
  }
  void count_unsupported(const std::string& reason) override {
    ++shared_->unsupported;
    copy(shared_->reason, reason);
  }
  void note(const std::string& text) override { copy(shared_->text, text); }

 private:
  Shared* shared_;
};

void end(Shared* shared, Verdict::Kind kind, const std::string& text) {
  copy(shared->text, text);
  shared->ended = 1u + static_cast<uint32_t>(kind);
}

// Says nothing on success, except for notes.
void run_in_child(const std::function<void(Shared*)>& body, Shared* shared) {
  try {
    body(shared);
    shared->ended = 1u + Verdict::kPassed;
  } catch (const Skip& skip) {
    end(shared, Verdict::kSkipped, skip.what());
  } catch (const Failure& failure) {
    end(shared, Verdict::kFailed, failure.what());
  } catch (const std::exception& error) {
    end(shared, Verdict::kFailed, std::string("an exception: ") + error.what() + " (while at " + shared->at + ")");
  } catch (...) {
    end(shared, Verdict::kFailed, std::string("an exception left the plugin (while at ") + shared->at + ")");
  }
}

Verdict fork_and_run(const std::function<void(Shared*)>& body, unsigned timeout, uint32_t* capabilities) {
  Verdict verdict;
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* shared = new (memory) Shared{};
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(timeout);
    run_in_child(body, shared);
    ::_exit(0);
  }
  int status = 0;
  pid_t ended = -1;
  while (child > 0 && (ended = ::waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  if (ended < 0) {
    verdict.text = std::string("cannot start a process: ") + std::strerror(errno);
  } else if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    verdict.text = signal == SIGALRM ? text("no answer within %u seconds", timeout)
                                     : text("killed by signal %d (%s)", signal, ::strsignal(signal));
    if (shared->at[0]) verdict.text += std::string(" while at ") + shared->at;
  } else if (shared->ended == 0) {
    verdict.text = text("the plugin ended the process with code %d", WEXITSTATUS(status));
    if (shared->at[0]) verdict.text += std::string(" while at ") + shared->at;
  } else {
    verdict.kind = static_cast<Verdict::Kind>(shared->ended - 1);
    verdict.text = shared->text;
  }
  verdict.cases = shared->cases;
  verdict.unsupported = shared->unsupported;
  verdict.worst = shared->worst;
  verdict.reason = shared->reason;
  if (capabilities) *capabilities = shared->capabilities;
  ::munmap(memory, sizeof(Shared));
  return verdict;
}

}  // namespace

Verdict try_check(const Check& check, const Settings& settings) {
  const auto body = [&](Shared* shared) {
    SharedProgress progress(shared);
    if (check.run_alone) return check.run_alone(settings, progress);
    Host host;
    Subject subject(settings, &host);
    check.run(subject, settings, progress);
    const std::string left = host.left();
    require(left.empty(), "after all plans are destroyed, the plugin keeps " + left);
    require(host.books().fault.empty(), host.books().fault);
  };
  return fork_and_run(body, settings.timeout, nullptr);
}

Verdict try_loading(const Settings& settings, uint32_t* capabilities) {
  const auto body = [&](Shared* shared) {
    Host host;
    const Subject subject(settings, &host);
    shared->capabilities = subject.plugin().capabilities;
  };
  return fork_and_run(body, settings.timeout, capabilities);
}

}  // namespace sparsenet::plugin_check
