// Files with a stored plan, tested from outside: the commands report it, use it if it fits, and answer as without it.
#include <doctest/doctest.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include "command.h"

using namespace sparsenet;
using namespace sparsenet::test;
using nlohmann::json;

namespace {

// small_model() with a plan for batch 1.
const std::string& planned_model() {
  static const std::string path = [] {
    auto model = load_model(small_model());
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    auto plan = make_stored_plan(model->graph, "portable-f32", 1);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    model->plans.push_back(std::move(*plan));
    const std::string file = scratch("planned.snet");
    const Status saved = save_model(*model, file);
    REQUIRE_MESSAGE(saved.ok(), saved.message());
    return file;
  }();
  return path;
}

}  // namespace

TEST_CASE("cli: info tells of stored plans and whether one is used") {
  const json plain = json_of({"info", small_model()}), planned = json_of({"info", planned_model()});
  CHECK(plain["plans"] == json::array());
  CHECK(plain["stored_plan"] == false);
  CHECK(planned["plans"] == json::array({{{"target", "portable-f32"}, {"batch", 1}, {"trains", false}}}));
  CHECK(planned["stored_plan"] == true);
  CHECK(planned["memory"] == plain["memory"]);
  CHECK(planned["steps"] == plain["steps"]);
  CHECK(json_of({"info", planned_model(), "--batch", "4"})["stored_plan"] == false);
  CHECK(json_of({"info", planned_model(), "--backend", "reference"})["stored_plan"] == false);
  const std::string text = sparsenet::test::sparsenet({"info", planned_model()}).out;
  CHECK(text.find("portable-f32, batch 1\n") != std::string::npos);
  CHECK(text.find("(stored in the file)") != std::string::npos);
  CHECK(sparsenet::test::sparsenet({"info", small_model()}).out.find("stored in the file") == std::string::npos);
}

TEST_CASE("cli: verify --steps compares every step of a stored plan") {
  auto model = load_model(planned_model());
  REQUIRE(model.ok());
  REQUIRE(model->test_vectors.size() > 0);
  REQUIRE(add_step_checks(model->test_vectors, &model->plans[0]).ok());
  const std::string good = scratch("steps.snet"), bad = scratch("steps_wrong.snet");
  REQUIRE(save_model(*model, good).ok());
  model->plans[0].step_checks[2].norm *= 1.5f;
  REQUIRE(save_model(*model, bad).ok());
  CHECK(sparsenet::test::sparsenet({"verify", good, "--steps"}).out.find("steps agree") != std::string::npos);
  const json report = json_of({"verify", good, "--steps", "--json"});
  CHECK(report["passed"] == true);
  CHECK(report["max_relative_difference"].get<double>() < 1e-4);
  const auto wrong = sparsenet::test::sparsenet({"verify", bad, "--steps"});
  CHECK(wrong.code != 0);
  CHECK(wrong.err.find("steps_wrong.snet: step 2 ('") != std::string::npos);
  const auto none = sparsenet::test::sparsenet({"verify", planned_model(), "--steps"});
  CHECK(none.code != 0);
  CHECK(none.err.find("holds no plan whose steps can be checked") != std::string::npos);
  CHECK(sparsenet::test::sparsenet({"verify", good, "--steps", "--backend", "portable"}).code == 0);
  const auto other = sparsenet::test::sparsenet({"verify", good, "--steps", "--backend", "reference"});
  CHECK(other.code == 2);
  CHECK(other.err.find("found 'reference'") != std::string::npos);
}

TEST_CASE("cli: classify and verify answer the same with a stored plan") {
  const std::string image = sample("cat-0000.png");
  const json plain = json_of({"classify", small_model(), image}),
             planned = json_of({"classify", planned_model(), image});
  CHECK(plain[0]["predictions"] == planned[0]["predictions"]);
  CHECK(sparsenet::test::sparsenet({"verify", planned_model()}).code == 0);
  const json bench = json_of({"bench", planned_model(), "--runs", "2", "--warmup", "1"});
  CHECK(bench["arena_bytes"] == json_of({"info", small_model()})["memory"]["arena_bytes"]);
}
