// The C API (sparsenet.h): gives the same bits as a Session, and uses only the caller's memory; wrong calls and damaged
// models give a status and a message of one line.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "format/stored/model_file.h"
#include "kernels/isa.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "session/thread_pool.h"
#include "support/device_helpers.h"
#include "support/skip.h"

extern "C" int c_api_use(const void* model, size_t model_bytes, void* memory, size_t memory_bytes, const float* input,
                         size_t input_elements, float* output, size_t output_elements, char* text, size_t text_bytes);

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Model model_of(const std::string& text, int64_t batch = 1) {
  Model model;
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  model.graph = std::move(*graph);
  for (int i = 0; i < 10; ++i) model.metadata.labels.push_back("class " + std::to_string(i));
  model.metadata.mean = {125.5f, 123.f, 114.f};
  model.metadata.std_dev = {63.f, 62.f, 66.5f};
  auto plan = make_stored_plan(model.graph, "portable-f32", batch);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans.push_back(std::move(*plan));
  return model;
}

std::vector<float> floats(const Array& array) {
  return {array.data.begin(), array.data.end()};
}

void use_pool(void* self, int32_t chunks, void (*function)(void*, int32_t, int32_t), void* context) {
  static_cast<ThreadPool*>(self)->parallel(chunks, function, context);
}

}  // namespace

TEST_CASE("a session in the caller's memory computes what a Session computes, bit for bit") {
  for (const std::string text : {"sparsenet-abc-v0", "resnet20", "densenet-bc-40-12", "sparsenet-basic-v0",
                                 "sparsenet-abc:blocks=2-2-3,k=5,path=3,attention=se"}) {
    CAPTURE(text);
    const Model source = model_of(text);
    SessionOptions options;
    options.threads = 1;
    options.backend = Backend::kPortable;
    Session expected = *Session::create(source, options);
    Room model(bytes_of(source));
    const sn_needs needs = needs_of(model);
    CHECK(needs.arena_bytes == expected.memory().arena_bytes);
    CHECK(needs.scratch_bytes == expected.memory().scratch_bytes);
    CHECK(needs.weights_bytes == expected.memory().weights_bytes);
    CHECK(needs.steps == expected.steps().size());
    CHECK(needs.labels == 10);
    CHECK(needs.memory_bytes >= needs.state_bytes + needs.weights_bytes + needs.arena_bytes + needs.scratch_bytes);
    Room memory(needs.memory_bytes);
    sn_session* session = prepared(model, memory);
    for (uint32_t seed = 1; seed <= 2; ++seed) {
      const std::vector<Array> inputs = random_inputs(source.graph, seed);
      const auto outputs = run_session(expected, inputs);
      REQUIRE(outputs.ok());
      const std::vector<float> input = floats(inputs[0]);
      REQUIRE(sn_set_input(session, 0, input.data(), input.size()) == SN_OK);
      REQUIRE(sn_run(session) == SN_OK);
      std::vector<float> found((*outputs)[0].size());
      REQUIRE(sn_get_output(session, 0, found.data(), found.size()) == SN_OK);
      CHECK(std::memcmp(found.data(), (*outputs)[0].data(), found.size() * sizeof(float)) == 0);
    }
    CHECK(memory.border_is_whole());
  }
}

TEST_CASE("threads of the caller's, and batches: the same bits") {
  const Model source = model_of("sparsenet-abc:blocks=2-2-3,k=8,path=3", 3);
  Room model(bytes_of(source));
  ThreadPool pool(3);
  sn_thread_hook threads{};
  threads.struct_size = sizeof threads;
  threads.threads = 3;
  threads.parallel = use_pool;
  threads.self = &pool;
  sn_options one{}, three{};
  one.struct_size = three.struct_size = sizeof one;
  one.batch = three.batch = 3;
  three.threads = &threads;
  Room small(needs_of(model, &one).memory_bytes), large(needs_of(model, &three).memory_bytes);
  CHECK(large.bytes() > small.bytes());
  sn_session *a = prepared(model, small, &one), *b = prepared(model, large, &three);
  Graph graph = source.graph;
  REQUIRE(graph.set_batch(3).ok());
  const std::vector<float> input = floats(random_inputs(graph, 4)[0]);
  std::vector<float> x(30), y(30);
  REQUIRE(sn_set_input(a, 0, input.data(), input.size()) == SN_OK);
  REQUIRE(sn_set_input(b, 0, input.data(), input.size()) == SN_OK);
  pool.begin_run();
  CHECK(sn_run(b) == SN_OK);
  pool.end_run();
  CHECK(sn_run(a) == SN_OK);
  REQUIRE(sn_get_output(a, 0, x.data(), 30) == SN_OK);
  REQUIRE(sn_get_output(b, 0, y.data(), 30) == SN_OK);
  CHECK(std::memcmp(x.data(), y.data(), 30 * sizeof(float)) == 0);
  CHECK(large.border_is_whole());
}

