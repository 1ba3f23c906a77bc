#include "graph/plan_format.h"

#include <model_generated.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/checksum.h"
#include "graph/model_format.h"
#include "plan/plan.h"

namespace sparsenet {
namespace {

namespace fb = flatbuffers;

class PlanWriter {
 public:
  PlanWriter(const StoredPlan& stored, fb::FlatBufferBuilder* builder)
      : stored_(stored), plan_(*stored.plan), builder_(*builder) {}

  Result<fb::Offset<schema::Plan>> write(const std::function<uint64_t(const Tensor&)>& place) {
    if (plan_.arena_bytes / sizeof(float) > UINT32_MAX) return too_large("arena");
    place_constants(place);
    std::vector<fb::Offset<schema::PlanStep>> steps;
    std::vector<rt::StepLinks> links(plan_.steps.size(), {-1, -1});
    for (const PlanLink& link : plan_.links) {
      (link.member == &rt::Step::weight ? links[link.step].weight : links[link.step].bias) =
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
                           static_cast<uint32_t>(b.bytes / sizeof(float)), b.first, b.last);
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
    const uint32_t version = plan_.training ? rt::kPlanVersion : rt::kInferencePlanVersion;
    return schema::CreatePlan(builder_, version, target, static_cast<uint32_t>(stored_.batch), plan_.arena_bytes,
                              plan_.lower_bound_bytes, inputs, outputs, step_list, views, segments, refs, constants,
                              buffer_list, name_list, training, step_checks);
  }

 private:
  static Status too_large(const std::string& what) { return unsupported(what + ": too large for a stored plan"); }

