// Steps over contiguous runs of floats: fills, sums in place, gradients of activations, parameter updates. A chunk has
// 16 K elements.
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

// Calls f(element, lanes) for the chunk's vectors.
template <class F>
SPARSENET_INLINE void for_vectors(const State& s, int32_t chunk, F f) {
  int64_t i = chunk * kChunk;
  const int64_t end = i + kChunk < s.count ? i + kChunk : s.count;
  for (; i + kLanes <= end; i += kLanes) f(i, kLanes);
  if (i < end) f(i, static_cast<int>(end - i));
}

bool fill_supports(const Step& s) {
  return all_flat(s, StepOp::kFill);
}
void fill_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const V value = splat(s.alpha);
  for_vectors(s, chunk, [&](int64_t i, int lanes) { store_first(s.out + i, value, lanes); });
}

bool accumulate_supports(const Step& s) {
  return all_flat(s, StepOp::kAccumulate);
}
void accumulate_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  for_vectors(s, chunk, [&](int64_t i, int lanes) {
    store_first(s.out + i, load_first(s.out + i, lanes) + load_first(s.in[0] + i, lanes), lanes);
  });
}

bool activation_supports(const Step& s) {
  return all_flat(s, StepOp::kActivationGrad);
}
void activation_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  for_vectors(s, chunk, [&](int64_t i, int lanes) {
    store_first(s.out + i, load_first(s.in[0] + i, lanes) * slope(load_first(s.in[1] + i, lanes), s.act), lanes);
  });
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

bool sgd_supports(const Step& s) {
  return all_flat(s, StepOp::kUpdateSgd);
}
// The decayed parameters end at a multiple of 16, so no vector holds both kinds.
void sgd_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const float *gradient = s.in[0], *k = s.control;
  const V rate = splat(k[kLearningRate]), scale = splat(k[kGradientScale]), momentum = splat(k[kMomentum]);
  const bool nesterov = k[kNesterov] != 0.f;
  for_vectors(s, chunk, [&](int64_t i, int lanes) {
    const V w = load_first(s.out + i, lanes);
    V g = load_first(gradient + i, lanes) * scale;
    if (i < s.decayed) g += w * k[kWeightDecay];
    const V m = momentum * load_first(s.more + i, lanes) + g;
    store_first(s.more + i, m, lanes);
    store_first(s.out + i, w - rate * (nesterov ? g + momentum * m : m), lanes);
  });
}

bool adam_supports(const Step& s) {
  return all_flat(s, StepOp::kUpdateAdam);
}
void adam_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const float *gradient = s.in[0], *k = s.control;
  float* second = const_cast<float*>(s.in[1]);
  const bool decoupled = k[kDecoupled] != 0.f;
  const int64_t end = (chunk + 1) * kChunk < s.count ? (chunk + 1) * kChunk : s.count;
  for (int64_t i = chunk * kChunk; i < end; ++i) {
    const float decay = i < s.decayed ? k[kWeightDecay] : 0.f;
    float g = gradient[i] * k[kGradientScale];
    if (!decoupled) g += decay * s.out[i];
    s.more[i] = k[kBeta1] * s.more[i] + (1.f - k[kBeta1]) * g;
    second[i] = k[kBeta2] * second[i] + (1.f - k[kBeta2]) * g * g;
    const float step = s.more[i] * k[kCorrection1] / (sqrtf(second[i] * k[kCorrection2]) + k[kEpsilon]);
    s.out[i] -= k[kLearningRate] * (decoupled ? step + decay * s.out[i] : step);
  }
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
