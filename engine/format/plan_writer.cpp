// Writes stored plans to the file's structure.
#include <model_generated.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "format/model_format.h"
#include "format/plan_format.h"
#include "plan/plan.h"

namespace sparsenet {
namespace {

namespace fb = flatbuffers;

class PlanWriter {
 public:
  PlanWriter(const StoredPlan& stored, fb::FlatBufferBuilder* builder, SharedLists* lists)
      : stored_(stored), plan_(*stored.plan), builder_(*builder), lists_(*lists) {}

  Result<fb::Offset<schema::Plan>> write(const std::function<uint64_t(const Tensor&)>& place) {
    if (plan_.arena_bytes / sizeof(float) > UINT32_MAX) return too_large("arena");
    place_constants(place);
    std::vector<fb::Offset<schema::PlanStep>> steps;
    std::vector<rt::StepLinks> links(plan_.steps.size(), {-1, -1});
    for (const PlanLink& link : plan_.links) {
      (link.slot == rt::ParamSlot::kWeight ? links[link.step].weight : links[link.step].bias) =
          static_cast<int64_t>(link.offset / sizeof(float));
    }
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      steps.push_back(write_step(plan_.steps[i], links[i], plan_.step_macs[i]));
    }
    const auto inputs = write_ports(plan_.inputs), outputs = write_ports(plan_.outputs);
    std::vector<schema::PlanBuffer> buffers;
    std::vector<fb::Offset<fb::String>> names;
    for (const PlanBuffer& b : plan_.buffers) {
      buffers.emplace_back(static_cast<uint32_t>(b.offset / sizeof(float)),
                           static_cast<uint32_t>((b.bytes + sizeof(float) - 1) / sizeof(float)), b.first, b.last);
      names.push_back(builder_.CreateString(b.name));
    }
    fb::Offset<fb::Vector<const schema::PlanStepCheck*>> step_checks;
    if (!stored_.step_checks.empty()) {
      std::vector<schema::PlanStepCheck> checks;
      for (const StepCheck& check : stored_.step_checks) checks.emplace_back(check.sum, check.norm);
      step_checks = builder_.CreateVectorOfStructs(checks);
    }
    const auto training = plan_.training ? write_training(*plan_.training) : fb::Offset<schema::PlanTraining>();
    if (!status_.ok()) return status_;
    const auto target = builder_.CreateString(stored_.target);
    const auto step_list = builder_.CreateVector(steps);
    const auto views = builder_.CreateVectorOfStructs(views_);
    const auto segments = builder_.CreateVectorOfStructs(segments_);
    const auto refs = builder_.CreateVectorOfStructs(refs_);
    const auto constants = builder_.CreateVectorOfStructs(constants_);
    const auto buffer_list = builder_.CreateVectorOfStructs(buffers);
    const auto name_list = builder_.CreateVector(names);
    std::vector<uint8_t> all_types = view_types_;
    all_types.insert(all_types.end(), constant_types_.begin(), constant_types_.end());
    const auto types = write_types(all_types);
    uint32_t version = plan_.training ? rt::kTrainingPlanVersion : 1;
    if (!types.IsNull()) version = rt::kTypedPlanVersion;
    version = std::max(version, least_version_);
    return schema::CreatePlan(builder_, version, target, static_cast<uint32_t>(stored_.batch), plan_.arena_bytes,
                              plan_.lower_bound_bytes, inputs, outputs, step_list, views, segments, refs, constants,
                              buffer_list, name_list, training, step_checks, types);
  }

 private:
  // Absent if all types are float32, as in files of versions that knew no other type.
  fb::Offset<fb::Vector<uint8_t>> write_types(const std::vector<uint8_t>& types) {
    const auto is_float32 = [](uint8_t type) { return type == static_cast<uint8_t>(DataType::kFloat32); };
    if (std::all_of(types.begin(), types.end(), is_float32)) return {};
    return builder_.CreateVector(types);
  }

  static Status too_large(const std::string& what) { return unsupported(what + ": too large for a stored plan"); }

  // In the file, constants are in the order of their offsets, and equal constants are one.
  void place_constants(const std::function<uint64_t(const Tensor&)>& place) {
    std::vector<std::pair<uint64_t, size_t>> order;
    for (size_t i = 0; i < stored_.constants.size(); ++i) order.emplace_back(place(stored_.constants[i]), i);
    std::sort(order.begin(), order.end());
    index_.resize(order.size());
    uint64_t previous = UINT64_MAX;
    for (const auto& [offset, i] : order) {
      const int64_t elements = stored_.constants[i].elements();
      if (elements > UINT32_MAX || offset / kDataAlignment > UINT32_MAX) status_ = too_large("constants");
      if (offset != previous) {
        constants_.emplace_back(static_cast<uint32_t>(offset / kDataAlignment), static_cast<uint32_t>(elements));
        constant_types_.push_back(static_cast<uint8_t>(stored_.constants[i].type));
      }
      previous = offset;
      index_[i] = static_cast<uint32_t>(constants_.size() - 1);
    }
  }

