#include "plan/lower.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/activations.h"
#include "graph/integers.h"
#include "graph/training_ops.h"

namespace sparsenet {

// From LeakyRelu on, both enumerations have the same kinds in the same order.
constexpr int kActsBehind = static_cast<int>(Activation::Kind::kLeakyRelu) - static_cast<int>(rt::Act::kLeakyRelu);
static_assert(kActivations - kActsBehind == static_cast<int>(rt::Act::kLastActivation));

rt::Act to_act(const Activation& a) {
  rt::Act act{rt::Act::kClamp, -INFINITY, INFINITY, a.a, a.b};
  switch (a.kind) {
    case Activation::Kind::kNone:
      break;
    case Activation::Kind::kRelu:
      act.low = 0.f;
      break;
    case Activation::Kind::kClip:
      act.low = a.a;
      act.high = a.b;
      break;
    default:
      act.kind = static_cast<rt::Act::Kind>(static_cast<int>(a.kind) - kActsBehind);
  }
  return act;
}

static_assert(static_cast<int>(DataType::kFloat32) == static_cast<int>(rt::DataType::kFloat32) &&
              static_cast<int>(DataType::kInt32) == static_cast<int>(rt::DataType::kInt32) &&
              static_cast<int>(DataType::kInt64) == static_cast<int>(rt::DataType::kInt64) &&
              static_cast<int>(DataType::kUInt8) == static_cast<int>(rt::DataType::kUInt8) &&
              static_cast<int>(DataType::kInt8) == static_cast<int>(rt::DataType::kInt8) &&
              static_cast<int>(DataType::kFloat16) == static_cast<int>(rt::DataType::kFloat16));

rt::DataType rt_type(DataType type) {
  return static_cast<rt::DataType>(type);
}

Lowered Lowering::frame(ValueId id) const {
  const Shape& s = shape(id);
  Lowered v;
  v.type = graph_.value(id).type;
  v.n = v.h = v.w = 1;
  v.rows = rows_[static_cast<size_t>(id)];
  if (s.size() == 4 && !v.rows) {
    v.n = static_cast<int32_t>(s[0]);
    v.c = static_cast<int32_t>(s[1]);
    v.h = static_cast<int32_t>(s[2]);
    v.w = static_cast<int32_t>(s[3]);
  } else if (s.size() == 2) {
    v.n = static_cast<int32_t>(s[0]);
    v.c = static_cast<int32_t>(s[1]);
  } else {
    v.c = static_cast<int32_t>(element_count(s));
  }
  return v;
}

Result<rt::Parameter> Lowering::constant(const Node& node, size_t input, ReadIn when) {
  if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return rt::Parameter{};
  const Value& value = graph_.value(node.inputs[input]);
  const bool real = value.type == DataType::kFloat32 || value.type == DataType::kFloat16;
  const bool integer = quant_ && (value.type == DataType::kInt8 || value.type == DataType::kInt32);
  if (!value.is_constant || !(real || integer)) {
    return unsupported(describe(node) + ": input '" + value.name + "': expected a constant of real numbers, found " +
                       (value.is_constant ? name(value.type) : "a computed value"));
  }
  if (when == ReadIn::kRun) {
    plan_.view_owners.push_back(value.constant.owner);
  } else {
    plan_.parameter_owners.push_back({value.constant.data, value.constant.owner});
  }
  return rt::Parameter{value.constant.data, rt_type(value.type)};
}

Status Lowering::parameter(const Node& node, size_t input, rt::ParamSlot slot, Draft* draft) {
  const ValueId id = input < node.inputs.size() ? node.inputs[input] : kNoValue;
  if (id != kNoValue && placement(id)) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered v, value(id));
    draft->links.push_back({slot, v.pieces[0]});
    draft->reads.push_back(v);
    rt::param(draft->step, slot) = {&rt::kUnplaced};
    draft->step.conv.variable = true;
    return {};
  }
  SPARSENET_ASSIGN_OR_RETURN(rt::param(draft->step, slot), constant(node, input));
  return {};
}

namespace {

template <class T>
std::vector<T> in_pixel_order(const Lowered& v, const T* data, int64_t elements) {
  std::vector<T> pixels(static_cast<size_t>(elements));
  const int64_t area = int64_t{v.h} * v.w;
  for (int64_t n = 0; n < v.n; ++n) {
    for (int64_t c = 0; c < v.c; ++c) {
      for (int64_t p = 0; p < area; ++p) {
        pixels[static_cast<size_t>((n * area + p) * v.c + c)] = data[(n * v.c + c) * area + p];
      }
    }
  }
  return pixels;
}

}  // namespace

