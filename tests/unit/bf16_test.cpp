// Products in bfloat16. Where all inputs and weights are bfloat16 numbers, rounding them changes nothing, and results
// must agree with the double-precision reference as closely as float32 sums do; on other numbers, as closely as 8
// significant bits allow. The second kind of kernels, for CPUs without AMX, is a separate run (CMakeLists.txt).
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "support/check_session.h"
#include "support/conv_case.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr char kNeeds[] = "a CPU with AMX-BF16 or AVX512-BF16";

// To 8 significant bits, ties to even.
float rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Whole tiles and parts of them: pixels around 16 and 32, channels around 32, outputs around 16 and 32; windows,
// strides and dilations, whose planes tiles cross; several bands and several ranges of outputs; fully connected layers.
const ConvCase kCases[] = {
    {{1, 32, 4, 4}, 16, 1, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {{1, 64, 8, 8}, 32, 1, 1, 1, 1, 1, true, Activation::Kind::kRelu},
    {{2, 16, 5, 7}, 8, 1, 1, 1, 1, 1, false, Activation::Kind::kSilu},
    {{3, 45, 9, 5}, 37, 1, 1, 1, 1, 1, true, Activation::Kind::kHardSwish},
    {{1, 300, 1, 1}, 1000, 1, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {{5, 130, 1, 1}, 50, 1, 1, 1, 1, 1, false, Activation::Kind::kRelu},
    {{1, 256, 28, 28}, 96, 1, 1, 1, 1, 1, false, Activation::Kind::kNone},
    {{1, 96, 15, 13}, 72, 1, 1, 2, 1, 1, false, Activation::Kind::kRelu},
    {{1, 32, 16, 16}, 32, 3, 3, 1, 1, 1, true, Activation::Kind::kRelu},
    {{2, 48, 7, 7}, 17, 3, 3, 1, 1, 1, false, Activation::Kind::kNone},
    {{1, 512, 7, 7}, 96, 3, 3, 1, 1, 1, true, Activation::Kind::kRelu},
    {{1, 20, 33, 34}, 33, 3, 3, 1, 1, 1, false, Activation::Kind::kSigmoid},
    {{2, 72, 21, 17}, 50, 3, 3, 2, 1, 1, true, Activation::Kind::kGelu},
    {{1, 40, 12, 11}, 24, 5, 3, 3, 2, 1, false, Activation::Kind::kNone},
    {{1, 33, 6, 40}, 20, 1, 7, 1, 1, 1, true, Activation::Kind::kNone},
    {{1, 64, 9, 9}, 64, 7, 7, 1, 3, 1, false, Activation::Kind::kNone},
};

std::string describe(const ConvCase& c) {
  return to_string(c.x) + " to " + std::to_string(c.outputs) + ", window " + std::to_string(c.window_h) + "x" +
         std::to_string(c.window_w) + ", stride " + std::to_string(c.stride);
}

Graph graph_of(const ConvCase& c, uint64_t seed) {
  Random random(seed);
  return conv_graph(random, c);
}

void round_constants(Graph* graph) {
  for (Value& value : graph->values) {
    if (!value.is_constant) continue;
    const float* from = value.constant.f32();
    std::vector<float> values(from, from + element_count(value.shape));
    for (float& v : values) v = rounded(v);
    value.constant = Tensor::from(value.shape, std::move(values));
  }
}

std::vector<Array> rounded_inputs(const Graph& graph, uint64_t seed) {
  std::vector<Array> inputs = random_inputs(graph, seed);
  for (double& v : inputs[0].data) v = static_cast<double>(rounded(static_cast<float>(v)));
  return inputs;
}

std::string check(const Graph& graph, const std::vector<Array>& inputs, double tolerance,
                  std::set<std::string>* kernels) {
  const auto expected = evaluate(graph, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  for (int threads : {1, 2}) {
    CheckOptions options;
    options.precision = Precision::kBfloat16;
    options.tolerance = tolerance;
    options.threads = threads;
    options.kernels = kernels;
    const std::string problem = check_session(graph, inputs, *expected, options);
    if (!problem.empty()) return problem;
  }
  return "";
}

// Whether float32 has the same kernel for the graph's only step: without AMX, short sums and layers for which float32
// has Winograd's F(4x4, 3x3) stay as they are.
bool is_float_kernel(const Graph& graph, const std::string& kernel) {
  const auto session = Session::create(graph, {});
  REQUIRE(session.ok());
  const StepInfo& step = session->steps().front();
  return step.backend + ":" + step.kernel == kernel;
}

}  // namespace

TEST_CASE("products of bfloat16 numbers are exact, and sums as close as in float32") {
  if (!is_available(Precision::kBfloat16)) return skip("products in bfloat16", kNeeds);
  uint64_t seed = 0;
  int in_bf16_count = 0;
  bool uses_amx = false, all_in_bf16 = true;
  for (const ConvCase& c : kCases) {
    Graph graph = graph_of(c, ++seed);
    round_constants(&graph);
    std::set<std::string> kernels;
    const std::string problem = check(graph, rounded_inputs(graph, seed), kTolerance, &kernels);
    CHECK_MESSAGE(problem.empty(), describe(c), ": ", problem);
    REQUIRE(kernels.size() == 1);
    const std::string& kernel = *kernels.begin();
    const bool in_bf16 = kernel.find("conv2d_bf16") != std::string::npos;
    CHECK_MESSAGE((in_bf16 || is_float_kernel(graph, kernel)), describe(c), ": ", kernel);
    in_bf16_count += in_bf16;
    all_in_bf16 &= in_bf16;
    uses_amx |= kernel.find("amx") != std::string::npos;
  }
  CHECK(in_bf16_count >= 8);
  if (uses_amx) CHECK(all_in_bf16);
}

TEST_CASE("other numbers are rounded to bfloat16, no further") {
  if (!is_available(Precision::kBfloat16)) return skip("rounding to bfloat16", kNeeds);
  uint64_t seed = 100;
  for (const ConvCase& c : kCases) {
    const Graph graph = graph_of(c, ++seed);
    std::set<std::string> kernels;
    // A product of two rounded factors is off by up to 2^-8; the errors of a sum's terms cancel in part.
    const std::string problem = check(graph, random_inputs(graph, seed), 1.0 / 256, &kernels);
    CHECK_MESSAGE(problem.empty(), describe(c), ": ", problem);
  }
}

TEST_CASE("bfloat16 behind channel ranges, batch normalisation and ReLU, as in SparseNets") {
  if (!is_available(Precision::kBfloat16)) return skip("bfloat16 in a SparseNet's layer", kNeeds);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Random random(seed);
    GraphMaker g(random);
    const ValueId x = g.input({2, 19, 11, 10});
    std::vector<ValueId> parts{g.conv(x, 12, 3), g.conv(x, 16, 3), g.conv(x, 40, 1), g.conv(x, 7, 3)};
    const ValueId all = g.relu(g.batch_norm(g.concat(parts)));
    const Graph graph = g.finish({g.conv(all, 24, 3), g.conv(all, 48, 1), g.conv(all, 20, 3, 2)});
    std::set<std::string> kernels;
    const std::string problem = check(graph, random_inputs(graph, seed), 0.02, &kernels);
    CHECK_MESSAGE(problem.empty(), "seed ", seed, ": ", problem);
    CHECK(std::any_of(kernels.begin(), kernels.end(),
                      [](const std::string& k) { return k.find("conv2d_bf16") != std::string::npos; }));
  }
}

TEST_CASE("bfloat16: the same bits from 1, 2 and 3 threads, and from run to run") {
  if (!is_available(Precision::kBfloat16)) return skip("threads with bfloat16", kNeeds);
  const Graph graph = graph_of({{2, 200, 14, 14}, 330, 3, 3, 1, 1, 1, true, Activation::Kind::kRelu}, 7);
  const std::vector<Array> inputs = random_inputs(graph, 7);
  std::vector<std::vector<float>> first;
  for (int threads : {1, 2, 3, 1}) {
    SessionOptions options;
    options.precision = Precision::kBfloat16;
    options.threads = threads;
    options.batch = 2;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const auto outputs = run_session(*session, inputs);
    REQUIRE(outputs.ok());
    if (first.empty()) first = *outputs;
    REQUIRE(outputs->size() == 1);
    CHECK(std::memcmp(first[0].data(), (*outputs)[0].data(), first[0].size() * sizeof(float)) == 0);
  }
}

TEST_CASE("weights take half as much memory in bfloat16") {
  if (!is_available(Precision::kBfloat16)) return skip("memory of bfloat16", kNeeds);
  const Graph graph = graph_of({{1, 256, 14, 14}, 256, 3, 3, 1, 1, 1, false, Activation::Kind::kNone}, 1);
  SessionOptions options;
  options.precision = Precision::kBfloat16;
  const auto session = Session::create(graph, options);
  REQUIRE(session.ok());
  CHECK(session->memory().weights_bytes < 256 * 256 * 9 * 2 + 4096);
}

TEST_CASE("NaN and infinity pass through bfloat16, and reach only the outputs that read them") {
  if (!is_available(Precision::kBfloat16)) return skip("NaN with bfloat16", kNeeds);
  const ConvCase c{{1, 40, 1, 20}, 24, 1, 1, 1, 1, 1, false, Activation::Kind::kNone};
  const Graph graph = graph_of(c, 5);
  for (const float bad : {NAN, INFINITY}) {
    std::vector<Array> inputs = random_inputs(graph, 5);
    inputs[0].data[3] = static_cast<double>(bad);  // channel 0 of pixel 3
    SessionOptions options;
    options.precision = Precision::kBfloat16;
    auto session = Session::create(graph, options);
    REQUIRE(session.ok());
    const auto outputs = run_session(*session, inputs);
    REQUIRE(outputs.ok());
    for (size_t i = 0; i < (*outputs)[0].size(); ++i) CHECK(std::isfinite((*outputs)[0][i]) == (i % 20 != 3));
  }
}

TEST_CASE("what is not available is refused with what is missing") {
  const Graph graph = graph_of(kCases[0], 1);
  SessionOptions options;
  options.precision = Precision::kBfloat16;
  options.backend = Backend::kReference;
  const auto session = Session::create(graph, options);
  REQUIRE(session.status().code() == StatusCode::kUnsupported);
  const char* expected = is_available(Precision::kBfloat16)
                             ? "precision bf16: backend 'reference' computes in float32 only"
                             : "precision bf16: expected a CPU with";
  CHECK_MESSAGE(session.status().message().find(expected) != std::string::npos, session.status().message());

  options.precision = Precision::kFloat16;
  const auto half = Session::create(graph, options);
  REQUIRE(half.status().code() == StatusCode::kUnsupported);
  CHECK_MESSAGE(half.status().message().find("precision f16: the CPU's kernels store float32") != std::string::npos,
                half.status().message());
  CHECK_FALSE(is_available(Precision::kFloat16));

  options.precision = static_cast<Precision>(9);
  CHECK(Session::create(graph, options).status().code() == StatusCode::kInvalidArgument);
  CHECK(parse_precision("bf16").ok());
  CHECK(*parse_precision("f32") == Precision::kFloat32);
  CHECK(*parse_precision("f16") == Precision::kFloat16);
  CHECK(parse_precision("int8").status().message() == "precision 'int8': expected f32, bf16 or f16");
}
