// The C API: kernels chosen at run time, and what it reports about a model's images.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/sparsenet.h>

#include <string>
#include <vector>

#include "model_samples.h"
#include "support/device_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Model planned(Graph graph) {
  Model model;
  model.graph = std::move(graph);
  auto plan = make_stored_plan(model.graph, "portable-f32", 1);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans.push_back(std::move(*plan));
  return model;
}

Model model_with_options(const std::string& text) {
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return planned(std::move(*graph));
}

// A Relu of an input of this shape.
Model relu(Shape shape) {
  Graph graph;
  const ValueId x = graph.add_input("x", std::move(shape));
  graph.outputs = {graph.add_node(Op::kRelu, "relu", {x})};
  return planned(std::move(graph));
}

// The texts of an sn_image_info are stored in the model, which no longer exists after the call.
struct Images : sn_image_info {
  std::string order;
};

Images images_of(const Model& source) {
  Room model(bytes_of(source)), memory(needs_of(model).memory_bytes);
  Images info{};
  info.struct_size = sizeof(sn_image_info);
  info.channels = 77;
  REQUIRE(sn_image(prepared(model, memory), &info) == SN_OK);
  if (info.color_order) info.order = info.color_order;
  return info;
}

}  // namespace

TEST_CASE("the compact kernels, chosen at run time, need what the device's parts say") {
  for (const std::string text : {"sparsenet-abc-v0", "resnet20"}) {
    CAPTURE(text);
    Model source = model_with_options(text);
    add_test_vector(source, 1e-4f);
    REQUIRE(add_step_checks(source.test_vectors, &source.plans[0]).ok());
    auto training = make_training_plan(source, "portable-f32");
    REQUIRE_MESSAGE(training.ok(), training.status().message());
    source.plans.push_back(std::move(*training));
    const auto parts = make_device_parts(source);
    REQUIRE_MESSAGE(parts.ok(), parts.status().message());
    Room model(parts->file);
    for (const uint32_t trains : {0u, 1u}) {
      sn_options options{};
      options.struct_size = sizeof options;
      options.training = trains;
      const sn_needs linked = needs_of(model, &options);
      options.kernels = SN_KERNELS_COMPACT;
      const sn_needs compact = needs_of(model, &options);
      CHECK(compact.memory_bytes <= (trains ? parts->training_memory_bytes : parts->memory_bytes));
      CHECK(compact.arena_bytes == linked.arena_bytes);
      CHECK(compact.memory_bytes <= linked.memory_bytes);
      Room memory(compact.memory_bytes);
      sn_session* session = prepared(model, memory, &options);
      if (!trains) {
        CHECK(compact.weights_bytes == 0);
        std::vector<std::string> others;
        sn_observe(
            session,
            [](void* self, const sn_step* step) {
              const std::string kernel = step->kernel;
              if (kernel.find("compact") == std::string::npos && kernel.find("reference") == std::string::npos) {
                static_cast<std::vector<std::string>*>(self)->push_back(kernel);
              }
            },
            &others);
        sn_message why{sizeof why, ""};
        CHECK_MESSAGE(sn_verify(session, 0, nullptr, &why) == SN_OK, why.text);
        CHECK_MESSAGE(sn_verify_steps(session, nullptr, &why) == SN_OK, why.text);
        CHECK(others.empty());
      } else {
        CHECK(sn_train_verify(session, nullptr, nullptr) != SN_DIFFERENT);
      }
      CHECK(memory.border_is_whole());
    }
  }
}

TEST_CASE("kernels that this version does not know are refused; callers of older versions get the linked ones") {
  Room model(bytes_of(model_with_options("sparsenet-abc:blocks=2-2,k=4,path=2")));
  sn_options options{};
  options.struct_size = sizeof options;
  options.kernels = 2;
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_INVALID_ARGUMENT);
  CHECK(std::string(why.text) == "kernels: expected SN_KERNELS_LINKED (0) or SN_KERNELS_COMPACT (1), found 2");
  options.struct_size = offsetof(sn_options, kernels);
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_OK);
}

TEST_CASE("images without a mean and a deviation are taken as they are") {
  for (const int64_t channels : {1, 2, 3, 4}) {
    const Images info = images_of(relu({1, channels, 4, 5}));
    CHECK(info.channels == channels);
    for (int64_t c = 0; c < channels; ++c) {
      CHECK(info.mean[c] == 0.f);
      CHECK(info.std_dev[c] == 1.f);
    }
    CHECK(info.order == "RGB");
  }
  CHECK(images_of(relu({1, 5, 4, 5})).channels == 0);
  CHECK(images_of(relu({1, 12})).channels == 0);
  Model grey = relu({1, 1, 4, 5});
  grey.metadata.color_order = "GRAY";
  CHECK(images_of(grey).order == "GRAY");
  Model normalised = relu({1, 3, 4, 5});
  normalised.metadata.mean = {1, 2, 3};
  CHECK(images_of(normalised).mean[2] == 3.f);
  CHECK(images_of(normalised).std_dev[2] == 1.f);
}

TEST_CASE("a model without a plan is refused with the command that makes one") {
  Model source = model_with_options("sparsenet-abc:blocks=2-2,k=4,path=2");
  source.plans.clear();
  Room model(bytes_of(source));
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  sn_options options{};
  options.struct_size = sizeof options;
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_UNSUPPORTED);
  CHECK(std::string(why.text) ==
        "model: holds no plan portable-f32 for batch 1; `sparsenet-convert MODEL --plan portable-f32 -o DEVICE` adds "
        "one");
  options.training = 1;
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_UNSUPPORTED);
  CHECK(std::string(why.text).find(
            "`sparsenet-convert MODEL --plan portable-f32 --training-plan -o DEVICE` adds one") != std::string::npos);
  options.training = 0;
  options.batch = 2;  // for which the converter cannot make a plan
  CHECK(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_UNSUPPORTED);
  CHECK(std::string(why.text) == "model: holds no plan portable-f32 for batch 2");
}
