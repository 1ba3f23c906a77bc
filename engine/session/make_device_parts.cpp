// Makes what a device is given of a model: its file without the graph, and the table of the kernels that its plans use.
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include <algorithm>
#include <initializer_list>
#include <set>

#include "base/guarded.h"
#include "format/model_format.h"
#include "format/plan_format.h"
#include "kernels/compact/compact.h"
#include "kernels/compact/integer.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/integers.h"
#include "kernels/reference/reference.h"
#include "plan/plan.h"
#include "runtime/bound_steps.h"
#include "step/step_kinds.h"

namespace sparsenet {
namespace {

// Kernels that a device can link, by their names in the source.
struct Named {
  const rt::Kernel* kernel;
  const char* name;
};
const Named kNames[] = {
    {&rt::compact::kConv, "compact::kConv"},
    {&rt::compact::kPool, "compact::kPool"},
    {&rt::compact::kGlobalPool, "compact::kGlobalPool"},
    {&rt::compact::kAttention, "compact::kAttention"},
    {&rt::compact::kAffine, "compact::kAffine"},
    {&rt::compact::kConvHalf, "compact::kConvHalf"},
    {&rt::compact::kPoolHalf, "compact::kPoolHalf"},
    {&rt::compact::kGlobalPoolHalf, "compact::kGlobalPoolHalf"},
    {&rt::compact::kAttentionHalf, "compact::kAttentionHalf"},
    {&rt::compact::kAffineHalf, "compact::kAffineHalf"},
    {&rt::compact::kIntegerPixelSingle, "compact::kIntegerPixelSingle"},
    {&rt::compact::kIntegerPixelDouble, "compact::kIntegerPixelDouble"},
    {&rt::compact::kIntegerConvSingle, "compact::kIntegerConvSingle"},
    {&rt::compact::kIntegerConvDouble, "compact::kIntegerConvDouble"},
    {&rt::compact::kIntegerDepthwise, "compact::kIntegerDepthwise"},
    {&rt::compact::kIntegerMaxPool, "compact::kIntegerMaxPool"},
    {&rt::compact::kIntegerAveragePool, "compact::kIntegerAveragePool"},
    {&rt::compact::kIntegerGlobalPool, "compact::kIntegerGlobalPool"},
    {&rt::compact::kIntegerAdd, "compact::kIntegerAdd"},
    {&rt::compact::kIntegerMul, "compact::kIntegerMul"},
    {&rt::compact::kIntegerAffine, "compact::kIntegerAffine"},
    {&rt::compact::kIntegerGate, "compact::kIntegerGate"},
    {&rt::compact::kIntegerTable, "compact::kIntegerTable"},
    {&rt::kReferenceConv, "kReferenceConv"},
    {&rt::kReferencePool, "kReferencePool"},
    {&rt::kReferenceGlobalPool, "kReferenceGlobalPool"},
    {&rt::kReferenceAffine, "kReferenceAffine"},
    {&rt::kReferenceAttention, "kReferenceAttention"},
    {&rt::kReferenceBinary, "kReferenceBinary"},
    {&rt::kReferenceSoftmax, "kReferenceSoftmax"},
    {&rt::kReferenceReduceMean, "kReferenceReduceMean"},
    {&rt::kReferenceStridedCopy, "kReferenceStridedCopy"},
    {&rt::kReferenceChoice, "kReferenceChoice"},
    {&rt::kReferenceMatMul, "kReferenceMatMul"},
    {&rt::kReferenceLayerNorm, "kReferenceLayerNorm"},
    {&rt::kIntegerReferenceConv, "kIntegerReferenceConv"},
    {&rt::kIntegerReferencePool, "kIntegerReferencePool"},
    {&rt::kIntegerReferenceGlobalPool, "kIntegerReferenceGlobalPool"},
    {&rt::kIntegerReferenceBinary, "kIntegerReferenceBinary"},
    {&rt::kIntegerReferenceAffine, "kIntegerReferenceAffine"},
    {&rt::kIntegerReferenceTable, "kIntegerReferenceTable"},
    {&rt::kIntegerReferenceStridedCopy, "kIntegerReferenceStridedCopy"},
    {&rt::kIntegerReferenceQuantize, "kIntegerReferenceQuantize"},
    {&rt::kIntegerReferenceDequantize, "kIntegerReferenceDequantize"},
    {&rt::kIntegerReferenceSoftmax, "kIntegerReferenceSoftmax"},
    {&rt::kReferenceCrossEntropy, "kReferenceCrossEntropy"},
    {&rt::kReferenceConvGradWeight, "kReferenceConvGradWeight"},
    {&rt::kReferenceAccumulate, "kReferenceAccumulate"},
    {&rt::kReferenceSquareSum, "kReferenceSquareSum"},
    {&rt::kReferenceUpdateSgd, "kReferenceUpdateSgd"},
};

// What the steps of a model's plans need to have linked.
struct Used {
  std::vector<const rt::Kernel*> kernels;
  std::set<uint8_t> activations;  // only those that have a formula of their own
  std::set<uint8_t> ops;          // of steps
  bool integers = false, training = false;
  bool integers_of_inputs = false;  // test vectors may hold them for a float32 input
};

constexpr size_t kSessionBytes = 512;  // more than sn_session and the gaps between parts take

// The formulas that the plan's activations need beyond what every kernel has.
std::string activation_source(const std::set<uint8_t>& activations) {
  std::string declared, cases;
  for (const uint8_t kind : activations) {
    const std::string name = rt::kActivationFormulas[kind - rt::kFirstFormula].name;
    declared += "float " + name + "(float x, float alpha);\n";
    cases += "    case " + std::to_string(static_cast<int>(kind)) + ":\n      return activations::" + name + ";\n";
  }
  if (!declared.empty()) declared = "namespace activations {\n" + declared + "}\n";
  const std::string body = cases.empty() ? "  (void)kind;\n  return 0;\n"
                                         : "  switch (kind) {\n" + cases + "    default:\n      return 0;\n  }\n";
  return "\ntypedef float (*ActivationFormula)(float x, float alpha);\n" + declared +
         "ActivationFormula linked_activation(uint8_t kind);\nActivationFormula linked_activation(uint8_t kind) {\n" +
         body + "}\n";
}

#define SPARSENET_CHECK_NAME(op, name, stored, trains, data, check) #check,
constexpr const char* kCheckNames[] = {SPARSENET_DEVICE_STEP_KINDS(SPARSENET_CHECK_NAME)};
#undef SPARSENET_CHECK_NAME

// The checks of the plan's kinds of steps.
std::string check_source(const std::set<uint8_t>& ops) {
  const std::string parameters = "(const Step&, const StepLinks&, const PlanRoom&)";
  std::set<std::string> names;
  std::string declared, cases;
  for (const uint8_t op : ops) {
    const std::string name = kCheckNames[op];
    if (names.insert(name).second) declared += "const char* " + name + parameters + ";\n";
    cases += "    case " + std::to_string(static_cast<int>(op)) + ":\n      return " + name + ";\n";
  }
  return "\nstruct Step;\nstruct StepLinks;\nstruct PlanRoom;\nenum class StepOp : uint8_t;\n" + declared +
         "typedef const char* (*StepCheck)" + parameters +
         ";\nStepCheck linked_check(StepOp op);\nStepCheck linked_check(StepOp op) {\n  switch (static_cast<int>(op)) "
         "{\n" +
         cases + "    default:\n      return nullptr;\n  }\n}\n";
}

// A function that returns a part of the runtime, or null (step/linked_parts.h).
std::string part_source(const std::string& type, const std::string& part, const std::string& function, bool used) {
  return "\nstruct " + type + ";\n" + (used ? "extern const " + type + " " + part + ";\n" : "") + "const " + type +
         "* " + function + "();\nconst " + type + "* " + function + "() {\n  return " +
         (used ? "&" + part : "nullptr") + ";\n}\n";
}

// The source is self-contained: it declares everything it names, so that it compiles anywhere, without a header of the
// engine. (The functions that it defines are those of runtime/linked_kernels.h, step/linked_activation.h and
// step/linked_parts.h.)
std::string table_source(const std::vector<std::string>& names, const Used& used) {
  constexpr char kCompact[] = "compact::";
  constexpr size_t kCompactLength = sizeof kCompact - 1;
  std::string plain, compact, table;
  for (const std::string& name : names) {
    const bool is_compact = name.compare(0, kCompactLength, kCompact) == 0;
    (is_compact ? compact : plain) +=
        "extern const Kernel " + (is_compact ? name.substr(kCompactLength) : name) + ";\n";
    table += "      &" + name + ",\n";
  }
  if (!compact.empty()) compact = "namespace compact {\n" + compact + "}\n";
  return "// The kernels of one model, in the order in which they are tried. Made by sparsenet-convert --select-ops.\n"
         "// Compile it with C++11 or later and link it in front of libsparsenet_device.a; it needs no other file.\n"
         "#include <stdint.h>\n\nnamespace sparsenet {\nnamespace rt {\n\nstruct Kernel;\n" +
         plain + compact + activation_source(used.activations) + check_source(used.ops) +
         part_source("IntegerParts", used.integers_of_inputs ? "kIntegerParts" : "kIntegerPartsOfIntegerInputs",
                     "linked_integers", used.integers) +
         part_source("TrainingParts", "kTrainingParts", "linked_training", used.training) +
         "\nint32_t linked_kernels(const Kernel* const** lists);\n"
         "int32_t linked_kernels(const Kernel* const** lists) {\n"
         "  static const Kernel* const kTable[] = {\n" +
         table +
         "      nullptr,\n  };\n  lists[0] = kTable;\n  return 1;\n}\n\n}  // namespace rt\n}  // namespace "
         "sparsenet\n";
}

// The memory that sn_prepare needs for a plan, with the compact kernels and one thread. Adds what the plan needs to
// have linked to *used.
Status measure_for_device(const Plan& plan, size_t* memory_bytes, Used* used) {
  const rt::Kernel* const* lists[] = {rt::compact::kPortableKernels, rt::kReferenceKernels,
                                      rt::compact::kIntegerKernels, rt::kIntegerReferenceKernels};
  std::vector<rt::BoundStep> bound(plan.steps.size());
  rt::PlanNeeds needs{};
  rt::Fit fit = rt::Fit::kFits;
  const int32_t at = rt::measure_steps(plan.steps.data(), static_cast<int32_t>(plan.steps.size()), {lists, 4},
                                       bound.data(), &needs, &fit);
  if (at >= 0) {
    const std::string node = "node '" + std::string(plan.steps[static_cast<size_t>(at)].name) + "': ";
    if (fit == rt::Fit::kTooLarge) return out_of_memory(node + "needs more memory than can be addressed");
    return unsupported(node + "no kernel for devices serves for it");
  }
  for (const rt::BoundStep& b : bound) used->kernels.push_back(b.kernel);
  size_t segments = 0, operands = 0, strided = 0, quant = 0;
  for (const rt::Step& step : plan.steps) {
    for (const rt::Act* act : {&step.act, &step.attention.act, &step.attention.gate}) {
      if (act->kind >= rt::kFirstFormula) used->activations.insert(act->kind);
    }
    for (const rt::View* view : {&step.in, &step.in2, &step.out}) segments += static_cast<size_t>(view->segment_count);
    for (int32_t i = 0; i < step.train.operand_count; ++i)
      segments += static_cast<size_t>(step.train.operands[i].segment_count);
    operands += static_cast<size_t>(step.train.operand_count);
    strided += step.strided ? 1 : 0;
    quant += step.quant ? step.quant->residual ? 2 : 1 : 0;
    used->integers = used->integers || step.quant;
    used->ops.insert(static_cast<uint8_t>(step.op));
  }
  for (const PlanPort& port : plan.inputs) {
    used->integers_of_inputs = used->integers_of_inputs || !port.of_vectors.empty();
  }
  const size_t ports = plan.inputs.size() + plan.outputs.size();
  for (const auto* list : {&plan.inputs, &plan.outputs}) {
    for (const PlanPort& port : *list) segments += static_cast<size_t>(port.view.segment_count);
  }
  rt::MemoryLayout memory_layout;
  for (const uint64_t part : std::initializer_list<uint64_t>{
           kSessionBytes, plan.steps.size() * sizeof(rt::BoundStep), segments * sizeof(rt::Segment),
           operands * sizeof(rt::View), strided * sizeof(rt::Strided), quant * sizeof(rt::QuantParams),
           ports * sizeof(rt::View), needs.state_bytes, needs.weight_bytes, needs.refreshed_bytes, plan.arena_bytes,
           rt::add_bytes(needs.scratch_bytes, needs.shared_bytes)}) {
    (void)memory_layout.take(part);
  }
  if (!memory_layout.fits()) return out_of_memory("the plan needs more memory than can be addressed");
  *memory_bytes = static_cast<size_t>(memory_layout.end());
  return {};
}

Result<DeviceParts> make_parts(const Model& model, const std::string& target) {
  const StoredPlan* stored = find_plan(model, target, 1);
  if (!stored) return not_found("the model holds no plan " + target + " for batch 1");
  DeviceParts parts;
  Used used;
  parts.arena_bytes = stored->plan->arena_bytes;
  SPARSENET_RETURN_IF_ERROR(measure_for_device(*stored->plan, &parts.memory_bytes, &used));
  // A device has no use for other plans.
  Model slim = model;
  slim.plans = {*stored};
  if (const StoredPlan* training = find_training_plan(model, target)) {
    parts.training_arena_bytes = training->plan->arena_bytes;
    SPARSENET_RETURN_IF_ERROR(measure_for_device(*training->plan, &parts.training_memory_bytes, &used));
    slim.plans.push_back(*training);
    used.training = true;
  }
  for (const Named& named : kNames) {
    if (std::find(used.kernels.begin(), used.kernels.end(), named.kernel) != used.kernels.end())
      parts.kernels.push_back(named.name);
  }
  parts.kernel_table = table_source(parts.kernels, used);
  SPARSENET_ASSIGN_OR_RETURN(parts.file, serialize(slim, false));
  return parts;
}

}  // namespace

Result<DeviceParts> make_device_parts(const Model& model, const std::string& target) {
  return guarded("making what a device needs", [&] { return make_parts(model, target); });
}

}  // namespace sparsenet
