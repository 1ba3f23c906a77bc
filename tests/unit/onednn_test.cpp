// The oneDNN backend from inside: which implementations its steps get, and its kernels compared with the reference
// kernels on steps that graphs rarely contain.
#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/session.h>

#include "support/skip.h"

#if defined(SPARSENET_HAVE_ONEDNN)

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/onednn/onednn_backend.h"
#include "kernels/reference/reference.h"
#include "passes/pipeline.h"
#include "plan/lower.h"
#include "plan/plan.h"
#include "support/check_session.h"
#include "support/random_graphs.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Graph architecture_graph(const std::string& name) {
  const auto arch = parse_architecture(name);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 3);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

struct Aligned {
  explicit Aligned(size_t bytes) : memory(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64))) {
    std::memset(memory.get(), 0, (bytes + 64) / 64 * 64);
  }
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t, Free> memory;
};

// A random step with its memory: an arena of random values, and parameters.
struct Case {
  rt::Step step{};
  std::vector<rt::Segment> in, in2, out;
  std::vector<float> scale, shift, weight, bias, arena;
  std::string text;

  // A tensor placed after what the arena contains so far.
  rt::Segment place(int32_t pixels, int32_t channels, int32_t stride) {
    const size_t at = (arena.size() + 15) / 16 * 16;
    arena.resize(at + static_cast<size_t>(pixels) * static_cast<size_t>(stride));
    return {at * sizeof(float), nullptr, channels, stride};
  }
  void connect() {
    step.in.segments = in.data();
    step.in.segment_count = static_cast<int32_t>(in.size());
    step.in2 = step.out;
    step.in2.segments = in2.data();
    step.in2.segment_count = static_cast<int32_t>(in2.size());
    step.out.segments = out.data();
    step.out.segment_count = 1;
  }
};

rt::Act random_act(Random& random) {
  return to_act(random_activation(random));
}

void window(Random& random, int32_t in, int32_t* out, int32_t* kernel, int32_t* stride, int32_t dilation,
            int32_t* pad_begin, int32_t* pad_behind) {
  *kernel = random.integer(1, 4);
  while ((*kernel - 1) * dilation + 1 > in + 2) --*kernel;
  const int32_t span = (*kernel - 1) * dilation + 1;
  *stride = random.integer(1, 3);
  *pad_begin = random.integer(0, std::max(0, span - 1));
  *pad_behind = random.integer(0, std::max(0, span - 1));
  while (in + *pad_begin + *pad_behind < span) ++*pad_begin;
  *out = (in + *pad_begin + *pad_behind - span) / *stride + 1;
  if (*out > 1 && random.chance(0.1)) --*out;  // as if a slice took the rest
}

