// Steps of integers over index spaces.
#include <limits>

#include "backends/gpu/lower_integers.h"
#include "runtime/fixed_point.h"

namespace sparsenet::gpu {
namespace {

constexpr int32_t kExponentials = 256;        // differences from the largest element
constexpr int64_t kMostProbabilities = 4095;  // a softmax adds them with 12 bits in front of the point

constexpr int64_t kMostElements = int64_t{1} << 30;

bool fits(int64_t x) {
  return x >= 0 && x <= std::numeric_limits<int32_t>::max();
}

const char* place_operand(const snp_view& view, const int64_t* strides, int64_t start, int32_t rank, Builder& builder,
                          WalkOperand* operand) {
  ByteView bytes;
  if (const char* reason = bytes.place(view, builder)) return reason;
  if (!bytes.is_single()) return "index spaces take operands in one piece";
  if (!fits(start)) return "its index space has negative or too large numbers";
  operand->start = bytes.ranges()[0].base + static_cast<uint32_t>(start);
  operand->in_weights = !bytes.in_arena();
  for (int32_t d = 0; d < rank; ++d) {
    if (!fits(strides[d])) return "its index space has negative or too large numbers";
    operand->strides[d] = static_cast<int>(strides[d]);
  }
  return nullptr;
}

// Merges dimensions that every operand walks through as one, but not across `outer`: kernels divide by each of them.
void merge_dimensions(IntegerWalkParams* p) {
  WalkOperand* const operands[] = {&p->in, &p->in2, &p->out};
  for (int d = p->rank - 1; d > 0; --d) {
    bool one = d != p->outer && int64_t{p->dims[d - 1]} * p->dims[d] <= std::numeric_limits<int32_t>::max();
    for (const WalkOperand* operand : operands)
      one = one && int64_t{operand->strides[d - 1]} == int64_t{operand->strides[d]} * p->dims[d];
    if (!one) continue;
    p->dims[d - 1] *= p->dims[d];
    for (WalkOperand* operand : operands) operand->strides[d - 1] = operand->strides[d];
    for (int e = d; e + 1 < p->rank; ++e) {
      p->dims[e] = p->dims[e + 1];
      for (WalkOperand* operand : operands) operand->strides[e] = operand->strides[e + 1];
    }
    if (p->outer > d) --p->outer;
    --p->rank;
  }
}

// `operands`: 1 or 2 inputs. `outer`: the dimensions from there on are a row.
const char* place_walk(const snp_step& step, int operands, int32_t outer, Builder& builder, IntegerWalkParams* params) {
  const snp_strided& s = *step.strided;
  if (s.rank < 0 || s.rank > SNP_MAX_DIMS || outer < 0 || outer > s.rank)
    return "index spaces have at most 8 dimensions";
  params->rank = s.rank;
  params->outer = outer;
  int64_t count = 1, along = 1;
  for (int32_t d = 0; d < s.rank; ++d) {
    if (s.dims[d] < 1 || s.dims[d] > kMostElements) return "its index space has negative or too large numbers";
    int64_t& product = d < outer ? count : along;
    product *= s.dims[d];
    if (count > kMostElements / along) return "its index space has more than 2^30 elements";
    params->dims[d] = static_cast<int>(s.dims[d]);
  }
  params->count = static_cast<int>(count);
  params->along = static_cast<int>(along);
  if (const char* reason = place_operand(*step.in, s.in_strides, s.in_start, s.rank, builder, &params->in))
    return reason;
  if (operands > 1) {
    if (const char* reason = place_operand(*step.in2, s.in2_strides, s.in2_start, s.rank, builder, &params->in2))
      return reason;
  } else {  // so that it never keeps dimensions apart
    params->in2 = params->in;
  }
  if (const char* reason = place_operand(*step.out, s.out_strides, s.out_start, s.rank, builder, &params->out))
    return reason;
  if (params->out.in_weights) return "a constant is not written to";
  merge_dimensions(params);
  return nullptr;
}

Launch& launch_elements(const char* entry, const IntegerWalkParams& params, Builder& builder) {
  const uint32_t group = usual_group(builder);
  return builder.launch("integers_walk", entry, "", {blocks_of(params.count, static_cast<int32_t>(group)), 1, 1},
                        {group, 1, 1}, params);
}

const char* lower_softmax_walk(const snp_step& step, Builder& builder) {
  const snp_quant& q = *step.quant;
  IntegerWalkParams params{};
  // As every softmax, it has its elements from the views' first ones on.
  snp_strided strided = *step.strided;
  strided.in_start = strided.out_start = 0;
  snp_step from_start = step;
  from_start.strided = &strided;
  if (const char* reason = place_walk(from_start, 1, strided.reduced_from, builder, &params)) return reason;
  if (params.along > kMostProbabilities) return "a softmax of integers has at most 4095 elements";
  if (q.least > 0 || q.multipliers[1] < 0)
    return "expected the factor of a softmax, 1 or more, and the least difference";
  std::vector<int32_t> exponentials(kExponentials);
  for (int32_t i = 0; i < kExponentials; ++i) {
    const int32_t x = rt::high_product(rt::shifted_left(-i, q.multipliers[1]), q.multipliers[0]);
    exponentials[static_cast<size_t>(i)] = -i >= q.least ? rt::exp_of_negative(x, 5) : -1;
  }
  params.table = builder.weight_bytes(exponentials.data(), exponentials.size() * 4);
  // As many threads for a row as have a few elements each.
  const uint32_t group = usual_group(builder);
  uint32_t threads = 1;
  while (threads < group && static_cast<int>(threads) * 4 < params.along) threads *= 2;
  const uint32_t rows = group / threads;
  Launch& launch =
      builder.launch("integers_walk", "integer_softmax", "",
                     {blocks_of(params.count, static_cast<int32_t>(rows)), 1, 1}, {threads, rows, 1}, params);
  launch.bytes_read = 3 * static_cast<uint64_t>(params.count) * static_cast<uint64_t>(params.along);
  launch.bytes_written = static_cast<uint64_t>(params.count) * static_cast<uint64_t>(params.along);
  return nullptr;
}

}  // namespace

const char* lower_integer_walk(const snp_step& step, Builder& builder) {
  if (!step.strided) return "expected an index space";
  if (step.op == SNP_SOFTMAX) return lower_softmax_walk(step, builder);
  const bool binary = step.op == SNP_BINARY;
  if (binary && !step.in2) return "expected a second operand";
  IntegerWalkParams params{};
  if (const char* reason = place_walk(step, binary ? 2 : 1, step.strided->rank, builder, &params)) return reason;
  if (binary) params.sum = integer_sum(step.binary, *step.quant);
  const auto count = static_cast<uint64_t>(params.count);
  if (!binary && step.strided->fill_first) {
    const float value = step.strided->fill_value;
    const uint64_t filled = step.strided->out_elements;
    if (!(value >= -128.f && value <= 255.f)) return "expected a byte to fill with";
    if (filled < 1 || filled > kMostElements) return "expected 1 to 2^30 elements to fill";
    IntegerWalkParams fill{};
    fill.count = static_cast<int>(filled);
    fill.out.start = params.out.start - static_cast<uint32_t>(step.strided->out_start);
    fill.fill = static_cast<int>(value);
    launch_elements("integer_fill", fill, builder).bytes_written = filled;
  }
  Launch& launch = launch_elements(binary ? "integer_walk_binary" : "integer_copy", params, builder);
  launch.bytes_read = binary ? 2 * count : count;
  launch.bytes_written = count;
  return nullptr;
}

}  // namespace sparsenet::gpu