Result<Lowered> Lowering::value(ValueId id) {
  Lowered& known = values_[static_cast<size_t>(id)];
  if (known.known()) return known;
  const Value& v = graph_.value(id);
  if (placement(id)) {
    known = new_value(id);
    return known;
  }
  if (!v.is_constant) return internal_error("value '" + v.name + "' is used before it is made");
  const bool integers = v.type == DataType::kInt8 && quant_;
  if (!integers && v.type != DataType::kFloat32 && v.type != DataType::kFloat16) {
    return unsupported("constant '" + v.name + "': expected float32 or float16, found " + std::string(name(v.type)));
  }
  // A constant operand is converted to float32 unless it is int8, and to pixel order (NHWC) if it has pixels.
  Lowered lowered = frame(id);
  const void* data = v.constant.data;
  plan_.view_owners.push_back(v.constant.owner);
  if (v.type == DataType::kFloat16) {
    lowered.type = DataType::kFloat32;
    plan_.constants.push_back(to_float32(v.constant));
    data = plan_.constants.back().data();
  }
  if (int64_t{lowered.h} * lowered.w > 1 && lowered.c > 1) {
    if (integers) {
      plan_.byte_constants.push_back(in_pixel_order(lowered, static_cast<const int8_t*>(data), v.constant.elements()));
      data = plan_.byte_constants.back().data();
    } else {
      plan_.constants.push_back(in_pixel_order(lowered, static_cast<const float*>(data), v.constant.elements()));
      data = plan_.constants.back().data();
    }
  }
  lowered.pieces = {{-1, 0, data, lowered.c, lowered.c}};
  known = lowered;
  return lowered;
}

Lowered Lowering::new_value(ValueId id) {
  if (const Persistence::Placement* placed = placement(id)) {
    Lowered flat;
    flat.n = flat.h = flat.w = 1;
    flat.rows = true;
    flat.c = static_cast<int32_t>(element_count(shape(id)));
    flat.pieces = {{region_buffers_[static_cast<size_t>(placed->region)], placed->offset, nullptr, flat.c, flat.c}};
    return flat;
  }
  Lowered v = frame(id);
  VirtualBuffer buffer;
  buffer.name = graph_.value(id).name;
  buffer.bytes = static_cast<size_t>(v.pixels() * v.c) * size_of(v.type);
  buffer.first = buffer.last = static_cast<int>(drafts_.size());
  v.pieces = {{static_cast<int>(buffers_.size()), 0, nullptr, v.c, v.c}};
  buffers_.push_back(std::move(buffer));
  return v;
}

Lowering::Draft Lowering::start(const Node& node, rt::StepOp op) {
  Draft draft;
  rt::Step& s = draft.step;
  s.op = op;
  plan_.names.push_back(node.name);
  s.name = plan_.names.back().c_str();
  s.quant = quant_;
  s.affine.low = -INFINITY;
  s.affine.high = INFINITY;
  s.act = to_act({});
  s.attention.act = s.attention.gate = s.act;
  s.window.kernel_h = s.window.kernel_w = s.window.stride_h = s.window.stride_w = s.window.dilation_h =
      s.window.dilation_w = s.conv.groups = 1;
  return draft;
}

void Lowering::finish(Draft draft) {
  const int step = static_cast<int>(drafts_.size());
  auto touch = [&](const Lowered& operand) {
    for (const Piece& piece : operand.pieces) {
      if (piece.buffer >= 0) {
        VirtualBuffer& buffer = buffers_[static_cast<size_t>(piece.buffer)];
        buffer.last = std::max(buffer.last, step);
      }
    }
  };
  for (const Lowered* operand : {&draft.in, &draft.in2, &draft.out}) touch(*operand);
  for (const Lowered& operand : draft.operands) touch(operand);
  for (const Lowered& operand : draft.reads) touch(operand);
  drafts_.push_back(std::move(draft));
}