Case random_convolution(uint64_t seed) {
  Random random(seed);
  Case c;
  rt::Step& s = c.step;
  s.op = rt::StepOp::kConv;
  s.name = "conv";
  s.conv.groups = random.chance(0.7) ? 1 : random.integer(2, 4);
  const bool depthwise = random.chance(0.15);
  const int32_t n = random.integer(1, 3), h = random.integer(1, 12), w = random.integer(1, 12);
  std::vector<int32_t> ranges(static_cast<size_t>(random.chance(0.5) ? 1 : random.integer(2, 5)));
  int32_t channels = 0;
  for (int32_t& r : ranges) {
    r = random.pick(std::vector<int>{1, 3, 4, 12, 16, 17, 24, 40}) * (depthwise ? 1 : s.conv.groups);
    channels += r;
  }
  if (depthwise) s.conv.groups = channels;
  const int32_t outputs = depthwise ? channels : random.pick(std::vector<int>{1, 5, 12, 16, 33, 64}) * s.conv.groups;
  s.window.dilation_h = random.chance(0.8) ? 1 : 2;
  s.window.dilation_w = random.chance(0.8) ? 1 : 2;
  int32_t oh = 0, ow = 0;
  window(random, h, &oh, &s.window.kernel_h, &s.window.stride_h, s.window.dilation_h, &s.window.pad_top,
         &s.window.pad_bottom);
  window(random, w, &ow, &s.window.kernel_w, &s.window.stride_w, s.window.dilation_w, &s.window.pad_left,
         &s.window.pad_right);
  s.in = {n, h, w, channels, nullptr, 0};
  s.out = {n, oh, ow, outputs, nullptr, 0};
  for (int32_t r : ranges) c.in.push_back(c.place(n * h * w, r, r + (random.chance(0.3) ? 5 : 0)));
  c.out.push_back(c.place(n * oh * ow, outputs, outputs));
  const int residual = random.integer(0, 3);
  if (residual == 1) c.in2 = c.out;  // in place
  if (residual == 2) c.in2.push_back(c.place(n * oh * ow, outputs, outputs));
  c.place(16, 16, 16);  // to detect writes beyond the output
  c.connect();

  auto fill = [&random](std::vector<float>* values, size_t count) {
    values->resize(count);
    for (float& v : *values) v = static_cast<float>(random.real(-1, 1));
  };
  const auto in_group = static_cast<size_t>(channels / s.conv.groups);
  fill(&c.weight, static_cast<size_t>(outputs) * in_group * static_cast<size_t>(s.window.kernel_h * s.window.kernel_w));
  s.conv.weight.data = c.weight.data();
  if (random.chance(0.7)) {
    fill(&c.bias, static_cast<size_t>(outputs));
    s.conv.bias.data = c.bias.data();
  }
  if (random.chance(0.5)) {
    fill(&c.scale, static_cast<size_t>(channels));
    fill(&c.shift, static_cast<size_t>(channels));
    s.affine.scale.data = c.scale.data();
    s.affine.shift.data = c.shift.data();
    s.affine.low = random.chance(0.7) ? 0.f : -INFINITY;
    s.affine.high = random.chance(0.7) ? INFINITY : 0.75f;
  }
  s.act = random_act(random);
  fill(&c.arena, c.arena.size());
  c.text = "seed " + std::to_string(seed) + ": " + std::to_string(n) + "x" + std::to_string(h) + "x" +
           std::to_string(w) + "x" + std::to_string(channels) + " in " + std::to_string(ranges.size()) + " to " +
           std::to_string(outputs) + ", groups " + std::to_string(s.conv.groups) + ", window " +
           std::to_string(s.window.kernel_h) + "x" + std::to_string(s.window.kernel_w) + ", activation " +
           std::to_string(s.act.kind) + ", residual " + std::to_string(residual);
  return c;
}

Case random_pool(uint64_t seed) {
  Random random(seed);
  Case c;
  rt::Step& s = c.step;
  s.op = rt::StepOp::kPool;
  s.name = "pool";
  s.window.dilation_h = s.window.dilation_w = s.conv.groups = 1;
  const int32_t n = random.integer(1, 3), h = random.integer(1, 12), w = random.integer(1, 12);
  const int32_t channels = random.pick(std::vector<int>{1, 3, 16, 17, 40});
  int32_t oh = 0, ow = 0;
  window(random, h, &oh, &s.window.kernel_h, &s.window.stride_h, 1, &s.window.pad_top, &s.window.pad_bottom);
  window(random, w, &ow, &s.window.kernel_w, &s.window.stride_w, 1, &s.window.pad_left, &s.window.pad_right);
  s.pool.max = random.chance(0.5);
  s.pool.count_include_pad = random.chance(0.5);
  s.act = {rt::Act::kClamp, -INFINITY, INFINITY, 0.f, 0.f};
  s.in = {n, h, w, channels, nullptr, 0};
  s.out = {n, oh, ow, channels, nullptr, 0};
  c.in.push_back(c.place(n * h * w, channels, channels));
  c.out.push_back(c.place(n * oh * ow, channels, channels));
  c.place(16, 16, 16);  // to detect writes beyond the output
  c.connect();
  for (float& v : c.arena) v = static_cast<float>(random.real(-1, 1));
  c.text = "seed " + std::to_string(seed) + (s.pool.max ? ": max " : ": mean ") + std::to_string(h) + "x" +
           std::to_string(w) + " window " + std::to_string(s.window.kernel_h) + "x" + std::to_string(s.window.kernel_w);
  return c;
}

