// No exception leaves the library if memory runs out: every public function except the trainer's
// (train_out_of_memory_test.cpp), with the n-th allocation failing, alone and with all that follow.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/precision.h>
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <type_traits>

#include "support/check_session.h"
#include "support/device_helpers.h"
#include "support/fail_each.h"
#include "support/random_graphs.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// So that no value is copied where a move was meant.
template <class... Types>
constexpr bool kMoveFreely = (... &&
                              (std::is_nothrow_move_constructible_v<Types> &&
                               std::is_nothrow_move_assignable_v<Types> && std::is_nothrow_destructible_v<Types>));
static_assert(kMoveFreely<Status, Result<Graph>, Tensor, Value, Node, Graph, Metadata, TestVector, Model, StoredPlan,
                          DeviceParts, Session, Result<Session>>);

const std::string kSmall = "sparsenet-abc:blocks=1-1,k=2,path=1", kNonsense = "sparsenet-abc:blocks=none,colour=red",
                  kWhere = "the model in memory";

Graph small_graph() {
  auto graph = build_graph(*parse_architecture(kSmall), 1);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

// With a plan, a training plan, and a test vector.
Model small_model() {
  Model model;
  model.graph = small_graph();
  model.metadata.name = "a name that is too long to be kept within a string";
  add_test_vector(model, 1e-4f);
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE(plan.ok());
  REQUIRE(add_step_checks(model.test_vectors, &*plan).ok());
  model.plans.push_back(std::move(*plan));
  auto training = make_training_plan(model, "portable-f32");
  REQUIRE_MESSAGE(training.ok(), training.status().message());
  model.plans.push_back(std::move(*training));
  return model;
}

}  // namespace

TEST_CASE("graphs and architectures") {
  Graph graph = small_graph();
  fail_each("try_copy", [&] { return try_copy(graph); });
  fail_each("infer_shapes", [&] { return graph.infer_shapes(); });
  fail_each("set_batch", [&] { return graph.set_batch(3); });
  fail_each("set_batch(0)", [&] { return graph.set_batch(0); });
  Graph half = graph;  // each try goes on where the last one failed
  fail_each("parameters_to_float16", [&] { return parameters_to_float16(&half).status(); });
  fail_each("constants_to_float32", [&] { return constants_to_float32(&half); });
  Graph broken = graph;
  broken.nodes[1].inputs[0] = 100000;
  fail_each("infer_shapes of a broken graph", [&] { return broken.infer_shapes(); });
  fail_each("parse_architecture", [&] { return parse_architecture(kSmall); });
  fail_each("parse_architecture of nonsense", [&] { return parse_architecture(kNonsense); });
  const Architecture small = *parse_architecture(kSmall);
  fail_each("build_graph", [&] { return build_graph(small, 1); });
  Architecture wrong = small;
  wrong.classes = -1;
  fail_each("build_graph of nonsense", [&] { return build_graph(wrong, 1); });
}

TEST_CASE("what makes values throws std::bad_alloc, and nothing has changed") {
  const auto always = [] { return true; };
  Graph graph = small_graph();
  const Architecture small = *parse_architecture(kSmall);
  const std::string long_name = "a name that is too long to be kept within a string";
  const Shape shape = {1, 3, 8, 8};
  throw_each(
      "a copy of a graph", [&] { const Graph copy = graph; }, always);
  throw_each(
      "to_string(Shape)",
      [&] {
        (void)to_string(Shape{1000000, 1000000, 1000000});
      },
      always);
  throw_each(
      "to_string(Architecture)", [&] { (void)to_string(small); }, always);
  throw_each(
      "known_architectures", [&] { (void)known_architectures(); }, always);
  throw_each(
      "plan_targets", [&] { (void)plan_targets(); }, always);
  throw_each(
      "parameter_count", [&] { (void)graph.parameter_count(); }, always);
  throw_each(
      "Tensor::from",
      [&] {
        (void)Tensor::from({2}, {1.f, 2.f});
      },
      always);
  throw_each(
      "Tensor::filled", [&] { (void)Tensor::filled({100}, 1.f); }, always);
  Tensor half;
  throw_each(
      "to_float16 and to_float32",
      [&] {
        (void)to_float16(Tensor::filled({100}, 1.f), &half);
        (void)to_float32(half);
      },
      always);
  throw_each(
      "Status", [&] { (void)invalid_model(long_name).with_context(long_name); }, always);

  Graph grown;
  const auto sizes = [&] {
    return std::array<size_t, 4>{grown.values.size(), grown.nodes.size(), grown.inputs.size(), grown.outputs.size()};
  };
  std::array<size_t, 4> before{};
  const auto add = [&](const std::string& what, auto action) {
    grown.values.shrink_to_fit();  // so that they have to grow
    grown.nodes.shrink_to_fit();
    throw_each(
        what,
        [&] {
          before = sizes();
          action();
        },
        [&] { return sizes() == before; });
  };
  add("add_input", [&] { grown.add_input(long_name, shape); });
  add("add_constant", [&] { grown.add_constant(long_name, Tensor::filled({3}, 1.f)); });
  add("add_node", [&] { grown.add_node(Op::kRelu, long_name, {0}); });
  add("add_node_multi", [&] { grown.add_node_multi(Op::kSplit, long_name, {0}, SplitAttrs{1, {1, 2}}, {"a", "b"}); });
}

