// A model in a training session of the C API.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/sparsenet.h>
#include <sparsenet/trainer.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/device_helpers.h"
#include "support/train_data.h"

namespace sparsenet::test {

inline sn_options training_options(const sn_thread_hook* threads = nullptr, uint32_t kernels = SN_KERNELS_LINKED) {
  sn_options options{};
  options.struct_size = sizeof options;
  options.training = 1;
  options.threads = threads;
  options.kernels = kernels;
  return options;
}

inline sn_train_options sgd(float rate) {
  return {sizeof(sn_train_options), rate, 0.9f, 1e-4f, 1};
}

// One image, and all of the model's own check; whether the calls succeed is not looked at.
inline void train_once(sn_session* session) {
  (void)sn_train_verify(session, nullptr, nullptr);
  (void)sn_train_add(session, 1, nullptr, nullptr);
  const sn_train_options o = sgd(0.1f);
  (void)sn_train_update(session, &o, nullptr, nullptr);
}

// A model in a training session.
struct Board {
  explicit Board(const std::vector<uint8_t>& bytes, const sn_thread_hook* threads = nullptr,
                 uint32_t kernels = SN_KERNELS_LINKED)
      : options(training_options(threads, kernels)),
        model(bytes),
        needs(needs_of(model, &options)),
        memory(needs.memory_bytes),
        session(prepared(model, memory, &options)) {}

  std::vector<float> parameters() {
    void* data = nullptr;
    size_t bytes = 0;
    REQUIRE(sn_train_parameters(session, &data, &bytes) == SN_OK);
    REQUIRE(bytes == needs.parameters_bytes);
    const auto* values = static_cast<const float*>(data);
    return {values, values + bytes / sizeof(float)};
  }

  float add(const TrainData& data, int64_t image) {
    REQUIRE(sn_set_input(session, 0, data.batch_images(image, 1), data.image_size()) == SN_OK);
    return add(*data.batch_labels(image, 1));
  }

  // Of the image that has been set.
  float add(int32_t label) {
    float loss = std::nanf("");
    sn_message why{sizeof why, ""};
    REQUIRE_MESSAGE(sn_train_add(session, static_cast<uint32_t>(label), &loss, &why) == SN_OK, why.text);
    return loss;
  }

  float update(float rate) {
    float loss = std::nanf("");
    const sn_train_options o = sgd(rate);
    REQUIRE(sn_train_update(session, &o, &loss, nullptr) == SN_OK);
    return loss;
  }

  // Of the images, or of the logits.
  sn_tensor tensor(bool output) const {
    sn_tensor t{};
    t.struct_size = sizeof t;
    REQUIRE((output ? sn_output : sn_input)(session, 0, &t) == SN_OK);
    return t;
  }

  std::vector<float> logits(const float* image) {
    std::vector<float> out(tensor(true).elements);
    REQUIRE(sn_set_input(session, 0, image, tensor(false).elements) == SN_OK);
    REQUIRE(sn_run(session) == SN_OK);
    REQUIRE(sn_get_output(session, 0, out.data(), out.size()) == SN_OK);
    return out;
  }

  sn_options options;
  Room model;
  sn_needs needs;
  Room memory;
  sn_session* session;
};

// The parameters as they are stored in a trainer's state, after its two counters.
inline std::vector<float> state_parameters(const Trainer& trainer, size_t floats) {
  std::vector<uint8_t> state(trainer.state_bytes());
  REQUIRE(trainer.save_state(state.data(), state.size()).ok());
  std::vector<float> values(floats);
  std::memcpy(values.data(), state.data() + 16, floats * sizeof(float));
  return values;
}

}  // namespace sparsenet::test
