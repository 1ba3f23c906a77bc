// ThreadPool: every chunk runs exactly once and in time, whatever the number of threads. Mainly for ThreadSanitizer.
// Also how sessions and trainers use threads: their own, which cost nothing between runs, or those of a hook.
#include "session/thread_pool.h"

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/session.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace sparsenet;

namespace {

struct Tally {
  std::vector<std::atomic<int>> runs;
  std::vector<int> plain;  // written without atomics: the pool's own ordering must make it visible
  std::atomic<int> bad_thread{0};
  int threads;
  Tally(size_t chunks, int count) : runs(chunks), plain(chunks, 0), threads(count) {}

  static void run(void* context, int32_t chunk, int32_t thread) {
    auto* tally = static_cast<Tally*>(context);
    ++tally->runs[static_cast<size_t>(chunk)];
    ++tally->plain[static_cast<size_t>(chunk)];
    if (thread < 0 || thread >= tally->threads) ++tally->bad_thread;
  }
};

}  // namespace

TEST_CASE("steps of more chunks than are shared out at a time") {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    pool.begin_run();
    for (int32_t chunks : {65534, 65535, 65536, 65537, 131070, 200000}) {
      Tally tally(static_cast<size_t>(chunks), threads);
      pool.parallel(chunks, Tally::run, &tally);
      const auto once = [](const std::atomic<int>& count) { return count == 1; };
      CHECK_MESSAGE(std::all_of(tally.runs.begin(), tally.runs.end(), once), threads, " threads, ", chunks, " chunks");
      CHECK(std::all_of(tally.plain.begin(), tally.plain.end(), [](int count) { return count == 1; }));
      CHECK(tally.bad_thread == 0);
    }
    pool.end_run();
  }
}

TEST_CASE("every chunk of every step runs once") {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    REQUIRE(pool.size() == threads);
    for (int32_t chunks : {1, 2, 3, 7, 64, 1000}) {
      Tally tally(static_cast<size_t>(chunks), threads);
      const int rounds = 5, steps = 20;
      for (int round = 0; round < rounds; ++round) {
        pool.begin_run();
        for (int step = 0; step < steps; ++step) {
          pool.parallel(chunks, Tally::run, &tally);
          // What the step wrote is visible immediately.
          int wrong = 0;
          for (int count : tally.plain) wrong += count != round * steps + step + 1;
          CHECK(wrong == 0);
        }
        pool.end_run();
      }
      int wrong = 0;
      for (const auto& count : tally.runs) wrong += count != rounds * steps;
      CHECK_MESSAGE(wrong == 0, threads, " threads, ", chunks, " chunks");
      CHECK(tally.bad_thread == 0);
    }
  }
}

TEST_CASE("steps with uneven chunks, and pauses between runs") {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  const auto uneven = [](void* context, int32_t chunk, int32_t) {
    if (chunk % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    static_cast<std::atomic<int>*>(context)->fetch_add(chunk);
  };
  for (int round = 0; round < 10; ++round) {
    pool.begin_run();
    for (int step = 0; step < 10; ++step) pool.parallel(16, uneven, &sum);
    pool.end_run();
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 3));
  }
  CHECK(sum == 100 * 120);
}

TEST_CASE("pools that never run, and pools beside each other") {
  { ThreadPool idle(4); }
  ThreadPool a(2), b(3);
  Tally first(10, 2), second(10, 3);
  a.begin_run();
  b.begin_run();
  for (int i = 0; i < 50; ++i) {
    a.parallel(10, Tally::run, &first);
    b.parallel(10, Tally::run, &second);
  }
  b.end_run();
  a.end_run();
  for (int count : first.plain) CHECK(count == 50);
  for (int count : second.plain) CHECK(count == 50);
}

namespace {

// A pool as an application might have one: new threads for every call, chunks assigned in turn, starting from the last.
struct ToyPool {
  int threads;
  std::atomic<int> calls{0}, chunks_run{0};

