// Networks that compute with integers cannot be trained, and that is said.
#include <doctest/doctest.h>
#include <sparsenet/deploy.h>
#include <sparsenet/trainer.h>

#include "support/integer_maker.h"

using namespace sparsenet;
using namespace sparsenet::test;

TEST_CASE("integers: training is refused, and the node is named") {
  Random random(1);
  IntegerMaker g(random);
  const ValueId x = g.input({1, 8}, {{0.5f}, {3}, 0});
  const ValueId logits = g.node(Op::kDequantize, {g.layer(x, {4, 8})}, NoAttrs{}, {});
  g.graph.value(logits).type = DataType::kFloat32;
  Model model;
  model.graph = g.finish({logits});
  const std::string layer = model.graph.nodes[0].name;
  const std::string expected =
      "FullyConnected '" + layer + "' computes with integers: train the network in float32, and quantise it afterwards";
  const auto trainer = Trainer::create(model.graph, {});
  REQUIRE_FALSE(trainer.ok());
  CHECK(trainer.status().code() == StatusCode::kUnsupported);
  CHECK(trainer.status().message() == expected);
  const auto plan = make_training_plan(model, "portable-f32");
  REQUIRE_FALSE(plan.ok());
  CHECK(plan.status().message() == expected);
  CHECK(replace_head(&model.graph, 3, 1).message() == expected);
  CHECK(model.graph.shape(logits) == Shape{1, 4});
}
