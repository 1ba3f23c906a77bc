// Invalid plans in model files are rejected, with a reason, before they could be run.
#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <functional>

#include "model_samples.h"
#include "plan/plan.h"
#include "support/stored_plans.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// A graph whose plan is changed in one place before it is written: the checks on reading must find it. A conv, a fully
// connected layer, a pool, a binary step with broadcasting and a softmax.
Graph graph_of_steps() {
  Graph g;
  ConvAttrs conv;
  conv.kernel = {3, 3};
  conv.pads = {1, 1, 1, 1};
  PoolAttrs pool;
  pool.kernel = {2, 2};
  pool.stride = {2, 2};
  ValueId x = g.add_input("x", {1, 2, 4, 4});
  x = g.add_node(Op::kConv, "conv", {x, g.add_constant("w", ramp({4, 2, 3, 3})), g.add_constant("b", ramp({4}))}, conv);
  x = g.add_node(Op::kMaxPool, "pool", {x}, pool);
  x = g.add_node(Op::kMul, "mul", {x, g.add_constant("row", ramp({1, 1, 1, 2}))});
  x = g.add_node(Op::kSoftmax, "softmax", {x}, AxisAttrs{1});
  g.outputs = {x};
  return g;
}

using Change = std::function<void(Plan&, rt::Step&)>;

void refused(const Graph& graph, const std::string& step_name, const std::string& part, const Change& change) {
  Model model = with_plan(graph);
  auto& plan = const_cast<Plan&>(*model.plans[0].plan);
  rt::Step* step = nullptr;
  for (rt::Step& s : plan.steps) {
    if (step_name == s.name) step = &s;
  }
  REQUIRE_MESSAGE(step != nullptr, step_name);
  REQUIRE(serialize_model(model).ok());
  change(plan, *step);
  const Status status = serialize_model(model).status();
  CAPTURE(status.message());
  CHECK(status.code() == StatusCode::kInvalidModel);
  CHECK(status.message().find("plan 0 for portable-f32") != std::string::npos);
  CHECK(status.message().find(part) != std::string::npos);
  CHECK(status.message().find('\n') == std::string::npos);
}

void skip(rt::Parameter* parameter, size_t elements) {
  parameter->data = parameter->f32() + elements;
}

rt::Segment& segment(const rt::View& view, int32_t i = 0) {
  return const_cast<rt::Segment&>(view.segments[i]);
}
rt::Strided& walk(const rt::Step& step) {
  return const_cast<rt::Strided&>(*step.strided);
}

}  // namespace

TEST_CASE("steps that would leave their memory are refused by name") {
  const Graph g = graph_of_steps();
  const auto conv = [&](const char* part, const std::function<void(rt::Step&)>& change) {
    refused(g, "conv", part, [&](Plan&, rt::Step& s) { change(s); });
  };
  conv("('conv')", [](rt::Step& s) { s.window.pad_top = 2; });
  conv("output's size", [](rt::Step& s) { s.window.pad_top = 0; });
  conv("output's size", [](rt::Step& s) { s.window.stride_w = 2; });
  conv("padding", [](rt::Step& s) { s.window.pad_left = -1; });
  conv("padding", [](rt::Step& s) { s.window.pad_bottom = INT32_MAX; });
  conv("kernel, stride and dilation", [](rt::Step& s) { s.window.kernel_h = 0; });
  conv("kernel, stride and dilation", [](rt::Step& s) { s.window.stride_h = INT32_MIN; });
  conv("kernel, stride and dilation", [](rt::Step& s) { s.window.dilation_h = 5000; });
  conv("groups", [](rt::Step& s) { s.conv.groups = 0; });
  conv("groups", [](rt::Step& s) { s.conv.groups = 3; });
  conv("weight", [](rt::Step& s) { s.conv.weight = {}; });
  conv("weight", [](rt::Step& s) { skip(&s.conv.weight, 1); });
  conv("bias", [](rt::Step& s) { skip(&s.conv.bias, 1); });
  conv("scale and shift", [](rt::Step& s) { s.affine.scale = s.conv.bias; });
  conv("unknown kind of step", [](rt::Step& s) { s.op = static_cast<rt::StepOp>(99); });
  conv("plans cannot hold", [](rt::Step& s) { s.op = rt::StepOp::kFill; });
  conv("not linked", [](rt::Step& s) { s.act.kind = static_cast<rt::Act::Kind>(rt::Act::kLast + 1); });
  conv("has no weights", [](rt::Step& s) { s.op = rt::StepOp::kAttention; });
  conv("attention: expected", [](rt::Step& s) {
    s.op = rt::StepOp::kAttention;
    s.conv.weight = s.conv.bias = {};
  });
}

