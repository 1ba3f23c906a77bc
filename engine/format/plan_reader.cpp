// Reads stored plans from the file's structure, which are hostile until checked.
#include <model_generated.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "format/integer_vectors.h"
#include "format/model_format.h"
#include "format/plan_format.h"
#include "format/stored/training_plan.h"
#include "plan/plan.h"

namespace sparsenet {
namespace {

namespace fb = flatbuffers;

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
      stored.constants.push_back({static_cast<DataType>(rt::constant_type(file_, static_cast<uint32_t>(i))),
                                  {c.elements()},
                                  owner,
                                  file_.data + c.block() * uint64_t{kDataAlignment}});
    }
    const size_t checks = from.step_checks() ? from.step_checks()->size() : 0;
    if (checks != 0 && checks != plan_->steps.size()) return invalid_model("step checks: expected one for each step");
    SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanStepCheck) * checks));
    for (size_t i = 0; i < checks; ++i) {
      const schema::PlanStepCheck& check = *from.step_checks()->Get(static_cast<fb::uoffset_t>(i));
      stored.step_checks.push_back({check.sum(), check.norm()});
    }
    stored.plan = std::move(plan_);
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
    SPARSENET_RETURN_IF_ERROR(charge_(24 * count));  // no step takes less in the structure
    plan_->steps.resize(count);
    std::string step_name;
    for (uint32_t i = 0; i < count; ++i) {
      const schema::PlanStep& from = *file_.plan->steps()->Get(i);
      SPARSENET_RETURN_IF_ERROR(read_text(from.name(), "step " + std::to_string(i), &step_name));
      const std::string what = "step " + std::to_string(i) + " ('" + step_name + "')";
      rt::StepParts parts{};
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::count_parts(file_, i, &parts)));
      SPARSENET_RETURN_IF_ERROR(charge_(sizeof(schema::PlanSegment) * uint64_t{parts.segments} +
                                        sizeof(schema::PlanView) * uint64_t{parts.operands} +
                                        sizeof(rt::QuantParams) * uint64_t{parts.quant}));
      plan_->segments.emplace_back(parts.segments);
      plan_->operands.emplace_back(parts.operands);
      if (from.strided()) plan_->strided.emplace_back();
      rt::Strided* strided = from.strided() ? &plan_->strided.back() : nullptr;
      rt::Step& step = plan_->steps[i];
      rt::StepLinks links{-1, -1};
      rt::StepMemory memory{
          plan_->segments.back().data(), parts.segments, plan_->operands.back().data(), parts.operands, strided, {}};
      for (uint32_t q = 0; q < parts.quant; ++q) memory.quant[q] = &plan_->quant.emplace_back();
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::read_step(file_, i, memory, &step, &links)));
      note_use(rt::arena_end(step));
      if (links.weight >= 0) {
        plan_->links.push_back({i, rt::ParamSlot::kWeight, sizeof(float) * static_cast<size_t>(links.weight)});
      }
      if (links.bias >= 0) {
        plan_->links.push_back({i, rt::ParamSlot::kBias, sizeof(float) * static_cast<size_t>(links.bias)});
      }
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
      Quantization q = {{from.scale()}, {from.zero_point()}, 0};
      if (port.view.type != rt::DataType::kFloat32) {
        port.quantization = std::move(q);
      } else if (from.scale() != 0.f) {
        port.of_vectors = std::move(q);
      }
      ports->push_back(std::move(port));
    }
    return {};
  }

  Status read_training(const Graph& graph, TrainingCheck* check) {
    const schema::PlanTraining& from = *file_.plan->training();
    TrainingSection& training = plan_->training.emplace();
    SPARSENET_RETURN_IF_ERROR(wrong("plan", rt::read_training(file_, &training.layout)));
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
    SPARSENET_RETURN_IF_ERROR(check_type("input", 0, graph.value(graph.inputs[0]), image));
    SPARSENET_RETURN_IF_ERROR(check_type("output", 0, graph.value(graph.outputs[0]), logits));
    SPARSENET_RETURN_IF_ERROR(check_vectors("input", 0, quantization_of_input(graph, graph.inputs[0]), image));
    SPARSENET_RETURN_IF_ERROR(check_vectors("input", 1, nullptr, plan_->inputs[1]));
    for (size_t i = 0; i < 2; ++i) {
      SPARSENET_RETURN_IF_ERROR(check_vectors("output", i, nullptr, plan_->outputs[i]));
    }
    for (const rt::ArenaRange& region : training.layout.regions) {
      note_use(region.offset + region.bytes);
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
      SPARSENET_RETURN_IF_ERROR(wrong(what, rt::read_initial(file_, training.layout, i, &initial)));
      parameter.values = initial.values;
      parameter.elements = initial.elements;
      parameter.offset = initial.offset;
      training.parameters.push_back(std::move(parameter));
    }
    return from.check() ? read_check(*from.check(), training.layout.classes, check) : Status();
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

  static std::string describe(const Quantization& q) {
    if (q.scales.size() != 1 || q.zero_points.size() != 1) return "values without one scale and zero point";
    char scale[32];
    std::snprintf(scale, sizeof scale, "%.9g", static_cast<double>(q.scales[0]));
    return std::string("scale ") + scale + " and zero point " + std::to_string(q.zero_points[0]);
  }

  static Status check_quantization(const std::string& what, size_t index, const Value& value, const PlanPort& port) {
    if (port.view.type == rt::DataType::kFloat32 || (value.quantization.scales == port.quantization.scales &&
                                                     value.quantization.zero_points == port.quantization.zero_points)) {
      return {};
    }
    return invalid_model(what + " " + std::to_string(index) + " '" + port.name + "': expected the graph's " +
                         describe(value.quantization) + ", found " + describe(port.quantization));
  }

  static Status check_type(const std::string& what, size_t index, const Value& value, const PlanPort& port) {
    if (static_cast<rt::DataType>(value.type) == port.view.type) {
      return check_quantization(what, index, value, port);
    }
    return invalid_model(what + " " + std::to_string(index) + " '" + port.name + "': expected the graph's " +
                         name(value.type) + ", found " + name(static_cast<DataType>(port.view.type)));
  }

  // What test vectors' integers stand for on a device must be what they stand for here: `q`, or null if there can be
  // none.
  static Status check_vectors(const std::string& what, size_t index, const Quantization* q, const PlanPort& port) {
    const Quantization& found = port.of_vectors;
    if (found.empty() || (q && q->scales == found.scales && q->zero_points == found.zero_points)) return {};
    return invalid_model(what + " " + std::to_string(index) + " '" + port.name + "': expected " +
                         (q ? describe(*q) + ", as its Quantize has" : "no scale, as no Quantize takes it") +
                         ", found " + describe(found));
  }

  // What a program sees of a session must not depend on whether the session uses the plan.
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
        SPARSENET_RETURN_IF_ERROR(check_quantization(side.what, i, value, port));
        const bool is_input = &side == &sides[0];
        const Quantization* q = is_input ? quantization_of_input(*fitting, side.ids[i]) : nullptr;
        SPARSENET_RETURN_IF_ERROR(check_vectors(side.what, i, q, port));
        if (value.name != port.name || value.shape != port.shape ||
            static_cast<rt::DataType>(value.type) != port.view.type) {
          return invalid_model(std::string(side.what) + " " + std::to_string(i) + ": expected the graph's '" +
                               value.name + "' " + name(value.type) + " " + to_string(value.shape) + ", found '" +
                               port.name + "' " + name(static_cast<DataType>(port.view.type)) + " " +
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
  uint64_t used_ = 0;  // bytes of the arena, up to the last that a step, a port or a region reaches
};

}  // namespace

Result<StoredPlan> read_plan(const rt::PlanFile& file, const Graph& graph, const std::shared_ptr<const void>& owner,
                             const std::function<Status(uint64_t)>& charge) {
  return PlanReader(file, charge).read(graph, owner);
}

}  // namespace sparsenet
