#include "plugin_check/wire.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace sparsenet::plugin_check {

void* Wire::block(size_t bytes) {
  blocks_.emplace_back((bytes + 7) / 8);
  std::memset(static_cast<void*>(blocks_.back().data()), kGarbage, blocks_.back().size() * 8);
  return blocks_.back().data();
}

template <class T>
T& Wire::at(T* array, size_t i) {
  return *reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(array) + i * array->struct_size);
}

template <class T>
T* Wire::make(size_t count) {
  if (count == 0) return nullptr;
  const size_t stride = sizeof(T) + growth_;
  auto* first = static_cast<uint8_t*>(block(stride * count));
  for (size_t i = 0; i < count; ++i) {
    T empty{};
    empty.struct_size = static_cast<uint32_t>(stride);
    std::memcpy(first + i * stride, &empty, sizeof empty);
  }
  return reinterpret_cast<T*>(first);
}

template <class T>
const T* Wire::numbers(const T* from, size_t count) {
  if (!from || count == 0) return nullptr;
  auto* to = static_cast<T*>(block(count * sizeof(T)));
  std::memcpy(to, from, count * sizeof(T));
  return to;
}

Wire::Wire(const Case& c, uint32_t growth) : case_(c), growth_(growth) {
  plan_ = make<snp_plan>();
  plan_->arena_bytes = c.arena().size();
  plan_->constant_count = static_cast<uint32_t>(c.constants().size());
  auto* constants = make<snp_constant>(c.constants().size());
  for (size_t i = 0; i < c.constants().size(); ++i) {
    const Constant& from = c.constants()[i];
    snp_constant& to = at(constants, i);
    to.type = static_cast<uint32_t>(from.type);
    to.elements = from.bytes / rt::size_of(from.type);
    to.data = numbers(from.data(), from.bytes);
  }
  plan_->constants = constants;
  plan_->step_count = static_cast<uint32_t>(c.steps().size());
  steps_ = make<snp_step>(c.steps().size());
  for (size_t i = 0; i < c.steps().size(); ++i) convert(c.steps()[i], &at(steps_, i));
  plan_->steps = steps_;

  std::deque<rt::Segment> whole;
  std::vector<Port> regions;
  for (const Region& region : c.regions()) {
    const auto channels = static_cast<int32_t>(region.elements);
    whole.push_back({region.offset, nullptr, channels, channels});
    regions.push_back({{1, 1, 1, channels, &whole.back(), 1, region.type}, {1, region.elements}});
  }
  set_ports(regions, regions);
}

snp_step& Wire::step(size_t i) {
  return at(steps_, i);
}

void Wire::find(const void* place, int32_t* constant, uint64_t* offset) const {
  const auto* byte = static_cast<const uint8_t*>(place);
  for (size_t i = 0; i < case_.constants().size(); ++i) {
    const Constant& c = case_.constants()[i];
    if (byte < c.data() || byte >= c.data() + c.bytes) continue;
    *constant = static_cast<int32_t>(i);
    *offset = static_cast<uint64_t>(byte - c.data());
    return;
  }
  throw std::logic_error("case '" + case_.name() + "': an address in no constant");
}

snp_view* Wire::convert(const rt::View& v) {
  if (v.segment_count == 0) return nullptr;
  auto* segments = make<snp_segment>(static_cast<size_t>(v.segment_count));
  for (size_t i = 0; i < static_cast<size_t>(v.segment_count); ++i) {
    const rt::Segment& from = v.segments[i];
    snp_segment& to = at(segments, i);
    to.constant = -1;
    to.offset = from.offset;
    if (from.constant) find(from.constant, &to.constant, &to.offset);
    to.channels = from.channels;
    to.pixel_stride = from.pixel_stride;
  }
  auto* view = make<snp_view>();
  view->type = static_cast<uint32_t>(v.type);
  view->n = v.n;
  view->h = v.h;
  view->w = v.w;
  view->c = v.c;
  view->segment_count = static_cast<uint32_t>(v.segment_count);
  view->segments = segments;
  return view;
}

const snp_parameter* Wire::convert(const rt::Parameter& from) {
  if (!from) return nullptr;
  auto* to = make<snp_parameter>();
  find(from.data, &to->constant, &to->offset);
  return to;
}

const snp_act* Wire::convert(const rt::Act& from) {
  if (from.kind == rt::Act::kClamp && from.low == -INFINITY && from.high == INFINITY) return nullptr;
  auto* to = make<snp_act>();
  to->kind = from.kind;
  to->low = from.low;
  to->high = from.high;
  to->alpha = from.alpha;
  to->beta = from.beta;
  return to;
}

