// Convolutions with the shapes that blocked kernels tell apart: several ranges of outputs, narrow rows, phases of a
// stride, groups narrower than a vector, images that depthwise kernels read in place. Random shapes are too small to
// reach most of them. Compared with the double-precision reference, with two numbers of threads.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <set>

#include "support/check_session.h"
#include "support/conv_case.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

struct Case {
  const char* kernel;  // that AVX-512 takes
  Shape x;
  int64_t outputs;
  int32_t window, stride, dilation, groups;
  bool residual;
  Activation::Kind activation;
};

const Case kCases[] = {
    // 1x1: few pixels and many outputs; one pixel; more inputs than a panel has at once; outputs that fill no vector.
    {"pointwise", {1, 320, 7, 7}, 700, 1, 1, 1, 1, true, Activation::Kind::kRelu},
    {"pointwise", {1, 300, 1, 1}, 400, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {"pointwise", {2, 130, 9, 5}, 37, 1, 1, 1, 1, true, Activation::Kind::kSilu},
    // Large weights and one to four pixels, then one too many.
    {"rows", {1, 300, 1, 1}, 1000, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {"rows", {2, 261, 1, 1}, 603, 1, 1, 1, 1, true, Activation::Kind::kRelu},
    {"rows", {1, 259, 3, 1}, 607, 1, 1, 1, 1, false, Activation::Kind::kSilu},
    {"rows", {2, 128, 1, 2}, 1025, 1, 1, 1, 1, true, Activation::Kind::kNone},
    {"pointwise", {5, 260, 1, 1}, 600, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {"blocked", {1, 96, 15, 13}, 72, 1, 2, 1, 1, false, Activation::Kind::kNone},
    {"blocked", {1, 512, 7, 7}, 96, 3, 1, 1, 1, true, Activation::Kind::kRelu},
    {"blocked", {1, 200, 5, 5}, 40, 3, 1, 1, 1, false, Activation::Kind::kNone},
    {"blocked", {2, 72, 21, 17}, 50, 3, 2, 1, 1, true, Activation::Kind::kHardSwish},
    {"blocked", {1, 80, 12, 12}, 24, 5, 3, 2, 1, false, Activation::Kind::kNone},
    {"blocked", {1, 144, 14, 14}, 144, 3, 2, 1, 3, true, Activation::Kind::kRelu},
    {"winograd4", {1, 64, 28, 28}, 64, 3, 1, 1, 1, true, Activation::Kind::kRelu},
    {"winograd4", {1, 60, 27, 25}, 70, 3, 1, 1, 1, false, Activation::Kind::kSilu},
    {"winograd2", {1, 176, 14, 14}, 176, 3, 1, 1, 1, true, Activation::Kind::kRelu},
    {"grouped", {1, 40, 19, 18}, 40, 3, 1, 1, 20, true, Activation::Kind::kRelu},
    {"grouped", {1, 128, 15, 15}, 128, 3, 2, 1, 32, false, Activation::Kind::kNone},
    {"grouped", {2, 104, 14, 11}, 104, 3, 1, 1, 13, true, Activation::Kind::kSilu},
    {"grouped", {1, 64, 17, 16}, 64, 3, 2, 2, 8, false, Activation::Kind::kNone},
    {"grouped", {1, 72, 7, 7}, 72, 3, 1, 1, 9, true, Activation::Kind::kRelu},
    {"grouped", {3, 128, 28, 29}, 128, 3, 2, 1, 16, false, Activation::Kind::kRelu},
    {"grouped", {1, 36, 5, 1}, 36, 3, 1, 1, 9, false, Activation::Kind::kNone},
    {"grouped", {1, 24, 11, 12}, 24, 5, 3, 1, 12, false, Activation::Kind::kNone},
    {"grouped", {1, 68, 30, 30}, 68, 1, 2, 1, 17, false, Activation::Kind::kNone},
    {"depthwise", {1, 70, 40, 42}, 70, 3, 1, 1, 70, true, Activation::Kind::kRelu},
    {"depthwise", {1, 33, 61, 59}, 33, 3, 2, 1, 33, false, Activation::Kind::kSilu},
    {"depthwise", {1, 48, 64, 66}, 48, 5, 1, 1, 48, false, Activation::Kind::kNone},
    {"depthwise", {2, 150, 7, 7}, 150, 5, 1, 1, 150, true, Activation::Kind::kHardSwish},
    {"depthwise", {1, 80, 14, 14}, 80, 5, 2, 1, 80, false, Activation::Kind::kNone},
    {"depthwise", {1, 24, 50, 47}, 24, 3, 1, 2, 24, false, Activation::Kind::kNone},
    {"depthwise", {1, 40, 7, 7}, 40, 5, 1, 1, 40, false, Activation::Kind::kNone},
    {"depthwise", {1, 17, 9, 8}, 17, 3, 1, 1, 17, false, Activation::Kind::kRelu},
    {"depthwise", {1, 32, 13, 13}, 32, 5, 2, 1, 32, false, Activation::Kind::kNone},
    {"depthwise", {1, 36, 14, 15}, 36, 7, 1, 1, 36, false, Activation::Kind::kNone},
    {"depthwise", {2, 20, 11, 19}, 20, 3, 2, 1, 20, true, Activation::Kind::kNone},
    {"depthwise", {1, 16, 6, 5}, 16, 3, 1, 1, 16, false, Activation::Kind::kNone},
    {"depthwise", {1, 33, 20, 21}, 33, 7, 2, 1, 33, false, Activation::Kind::kNone},
};

// With one thread and with two. Returns the kernels that ran.
std::set<std::string> check_with_threads(const Graph& graph, const std::vector<Array>& inputs,
                                         const std::vector<Array>& expected, const std::string& what) {
  std::set<std::string> kernels;
  for (int threads : {1, 2}) {
    CheckOptions options;
    options.backend = Backend::kPortable;
    options.threads = threads;
    options.kernels = &kernels;
    const std::string problem = check_session(graph, inputs, expected, options);
    CHECK_MESSAGE(problem.empty(), what, ", ", threads, " threads: ", problem);
  }
  return kernels;
}

}  // namespace

TEST_CASE("convolutions of all shapes that kernels tell apart") {
  uint64_t seed = 0;
  for (const Case& c : kCases) {
    const std::string what = std::string(c.kernel) + ", " + to_string(c.x) + " to " + std::to_string(c.outputs);
    Random random(++seed);
    const Graph graph = conv_graph(
        random, {c.x, c.outputs, c.window, c.window, c.stride, c.dilation, c.groups, c.residual, c.activation});
    const std::vector<Array> inputs = random_inputs(graph, seed);
    const auto expected = evaluate(graph, inputs);
    REQUIRE_MESSAGE(expected.ok(), what, ": ", expected.status().message());
    const std::set<std::string> kernels = check_with_threads(graph, inputs, *expected, what);
    REQUIRE_MESSAGE(kernels.size() == 1, what);
    const std::string& kernel = *kernels.begin();
    if (kernel.find("avx512") == std::string::npos) continue;
    CHECK_MESSAGE(kernel.find(c.kernel) != std::string::npos, what, ": ", kernel);
  }
}

// Their inputs are gathered.
TEST_CASE("grouped convolutions of channel ranges with an affine in front") {
  struct {
    int64_t a, b;  // channels of the ranges
    int32_t window, stride, groups;
  } const cases[] = {{40, 56, 3, 1, 24}, {24, 8, 3, 2, 16}, {60, 84, 3, 2, 18}, {64, 72, 5, 1, 17}, {20, 12, 1, 2, 8}};
  uint64_t seed = 100;
  for (const auto& c : cases) {
    Random random(++seed);
    GraphMaker g(random);
    const ValueId joined = g.concat({g.input({2, c.a, 13, 17}), g.input({2, c.b, 13, 17})});
    const ValueId x = g.relu(g.batch_norm(joined));
    const Graph graph = g.finish({g.conv(x, c.a + c.b, c.window, c.stride, c.groups)});
    const std::vector<Array> inputs = random_inputs(graph, seed);
    const auto expected = evaluate(graph, inputs);
    REQUIRE_MESSAGE(expected.ok(), expected.status().message());
    const std::string what = std::to_string(c.groups) + " groups";
    std::string names;
    for (const std::string& kernel : check_with_threads(graph, inputs, *expected, what)) names += kernel + " ";
    if (names.find("avx512") == std::string::npos) continue;
    CHECK_MESSAGE(names.find("conv2d_grouped") != std::string::npos, what, ": ", names);
  }
}

TEST_CASE("large weights: Winograd's larger form where it is faster, whatever memory it takes") {
  Random random(77);
  const Graph graph = conv_graph(random, {{4, 256, 14, 14}, 256, 3, 3, 1, 1, 1, true, Activation::Kind::kRelu});
  const std::vector<Array> inputs = random_inputs(graph, 78);
  const auto expected = evaluate(graph, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = 2;
  options.batch = 4;
  options.images_at_once = 4;
  std::string kernels[2];
  for (const bool large : {false, true}) {
    options.large_weights = large;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const auto outputs = run_session(*session, inputs);
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    const double error = relative_error((*expected)[0].data, (*outputs)[0]);
    kernels[large] = session->steps()[0].kernel;
    CHECK_MESSAGE(error <= kWinogradTolerance, kernels[large], ": ", error);
  }
  if (kernels[0].find("avx512") == std::string::npos) return;
  CHECK(kernels[0].find("winograd4") == std::string::npos);
  CHECK(kernels[1].find("winograd4") != std::string::npos);
}
