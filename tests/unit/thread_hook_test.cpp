// Thread pools that break the rules of ThreadHook: nothing is computed twice or left out, nothing crashes, and the call
// reports what was wrong.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/trainer.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/hook_guard.h"
#include "support/device_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

using Function = void (*)(void* context, int32_t chunk, int32_t thread);

// A pool that does what `behave` says in its n-th call, and behaves correctly in the others.
struct Pool {
  std::function<void(Pool&, int32_t chunks, Function, void* context)> behave;
  int bad_call = 3, calls = 0;
  Function late_function = nullptr;
  void* late_context = nullptr;

  static void parallel(void* self, int32_t chunks, Function function, void* context) {
    auto& pool = *static_cast<Pool*>(self);
    if (pool.calls++ == pool.bad_call) {
      const auto behave = pool.behave;  // which may set another one
      return behave(pool, chunks, function, context);
    }
    properly(chunks, function, context);
  }
  static void properly(int32_t chunks, Function function, void* context) {
    for (int32_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk, chunk % 2);
  }
  ThreadHook hook() { return {2, parallel, this}; }
  sn_thread_hook threads() { return {sizeof(sn_thread_hook), 2, parallel, this}; }
};

struct Misdeed {
  const char* name;
  const char* message;
  std::function<void(Pool&, int32_t, Function, void*)> behave;
};

const std::vector<Misdeed>& misdeeds() {
  static const std::vector<Misdeed> all = {
      {"nothing is called", "left out", [](Pool&, int32_t, Function, void*) {}},
      {"the last chunk is left out", "left out",
       [](Pool&, int32_t chunks, Function f, void* context) { Pool::properly(chunks - 1, f, context); }},
      {"the first chunk comes twice", "second",
       [](Pool&, int32_t chunks, Function f, void* context) {
         f(context, 0, 0);
         Pool::properly(chunks, f, context);
       }},
      {"one chunk in place of another", "second",
       [](Pool&, int32_t chunks, Function f, void* context) {
         for (int32_t chunk = 0; chunk < chunks; ++chunk) f(context, chunk / 2, 0);
       }},
      {"a chunk too many", "chunks",
       [](Pool&, int32_t chunks, Function f, void* context) { Pool::properly(chunks + 1, f, context); }},
      {"a negative chunk", "chunks",
       [](Pool&, int32_t chunks, Function f, void* context) {
         f(context, -1, 0);
         Pool::properly(chunks, f, context);
       }},
      {"threads that there are not", "threads from 0",
       [](Pool&, int32_t chunks, Function f, void* context) {
         for (int32_t chunk = 0; chunk < chunks; ++chunk) f(context, chunk, chunk == 1 ? 1000000 : -1);
       }},
      {"an exception", "exception",
       [](Pool&, int32_t, Function f, void* context) {
         f(context, 0, 1);
         throw std::runtime_error("tired");
       }},
      {"a call after the return", "after the return",
       [](Pool& pool, int32_t chunks, Function f, void* context) {
         pool.late_function = f;
         pool.late_context = context;
         Pool::properly(chunks, f, context);
         pool.behave = [](Pool& p, int32_t next_chunks, Function next, void* next_context) {
           p.late_function(p.late_context, 0, 0);
           Pool::properly(next_chunks, next, next_context);
         };
         ++pool.bad_call;
       }},
  };
  return all;
}