TEST_CASE("from C, too") {
  const Model source = model_of("sparsenet-abc:blocks=2-2,k=4,path=2");
  Room model(bytes_of(source)), memory(needs_of(model).memory_bytes);
  const std::vector<Array> inputs = random_inputs(source.graph, 2);
  const std::vector<float> input = floats(inputs[0]);
  Session expected = *Session::create(source, {});
  const auto outputs = run_session(expected, inputs);
  REQUIRE(outputs.ok());
  std::vector<float> found(10);
  char text[64] = "";
  CHECK(c_api_use(model.at(), model.bytes(), memory.at(), memory.bytes(), input.data(), input.size(), found.data(),
                  found.size(), text, sizeof text) == SN_OK);
  CHECK(std::memcmp(found.data(), (*outputs)[0].data(), found.size() * sizeof(float)) == 0);
  CHECK(c_api_use(model.at(), model.bytes(), memory.at(), memory.bytes() - 1, input.data(), input.size(), found.data(),
                  found.size(), text, sizeof text) == SN_NO_MEMORY);
  CHECK(std::string(text) ==
        "memory: expected " + std::to_string(memory.bytes()) + " bytes, found " + std::to_string(memory.bytes() - 1));
}

TEST_CASE("what a model says of itself, and its test vectors") {
  Model source = model_of("sparsenet-abc:blocks=2-2,k=4,path=2");
  add_test_vector(source, 1e-5f);
  add_test_vector(source, 1e-5f);
  auto values =
      std::vector<float>(source.test_vectors[1].outputs[0].f32(), source.test_vectors[1].outputs[0].f32() + 10);
  const float largest = std::abs(
      *std::max_element(values.begin(), values.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  values[3] += 0.5f * largest;
  source.test_vectors[1].outputs[0] = Tensor::from({1, 10}, values);
  Room model(bytes_of(source)), memory(needs_of(model).memory_bytes);
  CHECK(needs_of(model).test_vectors == 2);
  sn_session* session = prepared(model, memory);
  sn_tensor tensor{};
  tensor.struct_size = sizeof tensor;
  REQUIRE(sn_input(session, 0, &tensor) == SN_OK);
  CHECK(tensor.rank == 4);
  CHECK(tensor.elements == 3072);
  CHECK(tensor.dims[1] == 3);
  CHECK(std::string(tensor.name) == source.graph.value(source.graph.inputs[0]).name);
  REQUIRE(sn_output(session, 0, &tensor) == SN_OK);
  CHECK(tensor.rank == 2);
  CHECK(tensor.elements == 10);
  CHECK(sn_output(session, 1, &tensor) == SN_INVALID_ARGUMENT);
  CHECK(std::string(sn_label(session, 9)) == "class 9");
  CHECK(sn_label(session, 10) == nullptr);
  sn_image_info image{};
  image.struct_size = sizeof image;
  REQUIRE(sn_image(session, &image) == SN_OK);
  CHECK(image.channels == 3);
  CHECK(image.mean[0] == 125.5f);
  CHECK(image.std_dev[2] == 66.5f);
  CHECK(std::string(image.color_order) == "RGB");

  // A missing list means zeros (mean) or ones (standard deviation).
  Model half = source;
  half.metadata.std_dev.clear();
  Room half_model(bytes_of(half));
  REQUIRE(sn_image(prepared(half_model, memory), &image) == SN_OK);
  CHECK(image.channels == 3);
  CHECK(image.mean[0] == 125.5f);
  CHECK(image.std_dev[2] == 1.f);
  session = prepared(model, memory);

  float error = -1;
  CHECK(sn_verify(session, 0, &error, nullptr) == SN_OK);
  CHECK(error >= 0);
  CHECK(error <= 1e-5f);
  sn_message why{};
  why.struct_size = sizeof why;
  CHECK(sn_verify(session, 1, &error, &why) == SN_DIFFERENT);
  CHECK(error > 0.3f);
  CHECK(std::string(why.text) == "test vector 1: output 0 is beyond its tolerance");
  CHECK(sn_verify(session, 2, &error, &why) == SN_NOT_FOUND);

  std::vector<std::string> seen;
  sn_observe(
      session,
      [](void* self, const sn_step* step) {
        auto& list = *static_cast<std::vector<std::string>*>(self);
        CHECK(step->struct_size == sizeof *step);
        CHECK(step->index == list.size());
        CHECK((step->kernel_height > 0) == (std::string(step->kernel).rfind("conv2d", 0) == 0));
        CHECK((step->macs > 0) >= (step->kernel_height > 0));
        list.push_back(step->name);
      },
      &seen);
  CHECK(sn_run(session) == SN_OK);
  CHECK(seen.size() == needs_of(model).steps);
  sn_observe(session, nullptr, nullptr);
  CHECK(sn_run(session) == SN_OK);
  CHECK(seen.size() == needs_of(model).steps);
}

TEST_CASE("every step is compared with what the plan's maker computed") {
  for (const std::string text :
       {"sparsenet-abc-v0", "resnet20", "sparsenet-abc:blocks=2-2-3,k=5,path=3,attention=se"}) {
    CAPTURE(text);
    Model source = model_of(text);
    add_test_vector(source, 1e-4f);
    REQUIRE(add_step_checks(source.test_vectors, &source.plans[0]).ok());
    REQUIRE(source.plans[0].step_checks.size() == source.plans[0].plan->steps.size());
    Room model(bytes_of(source));
    Room memory(needs_of(model).memory_bytes);
    sn_session* session = prepared(model, memory);
    float error = -1;
    sn_message why{sizeof why, ""};
    CHECK_MESSAGE(sn_verify_steps(session, &error, &why) == SN_OK, why.text);
    CHECK(error >= 0);
    CHECK(error < 2e-5f);
    // After reading and writing again, the values are the same; without them, there is nothing to compare.
    const auto read = load_model(model.at(), model.bytes(), nullptr, "bytes");
    REQUIRE(read.ok());
    CHECK(read->plans[0].step_checks.size() == source.plans[0].step_checks.size());
    CHECK(bytes_of(*read) == bytes_of(source));

    // One step that computes something else is named, and no other.
    const size_t wrong = source.plans[0].step_checks.size() / 2;
    source.plans[0].step_checks[wrong].sum += 0.01f * source.plans[0].step_checks[wrong].norm;
    Room changed(bytes_of(source));
    CHECK(sn_verify_steps(prepared(changed, memory), &error, &why) == SN_DIFFERENT);
    CHECK(error == doctest::Approx(0.01).epsilon(0.05));
    CHECK(std::string(why.text).rfind("step " + std::to_string(wrong) + " ('", 0) == 0);
    source.plans[0].step_checks.clear();
    Room without(bytes_of(source));
    CHECK(sn_verify_steps(prepared(without, memory), &error, &why) == SN_NOT_FOUND);
  }
}

TEST_CASE("steps are compared with the maker's whatever ran before") {
  // Along rows, so that each operand of Concat is copied to a part of its output.
  Graph g;
  const ValueId x = g.add_input("x", {1, 2, 3, 4});
  const ValueId a = g.add_node(Op::kRelu, "relu", {x}), b = g.add_node(Op::kTanh, "tanh", {x});
  const ValueId rows = g.add_node(Op::kConcat, "concat", {a, b}, AxisAttrs{2});
  g.outputs = {g.add_node(Op::kSigmoid, "sigmoid", {rows})};
  Model source;
  source.graph = std::move(g);
  auto plan = make_stored_plan(source.graph, "portable-f32", 1);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  source.plans.push_back(std::move(*plan));
  add_test_vector(source, 1e-5f);
  REQUIRE(add_step_checks(source.test_vectors, &source.plans[0]).ok());
  Room model(bytes_of(source)), memory(needs_of(model).memory_bytes);
  sn_session* session = prepared(model, memory);
  const std::vector<float> other(24, 100.f);
  for (int i = 0; i < 3; ++i) {
    sn_message why{sizeof why, ""};
    float error = -1;
    CHECK_MESSAGE(sn_verify_steps(session, &error, &why) == SN_OK, why.text);
    REQUIRE(sn_set_input(session, 0, other.data(), other.size()) == SN_OK);
    REQUIRE(sn_run(session) == SN_OK);
  }
}

TEST_CASE("structures of an older caller are filled as far as they go") {
  Room model(bytes_of(model_of("sparsenet-abc:blocks=2-2,k=4,path=2")));
  union {
    sn_needs needs;
    uint8_t bytes[sizeof(sn_needs)];
  } old;
  std::memset(old.bytes, 0xEE, sizeof old.bytes);
  old.needs.struct_size = offsetof(sn_needs, labels);
  REQUIRE(sn_measure(model.at(), model.bytes(), nullptr, &old.needs, nullptr) == SN_OK);
  CHECK(old.needs.struct_size == offsetof(sn_needs, labels));
  CHECK(old.needs.inputs == 1);
  CHECK(old.needs.outputs == 1);
  CHECK(std::all_of(old.bytes + offsetof(sn_needs, labels), old.bytes + sizeof old.bytes,
                    [](uint8_t byte) { return byte == 0xEE; }));
  // Options of the first version of the header, without training.
  union {
    sn_options options;
    uint8_t bytes[sizeof(sn_options)];
  } first;
  std::memset(first.bytes, 0, sizeof first.bytes);
  first.options.struct_size = offsetof(sn_options, training);
  first.options.batch = 1;
  first.options.training = 0xEEEEEEEE;
  CHECK(sn_measure(model.at(), model.bytes(), &first.options, &old.needs, nullptr) == SN_OK);
  first.options.struct_size = offsetof(sn_options, batch);
  first.options.batch = 77;
  CHECK(sn_measure(model.at(), model.bytes(), &first.options, &old.needs, nullptr) == SN_OK);
  sn_message tiny{};
  tiny.struct_size = offsetof(sn_message, text) + 8;
  std::memset(tiny.text, 'x', sizeof tiny.text);
  CHECK(sn_measure(model.at() + 4, model.bytes(), nullptr, &old.needs, &tiny) == SN_INVALID_ARGUMENT);
  CHECK(std::string(tiny.text) == "model: ");
  CHECK(tiny.text[8] == 'x');
}

TEST_CASE("calls that make no sense are refused") {
  Room model(bytes_of(model_of("sparsenet-abc:blocks=2-2,k=4,path=2"))), memory(needs_of(model).memory_bytes);
  sn_session* session = prepared(model, memory);
  float value = 0;
  CHECK(sn_set_input(session, 0, &value, 1) == SN_INVALID_ARGUMENT);
  CHECK(sn_set_input(session, 1, &value, 1) == SN_INVALID_ARGUMENT);
  CHECK(sn_set_input(session, 0, nullptr, 3072) == SN_INVALID_ARGUMENT);
  CHECK(sn_get_output(session, 0, &value, 1) == SN_INVALID_ARGUMENT);
  CHECK(sn_run(nullptr) == SN_INVALID_ARGUMENT);
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{};
  why.struct_size = sizeof why;
  CHECK(sn_measure(nullptr, 100, nullptr, &needs, &why) == SN_INVALID_ARGUMENT);
  CHECK(sn_measure(model.at(), 10, nullptr, &needs, &why) == SN_INVALID_MODEL);
  CHECK(std::string(why.text) == "model: too short for a .snet file");
  sn_session* none = nullptr;
  CHECK(sn_prepare(model.at(), model.bytes(), nullptr, memory.at() + 8, memory.bytes(), &none, &why) ==
        SN_INVALID_ARGUMENT);
  CHECK(std::string(why.text) == "memory: expected an address that 64 divides");
  sn_options options{};
  options.struct_size = sizeof options;
  options.batch = 2;
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_UNSUPPORTED);
  CHECK(std::string(why.text) == "model: holds no plan portable-f32 for batch 2");
  sn_thread_hook threads{};
  threads.struct_size = sizeof threads;
  threads.threads = 2;
  options.batch = 1;
  options.threads = &threads;
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_INVALID_ARGUMENT);
  CHECK(none == nullptr);
}