TEST_CASE("views that leave the arena or do not add up are refused by name") {
  const Graph g = graph_of_steps();
  const auto conv = [&](const char* part, const std::function<void(rt::Step&)>& change) {
    refused(g, "conv", part, [&](Plan&, rt::Step& s) { change(s); });
  };
  conv("leaves the arena", [](rt::Step& s) { segment(s.out).offset = size_t{1} << 20; });
  conv("leaves the arena", [](rt::Step& s) { segment(s.in).offset = size_t{1} << (sizeof(size_t) > 4 ? 33 : 31); });
  conv("leaves the arena", [](rt::Step& s) { segment(s.in).pixel_stride = INT32_MAX; });
  conv("add up", [](rt::Step& s) { segment(s.in).channels = 1; });
  conv("add up", [](rt::Step& s) { segment(s.in).channels = 0; });
  conv("add up", [](rt::Step& s) { segment(s.in).channels = -1; });
  conv("do not overlap", [](rt::Step& s) { segment(s.out).pixel_stride = 0; });
  conv("do not overlap", [](rt::Step& s) { segment(s.out).pixel_stride = 3; });
  conv("not written", [](rt::Step& s) { segment(s.out).constant = s.conv.weight.data; });
  conv("leaves its constant", [](rt::Step& s) { segment(s.in).constant = s.conv.weight.f32() + 60; });
  conv("elements", [](rt::Step& s) { s.in.h = 0; });
  conv("elements", [](rt::Step& s) { s.in.h = s.in.w = 1 << 16; });
  conv("at least one range", [](rt::Step& s) { s.out.segment_count = 0; });
  // The same channels at every pixel: a view of any size would then need only two floats.
  conv("as many pixels as the arena", [](rt::Step& s) {
    segment(s.in).pixel_stride = 0;
    s.in.h = s.in.w = 1 << 12;
  });
  conv("with its padding", [](rt::Step& s) {
    segment(s.in) = {0, nullptr, 40, 0};
    s.in.c = 40;
    s.window.pad_top = s.window.pad_left = s.window.pad_bottom = s.window.pad_right = 4096;
  });
}

TEST_CASE("a plan with steps of matrices that does not fit is not used") {
  Graph matrices;
  ValueId x = matrices.add_input("x", {1, 3, 4});
  x = matrices.add_node(Op::kLayerNorm, "norm", {x, matrices.add_constant("scale", ramp({4}))}, BatchNormAttrs{});
  x = matrices.add_node(Op::kMatMul, "product", {x, matrices.add_constant("matrix", ramp({4, 2}))});
  matrices.outputs = {x};
  const auto of_matrices = [&](const char* name, const char* part, auto change) {
    refused(matrices, name, part, [&](Plan&, rt::Step& s) { change(s); });
  };
  of_matrices("norm", "input's size", [](rt::Step& s) { s.in.w = 2; });
  of_matrices("norm", "scale and shift", [](rt::Step& s) { s.affine.shift = {}; });
  of_matrices("product", "expected an index space", [](rt::Step& s) { s.strided = nullptr; });
  of_matrices("product", "rows, columns and a sum", [](rt::Step& s) { walk(s).reduced_from = 1; });
  of_matrices("product", "a right one of columns", [](rt::Step& s) {
    walk(s).dims[1] = 2;  // so that it stays within the operand
    walk(s).dims[2] = 1;
    walk(s).in_strides[1][1] = 1;
  });
  of_matrices("product", "exceeds an operand", [](rt::Step& s) { walk(s).dims[3] = 5; });
  of_matrices("product", "exceeds an operand", [](rt::Step& s) {
    walk(s).dims[3] = 1 << 20;
    walk(s).in_strides[0][3] = walk(s).in_strides[1][3] = 0;
  });
  of_matrices("product", "operands in one piece", [](rt::Step& s) { s.in2.segment_count = 0; });
}

