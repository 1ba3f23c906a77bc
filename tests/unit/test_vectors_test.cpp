// Whole trained networks on this machine, compared with what the machine that converted them computed: their embedded
// test vectors. In a cross build the converter is the host's, so this compares two machines.
#include <doctest/doctest.h>

#include "support/check_session.h"
#include "support/convert.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// Max |difference| / max |expected| of an output.
constexpr double kBound = 1e-5;

Array array_of(const Tensor& tensor) {
  Array array(tensor.shape);
  array.data.assign(tensor.f32(), tensor.f32() + tensor.elements());
  return array;
}

void check_network(const std::vector<std::string>& arguments) {
  if (!can_convert()) return skip("test vectors of " + arguments[0], "sparsenet-convert");
  std::vector<std::string> all = arguments;
  all[0] = std::string(SPARSENET_SOURCE_DIR) + "/models/sources/" + all[0];
  all.insert(all.end(), {"--test-vectors", "2", "--plan", "portable-f32"});
  const auto model = convert(all);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  REQUIRE(model->test_vectors.size() == 2);
  for (Backend backend : cpu_backends()) {
    for (int threads : {1, 2}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = threads;
      auto session = Session::create(*model, options);
      REQUIRE_MESSAGE(session.ok(), text(backend), ": ", session.status().message());
      for (const TestVector& vector : model->test_vectors) {
        const auto outputs = run_session(*session, {array_of(vector.inputs[0])});
        REQUIRE_MESSAGE(outputs.ok(), text(backend), ": ", outputs.status().message());
        const double error = relative_error(array_of(vector.outputs[0]).data, (*outputs)[0]);
        CHECK_MESSAGE(error <= kBound, text(backend), ", ", threads, " threads: error ", error);
      }
    }
  }
}

}  // namespace

TEST_CASE("SparseNet-abc-v0 computes its test vectors") {
  check_network({"sparsenet-abc-v0-cifar10.pth", "--arch", "sparsenet-abc-v0"});
}

TEST_CASE("MLPerf Tiny's ResNet8 computes its test vectors") {
  check_network({"mlperf-tiny-resnet8.tflite"});
}