// The output of one run, on a copy of the arena.
std::vector<double> run_kernel(const rt::Kernel& kernel, const Case& c) {
  rt::KernelNeeds needs{};
  kernel.query(c.step, &needs);
  const size_t bytes = c.arena.size() * sizeof(float);
  Aligned arena(bytes), state(needs.state_bytes), weights(needs.weight_bytes), scratch(needs.scratch_bytes);
  std::memcpy(arena.memory.get(), c.arena.data(), bytes);
  std::memset(scratch.memory.get(), 0xff, needs.scratch_bytes);  // NaN
  const rt::Place place{arena.memory.get(), state.memory.get(), reinterpret_cast<float*>(weights.memory.get()),
                        nullptr};
  const char* message = kernel.prepare(c.step, place);
  REQUIRE_MESSAGE(message == nullptr, c.text, ": ", message);
  for (int32_t chunk = 0; chunk < needs.chunks; ++chunk) {
    kernel.run(state.memory.get(), chunk, scratch.memory.get());
  }
  if (kernel.destroy) kernel.destroy(state.memory.get());
  const rt::View& v = c.step.out;
  const size_t count = static_cast<size_t>(v.n) * static_cast<size_t>(v.h * v.w) * static_cast<size_t>(v.c);
  const auto* all = reinterpret_cast<const float*>(arena.memory.get());
  const size_t first = c.out[0].offset / sizeof(float), behind = first + count;
  CHECK_MESSAGE(std::equal(all, all + first, c.arena.data()), c.text, ": wrote before the output");
  CHECK_MESSAGE(std::equal(all + behind, all + c.arena.size(), c.arena.data() + behind), c.text,
                ": wrote behind the output");
  return std::vector<double>(all + first, all + behind);
}

// Compares all cases that the kernel supports; returns how many there are.
int compare(const rt::Kernel& kernel, const rt::Kernel& reference, Case (*make)(uint64_t), int cases) {
  int taken = 0;
  for (int i = 0; i < cases; ++i) {
    const Case c = make(static_cast<uint64_t>(i));
    onednn_begin_run(1 + i % 3);
    if (!kernel.supports(c.step)) continue;
    ++taken;
    const double error = relative_error(run_kernel(reference, c), run_kernel(kernel, c));
    CHECK_MESSAGE(error <= kTolerance, c.text, ": error ", error);
  }
  return taken;
}

}  // namespace

TEST_CASE("every convolution of the families is oneDNN's, and none is its reference") {
  for (const char* name : {"sparsenet-abc-v1", "densenet-bc-100-12", "sparsenet-basic-v1", "resnet20"}) {
    const Graph graph = architecture_graph(name);
    for (int threads : {1, 2}) {
      for (int64_t batch : {1, 8}) {
        SessionOptions options;
        options.backend = Backend::kOneDnn;
        options.threads = threads;
        options.batch = batch;
        const auto session = Session::create(graph, options);
        REQUIRE_MESSAGE(session.ok(), session.status().message());
        int convolutions = 0;
        for (const StepInfo& step : session->steps()) {
          if (step.op != "Conv") continue;
          ++convolutions;
          CHECK_MESSAGE(step.backend == "onednn", name, " ", step.name, ": ", step.kernel);
        }
        CHECK(convolutions >= 20);
      }
    }
    Graph lowered = graph;
    REQUIRE(lowered.set_batch(1).ok());
    REQUIRE(run_passes(&lowered, PassLevel::kAll).ok());
    const auto plan = make_plan(lowered);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    for (const rt::Step& step : plan->steps) {
      if (step.op != rt::StepOp::kConv) continue;
      const std::string implementation = onednn::convolution_implementation(step);
      CHECK_MESSAGE((!implementation.empty() && implementation.find("ref") == std::string::npos), name, " ", step.name,
                    ": '", implementation, "'");
    }
  }
}

