// Plans in model files: a session that uses one gives the same as a session that plans itself, bit for bit; a plan that
// does not fit is not used. stored_plan_damage_test.cpp is about invalid ones.
#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "format/model_format.h"
#include "format/plan_format.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/skip.h"
#include "support/stored_plans.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// The model keeps the bytes alive: if they happen to be aligned they are used in place.
Model loaded(std::vector<uint8_t> bytes) {
  const auto owner = std::make_shared<std::vector<uint8_t>>(std::move(bytes));
  auto model = load_model(owner->data(), owner->size(), owner, "the test's bytes");
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return std::move(*model);
}

Session session_of(const Model& model, SessionOptions options) {
  auto session = Session::create(model, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

// Empty if both sessions agree in everything that can be observed.
std::string difference(Session& a, Session& b, const std::vector<Array>& inputs) {
  const MemoryReport m = a.memory(), n = b.memory();
  if (m.arena_bytes != n.arena_bytes || m.lower_bound_bytes != n.lower_bound_bytes ||
      m.scratch_bytes != n.scratch_bytes || m.weights_bytes != n.weights_bytes) {
    return "memory";
  }
  if (a.steps().size() != b.steps().size()) return "number of steps";
  for (size_t i = 0; i < a.steps().size(); ++i) {
    const StepInfo &s = a.steps()[i], &t = b.steps()[i];
    if (s.name != t.name || s.kernel != t.kernel || s.is_copy != t.is_copy || s.macs != t.macs) return "step " + s.name;
  }
  if (a.buffers().size() != b.buffers().size()) return "number of buffers";
  for (size_t i = 0; i < a.buffers().size(); ++i) {
    const BufferInfo &s = a.buffers()[i], &t = b.buffers()[i];
    if (s.name != t.name || s.offset != t.offset || s.bytes != t.bytes || s.first_step != t.first_step ||
        s.last_step != t.last_step) {
      return "buffer " + s.name;
    }
  }
  const auto x = run_session(a, inputs), y = run_session(b, inputs);
  if (!x.ok() || !y.ok()) return "run";
  if (x->size() != y->size()) return "number of outputs";
  for (size_t i = 0; i < x->size(); ++i) {
    if (a.outputs()[i].name != b.outputs()[i].name || a.outputs()[i].shape != b.outputs()[i].shape) return "output";
    if (std::memcmp((*x)[i].data(), (*y)[i].data(), (*x)[i].size() * sizeof(float)) != 0) return "values of an output";
  }
  return "";
}

// Compares a model with a plan, written and read again, with the same model without.
void check_equal(const Model& model, const std::string& what) {
  const std::vector<uint8_t> bytes = bytes_of(model);
  const Model read = loaded(bytes);
  REQUIRE_MESSAGE(read.plans.size() == 1, what);
  CHECK_MESSAGE(bytes_of(read) == bytes, what, ": written again, other bytes");
  const int64_t batch = read.plans[0].batch;
  Graph graph = read.graph;
  REQUIRE(graph.set_batch(batch).ok());
  const std::vector<Array> inputs = random_inputs(graph, 9);
  for (Backend backend : {Backend::kAuto, Backend::kPortable}) {
    for (int threads : {1, 2}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = threads;
      options.batch = batch;
      Session with = session_of(read, options);
      CHECK_MESSAGE(with.uses_stored_plan(), what);
      options.use_stored_plan = false;
      Session without = session_of(read, options);
      CHECK_MESSAGE(!without.uses_stored_plan(), what);
      CHECK_MESSAGE(difference(with, without, inputs).empty(), what, ": ", difference(with, without, inputs));
    }
  }
}

size_t bytes_without_plan(Model model) {
  model.plans.clear();
  return bytes_of(model).size();
}

}  // namespace

TEST_CASE("networks run from a stored plan as from one of their own") {
  for (const char* text : {"sparsenet-abc-v0", "densenet-bc-40-12", "resnet20",
                           "sparsenet-abc:blocks=2-2-3,k=5,path=3,attention=se", "sparsenet-basic-v0"}) {
    check_equal(with_plan(architecture(text)), text);
  }
  check_equal(with_plan(architecture("sparsenet-abc-v0"), 3), "batch 3");
}

TEST_CASE("converted networks run from a stored plan as from one of their own") {
  if (!can_convert()) return skip("stored plans of converted networks", "sparsenet-convert");
  const std::string folder = std::string(SPARSENET_SOURCE_DIR) + "/models/sources/";
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{folder + "mlperf-tiny-resnet8.tflite"},
                                             {folder + "sparsenet-abc-v0-cifar10.pth", "--arch", "sparsenet-abc-v0"}}) {
    auto model = convert(arguments);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    add_plan(&*model);
    check_equal(*model, arguments[0]);
  }
}