  // In the file they stand in the order of their offsets; equal ones are one.
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
      }
      previous = offset;
      index_[i] = static_cast<uint32_t>(constants_.size() - 1);
    }
  }

  // The constant that `at` lies in; of several the one that goes on for longest.
  schema::PlanRef find(const float* at) {
    const Tensor* best = nullptr;
    size_t index = 0;
    for (size_t i = 0; i < stored_.constants.size(); ++i) {
      const Tensor& t = stored_.constants[i];
      if (at < t.f32() || at >= t.f32() + t.elements()) continue;
      if (best && best->f32() + best->elements() >= t.f32() + t.elements()) continue;
      best = &t;
      index = i;
    }
    if (best) return {index_[index], static_cast<uint32_t>(at - best->f32())};
    status_ = internal_error("the plan reads a constant that is not listed");
    return {};
  }

  int32_t ref(const float* at) {
    if (!at || at == &rt::kUnplaced) return -1;
    refs_.push_back(find(at));
    return static_cast<int32_t>(refs_.size() - 1);
  }

  int32_t view(const rt::View& v) {
    if (v.segment_count == 0) return -1;
    views_.emplace_back(v.n, v.h, v.w, v.c, static_cast<uint32_t>(segments_.size()),
                        static_cast<uint32_t>(v.segment_count));
    for (int32_t i = 0; i < v.segment_count; ++i) {
      const rt::Segment& s = v.segments[i];
      schema::PlanRef at(0, static_cast<uint32_t>(s.offset / sizeof(float)));
      if (s.constant) at = find(s.constant);
      segments_.emplace_back(s.constant ? static_cast<int32_t>(at.constant()) : -1, at.element(), s.channels,
                             s.pixel_stride);
    }
    return static_cast<int32_t>(views_.size() - 1);
  }

  fb::Offset<schema::PlanAct> act(const rt::Act& a) {
    const bool none = a.kind == rt::Act::kBounds && a.low == -INFINITY && a.high == INFINITY;
    return none ? fb::Offset<schema::PlanAct>()
                : schema::CreatePlanAct(builder_, a.kind, a.low, a.high, a.alpha, a.beta);
  }

  // A number of an index space. What is not used may be any.
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

  fb::Offset<schema::PlanTraining> write_training(const PlanTraining& t) {
    std::vector<schema::PlanRegion> regions;
    for (const rt::ArenaRange& r : t.phases.regions) {
      regions.emplace_back(static_cast<uint32_t>(r.offset / sizeof(float)), static_cast<uint32_t>(r.floats));
    }
    std::vector<schema::PlanParameter> parameters;
    std::vector<fb::Offset<fb::String>> names;
    const size_t begin = t.phases.regions[rt::kParameters].offset;
    for (const PlanParameter& p : t.parameters) {
      const schema::PlanRef at = find(p.values);
      parameters.emplace_back(at.constant(), at.element(), static_cast<uint32_t>(p.floats),
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
    return schema::CreatePlanTraining(builder_, phase(t.phases.loss), phase(t.phases.accumulate), phase(t.phases.norm),
                                      phase(t.phases.update), region_list, parameter_list, name_list, check);
  }

  fb::Offset<schema::PlanStep> write_step(const rt::Step& s, const rt::StepLinks& links, int64_t macs) {
    const auto step_name = builder_.CreateString(s.name);
    const auto fused = act(s.act), attention_act = act(s.attention_act), attention_gate = act(s.attention_gate);
    const auto walk = strided(s.strided);
    fb::Offset<fb::Vector<int32_t>> params;
    if (s.op == rt::StepOp::kAttention) {
      std::vector<int32_t> refs;
      for (const float* at : s.params) refs.push_back(ref(at));
      params = builder_.CreateVector(refs);
    }
    fb::Offset<fb::Vector<int32_t>> operands;
    if (s.operand_count > 0) {
      std::vector<int32_t> indices;
      for (int32_t i = 0; i < s.operand_count; ++i) indices.push_back(view(s.operands[i]));
      operands = builder_.CreateVector(indices);
    }
    schema::PlanStepBuilder step(builder_);
    step.add_op(static_cast<uint8_t>(s.op));
    step.add_name(step_name);
    step.add_copies(s.is_copy);
    step.add_in_view(view(s.in));
    step.add_in2_view(view(s.in2));
    step.add_out_view(view(s.out));
    step.add_pre_scale(ref(s.pre_scale));
    step.add_pre_shift(ref(s.pre_shift));
    step.add_pre_low(s.pre_low);
    step.add_pre_high(s.pre_high);
    step.add_act(fused);
    step.add_weight(ref(s.weight));
    step.add_bias(ref(s.bias));
    step.add_kernel_height(s.kernel_h);
    step.add_kernel_width(s.kernel_w);
    step.add_stride_height(s.stride_h);
    step.add_stride_width(s.stride_w);
    step.add_dilation_height(s.dilation_h);
    step.add_dilation_width(s.dilation_w);
    step.add_pad_top(s.pad_top);
    step.add_pad_left(s.pad_left);
    step.add_pad_bottom(s.pad_bottom);
    step.add_pad_right(s.pad_right);
    step.add_groups(s.groups);
    step.add_max_pool(s.max_pool);
    step.add_count_include_pad(s.count_include_pad);
    step.add_binary(static_cast<uint8_t>(s.binary));
    step.add_strided(walk);
    step.add_params(params);
    step.add_hidden(s.hidden);
    step.add_attention_act(attention_act);
    step.add_attention_gate(attention_gate);
    step.add_macs(static_cast<uint64_t>(macs));
    step.add_operands(operands);
    step.add_weight_at(number(links.weight));
    step.add_bias_at(number(links.bias));
    step.add_alpha(s.alpha);
    step.add_beta(s.beta);
    return step.Finish();
  }

  fb::Offset<fb::Vector<fb::Offset<schema::PlanPort>>> write_ports(const std::vector<PlanPort>& ports) {
    std::vector<fb::Offset<schema::PlanPort>> list;
    for (const PlanPort& port : ports) {
      const auto port_name = builder_.CreateString(port.name);
      const auto shape = builder_.CreateVector(std::vector<int32_t>(port.shape.begin(), port.shape.end()));
      list.push_back(schema::CreatePlanPort(builder_, port_name, shape, static_cast<uint32_t>(view(port.view))));
    }
    return builder_.CreateVector(list);
  }

  const StoredPlan& stored_;
  const Plan& plan_;
  fb::FlatBufferBuilder& builder_;
  Status status_;
  std::vector<uint32_t> index_;  // of stored_.constants in constants_
  std::vector<schema::PlanConstant> constants_;
  std::vector<schema::PlanRef> refs_;
  std::vector<schema::PlanSegment> segments_;
  std::vector<schema::PlanView> views_;
};

Status wrong(const std::string& what, const char* message) {
  return message ? invalid_model(what + ": " + message) : Status();
}

class PlanReader {
 public:
  PlanReader(const rt::PlanFile& file, const std::function<Status(uint64_t)>& charge)
      : file_(file), charge_(charge), plan_(std::make_shared<Plan>()) {}

  Result<StoredPlan> read(const Graph& graph, const std::shared_ptr<const void>& owner) {
    const schema::Plan& from = *file_.plan;
    SPARSENET_RETURN_IF_ERROR(wrong("plan", rt::check_plan(file_)));
    plan_->arena_bytes = static_cast<size_t>(from.arena_bytes());
    plan_->lower_bound_bytes = static_cast<size_t>(std::min(from.lower_bound_bytes(), from.arena_bytes()));
    plan_->view_owners.push_back(owner);
    StoredPlan stored;
    SPARSENET_RETURN_IF_ERROR(read_text(from.target(), "target", &stored.target));
    stored.batch = from.batch();
    SPARSENET_RETURN_IF_ERROR(read_steps());
    SPARSENET_RETURN_IF_ERROR(read_ports(false, &plan_->inputs));
    SPARSENET_RETURN_IF_ERROR(read_ports(true, &plan_->outputs));
    stored.trains = from.training() != nullptr;
    if (stored.trains) SPARSENET_RETURN_IF_ERROR(read_training(graph, &stored.check));
    if (!stored.trains) SPARSENET_RETURN_IF_ERROR(check_interface(graph, stored.batch));
    SPARSENET_RETURN_IF_ERROR(read_buffers());
    // A file cannot claim memory that nothing uses.
    if (plan_->arena_bytes > align_up(used_)) {
      return invalid_model("arena: expected at most the " + std::to_string(align_up(used_)) +
                           " bytes that steps use, found " + std::to_string(plan_->arena_bytes));
    }
    const size_t constants = from.constants() ? from.constants()->size() : 0;
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanConstant) * constants));
    for (size_t i = 0; i < constants; ++i) {
      const schema::PlanConstant& c = *from.constants()->Get(static_cast<fb::uoffset_t>(i));
      stored.constants.push_back(
          {DataType::kFloat32, {c.elements()}, owner, file_.data + c.block() * uint64_t{kDataAlignment}});
    }
    const size_t checks = from.step_checks() ? from.step_checks()->size() : 0;
    if (checks != 0 && checks != plan_->steps.size()) return invalid_model("step checks: expected one for each step");
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanStepCheck) * checks));
    for (size_t i = 0; i < checks; ++i) {
      const schema::PlanStepCheck& check = *from.step_checks()->Get(static_cast<fb::uoffset_t>(i));
      stored.step_checks.push_back({check.sum(), check.norm()});
    }
    stored.plan = std::move(plan_);
    stored.graph_identity = graph_identity(graph);
    return stored;
  }

 private:
  Status read_text(const fb::String* text, const std::string& what, std::string* out) {
    if (!text) return invalid_model(what + ": no name");
    SPARSENET_RETURN_IF_ERROR(charge_(text->size()));
    out->assign(text->c_str(), text->size());
    return check_text(what + ": name", *out, kMaxNameBytes);
  }

  void note_use(uint64_t end) { used_ = std::max(used_, end); }

  Status read_steps() {
    const size_t count = file_.plan->steps() ? file_.plan->steps()->size() : 0;
    if (count > kMaxNodes) {
      return invalid_model("expected at most " + std::to_string(kMaxNodes) + " steps, found " + std::to_string(count));
    }
    SPARSENET_RETURN_IF_ERROR(charge_(24 * count));  // no step takes less
    plan_->steps.resize(count);
    std::string step_name;
    for (uint32_t i = 0; i < count; ++i) {
      const schema::PlanStep& from = *file_.plan->steps()->Get(i);
      SPARSENET_RETURN_IF_ERROR(read_text(from.name(), "step " + std::to_string(i), &step_name));
      const std::string what = "step " + std::to_string(i) + " ('" + step_name + "')";
      rt::StepParts parts{};
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::count_parts(file_, i, &parts)));
      SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanSegment) * uint64_t{parts.segments} +
                                        sizeof(schema::PlanView) * uint64_t{parts.operands}));
      plan_->segments.emplace_back(parts.segments);
      plan_->operands.emplace_back(parts.operands);
      if (from.strided()) plan_->strided.emplace_back();
      rt::Strided* strided = from.strided() ? &plan_->strided.back() : nullptr;
      rt::Step& step = plan_->steps[i];
      rt::StepLinks links{-1, -1};
      const rt::StepMemory memory{plan_->segments.back().data(), parts.segments, plan_->operands.back().data(),
                                  parts.operands, strided};
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::read_step(file_, i, memory, &step, &links)));
      note_use(rt::arena_end(step));
      if (links.weight >= 0)
        plan_->links.push_back({i, &rt::Step::weight, sizeof(float) * static_cast<size_t>(links.weight)});
      if (links.bias >= 0)
        plan_->links.push_back({i, &rt::Step::bias, sizeof(float) * static_cast<size_t>(links.bias)});
      constexpr uint64_t kMaxMacs = uint64_t{1} << 53;
      if (from.macs() > kMaxMacs) return wrong(what, "too many operations");
      plan_->step_macs.push_back(static_cast<int64_t>(from.macs()));
    }
    return {};
  }

  Status read_ports(bool outputs, std::vector<PlanPort>* ports) {
    const auto* list = outputs ? file_.plan->outputs() : file_.plan->inputs();
    for (uint32_t i = 0; i < list->size(); ++i) {
      const schema::PlanPort& from = *list->Get(i);
      PlanPort port;
      const std::string what = (outputs ? "output " : "input ") + std::to_string(i);
      SPARSENET_RETURN_IF_ERROR(read_text(from.name(), what, &port.name));
      const bool exists = file_.plan->views() && from.view() < file_.plan->views()->size();
      if (!exists) return wrong(what, "there is no such view");
      const uint32_t segments = file_.plan->views()->Get(from.view())->segments();
      SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanView) + sizeof(schema::PlanSegment) * uint64_t{segments}));
      plan_->segments.emplace_back(segments);
      int32_t rank = 0, dims[rt::kMaxDims];
      const char* message =
          rt::read_port(file_, outputs, i, plan_->segments.back().data(), segments, &port.view, &rank, dims);
      SPARSENET_RETURN_IF_ERROR(wrong(what, message));
      note_use(rt::arena_end(port.view));
      port.shape.assign(dims, dims + rank);
      ports->push_back(std::move(port));
    }
    return {};
  }

  Status read_training(const Graph& graph, TrainingCheck* check) {
    const schema::PlanTraining& from = *file_.plan->training();
    PlanTraining& training = plan_->training.emplace();
    SPARSENET_RETURN_IF_ERROR(wrong("plan", rt::read_training(file_, &training.phases)));
    const PlanPort &image = plan_->inputs[0], &logits = plan_->outputs[0];
    Shape in = graph.inputs.size() == 1 ? graph.shape(graph.inputs[0]) : Shape();
    Shape out = graph.outputs.size() == 1 ? graph.shape(graph.outputs[0]) : Shape();
    for (Shape* shape : {&in, &out}) {
      if (!shape->empty()) (*shape)[0] = 1;
    }
    if (image.shape != in || logits.shape != out) {
      return invalid_model("training: expected the graph's input and output, " + to_string(in) + " and " +
                           to_string(out) + ", found " + to_string(image.shape) + " and " + to_string(logits.shape));
    }
    for (const rt::ArenaRange& region : training.phases.regions) {
      note_use(region.offset + region.floats * sizeof(float));
    }
    const uint32_t count = rt::count_initial(file_);
    if ((from.parameter_names() ? from.parameter_names()->size() : 0) != count) {
      return invalid_model("training: expected a name for each parameter");
    }
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanParameter) * uint64_t{count}));
    for (uint32_t i = 0; i < count; ++i) {
      const std::string what = "parameter " + std::to_string(i);
      PlanParameter parameter{};
      SPARSENET_RETURN_IF_ERROR(read_text(from.parameter_names()->Get(i), what, &parameter.name));
      rt::InitialParameter initial{};
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::read_initial(file_, training.phases, i, &initial)));
      parameter.values = initial.values;
      parameter.floats = initial.floats;
      parameter.offset = initial.offset;
      training.parameters.push_back(std::move(parameter));
    }
    return from.check() ? read_check(*from.check(), training.phases.classes, check) : Status();
  }

  Status read_check(const schema::TrainingCheck& from, int32_t classes, TrainingCheck* check) {
    const uint32_t images = from.labels() ? from.labels()->size() : 0,
                   steps = from.losses() ? from.losses()->size() : 0;
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(uint32_t) * (uint64_t{images} + steps)));
    for (uint32_t i = 0; i < images; ++i) {
      if (from.labels()->Get(i) >= static_cast<uint32_t>(classes)) {
        return invalid_model("training check: label " + std::to_string(i) + ": expected one of the classes");
      }
      check->labels.push_back(static_cast<int32_t>(from.labels()->Get(i)));
    }
    if (steps > 0) check->losses.assign(from.losses()->begin(), from.losses()->end());
    check->learning_rate = from.learning_rate();
    check->momentum = from.momentum();
    check->weight_decay = from.weight_decay();
    check->nesterov = from.nesterov();
    check->tolerance = from.tolerance();
    return {};
  }

  // What a program sees of a session must not depend on whether it uses the plan.
  Status check_interface(const Graph& graph, int64_t batch) const {
    const Graph* fitting = &graph;
    Graph other;
    for (ValueId id : graph.inputs) {
      if (fitting == &graph && !graph.shape(id).empty() && graph.shape(id)[0] != batch) {
        other = graph;
        SPARSENET_RETURN_IF_ERROR(other.set_batch(batch));
        fitting = &other;
      }
    }
    const struct {
      const char* what;
      const std::vector<ValueId>& ids;
      const std::vector<PlanPort>& ports;
    } sides[] = {{"input", graph.inputs, plan_->inputs}, {"output", graph.outputs, plan_->outputs}};
    for (const auto& side : sides) {
      if (side.ids.size() != side.ports.size()) {
        return invalid_model("expected the graph's " + std::to_string(side.ids.size()) + " " + side.what + "s, found " +
                             std::to_string(side.ports.size()));
      }
      for (size_t i = 0; i < side.ids.size(); ++i) {
        const Value& value = fitting->values[static_cast<size_t>(side.ids[i])];
        const PlanPort& port = side.ports[i];
        if (value.name != port.name || value.shape != port.shape || value.type != DataType::kFloat32) {
          return invalid_model(std::string(side.what) + " " + std::to_string(i) + ": expected the graph's '" +
                               value.name + "' " + to_string(value.shape) + ", found '" + port.name + "' " +
                               to_string(port.shape));
        }
      }
    }
    return {};
  }

  Status read_buffers() {
    const size_t count = file_.plan->buffers() ? file_.plan->buffers()->size() : 0;
    const size_t names = file_.plan->buffer_names() ? file_.plan->buffer_names()->size() : 0;
    if (names != count) return invalid_model("buffers: expected a name for each");
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanBuffer) * count));
    for (uint32_t i = 0; i < count; ++i) {
      const schema::PlanBuffer& from = *file_.plan->buffers()->Get(i);
      const std::string what = "buffer " + std::to_string(i);
      PlanBuffer buffer;
      SPARSENET_RETURN_IF_ERROR(read_text(file_.plan->buffer_names()->Get(i), what, &buffer.name));
      const uint64_t end = (uint64_t{from.element()} + from.elements()) * sizeof(float);
      const bool lives =
          from.first() >= 0 && from.first() <= from.last() && static_cast<size_t>(from.last()) <= plan_->steps.size();
      if (end > plan_->arena_bytes || !lives) return wrong(what, "expected a place in the arena and among the steps");
      buffer.offset = sizeof(float) * size_t{from.element()};
      buffer.bytes = sizeof(float) * size_t{from.elements()};
      buffer.first = from.first();
      buffer.last = from.last();
      plan_->buffers.push_back(std::move(buffer));
    }
    return {};
  }

  const rt::PlanFile& file_;
  const std::function<Status(uint64_t)>& charge_;
  std::shared_ptr<Plan> plan_;
  uint64_t used_ = 0;  // bytes of the arena, up to the last that a step or a port reaches
};

}  // namespace