TEST_CASE("damage is refused, or harmless where the checksum is set right") {
  Model source = model_of("sparsenet-abc:blocks=2-1,k=4,path=2");
  add_test_vector(source, 1e-4f);
  REQUIRE(add_step_checks(source.test_vectors, &source.plans[0]).ok());
  const std::vector<uint8_t> good = bytes_of(source);
  const uint64_t structure = structure_of(good);
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  for (size_t i = 0; i < good.size(); i += 97) {
    std::vector<uint8_t> bytes = good;
    bytes[i] ^= 0x10;
    Room model(bytes);
    CHECK(sn_measure(model.at(), model.bytes(), nullptr, &needs, nullptr) >= SN_INVALID_MODEL);
  }
  for (size_t length = 0; length < good.size(); length += 211) {
    Room model(std::vector<uint8_t>(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)));
    CHECK(sn_measure(model.at(), model.bytes(), nullptr, &needs, nullptr) == SN_INVALID_MODEL);
  }
  // Every byte of the structure, in turn: whatever it becomes, the call must return normally.
  DamageCounts counts;
  const auto places = static_cast<size_t>(scaled_by_effort(static_cast<int>(structure / 3)));
  const auto use = [](sn_session* session) {
    (void)sn_verify(session, 0, nullptr, nullptr);
    (void)sn_verify_steps(session, nullptr, nullptr);
    (void)sn_label(session, 0);
  };
  run_damaged(good, static_cast<size_t>(structure) / places, {nullptr}, use, &counts);
  check_counts(counts);
}

