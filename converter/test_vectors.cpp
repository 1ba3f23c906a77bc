// add_test_vectors(): makes embedded test vectors, with which `sparsenet verify` compares a device's outputs.
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>

#include <cmath>

#include "converter/convert.h"
#include "io/session_tensors.h"

namespace sparsenet::converter {
namespace {

// A small generator of our own, which gives the same inputs on every machine. (splitmix64, public domain, Sebastiano
// Vigna.)
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  double uniform() {  // [0, 1)
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1.0p-53;
  }
  double normal() {  // Box-Muller
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  uint64_t state_;
};

// Normalised pixels of a random image if the model states how it normalises images, otherwise standard normal values.
std::vector<float> make_floats(const Shape& shape, const Metadata& metadata, bool images, Random* random) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  const size_t plane = shape.size() == 4 ? static_cast<size_t>(shape[2] * shape[3]) : 1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!images) {
      values[i] = static_cast<float>(random->normal());
      continue;
    }
    const size_t channel = i / plane % static_cast<size_t>(shape[1]);
    const double mean = channel < metadata.mean.size() ? static_cast<double>(metadata.mean[channel]) : 0.0;
    const double std_dev = channel < metadata.std_dev.size() ? static_cast<double>(metadata.std_dev[channel]) : 1.0;
    values[i] = static_cast<float>((std::floor(256.0 * random->uniform()) - mean) / std_dev);
  }
  return values;
}

// Integers are of any size that their type has.
Tensor make_input(const TensorInfo& info, const Metadata& metadata, bool images, Random* random) {
  if (info.type == DataType::kFloat32) {
    return Tensor::from(info.shape, make_floats(info.shape, metadata, images && info.shape.size() == 4, random));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(element_count(info.shape)));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(256.0 * random->uniform());
  return io::integer_tensor(info.type, info.shape, std::move(bytes));
}

}  // namespace

Status compute_outputs(Session* session, TestVector* vector) {
  for (size_t i = 0; i < vector->inputs.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(io::set_input(session, i, vector->inputs[i]));
  }
  SPARSENET_RETURN_IF_ERROR(session->run());
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < session->outputs().size(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(Tensor output, io::get_output(*session, i));
    for (float value : io::numbers_of(output)) {
      if (!std::isfinite(value)) return invalid_model("output '" + session->outputs()[i].name + "' is not finite");
    }
    outputs.push_back(std::move(output));
  }
  vector->outputs = std::move(outputs);
  return {};
}

Status add_test_vectors(int count, Model* model) {
  if (count <= 0) return {};
  SessionOptions options;
  options.backend = Backend::kReference;
  options.threads = 1;
  SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(model->graph, options));
  const bool images = !model->metadata.mean.empty() || !model->metadata.std_dev.empty();
  Random random(20240607);
  model->test_vectors.clear();
  for (int n = 0; n < count; ++n) {
    TestVector vector;
    for (size_t i = 0; i < session.inputs().size(); ++i) {
      vector.inputs.push_back(make_input(session.inputs()[i], model->metadata, images, &random));
    }
    SPARSENET_RETURN_IF_ERROR(round_inputs(model->graph, &vector));
    SPARSENET_RETURN_IF_ERROR(compute_outputs(&session, &vector));
    model->test_vectors.push_back(std::move(vector));
  }
  return {};
}

}  // namespace sparsenet::converter