uint64_t graph_identity(const Graph& graph) {
  std::vector<uint64_t> what;
  const auto add = [&what](const std::vector<ValueId>& ids) {
    what.push_back(ids.size());
    for (ValueId id : ids) what.push_back(static_cast<uint64_t>(id));
  };
  for (const Value& value : graph.values) {
    what.push_back(value.is_constant ? reinterpret_cast<uintptr_t>(value.constant.data) : 0);
  }
  for (const Node& node : graph.nodes) {
    what.push_back(static_cast<uint64_t>(node.op));
    add(node.inputs);
    add(node.outputs);
  }
  add(graph.inputs);
  add(graph.outputs);
  return xxh64(what.data(), what.size() * sizeof(uint64_t));
}

bool made_of(const StoredPlan& stored, const Graph& graph) {
  const size_t labels = stored.trains ? 1 : 0;
  if (!stored.plan || stored.plan->inputs.size() != graph.inputs.size() + labels) return false;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    Shape shape = graph.shape(graph.inputs[i]);
    if (!shape.empty()) shape[0] = stored.batch;
    if (shape != stored.plan->inputs[i].shape) return false;
  }
  return stored.graph_identity == graph_identity(graph);
}

const StoredPlan* find_plan(const Model& model, const std::string& target, int64_t batch) {
  for (const StoredPlan& stored : model.plans) {
    const bool wanted = stored.target == target && stored.batch == batch && !stored.trains;
    if (wanted && made_of(stored, model.graph)) return &stored;
  }
  return nullptr;
}

