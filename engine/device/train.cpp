// The C API: training on the device. It takes the same steps as a Trainer with one image per micro-batch.
#include <math.h>

#include "device/device_session.h"
#include "kernels/reference/common.h"
#include "runtime/port_copy.h"

namespace rt = sparsenet::rt;
namespace schema = sparsenet::schema;
using namespace sparsenet::device;

namespace {

bool is_finite(double value) {
  return value - value == 0;
}

float* region(sn_session* session, rt::StoredRegion id) {
  return reinterpret_cast<float*>(session->steps.arena() + session->training.regions[id].offset);
}

size_t region_bytes(const sn_session* session, rt::StoredRegion id) {
  return session->training.regions[id].bytes;
}

void forget_images(sn_session* session) {
  session->added = session->correct = 0;
  session->loss = 0;
}

// Computes the loss and the gradients of the image in input 0. They count if the loss is finite.
sn_status add_image(sn_session* session, uint32_t label, float* loss, sn_message* message) {
  Port port;
  (void)find_port(*session, false, 1, &port);
  const float target = static_cast<float>(label);
  rt::copy_to_view(port.view, session->steps.arena(), &target);
  execute_steps(session, 0, session->training.accumulate);
  const sn_status threads = check_threads(session, message);
  if (threads != SN_OK) return threads;
  float result[2];  // loss, and 1 if the largest logit is the label's
  (void)find_port(*session, true, 1, &port);
  rt::copy_from_view(port.view, session->steps.arena(), result);
  if (loss) *loss = result[0];
  if (!is_finite(result[0])) {
    MessageWriter(message) << "the loss is not finite; the image does not count";
    return SN_NOT_FINITE;
  }
  if (session->added == 0)
    memset(region(session, rt::kStoredGradientSum), 0, region_bytes(session, rt::kStoredGradientSum));
  // If the caller's threads break a rule from here on, all chunks are run nevertheless, and the next call reports it.
  execute_steps(session, session->training.accumulate, session->training.norm);
  ++session->added;
  session->correct += result[1] > 0.f ? 1 : 0;
  session->loss += static_cast<double>(result[0]);
  return SN_OK;
}

sn_status update(sn_session* session, const sn_train_options& options, float* mean_loss, sn_message* message) {
  const double mean = 1.0 / session->added;
  if (mean_loss) *mean_loss = static_cast<float>(session->loss * mean);
  forget_images(session);
  execute_steps(session, session->training.norm, session->training.update);
  const sn_status threads = check_threads(session, message);
  if (threads != SN_OK) return threads;
  float* control = region(session, rt::kStoredControl);
  if (!is_finite(static_cast<double>(control[rt::kSquareSumHigh]))) {
    MessageWriter(message) << "the gradients are not finite; the parameters stay as they were";
    return SN_NOT_FINITE;
  }
  control[rt::kLearningRate] = options.learning_rate;
  control[rt::kGradientScale] = static_cast<float>(mean);
  control[rt::kWeightDecay] = options.weight_decay;
  control[rt::kMomentum] = options.momentum;
  control[rt::kNesterov] = options.nesterov ? 1.f : 0.f;
  execute_steps(session, session->training.update, session->steps.count());
  return SN_OK;
}

bool in_range(float value, float below) {
  return value >= 0.f && value < below;
}

sn_status read_train_options(const sn_train_options* given, sn_train_options* known, sn_message* message) {
  // The members that the structure had in its first version have no defaults, so all of them are required.
  constexpr uint32_t kLeast = offsetof(sn_train_options, nesterov) + sizeof given->nesterov;
  if (!given || given->struct_size < kLeast) {
    MessageWriter(message) << "training: expected options, of at least " << size_t{kLeast} << " bytes";
    return SN_INVALID_ARGUMENT;
  }
  *known = {};
  memcpy(known, given, given->struct_size < sizeof *known ? given->struct_size : sizeof *known);
  if (in_range(known->learning_rate, 1e6f) && in_range(known->momentum, 1.f) && in_range(known->weight_decay, 1.f)) {
    return SN_OK;
  }
  MessageWriter(message)
      << "training: expected a learning rate of 0 to below 1000000, momentum and weight decay of 0 to below 1";
  return SN_INVALID_ARGUMENT;
}

bool trains(const sn_session* session) {
  return session && session->trains;
}

}  // namespace