const snp_quant* Wire::convert(const rt::QuantParams* from, size_t channels) {
  if (!from) return nullptr;
  auto* to = make<snp_quant>();
  to->rounding = static_cast<uint32_t>(from->rounding);
  to->in_zero = from->in_zero;
  to->in2_zero = from->in2_zero;
  to->out_zero = from->out_zero;
  to->low = from->low;
  to->high = from->high;
  to->multiplier_count = static_cast<uint32_t>(from->multiplier_count);
  const auto multipliers = static_cast<size_t>(from->multiplier_count);
  to->multipliers = numbers(multipliers > 0 ? &from->multipliers[0].value : nullptr, multipliers * 2);
  to->left_shift = from->left_shift;
  to->least = from->least;
  to->scale = from->scale;
  to->channels = numbers(from->channels ? &from->channels[0].multiplier : nullptr, channels * 3);
  to->table = numbers(from->table, 256);
  to->residual = convert(from->residual, 0);
  return to;
}

void Wire::convert(const rt::Step& from, snp_step* to) {
  const bool is_conv = from.op == rt::StepOp::kConv, is_pool = from.op == rt::StepOp::kPool;
  to->op = static_cast<uint32_t>(from.op);
  to->name = numbers(from.name, std::strlen(from.name) + 1);
  to->in = convert(from.in);
  to->in2 = convert(from.in2);
  to->out = convert(from.out);
  to->act = convert(from.act);
  if (from.affine.scale) {
    auto* affine = make<snp_affine>();
    affine->low = from.affine.low;
    affine->high = from.affine.high;
    affine->scale = convert(from.affine.scale);
    affine->shift = convert(from.affine.shift);
    to->affine = affine;
  }
  if (is_conv || is_pool) {
    const rt::Window& w = from.window;
    auto* window = make<snp_window>();
    const uint32_t size = window->struct_size;
    *window = {size,         w.kernel_h, w.kernel_w, w.stride_h,   w.stride_w, w.dilation_h,
               w.dilation_w, w.pad_top,  w.pad_left, w.pad_bottom, w.pad_right};
    to->window = window;
  }
  if (is_conv) {
    auto* conv = make<snp_conv>();
    conv->groups = from.conv.groups;
    conv->weight = convert(from.conv.weight);
    conv->bias = convert(from.conv.bias);
    to->conv = conv;
  }
  if (is_pool) {
    auto* pool = make<snp_pool>();
    pool->max = from.pool.max;
    pool->count_include_pad = from.pool.count_include_pad;
    to->pool = pool;
  }
  to->binary = static_cast<uint32_t>(from.binary.op);
  to->epsilon = from.train.alpha;
  if (from.strided) {
    const rt::Strided& s = *from.strided;
    auto* strided = make<snp_strided>();
    strided->rank = s.rank;
    for (int32_t d = 0; d < s.rank; ++d) {
      strided->dims[d] = s.dims[d];
      strided->out_strides[d] = s.out_strides[d];
      strided->in_strides[d] = s.in_strides[0][d];
      strided->in2_strides[d] = s.in_strides[1][d];
    }
    strided->out_start = s.out_start;
    strided->in_start = s.in_start[0];
    strided->in2_start = s.in_start[1];
    strided->reduced_from = s.reduced_from;
    strided->fill_first = s.fill_first;
    strided->fill_value = s.fill_value;
    strided->out_elements = static_cast<uint64_t>(s.out_elements);
    to->strided = strided;
  }
  to->quant = convert(from.quant, static_cast<size_t>(from.in.c));
  if (from.op == rt::StepOp::kAttention) {
    auto* attention = make<snp_attention>();
    attention->hidden = from.attention.hidden;
    for (int i = 0; i < 8; ++i) attention->params[i] = convert(from.attention.params[i]);
    attention->act = convert(from.attention.act);
    attention->gate = convert(from.attention.gate);
    to->attention = attention;
  }
  to->macs = 1;
}

snp_port* Wire::ports(const std::vector<Port>& from, const char* name) {
  auto* all = make<snp_port>(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    snp_port& port = at(all, i);
    port.rank = static_cast<int32_t>(from[i].dims.size());
    uint64_t elements = 1;
    for (size_t d = 0; d < from[i].dims.size(); ++d) {
      port.dims[d] = from[i].dims[d];
      elements *= static_cast<uint64_t>(from[i].dims[d]);
    }
    port.name = numbers(name, std::strlen(name) + 1);
    port.view = convert(from[i].view);
    port.bytes = elements * rt::size_of(from[i].view.type);
  }
  return all;
}

void Wire::set_ports(const std::vector<Port>& inputs, const std::vector<Port>& outputs) {
  plan_->inputs = ports(inputs, "input");
  plan_->outputs = ports(outputs, "output");
  plan_->input_count = static_cast<uint32_t>(inputs.size());
  plan_->output_count = static_cast<uint32_t>(outputs.size());
}

void Wire::scramble() {
  for (std::vector<uint64_t>& words : blocks_) {
    std::memset(static_cast<void*>(words.data()), kGarbage, words.size() * 8);
  }
}

}  // namespace sparsenet::plugin_check
