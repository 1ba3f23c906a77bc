#include "format/stored/stored_quant.h"

#include <model_generated.h>
#include <stddef.h>

namespace sparsenet::rt {
namespace {

constexpr uint32_t kTableEntries = 256;
constexpr char kWrongLength[] = "integers: a list that is missing, or of another length than the step needs";

template <class T>
uint32_t size_of(const flatbuffers::Vector<T>* list) {
  return list ? list->size() : 0;
}

// A list without entries is not none: kernels take a pointer as the promise of all that they read.
template <class T>
bool is_none_or(const flatbuffers::Vector<T>* list, uint32_t entries) {
  return !list || list->size() == entries;
}

template <class T, class Stored>
const T* in_place(const flatbuffers::Vector<Stored>* list) {
  static_assert(alignof(T) <= 4, "FlatBuffers places lists of structs at multiples of 4");
  return list ? reinterpret_cast<const T*>(list->Data()) : nullptr;
}

void read_numbers(const schema::PlanQuant& q, QuantParams* out) {
  static_assert(sizeof(Multiplier) == sizeof(schema::PlanMultiplier) && offsetof(Multiplier, shift) == 4 &&
                sizeof(ChannelScale) == sizeof(schema::PlanChannelScale) && offsetof(ChannelScale, shift) == 8);
  *out = {};
  out->rounding = static_cast<Rounding>(q.rounding());
  out->in_zero = q.in_zero();
  out->in2_zero = q.in2_zero();
  out->out_zero = q.out_zero();
  out->low = q.low();
  out->high = q.high();
  out->multipliers = in_place<Multiplier>(q.multipliers());
  out->multiplier_count = static_cast<int32_t>(size_of(q.multipliers()));
  out->left_shift = q.left_shift();
  out->least = q.least();
  out->scale = q.scale();
  out->channels = in_place<ChannelScale>(q.channels());
  out->table = in_place<int8_t>(q.table());
}

}  // namespace

const char* read_quant(const schema::PlanStep& s, QuantParams* const* memory, Step* step) {
  if (!s.quant()) return kWrongLength;  // a residual alone
  read_numbers(*s.quant(), memory[0]);
  const auto channels = static_cast<uint32_t>(step->in.c);
  if (!is_none_or(s.quant()->channels(), channels) || !is_none_or(s.quant()->table(), kTableEntries)) {
    return kWrongLength;
  }
  if (s.residual()) {
    read_numbers(*s.residual(), memory[1]);
    if (memory[1]->channels || memory[1]->table) return kWrongLength;
    memory[0]->residual = memory[1];
  }
  step->quant = memory[0];
  return nullptr;
}

}  // namespace sparsenet::rt
