// Steps that compute with integers. Those from element to element are here, with the checks of all.
#include "backends/gpu/lower_integers.h"

#include <algorithm>
#include <cstdlib>

namespace sparsenet::gpu {
namespace {

bool is_byte(int32_t x) {
  return x >= -128 && x <= 127;
}

bool numbers_fit(const snp_quant& q, int64_t multipliers, bool of_uint8) {
  bool fit = (is_byte(q.in_zero) || (of_uint8 && q.in_zero >= 0 && q.in_zero <= 255)) && is_byte(q.in2_zero) &&
             is_byte(q.out_zero) && is_byte(q.low) && is_byte(q.high) && q.left_shift >= 0 && q.left_shift <= 20 &&
             static_cast<int64_t>(q.multiplier_count) >= multipliers && (multipliers == 0 || q.multipliers);
  for (int64_t i = 0; fit && i < multipliers; ++i)
    fit = q.multipliers[2 * i] >= 0 && q.multipliers[2 * i + 1] >= -31 && q.multipliers[2 * i + 1] <= 30;
  return fit;
}

// Whether what the channels' integers become fits into 32 bits.
bool channels_fit(const snp_quant& q, int32_t count) {
  for (int32_t c = 0; q.channels && c < count; ++c) {
    const int32_t* scale = q.channels + 3 * static_cast<ptrdiff_t>(c);
    if (std::abs(int64_t{scale[0]}) * 128 + std::abs(int64_t{scale[1]}) > INT32_MAX || scale[2] < 0 || scale[2] > 31)
      return false;
  }
  return true;
}

// Of steps whose results have factors of their own: how many. -1: the kind of step has no form for integers.
int64_t multipliers_of(const snp_step& step) {
  switch (step.op) {
    case SNP_CONV:
      return step.out->c;
    case SNP_BINARY:
      return step.binary == SNP_MUL ? 1 : step.binary == SNP_ADD || step.binary == SNP_SUB ? 3 : -1;
    case SNP_GLOBAL_POOL:
    case SNP_SOFTMAX:
      return 1;
    case SNP_QUANTIZE:
      return step.in->type == SNP_FLOAT32 ? 0 : 1;
    case SNP_POOL:
    case SNP_AFFINE:
    case SNP_UNARY:
    case SNP_STRIDED_COPY:
    case SNP_DEQUANTIZE:
      return 0;
    default:
      return -1;
  }
}

const char* check(const snp_step& step) {
  constexpr uint64_t most = uint64_t{1} << 30;  // so that threads beyond the last element have numbers of 31 bits
  if (elements_of(*step.in) > most || elements_of(*step.out) > most) return "a view of more than 2^30 integers";
  constexpr const char* wrong_types = "this kind of step does not compute with integers of these types";
  constexpr const char* wrong_numbers = "its factors, bounds or tables are missing or out of range";
  const auto is_int8 = [](const snp_view* view) { return view->type == SNP_INT8; };
  const int64_t multipliers = multipliers_of(step);
  if (multipliers < 0 || (step.in2 && !is_int8(step.in2))) return wrong_types;
  if (!step.quant) {  // only what moves bytes needs none
    const bool moves = (step.op == SNP_AFFINE && !step.affine) || step.op == SNP_STRIDED_COPY;
    return moves && step.in->type == step.out->type ? nullptr : wrong_types;
  }
  const bool any_input = step.op == SNP_QUANTIZE;
  const bool moves = step.op == SNP_AFFINE || step.op == SNP_STRIDED_COPY;
  if (!any_input && !(moves ? step.in->type == step.out->type : is_int8(step.in))) return wrong_types;
  if (step.op == SNP_DEQUANTIZE ? step.out->type != SNP_FLOAT32 : !moves && !is_int8(step.out)) return wrong_types;
  if (step.affine) return "integers take the scales of their channels, not a scale and shift of float32";
  const snp_quant& q = *step.quant;
  if (!numbers_fit(q, multipliers, step.in->type == SNP_UINT8) || !channels_fit(q, step.in->c)) return wrong_numbers;
  if (step.op == SNP_CONV &&
      ((step.in2 != nullptr) != (q.residual != nullptr) || (q.residual && !numbers_fit(*q.residual, 3, false))))
    return wrong_numbers;
  return nullptr;
}

bool same_size(const snp_view& a, const snp_view& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

// Views of bytes that a step walks through together, quad by quad; `real`: a view of float32 besides. Where there are
// no gaps anywhere and channels need not be told apart, all elements are those of a single pixel.
class Map {
 public:
  explicit Map(Builder& builder) : builder_(builder) {}

  const char* place(const std::vector<const snp_view*>& views, const snp_view* real, const snp_quant* scales) {
    views_.resize(views.size());
    bool single = true,
         dense = !scales && (!real || (Builder::is_plain(*real) && real->segments[0].pixel_stride == real->c));
    for (size_t i = 0; i < views.size(); ++i) {
      if (const char* reason = views_[i].place(*views[i], builder_)) return reason;
      if (!same_size(*views[i], real ? *real : *views[0])) return "expected operands of the output's size";
      single = single && views_[i].is_single();
      dense = dense && views_[i].is_dense();
    }
    const snp_view& size = *views[0];
    params.pixels = dense ? 1 : pixels_of(size);
    const int32_t channels = dense ? static_cast<int32_t>(elements_of(size)) : size.c;
    std::vector<QuadCut> cuts;
    if (!single || scales) {
      std::vector<const ByteView*> all;
      for (const ByteView& view : views_) all.push_back(&view);
      cuts = cut_quads(0, channels, all);
      params.quads = static_cast<int>(cuts.size());
    } else {
      params.quads = static_cast<int>(blocks_of(channels, 4));
    }
    QuadView* const found[] = {&params.in, &params.out, &params.in2};
    for (size_t i = 0; i < views.size(); ++i)
      *found[i] = single ? quad_range(views_[i], channels) : quad_table(views_[i], cuts, builder_);
    if (real) params.real = builder_.view(*real);
    if (scales) {
      params.has_scales = 1;
      params.scales = scale_table(*scales, cuts, builder_);
    }
    elements_ = elements_of(size);
    return nullptr;
  }

  // `read`, `written`: bytes for each element.
  const char* launch(const char* entry, uint64_t read, uint64_t written) {
    const uint32_t group = usual_group(builder_);
    Launch& launch = builder_.launch(
        "integers", entry, "", {blocks_of(int64_t{params.pixels} * params.quads, static_cast<int32_t>(group)), 1, 1},
        {group, 1, 1}, params);
    launch.bytes_read = read * elements_;
    launch.bytes_written = written * elements_;
    return nullptr;
  }

  IntegerMapParams params{};  // the views of which are in, out and in2, in the order of place()

 private:
  Builder& builder_;
  std::vector<ByteView> views_;
  uint64_t elements_ = 0;
};

void set_quant(const snp_quant& q, IntegerMapParams* params) {
  params->twice = q.rounding != 0;
  params->in_zero = q.in_zero;
  params->out_zero = q.out_zero;
  params->low = q.low;
  params->high = q.high;
  if (q.multiplier_count > 0 && q.multipliers) {
    params->value = q.multipliers[0];
    params->shift = q.multipliers[1];
  }
}

const char* lower_affine_map(const snp_step& step, Builder& builder) {
  Map map(builder);
  const snp_quant* scales = step.quant && step.quant->channels ? step.quant : nullptr;
  if (scales && step.in->type != SNP_INT8) return "scales of channels are for int8";
  if (const char* reason = map.place({step.in, step.out}, nullptr, scales)) return reason;
  return map.launch("integer_affine", 1, 1);
}

const char* lower_table_map(const snp_step& step, Builder& builder) {
  if (!step.quant->table) return "a function of integers needs its table";
  Map map(builder);
  if (const char* reason = map.place({step.in, step.out}, nullptr, nullptr)) return reason;
  map.params.table = builder.weight_bytes(step.quant->table, 256);
  return map.launch("integer_table", 1, 1);
}

const char* lower_binary_map(const snp_step& step, Builder& builder) {
  if (!step.in2) return "expected a second operand";
  Map map(builder);
  if (const char* reason = map.place({step.in, step.out, step.in2}, nullptr, nullptr)) return reason;
  map.params.sum = integer_sum(step.binary, *step.quant);
  return map.launch("integer_binary", 2, 1);
}

// Divisors that are small enough for products with parts of them to become subnormal are made larger, with the input.
constexpr float kSmallDivisor = 0x1p-60f, kToLarger = 0x1p64f;

const char* lower_quantize_map(const snp_step& step, Builder& builder) {
  Map map(builder);
  const snp_quant& q = *step.quant;
  set_quant(q, &map.params);
  if (step.in->type != SNP_FLOAT32) {
    if (const char* reason = map.place({step.in, step.out}, nullptr, nullptr)) return reason;
    map.params.is_unsigned = step.in->type == SNP_UINT8;
    return map.launch("integer_rescale", 1, 1);
  }
  if (!(q.scale > 0.f && q.scale <= 3.4028234e38f)) return "expected a scale above 0";
  // The only view of bytes is the output.
  if (const char* reason = map.place({step.out}, step.in, nullptr)) return reason;
  map.params.out = map.params.in;
  map.params.factor = q.scale < kSmallDivisor ? kToLarger : 1.f;
  map.params.divisor = q.scale * map.params.factor;
  return map.launch("integer_quantize", 4, 1);
}

const char* lower_dequantize_map(const snp_step& step, Builder& builder) {
  Map map(builder);
  set_quant(*step.quant, &map.params);
  if (const char* reason = map.place({step.in}, step.out, nullptr)) return reason;
  map.params.factor = step.quant->scale;
  return map.launch("integer_dequantize", 1, 4);
}

}  // namespace

const char* lower_integers(const snp_step& step, Builder& builder) {
  if (const char* reason = check(step)) return reason;
  switch (step.op) {
    case SNP_CONV:
      return lower_integer_conv(step, builder);
    case SNP_POOL:
    case SNP_GLOBAL_POOL:
      return lower_integer_pool(step, builder);
    case SNP_AFFINE:
      return lower_affine_map(step, builder);
    case SNP_UNARY:
      return lower_table_map(step, builder);
    case SNP_BINARY:
      return step.strided ? lower_integer_walk(step, builder) : lower_binary_map(step, builder);
    case SNP_SOFTMAX:
    case SNP_STRIDED_COPY:
      return lower_integer_walk(step, builder);
    case SNP_QUANTIZE:
      return lower_quantize_map(step, builder);
    default:
      return lower_dequantize_map(step, builder);
  }
}

}  // namespace sparsenet::gpu
