// What the parts of the C API share: its session, and the writing of messages without stdio. Internal to device/.
#pragma once

#include <model_generated.h>
#include <sparsenet/sparsenet.h>
#include <string.h>

#include "format/stored/model_file.h"
#include "format/stored/stored_plan.h"
#include "format/stored/training_plan.h"
#include "runtime/bound_steps.h"
#include "runtime/hook_guard.h"
#include "runtime/port_affine.h"

namespace sparsenet::device {

// An input or an output of the plan, as callers see it.
struct Port {
  uint32_t index;
  bool is_output;
  rt::View view;
  rt::PortAffine affine;
  int32_t rank, dims[rt::kMaxDims];
  size_t elements;
};

}  // namespace sparsenet::device

struct sn_session {
  sparsenet::rt::ModelFile file;
  sparsenet::rt::PlanFile plan;
  sparsenet::rt::BoundSteps steps;   // if its threads have a function, it is that of a HookGuard
  const sparsenet::rt::View* ports;  // of all inputs, then of all outputs
  sn_observer observer;
  void* observer_self;
  bool trains;
  sparsenet::rt::TrainingLayout training;
  uint32_t added;    // images since the last update
  uint32_t correct;  // how many of them were classified correctly
  double loss;       // the sum of their losses
};

namespace sparsenet::device {

using rt::kMaxOperands;
constexpr uint32_t kMaxSegments = 128;  // of all views of one step or port together

// Writes a message without stdio. What does not fit is cut off.
class MessageWriter {
 public:
  explicit MessageWriter(sn_message* message) {
    constexpr size_t kText = offsetof(sn_message, text);
    if (!message || message->struct_size <= kText) return;
    const size_t room = message->struct_size - kText;
    at_ = message->text;
    end_ = at_ + (room < sizeof message->text ? room : sizeof message->text) - 1;
    *at_ = '\0';
  }
  MessageWriter& operator<<(const char* text) {
    while (at_ && at_ < end_ && *text) *at_++ = *text++;
    if (at_) *at_ = '\0';
    return *this;
  }
  MessageWriter& operator<<(size_t number) {
    char digits[24];
    char* first = digits + sizeof digits - 1;
    *first = '\0';
    do {
      *--first = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    return *this << first;
  }

 private:
  char *at_ = nullptr, *end_ = nullptr;
};

template <class List>
uint32_t size_of(const List* list) {
  return list ? list->size() : 0;
}

// Fills in the caller's structure, as far as its version and ours both have its members.
template <class T>
void give(T* to, T value) {
  const uint32_t size = to->struct_size;
  value.struct_size = size;
  memcpy(to, &value, size < sizeof value ? size : sizeof value);
}

// Returns false if there is no such port.
bool find_port(const sn_session& session, bool output, uint32_t index, Port* port);

const schema::TestVector* find_test_vector(const sn_session& session, uint32_t index);

// The vector's values for a port, if they are of the port's type and number and lie within the file; else null.
const void* values_of(const sn_session& session, const schema::TestVector& vector, const Port& port);

// Sets the graph's inputs to those of a test vector that exists. SN_INVALID_MODEL, with a message, if one is missing or
// of another type or size.
sn_status set_test_inputs(sn_session* session, uint32_t test_vector, sn_message* message);

// Sets a float32 input of which the vector holds integers; false if it does not. Changes the port's type. Reached
// through IntegerParts.
bool set_input_from_integers(sn_session* session, const schema::TestVector& vector, Port* port);

void execute_steps(sn_session* session, int32_t begin, int32_t end);

// Returns SN_INVALID_ARGUMENT if the caller's threads have broken a rule since the last call.
sn_status check_threads(sn_session* session, sn_message* message);

// Sets the parameters to those of the file, clears the momentum, and forgets the images that were added.
void restart_training(sn_session* session);

}  // namespace sparsenet::device