  static void parallel(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
    auto& pool = *static_cast<ToyPool*>(self);
    ++pool.calls;
    std::vector<std::thread> workers;
    for (int32_t t = 0; t < pool.threads; ++t) {
      workers.emplace_back([&pool, chunks, function, context, t] {
        for (int32_t chunk = chunks - 1 - t; chunk >= 0; chunk -= pool.threads) {
          function(context, chunk, t);
          ++pool.chunks_run;
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
  }
  ThreadHook hook() { return {threads, parallel, this}; }
};

Graph small_graph() {
  auto architecture = parse_architecture("sparsenet-abc-v0");
  REQUIRE(architecture.ok());
  auto graph = build_graph(*architecture, 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

std::vector<float> random_pixels(size_t images) {
  std::mt19937 random(3);
  std::vector<float> pixels(images * 3 * 32 * 32);
  for (float& pixel : pixels) pixel = static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f;
  return pixels;
}

std::vector<float> run_once(const Graph& graph, const SessionOptions& options) {
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const std::vector<float> pixels = random_pixels(1);
  std::vector<float> logits(10);
  REQUIRE(session->set_input(0, pixels.data(), pixels.size()).ok());
  REQUIRE(session->run().ok());
  REQUIRE(session->get_output(0, logits.data(), logits.size()).ok());
  return logits;
}

double cpu_seconds() {
  timespec time{};
  REQUIRE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

TEST_CASE("a session on threads of a hook gives the same bits") {
  const Graph graph = small_graph();
  SessionOptions options;
  options.threads = 1;
  const std::vector<float> expected = run_once(graph, options);
  for (int threads : {1, 2, 3}) {
    ToyPool pool{threads};
    options.thread_hook = pool.hook();
    CHECK(run_once(graph, options) == expected);
    // A pool with a single thread is not used.
    CHECK((pool.calls > 0) == (threads > 1));
    CHECK((pool.chunks_run > 0) == (threads > 1));
    auto session = Session::create(graph, options);
    REQUIRE(session.ok());
    CHECK(session->threads() == threads);
  }
}

TEST_CASE("training on threads of a hook gives the same bits") {
  const Graph graph = small_graph();
  const std::vector<float> pixels = random_pixels(8);
  const std::vector<int32_t> labels{0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<std::vector<uint8_t>> states;
  ToyPool pool{3};
  for (const ThreadHook& hook : {ThreadHook{}, pool.hook()}) {
    TrainOptions options;
    options.batch = 8;
    options.threads = 2;
    options.thread_hook = hook;
    auto trainer = Trainer::create(graph, options);
    REQUIRE_MESSAGE(trainer.ok(), trainer.status().message());
    CHECK(trainer->threads() == (hook.threads > 0 ? 3 : 2));
    for (int step = 0; step < 2; ++step) {
      auto result = trainer->step(pixels.data(), labels.data(), 0.01f);
      REQUIRE_MESSAGE(result.ok(), result.status().message());
    }
    states.emplace_back(trainer->state_bytes());
    REQUIRE(trainer->save_state(states.back().data(), states.back().size()).ok());
  }
  CHECK(states[0] == states[1]);
  CHECK(pool.calls > 0);
}

TEST_CASE("hooks that are none") {
  const Graph graph = small_graph();
  ToyPool pool{2};
  const ThreadHook wrong[] = {{2, nullptr, nullptr},
                              {-1, ToyPool::parallel, &pool},
                              {0, ToyPool::parallel, &pool},
                              {1025, ToyPool::parallel, &pool}};
  for (const ThreadHook& hook : wrong) {
    SessionOptions options;
    options.thread_hook = hook;
    auto session = Session::create(graph, options);
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().code() == StatusCode::kInvalidArgument);
    CHECK(session.status().message().find("thread hook") != std::string::npos);
    TrainOptions train;
    train.thread_hook = hook;
    auto trainer = Trainer::create(graph, train);
    REQUIRE_FALSE(trainer.ok());
    CHECK(trainer.status().code() == StatusCode::kInvalidArgument);
  }
  if (!is_available(Backend::kOneDnn)) return;
  SessionOptions options;
  options.backend = Backend::kOneDnn;
  options.thread_hook = pool.hook();
  auto session = Session::create(graph, options);
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().code() == StatusCode::kUnsupported);
  CHECK(session.status().message().find("onednn") != std::string::npos);
}

TEST_CASE("an idle session costs no CPU time") {
  const Graph graph = small_graph();
  const std::vector<float> pixels = random_pixels(1);
  for (const Backend backend : {Backend::kPortable, Backend::kOneDnn}) {
    if (!is_available(backend)) continue;
    SessionOptions options;
    options.backend = backend;
    options.threads = 4;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    for (int run = 0; run < 3; ++run) {
      REQUIRE(session->set_input(0, pixels.data(), pixels.size()).ok());
      REQUIRE(session->run().ok());
    }
    // OpenMP's threads, which are not ours, may wait actively for a moment after a run.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const double before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    CHECK_MESSAGE(cpu_seconds() - before < 0.05, std::string(name(backend)));
  }
}