TEST_CASE("pools, broadcasts and other steps that do not fit are refused by name") {
  const Graph g = graph_of_steps();
  const auto on = [&](const char* name, const char* part, const std::function<void(rt::Step&)>& change) {
    refused(g, name, part, [&](Plan&, rt::Step& s) { change(s); });
  };
  on("pool", "output's size", [](rt::Step& s) { s.window.stride_h = 9; });
  on("pool", "output's size", [](rt::Step& s) { s.window.pad_top = 2; });
  on("pool", "output's size", [](rt::Step& s) { s.window.pad_top = -4; });
  on("pool", "output's size", [](rt::Step& s) { s.window.pad_right = 2; });
  on("pool", "output's size", [](rt::Step& s) { s.window.kernel_w = 0; });
  on("pool", "images and channels", [](rt::Step& s) { s.in.n = 2, s.in.h = 2; });
  on("mul", "has no weights", [](rt::Step& s) { s.conv.bias.data = segment(s.in2).constant; });
  on("mul", "exceeds an operand", [](rt::Step& s) { walk(s).in_strides[1][2] = 7; });
  on("mul", "exceeds an operand", [](rt::Step& s) { walk(s).out_start = 1; });
  on("mul", "exceeds an operand", [](rt::Step& s) { walk(s).in_start[0] = -1; });
  on("mul", "exceeds an operand", [](rt::Step& s) { walk(s).in_start[1] = INT32_MAX; });
  on("mul", "elements", [](rt::Step& s) { walk(s).dims[0] = 0; });
  on("mul", "exceeds an operand", [](rt::Step& s) {
    walk(s).dims[0] = 5;
    walk(s).out_strides[0] = 16;
  });
  // A longer walk than there are outputs: it would write them again and again.
  on("mul", "exceeds an operand", [](rt::Step& s) {
    rt::Strided& w = walk(s);
    w.dims[0] = 1 << 20;
    w.out_strides[0] = w.in_strides[0][0] = w.in_strides[1][0] = 0;
  });
  on("softmax", "exceeds an operand", [](rt::Step& s) {
    rt::Strided& w = walk(s);
    w.dims[0] = 1 << 20;
    w.out_strides[0] = w.in_strides[0][0] = 0;
  });
  on("mul", "second operand", [](rt::Step& s) { s.in2.segment_count = 0; });
  on("mul", "unknown arithmetic", [](rt::Step& s) { s.binary.op = static_cast<rt::BinaryOp>(7); });
  on("softmax", "reduce", [](rt::Step& s) { walk(s).reduced_from = 5; });
  on("softmax", "index space", [](rt::Step& s) { s.strided = nullptr; });

  Graph attention = architecture("sparsenet-abc:blocks=1-1-1,k=5,path=3");
  std::string gate;
  const Model model = with_plan(attention);
  for (const rt::Step& s : model.plans[0].plan->steps) {
    if (s.op == rt::StepOp::kAttention) gate = s.name;
  }
  REQUIRE_FALSE(gate.empty());
  refused(attention, gate, "attention", [](Plan&, rt::Step& s) { s.attention.hidden = 1 << 20; });
  refused(attention, gate, "attention", [](Plan&, rt::Step& s) { s.attention.hidden = -1; });
  refused(attention, gate, "attention", [](Plan&, rt::Step& s) { s.attention.params[7] = {}; });
  refused(attention, gate, "attention", [](Plan&, rt::Step& s) { skip(&s.attention.params[2], 1); });
  refused(attention, gate, "not linked",
          [](Plan&, rt::Step& s) { s.attention.gate.kind = static_cast<rt::Act::Kind>(rt::Act::kLast + 1); });
}

TEST_CASE("plans whose frame does not fit are refused by name") {
  const Graph g = graph_of_steps();
  const auto plan = [&](const char* part, const std::function<void(Plan&)>& change) {
    refused(g, "conv", part, [&](Plan& p, rt::Step&) { change(p); });
  };
  plan("input 0: expected the graph's 'x'", [](Plan& p) { p.inputs[0].name = "y"; });
  plan("another shape", [](Plan& p) { p.outputs[0].shape = {1, 4, 1, 4}; });
  plan("expected the graph's", [](Plan& p) { p.outputs.clear(), p.outputs.push_back(p.inputs[0]); });
  plan("expected the graph's 1", [](Plan& p) { p.outputs.push_back(p.outputs[0]); });
  plan("inputs and outputs", [](Plan& p) { p.outputs.clear(); });
  plan("arena", [](Plan& p) { p.arena_bytes += 64; });
  plan("arena", [](Plan& p) { p.arena_bytes = 64; });
  plan("buffer 0", [](Plan& p) { p.buffers[0].offset = p.arena_bytes; });
  plan("buffer 0", [](Plan& p) { p.buffers[0].first = -1; });
  plan("buffer 1", [](Plan& p) { p.buffers[1].last = 100; });
}