TEST_CASE("random graphs run from a stored plan as from one of their own") {
  int checked = 0;
  for (const auto* list : {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      const int seeds = scaled_by_effort(4);
      for (int seed = 0; seed < seeds; ++seed) {
        Model model;
        model.graph = make_graph(generator, static_cast<uint64_t>(seed));
        if (!serialize_model(model).ok()) continue;  // contains ops that only passes create
        const int64_t batch = model.graph.shape(model.graph.inputs[0])[0];
        auto stored = make_stored_plan(model.graph, kTarget, batch);
        if (!stored.ok() && generator.may_refuse) continue;
        REQUIRE_MESSAGE(stored.ok(), label(generator, static_cast<uint64_t>(seed)), ": ", stored.status().message());
        model.plans.push_back(std::move(*stored));
        check_equal(model, label(generator, static_cast<uint64_t>(seed)));
        ++checked;
      }
    }
  }
  CHECK(checked >= scaled_by_effort(100));
}

TEST_CASE("a model with all ops runs from its stored plan") {
  Model model = model_of_all_ops();
  add_plan(&model, 2);
  check_equal(model, "all ops");
}

TEST_CASE("a plan costs its steps and the constants that passes changed") {
  const Model model = with_plan(architecture("sparsenet-abc-v0"));
  const size_t with = bytes_of(model).size(), without = bytes_without_plan(model);
  MESSAGE("sparsenet-abc-v0: ", without, " bytes, with a plan ", with);
  size_t constants = 0;
  for (const Tensor& t : model.plans[0].constants) constants += static_cast<size_t>(align_up(t.bytes()));
  CHECK(with > without);
  CHECK(with - without < constants + 60000);

  // Nothing is folded here, so the weights are the graph's own, and are stored in the file once.
  const Model plain = with_plan(tiny_model().graph);
  CHECK(bytes_of(plain).size() - bytes_without_plan(plain) < 1500);
  const Model read = loaded(bytes_of(plain));
  bool shared = false;
  for (const Value& value : read.graph.values) {
    for (const Tensor& t : read.plans[0].constants) {
      shared = shared || (value.name == "w" && value.constant.data == t.data);
    }
  }
  CHECK(shared);
}

TEST_CASE("constants of a plan stand at multiples of 64, in the file's own memory") {
  const std::vector<uint8_t> bytes = bytes_of(with_plan(architecture("sparsenet-abc:blocks=2-2-3,k=5,path=3")));
  std::vector<uint8_t> memory(bytes.size() + 64);
  uint8_t* start = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::memcpy(start, bytes.data(), bytes.size());
  const auto model = load_model(start, bytes.size(), nullptr, "memory");
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  REQUIRE(model->plans.size() == 1);
  CHECK(model->plans[0].constants.size() > 10);
  for (const Tensor& t : model->plans[0].constants) {
    const auto* at = static_cast<const uint8_t*>(t.data);
    CHECK((at - start) % 64 == 0);
    CHECK((at >= start && at + t.bytes() <= start + bytes.size()));
  }
}