namespace sparsenet::device {

void restart_training(sn_session* session) {
  forget_images(session);
  for (const rt::StoredRegion id : {rt::kStoredParameters, rt::kStoredMomentum}) {
    memset(region(session, id), 0, region_bytes(session, id));
  }
  const uint32_t count = rt::count_initial(session->plan);
  for (uint32_t i = 0; i < count; ++i) {
    rt::InitialParameter parameter;
    (void)rt::read_initial(session->plan, session->training, i, &parameter);
    auto* to = reinterpret_cast<float*>(session->steps.arena() + parameter.offset);
    for (size_t k = 0; k < parameter.elements; ++k) to[k] = rt::number(parameter.values, static_cast<int64_t>(k));
  }
}

}  // namespace sparsenet::device

extern "C" {

sn_status sn_train_add(sn_session* session, uint32_t label, float* loss, sn_message* message) {
  if (!trains(session)) return SN_INVALID_ARGUMENT;
  if (label >= static_cast<uint32_t>(session->training.classes)) {
    MessageWriter(message) << "label: expected 0 to " << static_cast<size_t>(session->training.classes - 1)
                           << ", found " << size_t{label};
    return SN_INVALID_ARGUMENT;
  }
  return add_image(session, label, loss, message);
}

sn_status sn_train_update(sn_session* session, const sn_train_options* given, float* mean_loss, sn_message* message) {
  if (!trains(session)) return SN_INVALID_ARGUMENT;
  sn_train_options options;
  sn_status status = read_train_options(given, &options, message);
  if (status != SN_OK) return status;
  if (session->added == 0) {
    MessageWriter(message) << "training: expected an image since the last update";
    return SN_INVALID_ARGUMENT;
  }
  return update(session, options, mean_loss, message);
}

sn_status sn_train_parameters(sn_session* session, void** data, size_t* bytes) {
  if (!trains(session) || !data || !bytes) return SN_INVALID_ARGUMENT;
  *data = region(session, rt::kStoredParameters);
  *bytes = region_bytes(session, rt::kStoredParameters);
  return SN_OK;
}

sn_status sn_train_verify(sn_session* session, float* error, sn_message* message) {
  if (!trains(session)) return SN_INVALID_ARGUMENT;
  const schema::TrainingCheck* check = session->plan.plan->training()->check();
  const uint32_t images = check ? size_of(check->labels()) : 0, steps = check ? size_of(check->losses()) : 0;
  if (images == 0 || steps == 0) {
    MessageWriter(message) << "the training plan has no losses to compare with";
    return SN_NOT_FOUND;
  }
  const sn_train_options given{sizeof given, check->learning_rate(), check->momentum(), check->weight_decay(),
                               check->nesterov() ? 1 : 0};
  sn_train_options options;
  sn_status status = read_train_options(&given, &options, message);
  if (status != SN_OK) return SN_INVALID_MODEL;
  restart_training(session);
  float worst = 0;
  for (uint32_t step = 0; step < steps && status == SN_OK; ++step) {
    for (uint32_t i = 0; i < images && status == SN_OK; ++i) {
      if (!find_test_vector(*session, i) ||
          check->labels()->Get(i) >= static_cast<uint32_t>(session->training.classes)) {
        MessageWriter(message) << "training check: image " << size_t{i}
                               << ": expected a test vector and one of the classes";
        status = SN_INVALID_MODEL;
      }
      if (status == SN_OK) status = set_test_inputs(session, i, message);
      if (status == SN_OK) status = add_image(session, check->labels()->Get(i), nullptr, message);
    }
    float loss = 0;
    if (status == SN_OK) status = update(session, options, &loss, message);
    const float expected = check->losses()->Get(step), size = __builtin_fabsf(expected);
    const float difference = __builtin_fabsf(loss - expected) / (size > 1e-6f ? size : 1e-6f);
    if (!(difference <= worst)) worst = is_finite(difference) ? difference : __builtin_inff();
  }
  restart_training(session);
  if (error) *error = worst;
  if (status == SN_NOT_FINITE) MessageWriter(message) << "training check: a loss or a gradient is not finite";
  if (status != SN_OK) return status;
  if (worst <= check->tolerance()) return SN_OK;
  MessageWriter(message) << "training check: a loss is beyond its tolerance";
  return SN_DIFFERENT;
}

}  // extern "C"
