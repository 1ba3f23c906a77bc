// Operators and small networks of TensorFlow Lite on int8 and uint8 give, byte by byte, what reference kernels give
// (tests/goldens/make_integer_operator_goldens.py says which, and where the inputs come from).
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include "data/npy.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const std::string kFolder = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/integers/";

// The bytes that input k has in a run. They are counted in the file's order, [N, H, W, C].
std::vector<uint8_t> generated(const Shape& shape, size_t k, size_t run, bool drift) {
  const bool image = shape.size() == 4;
  const auto area = static_cast<size_t>(image ? shape[2] * shape[3] : 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(element_count(shape)));
  const size_t channels = bytes.size() / area;
  for (size_t c = 0; c < channels; ++c) {
    for (size_t p = 0; p < area; ++p) {
      const size_t i = p * channels + c;
      bytes[c * area + p] = static_cast<uint8_t>(7 * i + 31 * k + 101 * run + (drift ? i / 64 : 0));
    }
  }
  return bytes;
}

Status set_bytes(Session* session, size_t k, const std::vector<uint8_t>& bytes) {
  if (session->inputs()[k].type == DataType::kUInt8) return session->set_input(k, bytes.data(), bytes.size());
  return session->set_input(k, reinterpret_cast<const int8_t*>(bytes.data()), bytes.size());
}

// All outputs after each other; of uint8 they are 128 less.
std::vector<int> outputs_of(const Session& session) {
  std::vector<int> all;
  for (size_t k = 0; k < session.outputs().size(); ++k) {
    std::vector<int8_t> bytes(static_cast<size_t>(element_count(session.outputs()[k].shape)));
    REQUIRE(session.get_output(k, bytes.data(), bytes.size()).ok());
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

void check_file(const std::string& name, bool drift) {
  CAPTURE(name);
  if (!can_convert()) return skip(name, "sparsenet-convert");
  const auto model = convert({kFolder + name + ".tflite"});
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const auto golden = io::read_npy(kFolder + name + ".npy");
  REQUIRE_MESSAGE(golden.ok(), golden.status().message());
  const auto runs = static_cast<size_t>(golden->shape[0]), size = static_cast<size_t>(golden->shape[1]);
  for (const Backend backend : {Backend::kReference, Backend::kPortable, Backend::kAuto}) {
    for (const bool optimize : {true, false}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = 2;
      options.optimize = optimize;
      auto session = Session::create(*model, options);
      REQUIRE_MESSAGE(session.ok(), session.status().message());
      const bool is_unsigned = session->inputs()[0].type == DataType::kUInt8;
      for (size_t run = 0; run < runs; ++run) {
        for (size_t k = 0; k < session->inputs().size(); ++k) {
          REQUIRE(set_bytes(&*session, k, generated(session->inputs()[k].shape, k, run, drift)).ok());
        }
        REQUIRE(session->run().ok());
        const std::vector<int> found = outputs_of(*session);
        REQUIRE(found.size() == size);
        int wrong = 0;
        for (size_t i = 0; i < size; ++i) {
          wrong += found[i] + (is_unsigned ? 128 : 0) != static_cast<int>(golden->values[run * size + i]);
        }
        CHECK_MESSAGE(wrong == 0, text(backend), ", run ", run, ": ", wrong, " of ", size, " bytes differ");
      }
    }
  }
}

}  // namespace

TEST_CASE("int8 operators give TensorFlow Lite Micro's bytes") {
  check_file("operators", false);
}

TEST_CASE("a small int8 MobileNetV3 gives TensorFlow Lite Micro's bytes") {
  check_file("mobilenet", true);
}

TEST_CASE("a network of uint8 gives the bytes of LiteRT's reference kernels") {
  check_file("unsigned", true);
}