TEST_CASE("a plan that does not fit is not used") {
  Model model = with_plan(architecture("sparsenet-abc:blocks=2-2-3,k=5,path=3"), 2);
  add_plan(&model, 1);
  model = loaded(bytes_of(model));
  CHECK(model.plans.size() == 2);
  SessionOptions options;
  options.threads = 1;
  const auto uses = [&] { return session_of(model, options).uses_stored_plan(); };
  CHECK(uses());
  options.batch = 2;
  CHECK(uses());
  options.batch = 3;
  CHECK_FALSE(uses());
  options.batch = 1;
  options.optimize = false;
  CHECK_FALSE(uses());
  options.optimize = true;
  options.backend = Backend::kReference;
  CHECK_FALSE(uses());
  if (is_available(Backend::kOneDnn)) {
    options.backend = Backend::kOneDnn;
    CHECK_FALSE(uses());
  }
  options.backend = Backend::kPortable;
  CHECK(uses());
  const auto from_graph = Session::create(model.graph, options);
  REQUIRE(from_graph.ok());
  CHECK_FALSE(from_graph->uses_stored_plan());

  const auto constant = [&](const std::string& name) -> Value& {
    for (Value& value : model.graph.values) {
      if (value.name == name) return value;
    }
    FAIL(name);
    return model.graph.values[0];
  };
  const auto stale = [&] {
    CHECK_FALSE(uses());
    CHECK(loaded(bytes_of(model)).plans.empty());  // and is not saved
  };
  SUBCASE("a constant with other contents") {
    Value& bias = constant("fc.bias");
    std::vector<float> values(bias.constant.f32(), bias.constant.f32() + bias.constant.elements());
    SUBCASE("in a place of its own") {
      values.back() += 1;
      bias.constant = Tensor::from(bias.shape, values);
      stale();
    }
    SUBCASE("written over in place") {
      auto own = std::make_shared<std::vector<float>>(values);
      bias.constant.owner = own;
      bias.constant.data = own->data();
      CHECK(uses());  // the same contents elsewhere
      own->front() += 1;
      stale();
    }
  }
  SUBCASE("another image size") {
    model.graph.value(model.graph.inputs[0]).shape = {1, 3, 64, 64};
    REQUIRE(model.graph.infer_shapes().ok());
    CHECK_FALSE(uses());
    CHECK(loaded(bytes_of(model)).plans.empty());
  }
  SUBCASE("another node") {
    model.graph.outputs = {model.graph.add_node(Op::kRelu, "last", {model.graph.outputs[0]})};
    CHECK_FALSE(uses());
    CHECK(loaded(bytes_of(model)).plans.empty());
  }
  SUBCASE("another operation") {
    for (Node& node : model.graph.nodes) {
      if (node.op != Op::kRelu) continue;
      node.op = Op::kTanh;
      break;
    }
    stale();
  }
  SUBCASE("other attributes") {
    for (Node& node : model.graph.nodes) {
      if (auto* attrs = std::get_if<BatchNormAttrs>(&node.attrs)) {
        attrs->epsilon *= 2;
        break;
      }
    }
    stale();
  }
  SUBCASE("other connections") {
    // The first two normalisations trade their scales, which have the same length.
    std::vector<Node*> norms;
    for (Node& node : model.graph.nodes) {
      const bool fits = node.op == Op::kBatchNorm &&
                        (norms.empty() || model.graph.shape(node.inputs[1]) == model.graph.shape(norms[0]->inputs[1]));
      if (fits) norms.push_back(&node);
    }
    REQUIRE(norms.size() >= 2);
    std::swap(norms[0]->inputs[1], norms[1]->inputs[1]);
    stale();
  }
  SUBCASE("another output") {
    model.graph.outputs = {model.graph.nodes[model.graph.nodes.size() - 2].outputs[0]};
    stale();
  }
  SUBCASE("another batch size of the graph is no matter") {
    REQUIRE(model.graph.set_batch(5).ok());
    CHECK(uses());
    CHECK(loaded(bytes_of(model)).plans.size() == 2);
  }
}

TEST_CASE("a graph that makes no sense is no reason to crash, plan or not") {
  const Model good = loaded(bytes_of(with_plan(architecture("sparsenet-abc:blocks=2-2-3,k=5,path=3"))));
  const auto refused = [&](const std::function<void(Graph&)>& change) {
    Model model = good;
    change(model.graph);
    CHECK_FALSE(Session::create(model, {}).ok());
    CHECK_FALSE(serialize_model(model).ok());
  };
  const auto constant = [](Graph& graph) -> Value& {
    for (Value& value : graph.values) {
      if (value.is_constant) return value;
    }
    return graph.values[0];
  };
  refused([&](Graph& g) { constant(g).constant.data = nullptr; });
  refused([&](Graph& g) { constant(g).constant.shape = {int64_t{1} << 62, int64_t{1} << 62}; });
  refused([&](Graph& g) { constant(g).constant.shape = {-5}; });
  refused([&](Graph& g) { g.inputs = {99999}; });
  refused([&](Graph& g) { g.inputs = {-1}; });
}