  // The constant that `place` lies in; of several, the one that extends furthest.
  schema::PlanRef find(const void* place) {
    const auto* at = static_cast<const uint8_t*>(place);
    const Tensor* best = nullptr;
    size_t index = 0;
    const auto begin_of = [](const Tensor& t) { return static_cast<const uint8_t*>(t.data); };
    for (size_t i = 0; i < stored_.constants.size(); ++i) {
      const Tensor& t = stored_.constants[i];
      if (at < begin_of(t) || at >= begin_of(t) + t.bytes()) continue;
      if (best && begin_of(*best) + best->bytes() >= begin_of(t) + t.bytes()) continue;
      best = &t;
      index = i;
    }
    if (best) {
      const auto bytes = static_cast<size_t>(at - begin_of(*best));
      return {index_[index], static_cast<uint32_t>(bytes / size_of(best->type))};
    }
    status_ = internal_error("the plan reads a constant that is not listed");
    return {};
  }

  int32_t ref(const rt::Parameter& parameter) {
    if (!parameter || parameter.data == &rt::kUnplaced) return -1;
    refs_.push_back(find(parameter.data));
    return static_cast<int32_t>(refs_.size() - 1);
  }

  // Most views are those of other steps, too. A view is shared by a few at most, because readers count it anew each
  // time (kMaxUnfolding), and not with ports.
  int32_t view(const rt::View& v, bool is_port = false) {
    if (v.segment_count == 0) return -1;
    constexpr int kMostUses = 3;
    const auto type = static_cast<uint8_t>(v.type);
    std::vector<schema::PlanSegment> segments;
    std::vector<int64_t> key = {type, v.n, v.h, v.w, v.c};
    for (int32_t i = 0; i < v.segment_count; ++i) {
      const rt::Segment& s = v.segments[i];
      schema::PlanRef at(0, static_cast<uint32_t>(s.offset / rt::size_of(v.type)));
      if (s.constant) at = find(s.constant);
      const int32_t constant = s.constant ? static_cast<int32_t>(at.constant()) : -1;
      segments.emplace_back(constant, at.element(), s.channels, s.pixel_stride);
      key.insert(key.end(), {constant, at.element(), s.channels, s.pixel_stride});
    }
    Shared alone, &shared = is_port ? alone : shared_views_[key];
    if (shared.uses++ % kMostUses == 0) {
      shared.index = static_cast<int32_t>(views_.size());
      views_.emplace_back(v.n, v.h, v.w, v.c, static_cast<uint32_t>(segments_.size()),
                          static_cast<uint32_t>(v.segment_count));
      view_types_.push_back(type);
      segments_.insert(segments_.end(), segments.begin(), segments.end());
    }
    return shared.index;
  }

  fb::Offset<schema::PlanAct> act(const rt::Act& a) {
    if (a.kind > rt::Act::kTanh)
      need(a.kind > rt::Act::kLastActivation ? rt::kGeneralPlanVersion : rt::kTypedPlanVersion);
    const bool none = a.kind == rt::Act::kClamp && a.low == -INFINITY && a.high == INFINITY;
    return none ? fb::Offset<schema::PlanAct>()
                : schema::CreatePlanAct(builder_, a.kind, a.low, a.high, a.alpha, a.beta);
  }

  // A list that stands in the structure once, whoever refers to it; none if it is empty.
  template <class T, class Make>
  auto shared(char kind, const T* data, size_t count, Make make) -> decltype(make()) {
    if (count == 0) return 0;
    std::string key(1, kind);
    key.append(reinterpret_cast<const char*>(data), count * sizeof(T));
    const auto known = lists_.find(key);
    if (known != lists_.end()) return known->second;
    const auto made = make();
    lists_.emplace(std::move(key), made.o);
    return made;
  }