Result<Lowered> Lowering::dense(ValueId id, const Node& node) {
  Result<Lowered> v = value(id);
  if (!v.ok()) return v;
  if (v->pieces.size() == 1 && v->pieces[0].pixel_stride == v->c) return v;
  Draft draft = start(node, rt::StepOp::kAffine);
  draft.step.is_copy = true;
  draft.in = *v;
  draft.out = new_value(id);
  values_[static_cast<size_t>(id)] = draft.out;
  const Lowered out = draft.out;
  finish(std::move(draft));
  return out;
}

namespace {

const Activation& affine_activation(const Node& node) {
  return node.op == TrainOp::kNormalize ? train_attrs(node).activation : std::get<AffineAttrs>(node.attrs).activation;
}

}  // namespace

void Lowering::find_fused_affines() {
  producer_.assign(graph_.values.size(), nullptr);
  uses_.assign(graph_.values.size(), 0);
  fused_.assign(graph_.values.size(), false);
  // By value: how many of its uses could apply the affine themselves.
  std::vector<int> taken(graph_.values.size(), 0);
  auto takes = [&](const Node& node) {
    switch (node.op) {
      case Op::kMaxPool:
      case Op::kAveragePool:
      case Op::kGlobalAveragePool:
      case Op::kFullyConnected:
        return true;
      case Op::kConv: {
        const int32_t groups = std::get<ConvAttrs>(node.attrs).groups;
        return !(groups > 1 && groups == shape(node.inputs[0])[1]);  // a depthwise kernel reads its input in place
      }
      default:
        return node.op == TrainOp::kConvGradWeight || node.op == TrainOp::kFakeQuantize;
    }
  };
  for (const Node& node : graph_.nodes) {
    for (ValueId id : node.outputs) producer_[static_cast<size_t>(id)] = &node;
    for (ValueId id : node.inputs) {
      if (id != kNoValue) ++uses_[static_cast<size_t>(id)];
    }
    if (!node.inputs.empty() && node.inputs[0] != kNoValue && takes(node)) {
      ++taken[static_cast<size_t>(node.inputs[0])];
    }
  }
  for (ValueId id : graph_.outputs) ++uses_[static_cast<size_t>(id)];
  for (const Node& node : graph_.nodes) {
    if (node.op == Op::kScale) {
      const auto out = static_cast<size_t>(node.outputs[0]);
      fused_[out] = taken[out] == uses_[out] && uses_[out] == 1;
    }
    if (node.op != Op::kAffine && node.op != TrainOp::kNormalize) continue;
    const auto kind = affine_activation(node).kind;
    if (kind != Activation::Kind::kNone && kind != Activation::Kind::kRelu && kind != Activation::Kind::kClip) continue;
    // With two readers the affine would be computed twice. Inference avoids that; in training it is cheaper than to
    // keep the result.
    const auto out = static_cast<size_t>(node.outputs[0]);
    fused_[out] = taken[out] == uses_[out] && taken[out] >= 1 && (taken[out] == 1 || node.op == TrainOp::kNormalize);
  }
}

// Sets the scale and shift of the node `affine` as what the draft's step applies to its input.
Status Lowering::set_affine(const Node& affine, Draft* draft) {
  if (affine.op == TrainOp::kNormalize) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered fold, dense(affine.inputs[1], affine));
    Piece scale = fold.pieces[0], shift = fold.pieces[0];
    const size_t behind = static_cast<size_t>(fold.c) * size_of(fold.type);
    if (scale.constant) {
      draft->step.affine.scale = {scale.constant};
      draft->step.affine.shift = {static_cast<const uint8_t*>(shift.constant) + behind};
      return {};
    }
    shift.start += behind;
    draft->step.affine.scale = draft->step.affine.shift = {&rt::kUnplaced};
    draft->links.push_back({rt::ParamSlot::kScale, scale});
    draft->links.push_back({rt::ParamSlot::kShift, shift});
    draft->reads.push_back(fold);
    return {};
  }
  SPARSENET_ASSIGN_OR_RETURN(draft->step.affine.scale, constant(affine, 1, ReadIn::kRun));
  SPARSENET_ASSIGN_OR_RETURN(draft->step.affine.shift, constant(affine, 2, ReadIn::kRun));
  return {};
}

Status Lowering::input_with_pre(const Node& node, Draft* draft) {
  ValueId id = node.inputs[0];
  if (fused_[static_cast<size_t>(id)]) {
    const Node& affine = *producer_[static_cast<size_t>(id)];
    if (affine.op == Op::kScale) {
      SPARSENET_RETURN_IF_ERROR(set_channel_scales(affine, quant_));
    } else {
      SPARSENET_RETURN_IF_ERROR(set_affine(affine, draft));
      const rt::Act act = to_act(affine_activation(affine));
      draft->step.affine.low = act.low;
      draft->step.affine.high = act.high;
    }
    id = affine.inputs[0];
  }
  SPARSENET_ASSIGN_OR_RETURN(draft->in, value(id));
  return {};
}

