#include "plugin/plan_data.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "step/step_kinds.h"

namespace sparsenet {
namespace {

template <class T>
T sized() {
  T value{};
  value.struct_size = static_cast<uint32_t>(sizeof(T));
  return value;
}

template <class T>
const T* keep(std::deque<T>* all, const T& value) {
  all->push_back(value);
  return &all->back();
}

// The numbers of plugin.h are those of step.h and of files, which never change.
static_assert(SNP_CONV == static_cast<int>(rt::StepOp::kConv));
static_assert(SNP_ATTENTION == static_cast<int>(rt::StepOp::kAttention));
static_assert(SNP_MAT_MUL == static_cast<int>(rt::StepOp::kMatMul));
static_assert(SNP_DEQUANTIZE == static_cast<int>(rt::StepOp::kDequantize));
static_assert(SNP_POW == static_cast<int>(rt::Act::kLast) && SNP_ERF == static_cast<int>(rt::Act::kErf));
static_assert(SNP_PRELU == static_cast<int>(rt::kLastBinaryOp));
static_assert(SNP_FLOAT16 == static_cast<int>(rt::DataType::kFloat16));
static_assert(SNP_MAX_DIMS == rt::kMaxDims);

// Plugins get multipliers and scales of channels as arrays of integers.
static_assert(sizeof(rt::Multiplier) == 2 * sizeof(int32_t) && sizeof(rt::ChannelScale) == 3 * sizeof(int32_t));

bool is_inference(rt::StepOp op) {
  switch (op) {
    case rt::StepOp::kConv:
    case rt::StepOp::kPool:
    case rt::StepOp::kGlobalPool:
    case rt::StepOp::kAffine:
    case rt::StepOp::kUnary:
    case rt::StepOp::kBinary:
    case rt::StepOp::kSoftmax:
    case rt::StepOp::kReduceMean:
    case rt::StepOp::kStridedCopy:
    case rt::StepOp::kAttention:
    case rt::StepOp::kMatMul:
    case rt::StepOp::kLayerNorm:
    case rt::StepOp::kQuantize:
    case rt::StepOp::kDequantize:
      return true;
    default:
      return false;
  }
}

}  // namespace

PlanRange whole_range(const Plan& plan) {
  return {0, plan.steps.size(), plan.inputs, plan.outputs};
}

Result<PlanData> PlanData::make(const Plan& plan, const std::vector<Tensor>& constants, const PlanRange& range,
                                bool widen) {
  PlanData data;
  SPARSENET_RETURN_IF_ERROR(data.add_constants(constants, widen));
  for (size_t i = range.begin; i < range.end; ++i) {
    const rt::Step& step = plan.steps[i];
    const Status added = data.add_step(step, plan.step_macs[i]);
    if (!added.ok()) return added.with_context("node '" + std::string(step.name) + "'");
  }
  for (const PlanPort& port : range.inputs) SPARSENET_RETURN_IF_ERROR(data.add_port(port, &data.inputs_));
  for (const PlanPort& port : range.outputs) SPARSENET_RETURN_IF_ERROR(data.add_port(port, &data.outputs_));
  data.plan_ = sized<snp_plan>();
  data.plan_.step_count = static_cast<uint32_t>(data.steps_.size());
  data.plan_.constant_count = static_cast<uint32_t>(data.constants_.size());
  data.plan_.input_count = static_cast<uint32_t>(data.inputs_.size());
  data.plan_.output_count = static_cast<uint32_t>(data.outputs_.size());
  data.plan_.arena_bytes = plan.arena_bytes;
  data.plan_.steps = data.steps_.data();
  data.plan_.constants = data.constants_.data();
  data.plan_.inputs = data.inputs_.data();
  data.plan_.outputs = data.outputs_.data();
  return data;
}

Status PlanData::add_constants(const std::vector<Tensor>& constants, bool widen) {
  for (const Tensor& tensor : constants) {
    snp_constant constant = sized<snp_constant>();
    constant.type = static_cast<uint32_t>(tensor.type);
    constant.elements = static_cast<uint64_t>(tensor.elements());
    constant.data = tensor.data;
    const bool half = widen && tensor.type == DataType::kFloat16;
    if (half) {
      widened_.push_back(to_float32(tensor));
      constant.type = SNP_FLOAT32;
      constant.data = widened_.back().data();
    }
    const auto [at, is_first] =
        known_.try_emplace(static_cast<const uint8_t*>(tensor.data), Known{constants_.size(), tensor.bytes(), half});
    if (!is_first && at->second.bytes < tensor.bytes()) at->second = {constants_.size(), tensor.bytes(), half};
    longest_ = std::max(longest_, tensor.bytes());
    constants_.push_back(constant);
  }
  return {};
}

Result<PlanData::Place> PlanData::find(const void* place) const {
  const auto* at = static_cast<const uint8_t*>(place);
  auto after = known_.upper_bound(at);
  while (after != known_.begin()) {
    --after;
    const auto offset = static_cast<size_t>(at - after->first);
    if (offset >= longest_) break;
    const Known& known = after->second;
    if (offset < known.bytes) return Place{static_cast<int32_t>(known.index), known.widened ? offset * 2 : offset};
  }
  return internal_error("a step reads what is no constant of the plan");
}

Status PlanData::view(const rt::View& v, const snp_view** out) {
  if (v.segment_count == 0) return {};
  std::vector<snp_segment> segments;
  for (int32_t i = 0; i < v.segment_count; ++i) {
    const rt::Segment& from = v.segments[i];
    snp_segment segment = sized<snp_segment>();
    segment.constant = -1;
    segment.offset = from.offset;
    if (from.constant) {
      SPARSENET_ASSIGN_OR_RETURN(const Place place, find(from.constant));
      segment.constant = place.constant;
      segment.offset = place.offset;
    }
    segment.channels = from.channels;
    segment.pixel_stride = from.pixel_stride;
    segments.push_back(segment);
  }
  segments_.push_back(std::move(segments));
  snp_view made = sized<snp_view>();
  made.type = static_cast<uint32_t>(v.type);
  made.n = v.n;
  made.h = v.h;
  made.w = v.w;
  made.c = v.c;
  made.segment_count = static_cast<uint32_t>(v.segment_count);
  made.segments = segments_.back().data();
  *out = keep(&views_, made);
  return {};
}

Status PlanData::parameter(const rt::Parameter& from, const snp_parameter** out) {
  if (!from) return {};
  if (from.data == &rt::kUnplaced) return unsupported("parameters that change between runs: plugins do not train");
  SPARSENET_ASSIGN_OR_RETURN(const Place place, find(from.data));
  snp_parameter made = sized<snp_parameter>();
  made.constant = place.constant;
  made.offset = place.offset;
  *out = keep(&parameters_, made);
  return {};
}

const snp_act* PlanData::act(const rt::Act& from) {
  if (from.kind == rt::Act::kClamp && from.low == -INFINITY && from.high == INFINITY) return nullptr;
  snp_act made = sized<snp_act>();
  made.kind = from.kind;
  made.low = from.low;
  made.high = from.high;
  made.alpha = from.alpha;
  made.beta = from.beta;
  return keep(&acts_, made);
}

const snp_quant* PlanData::quant(const rt::QuantParams* from) {
  if (!from) return nullptr;
  snp_quant made = sized<snp_quant>();
  made.rounding = static_cast<uint32_t>(from->rounding);
  made.in_zero = from->in_zero;
  made.in2_zero = from->in2_zero;
  made.out_zero = from->out_zero;
  made.low = from->low;
  made.high = from->high;
  made.multiplier_count = static_cast<uint32_t>(from->multiplier_count);
  made.multipliers = from->multiplier_count > 0 ? &from->multipliers[0].value : nullptr;
  made.left_shift = from->left_shift;
  made.least = from->least;
  made.scale = from->scale;
  made.channels = from->channels ? &from->channels[0].multiplier : nullptr;
  made.table = from->table;
  made.residual = quant(from->residual);
  return keep(&quants_, made);
}

Status PlanData::attention(const rt::AttentionParams& from, const snp_attention** out) {
  snp_attention made = sized<snp_attention>();
  made.hidden = from.hidden;
  for (int i = 0; i < 8; ++i) SPARSENET_RETURN_IF_ERROR(parameter(from.params[i], &made.params[i]));
  made.act = act(from.act);
  made.gate = act(from.gate);
  *out = keep(&attentions_, made);
  return {};
}

Status PlanData::add_step(const rt::Step& from, int64_t macs) {
  if (!is_inference(from.op) || from.conv.variable || from.conv.transposed) {
    return unsupported(std::string("plugins run inference only, found a step of training, ") + rt::step_name(from.op));
  }
  snp_step made = sized<snp_step>();
  made.op = static_cast<uint32_t>(from.op);
  made.name = from.name;
  SPARSENET_RETURN_IF_ERROR(view(from.in, &made.in));
  SPARSENET_RETURN_IF_ERROR(view(from.in2, &made.in2));
  SPARSENET_RETURN_IF_ERROR(view(from.out, &made.out));
  made.act = act(from.act);
  if (from.affine.scale) {
    snp_affine affine = sized<snp_affine>();
    const bool bounded = from.op != rt::StepOp::kLayerNorm;
    affine.low = bounded ? from.affine.low : -INFINITY;
    affine.high = bounded ? from.affine.high : INFINITY;
    SPARSENET_RETURN_IF_ERROR(parameter(from.affine.scale, &affine.scale));
    SPARSENET_RETURN_IF_ERROR(parameter(from.affine.shift, &affine.shift));
    made.affine = keep(&affines_, affine);
  }
  if (from.op == rt::StepOp::kConv || from.op == rt::StepOp::kPool) {
    const rt::Window& w = from.window;
    snp_window window = sized<snp_window>();
    window.kernel_h = w.kernel_h;
    window.kernel_w = w.kernel_w;
    window.stride_h = w.stride_h;
    window.stride_w = w.stride_w;
    window.dilation_h = from.op == rt::StepOp::kPool ? 1 : w.dilation_h;
    window.dilation_w = from.op == rt::StepOp::kPool ? 1 : w.dilation_w;
    window.pad_top = w.pad_top;
    window.pad_left = w.pad_left;
    window.pad_bottom = w.pad_bottom;
    window.pad_right = w.pad_right;
    made.window = keep(&windows_, window);
  }
  if (from.op == rt::StepOp::kConv) {
    snp_conv conv = sized<snp_conv>();
    conv.groups = from.conv.groups;
    SPARSENET_RETURN_IF_ERROR(parameter(from.conv.weight, &conv.weight));
    SPARSENET_RETURN_IF_ERROR(parameter(from.conv.bias, &conv.bias));
    made.conv = keep(&convs_, conv);
  }
  if (from.op == rt::StepOp::kPool) {
    snp_pool pool = sized<snp_pool>();
    pool.max = from.pool.max;
    pool.count_include_pad = from.pool.count_include_pad;
    made.pool = keep(&pools_, pool);
  }
  made.binary = static_cast<uint32_t>(from.binary.op);
  made.epsilon = from.op == rt::StepOp::kLayerNorm ? from.train.alpha : 0.f;
  if (from.strided) {
    const rt::Strided& s = *from.strided;
    snp_strided strided = sized<snp_strided>();
    strided.rank = s.rank;
    for (int32_t d = 0; d < s.rank; ++d) {
      strided.dims[d] = s.dims[d];
      // The stride of a dimension with one element is never used, and may be anything.
      const bool used = s.dims[d] > 1;
      strided.out_strides[d] = used ? s.out_strides[d] : 0;
      strided.in_strides[d] = used ? s.in_strides[0][d] : 0;
      strided.in2_strides[d] = used && from.in2.segment_count > 0 ? s.in_strides[1][d] : 0;
    }
    strided.out_start = s.out_start;
    strided.in_start = s.in_start[0];
    strided.in2_start = from.in2.segment_count > 0 ? s.in_start[1] : 0;
    strided.reduced_from = s.reduced_from;
    strided.fill_first = s.fill_first;
    strided.fill_value = s.fill_value;
    strided.out_elements = static_cast<uint64_t>(s.out_elements);
    made.strided = keep(&strided_, strided);
  }
  made.quant = quant(from.quant);
  if (from.op == rt::StepOp::kAttention) SPARSENET_RETURN_IF_ERROR(attention(from.attention, &made.attention));
  made.macs = static_cast<uint64_t>(macs);
  steps_.push_back(made);
  return {};
}

Status PlanData::add_port(const PlanPort& from, std::vector<snp_port>* ports) {
  snp_port made = sized<snp_port>();
  if (from.shape.size() > SNP_MAX_DIMS) return unsupported("'" + from.name + "': more than 8 dimensions");
  made.rank = static_cast<int32_t>(from.shape.size());
  for (size_t d = 0; d < from.shape.size(); ++d) made.dims[d] = from.shape[d];
  made.name = from.name.c_str();
  SPARSENET_RETURN_IF_ERROR(view(from.view, &made.view));
  made.bytes = static_cast<uint64_t>(element_count(from.shape)) * rt::size_of(from.view.type);
  ports->push_back(made);
  return {};
}

}  // namespace sparsenet
