// Cases of the steps that compute with integers.
#include <cmath>

#include "plugin_check/families.h"

namespace sparsenet::plugin_check {
namespace {

using rt::DataType;
using rt::StepOp;

constexpr double kTypical = 74;  // the root mean square of a random byte

rt::Multiplier factor(double value) {
  int exponent = 0;
  auto mantissa = static_cast<int64_t>(std::llround(std::ldexp(std::frexp(value, &exponent), 31)));
  if (mantissa == int64_t{1} << 31) {
    mantissa /= 2;
    ++exponent;
  }
  return {static_cast<int32_t>(mantissa), exponent};
}

int32_t zero_point(Random& random) {
  return random.chance(0.4f) ? random.pick({-128, 127, 0}) : random.integer(-128, 127);
}

rt::QuantParams* new_quant(Case& c, const std::vector<rt::Multiplier>& multipliers) {
  Random& r = c.random;
  rt::QuantParams q{};
  q.rounding = r.chance(0.5f) ? rt::Rounding::kSingle : rt::Rounding::kDouble;
  q.in_zero = zero_point(r);
  q.in2_zero = zero_point(r);
  q.out_zero = zero_point(r);
  q.low = r.chance(0.7f) ? -128 : r.integer(-128, 0);
  q.high = r.chance(0.7f) ? 127 : r.integer(1, 127);
  c.multipliers.push_back(multipliers);
  q.multipliers = multipliers.empty() ? nullptr : c.multipliers.back().data();
  q.multiplier_count = static_cast<int32_t>(multipliers.size());
  c.quant.push_back(q);
  return &c.quant.back();
}

// Of a sum or a difference: the operands are shifted to the left first.
rt::QuantParams* new_sum(Case& c) {
  constexpr int32_t kLeft = 20;
  Random& r = c.random;
  const double a = static_cast<double>(r.real(0.1f, 1.f)), b = static_cast<double>(r.real(0.1f, 1.f));
  rt::QuantParams* q =
      new_quant(c, {factor(a), factor(b), factor(std::ldexp(static_cast<double>(r.real(0.3f, 1.5f)), -kLeft))});
  q->left_shift = kLeft;
  return q;
}

void set_channels(Case& c, const rt::Step& step, rt::QuantParams* quant) {
  constexpr int32_t kShift = 15;
  std::vector<rt::ChannelScale> scales;
  for (int32_t i = 0; i < step.in.c; ++i) {
    scales.push_back(
        {static_cast<int32_t>(std::lround(std::ldexp(c.random.real(-1.5f, 1.5f), kShift))),
         static_cast<int32_t>(std::lround(std::ldexp(c.random.real(-50.f, 50.f), kShift))) + (1 << (kShift - 1)),
         kShift});
  }
  c.channel_scales.push_back(std::move(scales));
  quant->channels = c.channel_scales.back().data();
}

int32_t integer_channels(Random& random) {
  return random.chance(0.3f) ? random.pick({15, 16, 17, 32, 33, 64}) : random.integer(1, 20);
}

rt::View bytes(Case& c, Layout layout, DataType type = DataType::kInt8) {
  Random& r = c.random;
  return c.view(r.integer(1, 3), r.integer(1, 9), r.integer(1, 9), integer_channels(r), layout, type);
}

}  // namespace

Case make_int8_conv(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kConv);
  int32_t groups = 1, in_c = integer_channels(r), out_c = integer_channels(r);
  if (seed % 4 == 1) groups = in_c, out_c = in_c * (r.chance(0.2f) ? 2 : 1);
  if (seed % 4 == 2) groups = r.integer(2, 3), in_c = groups * r.integer(1, 9), out_c = groups * r.integer(1, 9);
  s.in = c.view(r.integer(1, 2), r.integer(1, 9), r.integer(1, 9), in_c, Layout::kAny, DataType::kInt8);
  s.window = random_conv_window(r, s.in.h, s.in.w);
  s.conv.groups = groups;
  const int32_t taps = in_c / groups * s.window.kernel_h * s.window.kernel_w;
  s.conv.weight = c.integers(int64_t{out_c} * taps, DataType::kInt8, -127, 127);
  if (r.chance(0.8f)) s.conv.bias = c.integers(out_c, DataType::kInt32, -20000, 20000);
  std::vector<rt::Multiplier> multipliers;
  const double typical = kTypical * kTypical * std::sqrt(static_cast<double>(taps));
  for (int32_t o = 0; o < out_c; ++o) {
    multipliers.push_back(factor(static_cast<double>(r.real(20.f, 90.f)) / typical));
  }
  rt::QuantParams* q = new_quant(c, multipliers);
  if (r.chance(0.3f)) set_channels(c, s, q);
  int32_t out_h = 0, out_w = 0;
  set_conv_output(&s, &out_h, &out_w);
  s.out = c.view(s.in.n, out_h, out_w, out_c, Layout::kArena, DataType::kInt8);
  if (r.chance(0.4f)) {
    s.in2 = r.chance(0.3f) ? s.out : c.view(s.in.n, out_h, out_w, out_c, Layout::kArena, DataType::kInt8);
    q->residual = new_sum(c);
  }
  s.quant = q;
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_pool(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kPool);
  s.in = bytes(c, Layout::kAny);
  int32_t out_h = 0, out_w = 0;
  s.window = random_pool_window(r, s.in, false, &out_h, &out_w);
  s.pool.max = seed % 2 == 0;
  s.pool.count_include_pad = r.chance(0.5f);
  rt::QuantParams* q = new_quant(c, {});
  if (r.chance(0.3f)) set_channels(c, s, q);
  s.quant = q;
  s.out = c.view(s.in.n, out_h, out_w, s.in.c, Layout::kArena, DataType::kInt8);
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_global_pool(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  rt::Step s = c.step(StepOp::kGlobalPool);
  s.in = bytes(c, Layout::kAny);
  rt::QuantParams* q = new_quant(c, {factor(static_cast<double>(c.random.real(0.5f, 3.f)) / (s.in.h * s.in.w))});
  if (c.random.chance(0.3f)) set_channels(c, s, q);
  s.quant = q;
  s.out = c.view(s.in.n, 1, 1, s.in.c, Layout::kArena, DataType::kInt8);
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_affine(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  rt::Step s = c.step(StepOp::kAffine);
  s.in = bytes(c, Layout::kAny);
  rt::QuantParams* q = new_quant(c, {});
  q->low = -128;
  q->high = 127;
  if (seed % 2 == 0) set_channels(c, s, q);
  s.quant = q;
  s.out = c.view(s.in.n, s.in.h, s.in.w, s.in.c, Layout::kArena, DataType::kInt8);
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_unary(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  rt::Step s = c.step(StepOp::kUnary);
  s.in = bytes(c, c.random.chance(0.5f) ? Layout::kAny : Layout::kGapless);
  rt::QuantParams* q = new_quant(c, {});
  std::vector<int8_t> table(256);
  for (int8_t& entry : table) entry = static_cast<int8_t>(c.random.integer(-128, 127));
  c.tables.push_back(std::move(table));
  q->table = c.tables.back().data();
  s.quant = q;
  s.out = c.view(s.in.n, s.in.h, s.in.w, s.in.c, c.random.chance(0.5f) ? Layout::kArena : Layout::kGapless,
                 DataType::kInt8);
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_binary(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kBinary);
  s.binary.op = static_cast<rt::BinaryOp>(seed % 3);  // add, subtract, multiply
  s.quant = s.binary.op == rt::BinaryOp::kMul
                ? new_quant(c, {factor(static_cast<double>(r.real(0.3f, 2.f)) / kTypical)})
                : new_sum(c);
  if (r.chance(0.4f)) {
    rt::Strided space = random_space(r, 1, 4);
    const int64_t of_out = random_strides(r, space, space.rank, space.out_strides);
    const int64_t of_in = random_strides(r, space, space.rank, space.in_strides[0]);
    const int64_t of_in2 = random_strides(r, space, space.rank, space.in_strides[1]);
    space.in_strides[r.integer(0, 1)][r.integer(0, space.rank - 1)] = 0;
    s.in = c.flat(of_in, DataType::kInt8);
    s.in2 = c.flat(of_in2, DataType::kInt8);
    s.out = c.flat(of_out, DataType::kInt8);
    c.strided.push_back(space);
    s.strided = &c.strided.back();
  } else {
    s.in = bytes(c, Layout::kAny);
    s.in2 = c.view(s.in.n, s.in.h, s.in.w, s.in.c, Layout::kAny, DataType::kInt8);
    s.out = c.view(s.in.n, s.in.h, s.in.w, s.in.c, Layout::kArena, DataType::kInt8);
  }
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_softmax(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kSoftmax);
  rt::Strided space = random_space(r, 1, 3);
  space.reduced_from = space.rank - 1;
  s.in = c.flat(random_strides(r, space, space.rank, space.in_strides[0]), DataType::kInt8);
  s.out = c.flat(random_strides(r, space, space.rank, space.out_strides), DataType::kInt8);
  c.strided.push_back(space);
  s.strided = &c.strided.back();
  // Differences become numbers with 5 integer bits, of 31 in all; what has no room is no probability.
  const rt::Multiplier scale = factor(std::ldexp(static_cast<double>(r.real(0.02f, 0.3f)), 26));
  rt::QuantParams* q = new_quant(c, {scale});
  q->least = -static_cast<int32_t>(std::floor(std::ldexp(31.0, 26 - scale.shift)));
  q->low = -128;
  q->high = 127;
  s.quant = q;
  c.add(s);
  c.finish();
  return c;
}

Case make_int8_strided_copy(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kStridedCopy);
  rt::Strided space = random_space(r, 1, 4);
  space.out_start = r.chance(0.4f) ? r.integer(1, 9) : 0;
  const int64_t of_out = random_strides(r, space, space.rank, space.out_strides);
  s.in = c.flat(random_strides(r, space, space.rank, space.in_strides[0]), DataType::kInt8);
  s.out = c.flat(of_out + space.out_start + r.integer(0, 9), DataType::kInt8);
  space.fill_first = seed % 2 == 0;
  space.fill_value = space.fill_first ? static_cast<float>(zero_point(r)) : 0.f;
  space.out_elements = space.fill_first ? s.out.c : 0;
  c.strided.push_back(space);
  s.strided = &c.strided.back();
  s.quant = new_quant(c, {});
  c.add(s);
  c.finish();
  return c;
}

Case make_quantize(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  Random& r = c.random;
  rt::Step s = c.step(StepOp::kQuantize);
  const DataType from = seed % 3 == 0 ? DataType::kInt8 : seed % 3 == 1 ? DataType::kUInt8 : DataType::kFloat32;
  const bool real = from == DataType::kFloat32;
  s.in = bytes(c, real ? Layout::kArena : Layout::kAny, from);
  rt::QuantParams* q = real ? new_quant(c, {}) : new_quant(c, {factor(static_cast<double>(r.real(0.3f, 2.f)))});
  if (real) {
    q->scale = r.chance(0.5f) ? 0.125f : r.real(0.01f, 0.1f);
    // Halves between two integers, too large numbers, and what is no number.
    for (int64_t pixel = 0; pixel < int64_t{s.in.n} * s.in.h * s.in.w; ++pixel) {
      if (r.chance(0.5f)) {
        *c.element(s.in, pixel, r.integer(0, s.in.c - 1)) =
            (static_cast<float>(r.integer(-150, 150)) + 0.5f) * q->scale;
      } else if (r.chance(0.1f)) {
        *c.element(s.in, pixel, 0) = r.pick({NAN, INFINITY, -INFINITY, 1e30f});
      }
    }
  } else {
    q->in_zero = from == DataType::kUInt8 ? r.integer(0, 255) : zero_point(r);
  }
  s.quant = q;
  s.out = c.view(s.in.n, s.in.h, s.in.w, s.in.c, Layout::kArena, DataType::kInt8);
  c.add(s);
  c.finish();
  return c;
}

Case make_dequantize(const char* name, uint64_t seed, bool) {
  Case c(name, seed);
  rt::Step s = c.step(StepOp::kDequantize);
  s.in = bytes(c, Layout::kAny);
  rt::QuantParams* q = new_quant(c, {});
  q->scale = c.random.real(0.01f, 0.1f);
  s.quant = q;
  s.out = c.view(s.in.n, s.in.h, s.in.w, s.in.c, Layout::kArena);
  c.add(s);
  c.finish();
  return c;
}

}  // namespace sparsenet::plugin_check