Lowered Lowering::channel_range(const Lowered& from, int64_t begin, int64_t end) const {
  Lowered out = from;
  out.pieces.clear();
  out.c = static_cast<int32_t>(end - begin);
  int64_t at = 0;
  for (const Piece& piece : from.pieces) {
    const int64_t lo = std::max(begin, at), hi = std::min(end, at + piece.channels);
    if (lo < hi) {
      Piece part = piece;
      part.channels = static_cast<int32_t>(hi - lo);
      const size_t before = static_cast<size_t>(lo - at) * size_of(from.type);
      if (part.buffer >= 0) {
        part.start += before;
      } else {
        part.constant = static_cast<const uint8_t*>(part.constant) + before;
      }
      out.pieces.push_back(part);
    }
    at += piece.channels;
  }
  return out;
}

void Lowering::make_regions() {
  placements_.assign(graph_.values.size(), nullptr);
  for (const Persistence::Placement& p : persistence_.placements) placements_[static_cast<size_t>(p.value)] = &p;
  for (size_t i = 0; i < persistence_.region_bytes.size(); ++i) {
    region_buffers_.push_back(static_cast<int>(buffers_.size()));
    VirtualBuffer buffer;
    buffer.name = "region " + std::to_string(i);
    buffer.bytes = persistence_.region_bytes[i];
    buffers_.push_back(std::move(buffer));
  }
}

Result<Plan> Lowering::run() {
  SPARSENET_RETURN_IF_ERROR(check_types(graph_));
  for (const Value& v : graph_.values) {
    if (v.is_constant) continue;
    const int64_t count = element_count(v.shape);
    if (count <= 0 || count > rt::kMostElements) {
      return unsupported("value '" + v.name + "': shape " + to_string(v.shape) + " is empty or over 2^30 elements");
    }
  }
  values_.assign(graph_.values.size(), {});
  make_regions();
  find_rows();
  find_fused_affines();
  find_fused_gradients();
  std::vector<Lowered> input_values;
  for (ValueId id : graph_.inputs) {
    values_[static_cast<size_t>(id)] = new_value(id);
    input_values.push_back(values_[static_cast<size_t>(id)]);
  }
  for (const Node& node : graph_.nodes) {
    plan_.node_steps.push_back(drafts_.size());
    const bool affine = node.op == Op::kAffine || node.op == Op::kScale || node.op == TrainOp::kNormalize;
    if (affine && fused_[static_cast<size_t>(node.outputs[0])]) continue;
    if (node.op == TrainOp::kConvGradInput && fused_gradients_[static_cast<size_t>(node.outputs[0])]) continue;
    SPARSENET_RETURN_IF_ERROR(has_integers(graph_, node) ? lower_integer_node(node) : lower_node(node));
  }
  const int end = static_cast<int>(drafts_.size());
  for (int id : region_buffers_) buffers_[static_cast<size_t>(id)].last = end;
  std::vector<Lowered> output_values;
  for (ValueId id : graph_.outputs) {
    SPARSENET_ASSIGN_OR_RETURN(Lowered v, value(id));
    for (const Piece& piece : v.pieces) {
      if (piece.buffer >= 0) buffers_[static_cast<size_t>(piece.buffer)].last = end;
    }
    output_values.push_back(v);
  }
  place_buffers();
  make_steps();
  auto port = [&](ValueId id, const Lowered& v) {
    return PlanPort{graph_.value(id).name, shape(id), view(v, &plan_), graph_.value(id).quantization};
  };
  for (size_t i = 0; i < graph_.inputs.size(); ++i) plan_.inputs.push_back(port(graph_.inputs[i], input_values[i]));
  for (size_t i = 0; i < graph_.outputs.size(); ++i) plan_.outputs.push_back(port(graph_.outputs[i], output_values[i]));
  forget_merged_buffers();
  return std::move(plan_);
}

Result<Plan> make_plan(const Graph& graph, const Persistence& persistence) {
  return Lowering(graph, persistence).run();
}

}  // namespace sparsenet