TEST_CASE("every attribute of a node counts for the plan") {
  for (const Model& original : {tiny_model(), model_of_all_ops()}) {
    const uint64_t before = graph_identity(original.graph);
    CHECK(graph_identity(Graph(original.graph)) == before);
    for (size_t i = 0; i < original.graph.nodes.size(); ++i) {
      Graph changed = original.graph;
      Attrs& attrs = changed.nodes[i].attrs;
      INFO("node ", changed.nodes[i].name);
      if (auto* conv = std::get_if<ConvAttrs>(&attrs)) {
        conv->activation.b += 1;
        CHECK(graph_identity(changed) != before);
        conv->activation.b -= 1;
        conv->pads[3] += 1;
      } else if (auto* full = std::get_if<FullyConnectedAttrs>(&attrs)) {
        full->activation.kind = Activation::Kind::kTanh;
      } else if (auto* norm = std::get_if<BatchNormAttrs>(&attrs)) {
        norm->epsilon *= 2;
      } else if (auto* clip = std::get_if<ClipAttrs>(&attrs)) {
        clip->high = clip->high == 3.f ? 4.f : 3.f;
      } else if (auto* pair = std::get_if<AlphaBetaAttrs>(&attrs)) {
        pair->beta += 1;
      } else if (auto* axis = std::get_if<AxisAttrs>(&attrs)) {
        axis->axis += 1;
      } else if (auto* split = std::get_if<SplitAttrs>(&attrs)) {
        std::swap(split->sizes.front(), split->sizes.emplace_back(77));
      } else if (auto* slice = std::get_if<SliceAttrs>(&attrs)) {
        slice->steps.back() += 1;
      } else if (auto* pad = std::get_if<PadAttrs>(&attrs)) {
        pad->value = pad->value == 3.f ? 4.f : 3.f;
      } else if (auto* pool = std::get_if<PoolAttrs>(&attrs)) {
        pool->count_include_pad = !pool->count_include_pad;
      } else if (auto* reduce = std::get_if<ReduceAttrs>(&attrs)) {
        reduce->keep_dims = !reduce->keep_dims;
      } else if (auto* reshape = std::get_if<ReshapeAttrs>(&attrs)) {
        reshape->dims.push_back(1);
      } else if (auto* transpose = std::get_if<TransposeAttrs>(&attrs)) {
        std::swap(transpose->perm.front(), transpose->perm.back());
      } else {
        changed.nodes[i].attrs = BatchNormAttrs{};
      }
      CHECK(graph_identity(changed) != before);
    }
  }
}

TEST_CASE("a session outlives the model and its file") {
  SessionOptions options;
  options.threads = 1;
  auto session = [&] {
    auto bytes = std::make_shared<std::vector<uint8_t>>(bytes_of(with_plan(architecture("sparsenet-abc-v0"))));
    const auto model = load_model(bytes->data(), bytes->size(), bytes, "memory");
    REQUIRE(model.ok());
    return session_of(*model, options);
  }();
  CHECK(session.uses_stored_plan());
  CHECK(run_session(session, {Array(Shape{1, 3, 32, 32}, 0.5)}).ok());
}

TEST_CASE("a plan cannot be made for what is unknown or makes no sense") {
  const Graph graph = tiny_model().graph;
  const Status status = make_stored_plan(graph, "cortex-m55", 1).status();
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK(status.message().find("'cortex-m55'") != std::string::npos);
  CHECK(status.message().find("portable-f32") != std::string::npos);
  CHECK_FALSE(make_stored_plan(graph, kTarget, 0).ok());
  CHECK_FALSE(make_stored_plan(graph, kTarget, -1).ok());
  CHECK_FALSE(make_stored_plan(Graph{}, kTarget, 1).ok());
}

TEST_CASE("stored plans: steps share views, and what they share unfolds into no more than the reader allows") {
  // Two concatenations of the same pieces, in two orders, each read by many convolutions.
  constexpr int kPieces = 60, kReaders = 200;
  Model model;
  Graph& g = model.graph;
  const ValueId x = g.add_input("x", {1, 1, 2, 2});
  const ValueId one = g.add_constant("one", Tensor::filled({1, 1, 1, 1}, 0.5f));
  const ValueId all = g.add_constant("all", Tensor::filled({1, kPieces, 1, 1}, 0.25f));
  std::vector<ValueId> pieces;
  for (int i = 0; i < kPieces; ++i) {
    pieces.push_back(g.add_node(Op::kConv, "p" + std::to_string(i), {x, one}, ConvAttrs{}));
  }
  std::vector<ValueId> ends;
  for (const char* order : {"forward", "backward"}) {
    const ValueId joined = g.add_node(Op::kConcat, order, pieces, AxisAttrs{1});
    for (int i = 0; i < kReaders; ++i) {
      ends.push_back(g.add_node(Op::kConv, order + std::to_string(i), {joined, all}, ConvAttrs{}));
    }
    std::reverse(pieces.begin(), pieces.end());
  }
  g.outputs = {g.add_node(Op::kConcat, "out", ends, AxisAttrs{1})};
  REQUIRE(g.infer_shapes().ok());
  auto plan = make_stored_plan(g, "portable-f32");
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans = {std::move(*plan)};
  const std::vector<uint8_t> bytes = bytes_of(model);
  const Model read = loaded(bytes);
  CHECK(bytes_of(read) == bytes);
  const schema::Plan& stored = *schema::GetModel(bytes.data())->plans()->Get(0);
  uint32_t longest = 0;
  for (const schema::PlanView* view : *stored.views()) longest = std::max(longest, view->segments());
  CHECK(longest >= kPieces);
  CHECK(stored.segments()->size() < kPieces * kReaders);
  Session with = session_of(read, {});
  model.plans.clear();
  Session without = session_of(model, {});
  CHECK(difference(with, without, random_inputs(g, 1)) == "");
}