TEST_CASE("what needs no heap") {
  const Graph graph = small_graph();
  Graph moved = graph;
  no_heap("moves of a graph", [&] {
    Graph other = std::move(moved);
    moved = std::move(other);
  });
  int64_t sum = 0;
  no_heap("macs_per_image", [&] { sum += graph.macs_per_image(); });
  no_heap("element_count", [&] { sum += element_count(graph.shape(0)); });
  (void)is_available(Backend::kAuto);  // chooses the instruction set, once
  no_heap("is_available", [&] {
    for (const Backend backend : {Backend::kAuto, Backend::kPortable, Backend::kOneDnn, Backend::kReference}) {
      sum += is_available(backend) ? 1 : 0;
    }
  });
  bool found = false;
  {
    const Failing failing(0, true);  // plugins are looked for: without memory, none is found
    for (const Backend backend : {Backend::kOpenCl, Backend::kCuda}) found = found || is_available(backend);
  }
  CHECK_FALSE(found);
  no_heap("version", [&] { sum += static_cast<int64_t>(version().size()); });
  no_heap("measure_fma_peak_gflops", [&] { sum += static_cast<int64_t>(measure_fma_peak_gflops(1e-4)); });
  for (int64_t n = 0; n < 200; ++n) {  // ignores what it cannot read
    const Failing failing(n, n % 2 == 0);
    sum += usable_cpus();
  }
  CHECK(sum > 200);
}

TEST_CASE("models and their files") {
  const ScratchFolder folder;
  const std::string path = folder.file("net.snet"), missing = folder.file("none.snet"), text = folder.file("text"),
                    nowhere = folder.file("none/net.snet"), link = folder.file("link");
  Model model = small_model();
  fail_each("try_copy of a model", [&] { return try_copy(model); });
  fail_each("serialize_model", [&] { return serialize_model(model); });
  fail_each("save_model", [&] { return save_model(model, path); });
  fail_each("save_model to nowhere", [&] { return save_model(model, nowhere); });
  fail_each("write_file_atomically", [&] { return write_file_atomically(text, "text", 4); });
  std::filesystem::create_symlink("text", link);
  fail_each("write_file_atomically through a link", [&] { return write_file_atomically(link, "text", 4); });
  CHECK(std::filesystem::is_symlink(link));
  fail_each("load_model of a file", [&] { return load_model(path); });
  LoadOptions copies;
  copies.copy = true;
  fail_each("load_model of a file, as a copy", [&] { return load_model(path, copies); });
  fail_each("load_model of nothing", [&] { return load_model(missing); });
  fail_each("load_model of a text", [&] { return load_model(text); });
  const auto bytes = serialize_model(model);
  REQUIRE(bytes.ok());
  fail_each("load_model of memory",
            [&] { return load_model(bytes->data(), bytes->size(), std::shared_ptr<const void>(), kWhere); });
  const std::string target = "portable-f32", no_target = "toaster-int3 with a long name";
  fail_each("make_stored_plan", [&] { return make_stored_plan(model.graph, target); });
  fail_each("make_stored_plan for nothing", [&] { return make_stored_plan(model.graph, no_target); });
  fail_each("make_device_parts", [&] { return make_device_parts(model, target); });
  fail_each("make_device_parts for nothing", [&] { return make_device_parts(model, no_target); });
  fail_each(
      "make_training_plan", [&] { return make_training_plan(model, target); }, 60);
  StoredPlan plan = model.plans[0];
  fail_each("add_step_checks", [&] { return add_step_checks(model.test_vectors, &plan); });
  CHECK_FALSE(plan.step_checks.empty());
}