TEST_CASE("what oneDNN runs slowly or wrongly is left to other kernels") {
  Case c = random_convolution(0);
  rt::Step& s = c.step;
  s.conv.groups = s.window.dilation_h = s.window.dilation_w = s.window.stride_h = s.window.stride_w = 1;
  s.window.kernel_h = s.window.kernel_w = 3;
  s.window.pad_top = s.window.pad_left = s.window.pad_bottom = s.window.pad_right = 1;
  c.in = {{0, nullptr, 16, 16}};
  c.out = {{65536, nullptr, 16, 16}};
  c.in2.clear();
  s.in = {1, 8, 8, 16, nullptr, 0};
  s.out = s.in;
  s.act = {rt::Act::kClamp, 0.f, 6.f, 0.f, 0.f};
  c.connect();
  CHECK(onednn::kConvolution.supports(s));
  c.out[0].pixel_stride = 48;  // a slot inside a wider buffer
  CHECK(!onednn::kConvolution.supports(s));
  c.out[0].pixel_stride = 16;
  s.window.pad_bottom = 4;  // the last row of windows lies in the padding
  s.out.h = 11;
  CHECK(!onednn::kConvolution.supports(s));
  s.window.pad_bottom = 1;
  s.window.stride_w = 2;
  c.in[0] = {0, nullptr, 1, 1};
  s.in = {1, 8, 2, 1, c.in.data(), 1};
  s.out.h = 8;
  s.out.w = 1;
  CHECK(!onednn::kConvolution.supports(s));
  s.window.stride_w = 1;
  s.window.pad_left = 0;
  CHECK(onednn::kConvolution.supports(s));
}

TEST_CASE("oneDNN convolutions equal the reference kernel") {
  const int cases = scaled_by_effort(400);
  const int taken = compare(onednn::kConvolution, rt::kReferenceConv, random_convolution, cases);
  MESSAGE(taken, " of ", cases, " convolutions are oneDNN's");
#if defined(__x86_64__)
  CHECK(taken > 0);
#endif
}

TEST_CASE("oneDNN pools equal the reference kernel") {
  const int cases = scaled_by_effort(200);
  const int taken = compare(onednn::kPooling, rt::kReferencePool, random_pool, cases);
  MESSAGE(taken, " of ", cases, " pools are oneDNN's");
#if defined(__x86_64__)
  CHECK(taken > 0);
#endif
}

TEST_CASE("scratch is reported as it is needed: once, whatever the number of threads") {
  // The widest gathered input of abc-v1: the last layer of the first block reads 2k + 7k channels of 32 x 32 pixels.
  const size_t widest = size_t{9 * 16} * 32 * 32 * sizeof(float);
  const Graph graph = architecture_graph("sparsenet-abc-v1");
  for (int threads : {1, 2, 4}) {
    SessionOptions options;
    options.backend = Backend::kOneDnn;
    options.threads = threads;
    const auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    CHECK(session->memory().scratch_bytes >= widest);
    CHECK(session->memory().scratch_bytes < 2 * widest);
  }
}

TEST_CASE("more threads than CPUs, and sessions of different thread counts side by side") {
  const Graph graph = architecture_graph("resnet20");
  std::vector<float> image(3 * 32 * 32), expected(10), found(10);
  Random random(1);
  for (float& v : image) v = static_cast<float>(random.normal());
  std::vector<Session> sessions;
  for (int threads : {1, 7, 2, 1}) {
    SessionOptions options;
    options.backend = sessions.empty() ? Backend::kReference : Backend::kOneDnn;
    options.threads = threads;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    sessions.push_back(std::move(*session));
  }
  for (size_t i = 0; i < 3 * sessions.size(); ++i) {
    Session& session = sessions[i % sessions.size()];
    REQUIRE(session.set_input(0, image.data(), image.size()).ok());
    REQUIRE(session.run().ok());
    REQUIRE(session.get_output(0, found.data(), found.size()).ok());
    if (i == 0) expected = found;
    const std::vector<double> wanted(expected.begin(), expected.end()), got(found.begin(), found.end());
    CHECK(relative_error(wanted, got) <= kTolerance);
  }
}

#else

TEST_CASE("the oneDNN backend") {
  sparsenet::test::skip("oneDNN", "a build with SPARSENET_ONEDNN");
}

#endif
