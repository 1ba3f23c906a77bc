// Steps over contiguous runs of floats: fills, sums in place, gradients of activations, parameter updates. A chunk has
// 16 K elements. All but the activations' are plain loops, which compilers turn into vectors of any kind, those of
// variable length among them.
#include "kernels/portable/activation.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int64_t kChunk = 16384;

struct State {
  const float* in[3];  // in the order of the operands
  float* out;
  float* more;  // the momentum of SGD or the first moment of Adam
  int64_t count, decayed;
  Act act;
  float alpha;
  const float* control;
};

bool flat(const View& v) {
  return v.segment_count == 1 && v.segments[0].pixel_stride == v.c && !v.segments[0].constant;
}
int64_t count_of(const View& v) {
  return int64_t{v.n} * v.h * v.w * v.c;
}

bool all_flat(const Step& s, StepOp op) {
  if (s.op != op || count_of(s.train.operands[0]) / kChunk > 60000) return false;
  for (int i = 0; i < s.train.operand_count; ++i) {
    if (!flat(s.train.operands[i])) return false;
  }
  return true;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State);
  needs->chunks = static_cast<int32_t>((count_of(s.train.operands[0]) + kChunk - 1) / kChunk);
}

// in[0], in[1], ... are all operands but the last, which is `out`.
const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const int last = step.train.operand_count - 1;
  for (int i = 0; i < last; ++i) s->in[i] = dense_pointer(step.train.operands[i], place.arena);
  s->out = dense_pointer(step.train.operands[last], place.arena);
  s->count = count_of(step.train.operands[0]);
  s->act = step.act;
  s->alpha = step.train.alpha;
  return nullptr;
}

// The elements [begin, end) of a chunk.
struct Range {
  int64_t begin, end;
};
SPARSENET_INLINE Range range_of(const State& s, int32_t chunk) {
  const int64_t begin = chunk * kChunk, end = begin + kChunk;
  return {begin, end < s.count ? end : s.count};
}

bool fill_supports(const Step& s) {
  return all_flat(s, StepOp::kFill);
}
void fill_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const Range range = range_of(s, chunk);
  float* const out = s.out;
  const float value = s.alpha;
#pragma omp simd
  for (int64_t i = range.begin; i < range.end; ++i) out[i] = value;
}

bool accumulate_supports(const Step& s) {
  return all_flat(s, StepOp::kAccumulate);
}
void accumulate_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const Range range = range_of(s, chunk);
  float* const out = s.out;
  const float* const in = s.in[0];
#pragma omp simd
  for (int64_t i = range.begin; i < range.end; ++i) out[i] += in[i];
}

bool activation_supports(const Step& s) {
  return all_flat(s, StepOp::kActivationGrad);
}
void activation_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const Range range = range_of(s, chunk);
  for (int64_t i = range.begin; i < range.end; i += kLanes) {
    const int lanes = range.end - i < kLanes ? static_cast<int>(range.end - i) : kLanes;
    store_first(s.out + i, load_first(s.in[0] + i, lanes) * slope(load_first(s.in[1] + i, lanes), s.act), lanes);
  }
}

// --- updates: parameters, gradients, moments, control

const char* update_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const int last = step.train.operand_count - 1;
  s->out = dense_pointer(step.train.operands[0], place.arena);
  s->in[0] = dense_pointer(step.train.operands[1], place.arena);
  s->more = dense_pointer(step.train.operands[2], place.arena);
  s->in[1] = last > 3 ? dense_pointer(step.train.operands[3], place.arena) : nullptr;
  s->control = dense_pointer(step.train.operands[last], place.arena);
  s->count = count_of(step.train.operands[0]);
  s->decayed = static_cast<int64_t>(step.train.alpha);
  return nullptr;
}

template <bool kNesterovMomentum>
void sgd(const State& s, Range range, float decay) {
  float *const weights = s.out, *const moments = s.more;
  const float *const gradient = s.in[0], *const k = s.control;
  const float rate = k[kLearningRate], scale = k[kGradientScale], momentum = k[kMomentum];
#pragma omp simd
  for (int64_t i = range.begin; i < range.end; ++i) {
    const float w = weights[i], g = gradient[i] * scale + w * decay, m = momentum * moments[i] + g;
    moments[i] = m;
    weights[i] = w - rate * (kNesterovMomentum ? g + momentum * m : m);
  }
}

template <bool kDecoupledDecay>
void adam(const State& s, Range range, float decay) {
  float *const weights = s.out, *const first = s.more, *const second = const_cast<float*>(s.in[1]);
  const float *const gradient = s.in[0], *const k = s.control;
  const float rate = k[kLearningRate], scale = k[kGradientScale], beta1 = k[kBeta1], beta2 = k[kBeta2];
  const float correction1 = k[kCorrection1], correction2 = k[kCorrection2], epsilon = k[kEpsilon];
#pragma omp simd
  for (int64_t i = range.begin; i < range.end; ++i) {
    const float w = weights[i], g = gradient[i] * scale + (kDecoupledDecay ? 0.f : decay * w);
    const float m = beta1 * first[i] + (1.f - beta1) * g, v = beta2 * second[i] + (1.f - beta2) * g * g;
    first[i] = m;
    second[i] = v;
    const float step = m * correction1 / (sqrtf(v * correction2) + epsilon);
    weights[i] = w - rate * (kDecoupledDecay ? step + decay * w : step);
  }
}

// Calls update(range, decay) for the chunk's parameters that decay and for those that do not.
template <class F>
SPARSENET_INLINE void for_decay(const State& s, int32_t chunk, F update) {
  const Range range = range_of(s, chunk);
  const int64_t middle = s.decayed < range.begin ? range.begin : s.decayed < range.end ? s.decayed : range.end;
  update(Range{range.begin, middle}, s.control[kWeightDecay]);
  update(Range{middle, range.end}, 0.f);
}

bool sgd_supports(const Step& s) {
  return all_flat(s, StepOp::kUpdateSgd);
}
void sgd_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const auto update = s.control[kNesterov] != 0.f ? sgd<true> : sgd<false>;
  for_decay(s, chunk, [&](Range range, float decay) { update(s, range, decay); });
}

bool adam_supports(const Step& s) {
  return all_flat(s, StepOp::kUpdateAdam);
}
void adam_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const auto update = s.control[kDecoupled] != 0.f ? adam<true> : adam<false>;
  for_decay(s, chunk, [&](Range range, float decay) { update(s, range, decay); });
}

}  // namespace

const Kernel kFill = {
    .name = "fill_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = fill_supports,
    .query = query,
    .prepare = prepare,
    .run = fill_run,
};
const Kernel kAccumulate = {
    .name = "accumulate_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = accumulate_supports,
    .query = query,
    .prepare = prepare,
    .run = accumulate_run,
};
const Kernel kActivationGrad = {
    .name = "activation_grad_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = activation_supports,
    .query = query,
    .prepare = prepare,
    .run = activation_run,
};
const Kernel kUpdateSgd = {
    .name = "update_sgd_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = sgd_supports,
    .query = query,
    .prepare = update_prepare,
    .run = sgd_run,
};
const Kernel kUpdateAdam = {
    .name = "update_adam_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = adam_supports,
    .query = query,
    .prepare = update_prepare,
    .run = adam_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