  fb::Offset<schema::PlanQuant> quant(const rt::Step& s, const rt::QuantParams* q) {
    if (!q) return {};
    need(rt::kIntegerPlanVersion);
    std::vector<schema::PlanMultiplier> multipliers;
    for (int32_t i = 0; i < q->multiplier_count; ++i) {
      multipliers.emplace_back(q->multipliers[i].value, q->multipliers[i].shift);
    }
    std::vector<schema::PlanChannelScale> channels;
    for (int32_t c = 0; q->channels && c < s.in.c; ++c) {
      channels.emplace_back(q->channels[c].multiplier, q->channels[c].addend, q->channels[c].shift);
    }
    const auto factors = shared('m', multipliers.data(), multipliers.size(),
                                [&] { return builder_.CreateVectorOfStructs(multipliers); });
    const auto scales =
        shared('c', channels.data(), channels.size(), [&] { return builder_.CreateVectorOfStructs(channels); });
    const auto table =
        shared('t', q->table, q->table ? size_t{256} : 0, [&] { return builder_.CreateVector(q->table, 256); });
    return schema::CreatePlanQuant(builder_, static_cast<uint8_t>(q->rounding), q->in_zero, q->in2_zero, q->out_zero,
                                   q->low, q->high, factors, q->left_shift, q->least, q->scale, scales, table);
  }

  void need(uint32_t version) { least_version_ = std::max(least_version_, version); }

  // A number of an index space. An unused number may have any value, and is written as 0.
  int32_t number(int64_t value, bool used = true) {
    if (!used) return 0;
    if (value < INT32_MIN || value > INT32_MAX) status_ = too_large("a step's index space");
    return static_cast<int32_t>(value);
  }

  fb::Offset<schema::PlanStrided> strided(const rt::Strided* s) {
    if (!s) return {};
    const auto list = [&](const int64_t* values, bool strides) {
      std::vector<int32_t> numbers;
      for (int32_t d = 0; d < s->rank; ++d) numbers.push_back(number(values[d], !strides || s->dims[d] > 1));
      return builder_.CreateVector(numbers);
    };
    const auto dims = list(s->dims, false), out = list(s->out_strides, true);
    const auto in = list(s->in_strides[0], true), in2 = list(s->in_strides[1], true);
    return schema::CreatePlanStrided(builder_, dims, out, in, in2, number(s->out_start), number(s->in_start[0]),
                                     number(s->in_start[1]), s->reduced_from, s->fill_first, s->fill_value,
                                     number(s->out_elements));
  }

  fb::Offset<schema::PlanTraining> write_training(const TrainingSection& t) {
    std::vector<schema::PlanRegion> regions;
    for (const rt::ArenaRange& r : t.layout.regions) {
      regions.emplace_back(static_cast<uint32_t>(r.offset / sizeof(float)),
                           static_cast<uint32_t>(r.bytes / sizeof(float)));
    }
    std::vector<schema::PlanParameter> parameters;
    std::vector<fb::Offset<fb::String>> names;
    const size_t begin = t.layout.regions[rt::kStoredParameters].offset;
    for (const PlanParameter& p : t.parameters) {
      const schema::PlanRef at = find(p.values.data);
      parameters.emplace_back(at.constant(), at.element(), static_cast<uint32_t>(p.elements),
                              static_cast<uint32_t>((p.offset - begin) / sizeof(float)));
      names.push_back(builder_.CreateString(p.name));
    }
    const auto region_list = builder_.CreateVectorOfStructs(regions);
    const auto parameter_list = builder_.CreateVectorOfStructs(parameters);
    const auto name_list = builder_.CreateVector(names);
    fb::Offset<schema::TrainingCheck> check;
    if (const TrainingCheck& c = stored_.check; !c.losses.empty()) {
      const auto labels = builder_.CreateVector(std::vector<uint32_t>(c.labels.begin(), c.labels.end()));
      const auto losses = builder_.CreateVector(c.losses);
      check = schema::CreateTrainingCheck(builder_, labels, c.learning_rate, c.momentum, c.weight_decay, c.nesterov,
                                          losses, c.tolerance);
    }
    const auto phase = [](int32_t step) { return static_cast<uint32_t>(step); };
    return schema::CreatePlanTraining(builder_, phase(t.layout.loss), phase(t.layout.accumulate), phase(t.layout.norm),
                                      phase(t.layout.update), region_list, parameter_list, name_list, check);
  }

