#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {
namespace {

sn_tensor input_of(const sn_session* session) {
  sn_tensor tensor{};
  tensor.struct_size = sizeof tensor;
  (void)sn_input(session, 0, &tensor);  // every network has one
  return tensor;
}

sn_tensor output_of(const sn_session* session) {
  sn_tensor tensor{};
  tensor.struct_size = sizeof tensor;
  (void)sn_output(session, 0, &tensor);
  return tensor;
}

size_t bytes_of(const sn_tensor& tensor) {
  return tensor.elements * (tensor.type == SN_FLOAT32 ? sizeof(float) : 1);
}

}  // namespace

float Numbers::get(size_t i) const {
  if (is_real()) return static_cast<const float*>(data_)[i];
  const int32_t q = type_ == SN_INT8 ? static_cast<const int8_t*>(data_)[i] : static_cast<const uint8_t*>(data_)[i];
  return static_cast<float>(q - zero_) * scale_;
}

void Numbers::set(size_t i, float value) {
  if (is_real()) {
    static_cast<float*>(data_)[i] = value;
    return;
  }
  const auto low = type_ == SN_INT8 ? -128.f : 0.f, high = low + 255.f;
  float q = __builtin_roundf(value / scale_) + static_cast<float>(zero_);
  if (q != q) q = static_cast<float>(zero_);
  q = q < low ? low : q > high ? high : q;
  static_cast<uint8_t*>(data_)[i] = static_cast<uint8_t>(static_cast<int32_t>(q));  // of int8 the same bits
}

sn_status Numbers::to_input(sn_session* session) const {
  return is_real() ? sn_set_input(session, 0, static_cast<const float*>(data_), count_)
                   : sn_set_input_bytes(session, 0, data_, count_);
}

sn_status Numbers::from_output(const sn_session* session) {
  return is_real() ? sn_get_output(session, 0, static_cast<float*>(data_), count_)
                   : sn_get_output_bytes(session, 0, data_, count_);
}

const TaskKind* const kTasks[] = {&image_classification, &keyword_spotting, &anomaly_detection, nullptr};
const char* const kNoTask =
    "expected an input [1, 3, 32, 32] (image classification), of 49 x 10 features (keyword spotting) or of 640 "
    "features (anomaly detection)";

const TaskKind* find_task(const sn_session* session) {
  const sn_tensor input = input_of(session);
  for (const TaskKind* const* kind = kTasks; *kind; ++kind) {
    if ((*kind)->takes(input)) return *kind;
  }
  return nullptr;
}

size_t Task::memory_bytes(const sn_session* session) {
  return memory_bytes(bytes_of(input_of(session)), bytes_of(output_of(session)));
}

const char* Task::open(sn_session* session, const TaskKind& kind, void* memory, size_t bytes) {
  const sn_tensor input = input_of(session), output = output_of(session);
  sn_tensor second{};
  second.struct_size = sizeof second;
  if (sn_input(session, 1, &second) == SN_OK) return "expected a network with one input";
  if (!kind.takes(input)) return kind.expects;
  if (const char* why = kind.check(session, input, output)) return why;
  if (bytes < memory_bytes(session)) return "the task's memory is smaller than Task::memory_bytes()";
  session_ = session;
  kind_ = &kind;
  input_ = Numbers(input, memory);
  outputs_ = Numbers(output, static_cast<uint8_t*>(memory) + memory_bytes(bytes_of(input), 0));
  bytes_ = nullptr;
  ran_ = scored_ = false;
  return nullptr;
}

void Task::load(const uint8_t* bytes) {
  bytes_ = bytes;
  kind_->load(session_, bytes, &input_);
}

sn_status Task::infer() {
  // Set before every run: a plan may reuse the input's memory during a run.
  sn_status status = input_.to_input(session_);
  if (status == SN_OK) status = sn_run(session_);
  if (status == SN_OK) status = outputs_.from_output(session_);
  ran_ = ran_ || status == SN_OK;
  scored_ = false;
  return status;
}

float Task::result(size_t i) {
  if (!ran_) return 0;
  if (!kind_->score) return outputs_.get(i);
  // Kept, because the bytes may be others by the time a runner asks again.
  if (!scored_) score_ = kind_->score(bytes_, outputs_);
  scored_ = true;
  return score_;
}

}  // namespace sparsenet::mlperf
