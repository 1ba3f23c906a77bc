// What the child of a fork() can do with its parent's sessions and trainers.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/session.h>
#include <sparsenet/trainer.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "support/every_thread.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
// ThreadSanitizer ends a forked process that starts threads; AddressSanitizer's own locks stay locked in the child
// where another thread holds one at the fork.
constexpr bool kForkWithThreads = false;
#else
constexpr bool kForkWithThreads = true;
#endif

Graph network() {
  auto graph = build_graph(*parse_architecture("sparsenet-abc:blocks=2-2,k=4,path=2"), 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

// Runs the session; empty if that fails. Makes no doctest checks, because children use it too.
std::vector<float> logits_of(Session& session) {
  const std::vector<float> in(3 * 32 * 32, 0.25f);
  std::vector<float> out(10);
  const bool good = session.set_input(0, in.data(), in.size()).ok() && session.run().ok() &&
                    session.get_output(0, out.data(), out.size()).ok();
  return good ? out : std::vector<float>();
}

// The exit code of a child; -1: it hung or crashed.
int answer_of_child(const std::function<int()>& child) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::alarm(30);
    ::_exit(child());
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a pool has threads in a child as well, and ends there") {
  if (!kForkWithThreads) return skip("threads in a child", "a build without sanitizers");
  EveryThread every;
  auto pool = std::make_unique<ThreadPool>(3);
  CHECK(every.meet(*pool, 3) == 3);
  CHECK(answer_of_child([&] {
          if (every.meet(*pool, 3) != 3 || every.meet(*pool, 3) != 3) return 1;
          pool.reset();
          return 0;
        }) == 0);
  CHECK(answer_of_child([&] {
          pool.reset();  // unused
          return 0;
        }) == 0);
  CHECK(every.meet(*pool, 3) == 3);
}

TEST_CASE("children go on with their parent's sessions") {
  if (!kForkWithThreads) return skip("threads in a child", "a build without sanitizers");
  const Graph graph = network();
  for (const int threads : {1, 2, 4}) {
    SessionOptions options;
    options.threads = threads;
    auto session = Session::create(graph, options);
    REQUIRE(session.ok());
    const std::vector<float> expected = logits_of(*session);
    REQUIRE(expected.size() == 10);
    for (int child = 0; child < 3; ++child) {
      const int answer = answer_of_child([&] {
        for (int run = 0; run < 20; ++run) {
          if (logits_of(*session) != expected) return 1;
        }
        if (session->threads() != threads) return 2;
        { const Session gone = std::move(*session); }  // which ends its threads
        auto own = Session::create(graph, options);
        if (!own.ok() || logits_of(*own) != expected) return 3;
        // A grandchild.
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(logits_of(*own) == expected ? 0 : 1);
        int status = 0;
        if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0) return 4;
        return logits_of(*own) == expected ? 0 : 5;
      });
      CHECK_MESSAGE(answer == 0, threads, " threads");
      CHECK(logits_of(*session) == expected);
    }
    // A child that never runs anything ends normally, too.
    CHECK(answer_of_child([&] {
            { const Session gone = std::move(*session); }
            return 0;
          }) == 0);
    CHECK(logits_of(*session) == expected);
  }
}

TEST_CASE("children go on with their parent's training, to the same bits") {
  if (!kForkWithThreads) return skip("threads in a child", "a build without sanitizers");
  const Graph graph = network();
  const std::vector<float> images(4 * 3 * 32 * 32, 0.25f);
  const std::vector<int32_t> labels = {0, 1, 2, 3};
  TrainOptions options;
  options.batch = 4;
  options.threads = 2;
  auto trainer = Trainer::create(graph, options), other = Trainer::create(graph, options);
  REQUIRE(trainer.ok());
  REQUIRE(other.ok());
  for (Trainer* t : {&*trainer, &*other}) REQUIRE(t->step(images.data(), labels.data(), 0.01f).ok());
  REQUIRE(other->step(images.data(), labels.data(), 0.01f).ok());
  std::vector<uint8_t> expected(other->state_bytes()), found(other->state_bytes());
  REQUIRE(other->save_state(expected.data(), expected.size()).ok());
  CHECK(answer_of_child([&] {
          if (!trainer->step(images.data(), labels.data(), 0.01f).ok()) return 1;
          if (!trainer->save_state(found.data(), found.size()).ok()) return 2;
          return found == expected ? 0 : 3;
        }) == 0);
}

TEST_CASE("children with oneDNN: one thread works, more are refused, nothing hangs") {
  if (!is_available(Backend::kOneDnn)) return skip("oneDNN in a child", "the onednn backend");
  if (!kForkWithThreads) return skip("threads in a child", "a build without sanitizers");
  const Graph graph = network();
  SessionOptions options;
  options.backend = Backend::kOneDnn;
  options.threads = 1;
  auto single = Session::create(graph, options);
  options.threads = 2;
  auto several = Session::create(graph, options);
  REQUIRE(single.ok());
  REQUIRE(several.ok());
  const std::vector<float> expected = logits_of(*single);
  REQUIRE(expected.size() == 10);
  REQUIRE(logits_of(*several).size() == 10);
  const int answer = answer_of_child([&] {
    if (logits_of(*single) != expected) return 1;
    const Status refused = several->run();
    if (refused.code() != StatusCode::kUnsupported) return 2;
    if (refused.message().find("fork") == std::string::npos) return 3;
    auto own = Session::create(graph, options);
    if (own.ok() || own.status().code() != StatusCode::kUnsupported) return 4;
    SessionOptions one = options;
    one.threads = 1;
    own = Session::create(graph, one);
    if (!own.ok() || logits_of(*own) != expected) return 5;
    one.threads = 2;
    one.backend = Backend::kPortable;
    own = Session::create(graph, one);
    return own.ok() && logits_of(*own).size() == 10 ? 0 : 6;
  });
  CHECK(answer == 0);
  CHECK(logits_of(*several).size() == 10);
}