  fb::Offset<schema::PlanStep> write_step(const rt::Step& s, const rt::StepLinks& links, int64_t macs) {
    const auto step_name = builder_.CreateString(s.name);
    const auto fused = act(s.act), attention_act = act(s.attention.act), attention_gate = act(s.attention.gate);
    const auto walk = strided(s.strided);
    const auto integers = quant(s, s.quant), residual = quant(s, s.quant ? s.quant->residual : nullptr);
    fb::Offset<fb::Vector<int32_t>> params;
    if (s.op == rt::StepOp::kAttention) {
      std::vector<int32_t> refs;
      for (const rt::Parameter& parameter : s.attention.params) refs.push_back(ref(parameter));
      params = builder_.CreateVector(refs);
    }
    fb::Offset<fb::Vector<int32_t>> operands;
    if (s.train.operand_count > 0) {
      std::vector<int32_t> indices;
      for (int32_t i = 0; i < s.train.operand_count; ++i) indices.push_back(view(s.train.operands[i]));
      operands = builder_.CreateVector(indices);
    }
    schema::PlanStepBuilder step(builder_);
    step.add_op(static_cast<uint8_t>(s.op));
    step.add_name(step_name);
    step.add_copies(s.is_copy);
    step.add_in_view(view(s.in));
    step.add_in2_view(view(s.in2));
    step.add_out_view(view(s.out));
    step.add_pre_scale(ref(s.affine.scale));
    step.add_pre_shift(ref(s.affine.shift));
    step.add_pre_low(s.affine.low);
    step.add_pre_high(s.affine.high);
    step.add_act(fused);
    step.add_weight(ref(s.conv.weight));
    step.add_bias(ref(s.conv.bias));
    step.add_kernel_height(s.window.kernel_h);
    step.add_kernel_width(s.window.kernel_w);
    step.add_stride_height(s.window.stride_h);
    step.add_stride_width(s.window.stride_w);
    step.add_dilation_height(s.window.dilation_h);
    step.add_dilation_width(s.window.dilation_w);
    step.add_pad_top(s.window.pad_top);
    step.add_pad_left(s.window.pad_left);
    step.add_pad_bottom(s.window.pad_bottom);
    step.add_pad_right(s.window.pad_right);
    step.add_groups(s.conv.groups);
    step.add_max_pool(s.pool.max);
    step.add_count_include_pad(s.pool.count_include_pad);
    step.add_binary(static_cast<uint8_t>(s.binary.op));
    if (s.binary.op > rt::BinaryOp::kDiv || s.op >= rt::StepOp::kMatMul) need(rt::kGeneralPlanVersion);
    step.add_strided(walk);
    step.add_params(params);
    step.add_hidden(s.attention.hidden);
    step.add_attention_act(attention_act);
    step.add_attention_gate(attention_gate);
    step.add_macs(static_cast<uint64_t>(macs));
    step.add_operands(operands);
    step.add_weight_at(number(links.weight));
    step.add_bias_at(number(links.bias));
    step.add_alpha(s.train.alpha);
    step.add_beta(s.train.beta);
    step.add_quant(integers);
    step.add_residual(residual);
    return step.Finish();
  }

  fb::Offset<fb::Vector<fb::Offset<schema::PlanPort>>> write_ports(const std::vector<PlanPort>& ports) {
    std::vector<fb::Offset<schema::PlanPort>> list;
    for (const PlanPort& port : ports) {
      const auto port_name = builder_.CreateString(port.name);
      const auto shape = builder_.CreateVector(std::vector<int32_t>(port.shape.begin(), port.shape.end()));
      const bool real = port.view.type == rt::DataType::kFloat32;
      const Quantization& q = real ? port.of_vectors : port.quantization;
      list.push_back(schema::CreatePlanPort(builder_, port_name, shape, static_cast<uint32_t>(view(port.view, true)),
                                            q.empty() ? 0.f : q.scales[0], q.empty() ? 0 : q.zero_points[0]));
    }
    return builder_.CreateVector(list);
  }

  const StoredPlan& stored_;
  const Plan& plan_;
  fb::FlatBufferBuilder& builder_;
  SharedLists& lists_;
  Status status_;
  std::vector<uint32_t> index_;  // where each of stored_.constants is in constants_
  std::vector<schema::PlanConstant> constants_;
  std::vector<schema::PlanRef> refs_;
  std::vector<schema::PlanSegment> segments_;
  std::vector<schema::PlanView> views_;
  std::vector<uint8_t> view_types_, constant_types_;
  struct Shared {
    int32_t index = 0;  // of the view that was written last
    int uses = 0;
  };
  std::map<std::vector<int64_t>, Shared> shared_views_;
  uint32_t least_version_ = 1;  // that has all kinds of steps, arithmetic and activations
};

}  // namespace

Result<fb::Offset<schema::Plan>> write_plan(const StoredPlan& stored,
                                            const std::function<uint64_t(const Tensor&)>& place,
                                            fb::FlatBufferBuilder* builder, SharedLists* lists) {
  return PlanWriter(stored, builder, lists).write(place);
}

}  // namespace sparsenet