TEST_CASE("what a device is given needs no graph, and no more memory than it says") {
  Model source = model_of("sparsenet-abc-v0");
  add_test_vector(source, 1e-4f);
  const auto parts = make_device_parts(source);
  REQUIRE_MESSAGE(parts.ok(), parts.status().message());
  CHECK(parts->file.size() < bytes_of(source).size() * 3 / 4);
  CHECK(parts->kernels ==
        std::vector<std::string>{"compact::kConv", "compact::kPool", "compact::kGlobalPool", "compact::kAttention"});
  Room model(parts->file);
  const sn_needs needs = needs_of(model);
  CHECK(needs.arena_bytes == parts->arena_bytes);
  if (std::string(active_isa().name) == "compact") {  // a separate run, see CMakeLists.txt
    CHECK(needs.memory_bytes <= parts->memory_bytes);
    CHECK(needs.memory_bytes + 2048 > parts->memory_bytes);
    CHECK(needs.weights_bytes == 0);
  }
  Room memory(needs.memory_bytes);
  CHECK(sn_verify(prepared(model, memory), 0, nullptr, nullptr) == SN_OK);
  const auto refused = load_model(model.at(), model.bytes(), nullptr, "device.snet");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().message() == "device.snet: holds plans for devices and no graph: only sn_prepare reads it");
  source.plans.clear();
  CHECK(make_device_parts(source).status().code() == StatusCode::kNotFound);
}

TEST_CASE("files: mapped, and unmapped") {
  const void* data = nullptr;
  size_t bytes = 0;
  sn_message why{};
  why.struct_size = sizeof why;
  CHECK(sn_map_file("/nowhere/net.snet", &data, &bytes, &why) == SN_NOT_FOUND);
  CHECK(std::string(why.text).rfind("/nowhere/net.snet: ", 0) == 0);
  CHECK(sn_map_file(nullptr, &data, &bytes, &why) == SN_INVALID_ARGUMENT);
  const std::string path = std::string(SPARSENET_BINARY_DIR) + "/device_test.snet";
  const Model source = model_of("sparsenet-abc:blocks=2-2,k=4,path=2");
  REQUIRE(save_model(source, path).ok());
  REQUIRE(sn_map_file(path.c_str(), &data, &bytes, &why) == SN_OK);
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  CHECK(sn_measure(data, bytes, nullptr, &needs, nullptr) == SN_OK);
  sn_unmap_file(data, bytes);
  CHECK(sn_api_version() == SN_API_VERSION);
  CHECK(std::string(sn_version()) == version());
  CHECK(std::string(sn_status_name(SN_DIFFERENT)) == "different");
}