TEST_CASE("sessions") {
  const std::string backend_name = "portable", no_backend = "abacus, of the old kind";
  fail_each("parse_backend", [&] { return parse_backend(backend_name); });
  fail_each("parse_backend of nonsense", [&] { return parse_backend(no_backend); });
  const Model model = small_model();
  for (const Graph& graph :
       {model.graph, make_graph(network_generators()[1], 4), make_graph(network_generators()[3], 2)}) {
    for (const int threads : {1, 3}) {  // 3: a thread pool whose creation fails half-way
      SessionOptions options;
      options.backend = Backend::kPortable;
      options.threads = threads;
      const int64_t count = fail_each(
          "Session::create", [&] { return Session::create(graph, options); }, 200);
      MESSAGE(threads, " threads: ", count, " allocations");
    }
  }
  SessionOptions options;
  options.threads = 1;
  fail_each("Session::create of a model", [&] { return Session::create(model, options); });
  fail_each("Session::measure", [&] { return Session::measure(model, options); });
  options.threads = 2000;
  fail_each("Session::create with an error", [&] { return Session::create(model, options); });
  options.threads = 2;
  auto session = Session::create(model, options);
  REQUIRE(session.ok());
  std::vector<float> in(3 * 32 * 32, 0.5f), out(10);
  fail_each("set_input", [&] { return session->set_input(0, in.data(), in.size()); });
  fail_each("set_input of none", [&] { return session->set_input(7, in.data(), in.size()); });
  fail_each("set_input of too few", [&] { return session->set_input(0, in.data(), 7); });
  fail_each("run", [&] { return session->run(); });
  fail_each("run_profiled", [&] { return session->run_profiled(); });
  fail_each("get_output", [&] { return session->get_output(0, out.data(), out.size()); });
  fail_each("get_output of none", [&] { return session->get_output(7, out.data(), out.size()); });
  fail_each("get_output without room",
            [&] { return session->get_output(0, static_cast<float*>(nullptr), out.size()); });
  no_heap("what a session knows", [&] {
    (void)session->memory();
    (void)session->steps();
    (void)session->inputs();
    (void)session->buffers();
    Session other = std::move(*session);
    *session = std::move(other);
  });
}

// Creating a session is not tested: oneDNN itself crashes if an allocation fails (version 2.6.3 while making a
// reorder), and OpenMP ends the process if it has no memory for several threads.
TEST_CASE("runs with oneDNN: right, or refused") {
  if (!is_available(Backend::kOneDnn)) return skip("oneDNN without memory", "the onednn backend");
  SessionOptions options;
  options.backend = Backend::kOneDnn;
  options.threads = 1;
  auto session = Session::create(small_graph(), options);
  REQUIRE(session.ok());
  const std::vector<float> in(3 * 32 * 32, 0.5f);
  std::vector<float> expected(10), out(10);
  const auto use = [&](std::vector<float>& logits) {
    Status status = session->set_input(0, in.data(), in.size());
    if (status.ok()) status = session->run();
    return status.ok() ? session->get_output(0, logits.data(), logits.size()) : status;
  };
  REQUIRE(use(expected).ok());
  bool same = true;
  const int64_t count = fail_each("run", [&] {
    Status status = use(out);
    same = same && (!status.ok() || out == expected);
    return status;
  });
  CHECK(same);
  MESSAGE(count, " allocations");
}

TEST_CASE("the C API") {
  const ScratchFolder folder;
  const std::string path = folder.file("net.snet"), missing = folder.file("none.snet");
  Model model = small_model();
  REQUIRE(save_model(model, path).ok());
  const auto map = [](const std::string& file, sn_status* status) {
    const void* data = nullptr;
    size_t bytes = 0;
    sn_message why{};
    why.struct_size = sizeof why;
    *status = sn_map_file(file.c_str(), &data, &bytes, &why);
    if (*status == SN_OK) sn_unmap_file(data, bytes);
    return Status(*status == SN_NO_MEMORY ? StatusCode::kOutOfMemory : StatusCode::kOk, "");
  };
  sn_status status = SN_OK;
  fail_each("sn_map_file", [&] { return map(path, &status); });
  CHECK(status == SN_OK);
  fail_each("sn_map_file of nothing", [&] { return map(missing, &status); });
  CHECK(status == SN_NOT_FOUND);

  const auto bytes = serialize_model(model);
  REQUIRE(bytes.ok());
  Room room(*bytes);
  for (const uint32_t training : {0u, 1u}) {
    sn_options options{};
    options.struct_size = sizeof options;
    options.training = training;
    const sn_needs needs = needs_of(room, &options);
    Room memory(needs.memory_bytes);
    std::vector<float> in(3 * 32 * 32, 0.5f), out(10);
    sn_status last = SN_OK;
    const auto keep = [&last](sn_status now) { last = last == SN_OK ? now : last; };
    no_heap("a session of the C API", [&] {
      sn_session* session = nullptr;
      keep(sn_prepare(room.at(), room.bytes(), &options, memory.at(), memory.bytes(), &session, nullptr));
      if (last != SN_OK) return;
      keep(sn_set_input(session, 0, in.data(), in.size()));
      keep(sn_run(session));
      keep(sn_get_output(session, 0, out.data(), out.size()));
      if (!training) keep(sn_verify_steps(session, nullptr, nullptr));
      if (training) keep(sn_train_verify(session, nullptr, nullptr));
    });
    CHECK(last == SN_OK);
  }
}