Graph network() {
  auto graph = build_graph(*parse_architecture("sparsenet-abc:blocks=2-2,k=4,path=2"), 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

std::vector<float> pixels(size_t images) {
  std::vector<float> values(images * 3 * 32 * 32);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 8.f - 1.f;
  return values;
}

std::vector<float> logits_of(Session& session, Status* status) {
  const std::vector<float> in = pixels(1);
  std::vector<float> out(10);
  REQUIRE(session.set_input(0, in.data(), in.size()).ok());
  *status = session.run();
  REQUIRE(session.get_output(0, out.data(), out.size()).ok());
  return out;
}

}  // namespace

TEST_CASE("sessions refuse what a hook does wrong, and are right all the same") {
  const Graph graph = network();
  SessionOptions options;
  options.threads = 1;
  Status status;
  auto plain = Session::create(graph, options);
  REQUIRE(plain.ok());
  const std::vector<float> expected = logits_of(*plain, &status);
  REQUIRE(status.ok());
  for (const Misdeed& misdeed : misdeeds()) {
    for (const int bad_call : {0, 3}) {
      Pool pool;
      pool.behave = misdeed.behave;
      pool.bad_call = bad_call;
      options.thread_hook = pool.hook();
      auto session = Session::create(graph, options);
      REQUIRE(session.ok());
      CHECK_MESSAGE(logits_of(*session, &status) == expected, misdeed.name);
      CHECK_MESSAGE(status.code() == StatusCode::kInvalidArgument, misdeed.name);
      CHECK_MESSAGE(status.message().find("thread hook: ") == 0, status.message());
      CHECK_MESSAGE(status.message().find(misdeed.message) != std::string::npos, misdeed.name, ": ", status.message());
      // A pool that behaves correctly from now on is used again.
      pool.bad_call = -1;
      CHECK(logits_of(*session, &status) == expected);
      CHECK_MESSAGE(status.ok(), status.message());
    }
  }
}

TEST_CASE("a call between two runs is told by the second") {
  const Graph graph = network();
  Pool pool;
  pool.bad_call = 0;
  pool.behave = [](Pool& p, int32_t chunks, Function f, void* context) {
    p.late_function = f;
    p.late_context = context;
    Pool::properly(chunks, f, context);
  };
  SessionOptions options;
  options.thread_hook = pool.hook();
  auto session = Session::create(graph, options);
  REQUIRE(session.ok());
  Status status;
  const std::vector<float> expected = logits_of(*session, &status);
  REQUIRE(status.ok());
  pool.late_function(pool.late_context, 0, 0);
  CHECK(logits_of(*session, &status) == expected);
  CHECK(status.message().find("after the return") != std::string::npos);
  CHECK(logits_of(*session, &status) == expected);
  CHECK(status.ok());
}

TEST_CASE("calls with the same thread at the same time are refused") {
  struct Step {
    std::atomic<bool> first_runs{false}, second_returned{false};
    std::atomic<int> runs[4] = {};
  };
  Step step;
  const auto chunk = [](void* context, int32_t index, int32_t) {
    auto& s = *static_cast<Step*>(context);
    ++s.runs[index];
    if (index != 0) return;
    s.first_runs = true;
    while (!s.second_returned) std::this_thread::yield();
  };
  // Both calls use thread 1; the second comes during the first.
  const auto parallel = [](void* self, int32_t, Function function, void* context) {
    auto& s = *static_cast<Step*>(self);
    std::thread first([&] { function(context, 0, 1); });
    while (!s.first_runs) std::this_thread::yield();
    function(context, 1, 1);
    CHECK(s.runs[1] == 0);
    s.second_returned = true;
    function(context, 2, 0);
    function(context, 3, 0);
    first.join();
  };
  std::vector<uint32_t> words(static_cast<size_t>(rt::HookGuard::bytes(2, 4)) / sizeof(uint32_t));
  rt::HookGuard guard;
  guard.init({parallel, &step, 2}, 4, false, words.data());
  const rt::ThreadHook handle = guard.handle();
  handle.parallel(handle.self, 4, chunk, &step);
  CHECK(guard.take() == rt::Misuse::kSameThread);
  CHECK(guard.take() == rt::Misuse::kNone);
  for (const auto& runs : step.runs) CHECK(runs == 1);
}

TEST_CASE("a step is not over while a late call is at work") {
  struct Step {
    std::atomic<bool> runs{false}, over{false};
    std::thread late;
  };
  Step step;
  const auto chunk = [](void* context, int32_t index, int32_t) {
    auto& s = *static_cast<Step*>(context);
    if (index != 0) return;
    s.runs = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK_FALSE(s.over);
  };
  const auto parallel = [](void* self, int32_t, Function function, void* context) {  // returns too early
    auto& s = *static_cast<Step*>(self);
    s.late = std::thread([function, context] { function(context, 0, 1); });
    function(context, 1, 0);
    while (!s.runs) std::this_thread::yield();
  };
  std::vector<uint32_t> words(static_cast<size_t>(rt::HookGuard::bytes(2, 2)) / sizeof(uint32_t));
  rt::HookGuard guard;
  guard.init({parallel, &step, 2}, 2, false, words.data());
  const rt::ThreadHook handle = guard.handle();
  handle.parallel(handle.self, 2, chunk, &step);
  step.over = true;
  step.late.join();
  CHECK(guard.take() == rt::Misuse::kNone);  // both chunks were done when the step was over
}

TEST_CASE("training refuses what a hook does wrong, with all state as before or the update whole") {
  const Graph graph = network();
  const std::vector<float> images = pixels(4);
  const std::vector<int32_t> labels = {0, 1, 2, 3};
  TrainOptions options;
  options.batch = 4;
  const auto state_of = [](const Trainer& trainer) {
    std::vector<uint8_t> state(trainer.state_bytes());
    REQUIRE(trainer.save_state(state.data(), state.size()).ok());
    return state;
  };
  options.threads = 1;
  auto plain = Trainer::create(graph, options);
  REQUIRE(plain.ok());
  std::vector<std::vector<uint8_t>> expected = {state_of(*plain)};
  for (int step = 0; step < 3; ++step) {
    REQUIRE(plain->step(images.data(), labels.data(), 0.01f).ok());
    expected.push_back(state_of(*plain));
  }
  Pool counting;
  counting.bad_call = -1;
  options.thread_hook = counting.hook();
  auto counted = Trainer::create(graph, options);
  REQUIRE(counted.ok());
  REQUIRE(counted->step(images.data(), labels.data(), 0.01f).ok());
  REQUIRE(counting.calls > 10);

  for (const Misdeed& misdeed : misdeeds()) {
    for (const int bad_call : {0, counting.calls / 2, counting.calls - 2, counting.calls - 1}) {
      Pool pool;
      pool.behave = misdeed.behave;
      pool.bad_call = bad_call;
      options.thread_hook = pool.hook();
      auto trainer = Trainer::create(graph, options);
      REQUIRE(trainer.ok());
      size_t done = 0;
      int refused = 0;
      for (int attempt = 0; attempt < 4 && done < 3; ++attempt) {
        const auto result = trainer->step(images.data(), labels.data(), 0.01f);
        done += result.ok() ? 1 : 0;
        refused += result.ok() ? 0 : 1;
        CHECK_MESSAGE(state_of(*trainer) == expected[done], misdeed.name, " in call ", bad_call);
        if (!result.ok()) {
          CHECK(result.status().code() == StatusCode::kInvalidArgument);
          CHECK_MESSAGE(result.status().message().find(misdeed.message) != std::string::npos,
                        result.status().message());
        }
      }
      CHECK_MESSAGE(refused == 1, misdeed.name, " in call ", bad_call, ": refused ", refused, " times");
      CHECK(done == 3);
    }
  }
}

TEST_CASE("the C API refuses it as well") {
  Model model;
  model.graph = network();
  add_test_vector(model, 1e-4f);
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE(plan.ok());
  REQUIRE(add_step_checks(model.test_vectors, &*plan).ok());
  model.plans.push_back(std::move(*plan));
  auto training = make_training_plan(model, "portable-f32");
  REQUIRE(training.ok());
  model.plans.push_back(std::move(*training));
  const auto bytes = serialize_model(model);
  REQUIRE(bytes.ok());
  Room file(*bytes);
  const std::vector<float> in = pixels(1);
  for (const Misdeed& misdeed : misdeeds()) {
    if (std::string(misdeed.name) == "an exception") continue;  // not in C
    std::vector<std::vector<float>> outputs;
    for (const bool behaves : {true, false}) {
      Pool pool;
      pool.behave = misdeed.behave;
      pool.bad_call = behaves ? -1 : 1;
      const sn_thread_hook threads = pool.threads();
      sn_options options{};
      options.struct_size = sizeof options;
      options.threads = &threads;
      const sn_needs needs = needs_of(file, &options);
      Room memory(needs.memory_bytes);
      sn_session* session = nullptr;
      REQUIRE(sn_prepare(file.at(), file.bytes(), &options, memory.at(), memory.bytes(), &session, nullptr) == SN_OK);
      REQUIRE(sn_set_input(session, 0, in.data(), in.size()) == SN_OK);
      CHECK_MESSAGE(sn_run(session) == (behaves ? SN_OK : SN_INVALID_ARGUMENT), misdeed.name);
      outputs.emplace_back(10);
      REQUIRE(sn_get_output(session, 0, outputs.back().data(), 10) == SN_OK);
      sn_message why{};
      why.struct_size = sizeof why;
      pool.behave = misdeed.behave;
      pool.bad_call = behaves ? -1 : pool.calls + 1;
      CHECK(sn_verify(session, 0, nullptr, &why) == (behaves ? SN_OK : SN_INVALID_ARGUMENT));
      CHECK_MESSAGE((behaves || std::string(why.text).find(misdeed.message) != std::string::npos), why.text);
      CHECK(memory.border_is_whole());

      options.training = 1;
      pool.behave = misdeed.behave;
      pool.bad_call = behaves ? -1 : pool.calls + 2;
      Room training_memory(needs_of(file, &options).memory_bytes);
      REQUIRE(sn_prepare(file.at(), file.bytes(), &options, training_memory.at(), training_memory.bytes(), &session,
                         nullptr) == SN_OK);
      REQUIRE(sn_set_input(session, 0, in.data(), in.size()) == SN_OK);
      float loss = 0;
      CHECK(sn_train_add(session, 3, &loss, &why) == (behaves ? SN_OK : SN_INVALID_ARGUMENT));
      CHECK(training_memory.border_is_whole());
    }
    CHECK_MESSAGE(outputs[0] == outputs[1], misdeed.name);
  }
}
