// The tasks of MLPerf Tiny on the C API: what a runner sends becomes the network's input, and its outputs the results
// that a runner reads. ic_task.cpp, kws_task.cpp and ad_task.cpp each have one task's part of this.
//
// Nothing here uses a heap, stdio or an operating system. Inputs and outputs are kept in the network's own type, so a
// network of integers needs a byte for each number.
#pragma once

#include <sparsenet/sparsenet.h>
#include <stddef.h>
#include <stdint.h>

namespace sparsenet::mlperf {

// The numbers of an input or output, in memory of the caller's. Those of integers are seen as the real numbers that
// they stand for.
class Numbers {
 public:
  Numbers() = default;
  Numbers(const sn_tensor& tensor, void* memory)
      : data_(memory), count_(tensor.elements), type_(tensor.type), scale_(tensor.scale), zero_(tensor.zero_point) {}

  size_t count() const { return count_; }
  float get(size_t i) const;
  // Rounds to an integer as sn_set_input does.
  void set(size_t i, float value);

  sn_status to_input(sn_session* session) const;  // number 0
  sn_status from_output(const sn_session* session);

 private:
  bool is_real() const { return type_ == SN_FLOAT32; }

  void* data_ = nullptr;
  size_t count_ = 0;
  uint32_t type_ = SN_FLOAT32;
  float scale_ = 0;
  int32_t zero_ = 0;
};

// What is particular to a task.
struct TaskKind {
  const char* name;     // for people: "ic"
  const char* id;       // by which runners choose the inputs: "ic01"
  size_t input_bytes;   // of one input, as runners send it
  const char* expects;  // of a network's input, as a message
  bool (*takes)(const sn_tensor& input);
  // Null, or why a network with such an input cannot perform the task: a message with static storage.
  const char* (*check)(const sn_session* session, const sn_tensor& input, const sn_tensor& output);
  // Makes the network's input of a runner's.
  void (*load)(const sn_session* session, const uint8_t* bytes, Numbers* input);
  // The one result, from a runner's input and the network's outputs; null if the outputs are the results.
  float (*score)(const uint8_t* bytes, const Numbers& outputs);
};
extern const TaskKind image_classification, keyword_spotting, anomaly_detection;

constexpr size_t kMostInputBytes = 3072;  // of all tasks

// All tasks, null at the end.
extern const TaskKind* const kTasks[];
// The task that a network's input fits, or null. (Programs that name their task link no other.)
const TaskKind* find_task(const sn_session* session);
extern const char* const kNoTask;  // says so, as a message

class Task {
 public:
  // Of memory, in addition to the session's, for an input and an output of so many bytes in their own types.
  static constexpr size_t memory_bytes(size_t input_bytes, size_t output_bytes) {
    return (input_bytes + sizeof(float) - 1) / sizeof(float) * sizeof(float) + output_bytes;
  }
  static size_t memory_bytes(const sn_session* session);

  // Null, or why this network cannot perform the task: a message with static storage. `memory` must be aligned for
  // float and, like the session, outlive the task.
  const char* open(sn_session* session, const TaskKind& kind, void* memory, size_t bytes);

  // Converts one input to the network's. Benchmarks do not measure this. The bytes must stay as they are until the
  // results of this input have been read.
  void load(const uint8_t* bytes);
  // One inference on what was loaded: copies the input into the session's arena and runs.
  sn_status infer();

  // Of the last inference; zeros before the first.
  size_t results() const { return kind_->score ? 1 : outputs_.count(); }
  float result(size_t i);

 private:
  sn_session* session_ = nullptr;
  const TaskKind* kind_ = nullptr;
  Numbers input_, outputs_;
  const uint8_t* bytes_ = nullptr;  // what was loaded
  bool ran_ = false, scored_ = false;
  float score_ = 0;
};

}  // namespace sparsenet::mlperf