const StoredPlan* find_training_plan(const Model& model, const std::string& target) {
  for (const StoredPlan& stored : model.plans) {
    if (stored.target == target && stored.trains && made_of(stored, model.graph)) return &stored;
  }
  return nullptr;
}

size_t plan_bytes(const StoredPlan& stored) {
  size_t bytes = 1024 + stored.constants.size() * sizeof(schema::PlanConstant);
  for (const rt::Step& step : stored.plan->steps) bytes += 512 + std::char_traits<char>::length(step.name);
  for (const auto& operands : stored.plan->operands) bytes += 8 + operands.size() * (4 + sizeof(schema::PlanView));
  if (stored.plan->training) {
    for (const PlanParameter& p : stored.plan->training->parameters) bytes += 64 + p.name.size();
  }
  bytes += stored.step_checks.size() * sizeof(schema::PlanStepCheck);
  bytes += (stored.check.labels.size() + stored.check.losses.size()) * 4;
  for (const auto& segments : stored.plan->segments) bytes += segments.size() * sizeof(schema::PlanSegment);
  for (const PlanBuffer& buffer : stored.plan->buffers) bytes += 64 + buffer.name.size();
  return bytes;
}

Result<fb::Offset<schema::Plan>> write_plan(const StoredPlan& stored,
                                            const std::function<uint64_t(const Tensor&)>& place,
                                            fb::FlatBufferBuilder* builder) {
  return PlanWriter(stored, builder).write(place);
}

bool is_known_plan(const schema::Plan& plan) {
  if (!plan.target() || plan.version() > rt::kPlanVersion) return false;
  const std::vector<std::string>& known = plan_targets();
  return std::find(known.begin(), known.end(), plan.target()->str()) != known.end();
}

Result<StoredPlan> read_plan(const rt::PlanFile& file, const Graph& graph, const std::shared_ptr<const void>& owner,
                             const std::function<Status(uint64_t)>& charge) {
  return PlanReader(file, charge).read(graph, owner);
}

}  // namespace sparsenet
