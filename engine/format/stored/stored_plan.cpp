#include "format/stored/stored_plan.h"

#include <model_generated.h>

#include "step/linked_parts.h"
#include "step/quant_check.h"
#include "step/step_kinds.h"

namespace sparsenet::rt {
namespace {

// Stored plans hold the numbers of these enumerations of step.h, so they must never change.
static_assert(static_cast<int>(StepOp::kConv) == 0 && static_cast<int>(StepOp::kPool) == 1 &&
              static_cast<int>(StepOp::kGlobalPool) == 2 && static_cast<int>(StepOp::kAffine) == 3 &&
              static_cast<int>(StepOp::kUnary) == 4 && static_cast<int>(StepOp::kBinary) == 5 &&
              static_cast<int>(StepOp::kSoftmax) == 6 && static_cast<int>(StepOp::kReduceMean) == 7 &&
              static_cast<int>(StepOp::kStridedCopy) == 8 && static_cast<int>(StepOp::kAttention) == 9);
static_assert(static_cast<int>(StepOp::kConvGradWeight) == 16 && static_cast<int>(StepOp::kAccumulate) == 28 &&
              static_cast<int>(StepOp::kCrossEntropy) == 29 && static_cast<int>(StepOp::kSquareSum) == 30 &&
              static_cast<int>(StepOp::kUpdateSgd) == 31 && static_cast<int>(StepOp::kMatMul) == 33 &&
              static_cast<int>(StepOp::kLayerNorm) == 34 && static_cast<int>(StepOp::kQuantize) == 35 &&
              static_cast<int>(StepOp::kDequantize) == 36);
static_assert(static_cast<int>(Rounding::kSingle) == 0 && static_cast<int>(Rounding::kDouble) == 1);
static_assert(Act::kClamp == 0 && Act::kLeakyRelu == 1 && Act::kSigmoid == 2 && Act::kHardSigmoid == 3 &&
              Act::kHardSwish == 4 && Act::kTanh == 5 && Act::kElu == 6 && Act::kSoftplus == 7 && Act::kSilu == 8 &&
              Act::kMish == 9 && Act::kGelu == 10 && Act::kGeluTanh == 11 && Act::kErf == 12 && Act::kExp == 13 &&
              Act::kLog == 14 && Act::kPow == 15);
static_assert(static_cast<int>(BinaryOp::kAdd) == 0 && static_cast<int>(BinaryOp::kSub) == 1 &&
              static_cast<int>(BinaryOp::kMul) == 2 && static_cast<int>(BinaryOp::kDiv) == 3 &&
              static_cast<int>(BinaryOp::kMax) == 4 && static_cast<int>(BinaryOp::kMin) == 5 &&
              static_cast<int>(BinaryOp::kPrelu) == 6);

constexpr uint64_t kBlock = 64;  // PlanConstant.block counts blocks of so many bytes

template <class T>
uint32_t size_of(const flatbuffers::Vector<T>* list) {
  return list ? list->size() : 0;
}

const uint8_t* constant_data(const PlanFile& file, uint32_t index) {
  return file.data + file.plan->constants()->Get(index)->block() * kBlock;
}

// The type of a view, or of a constant: constants follow the views in the list of types.
DataType type_at(const PlanFile& file, uint32_t index) {
  const flatbuffers::Vector<uint8_t>* types = file.plan->types();
  return types ? static_cast<DataType>(types->Get(index)) : DataType::kFloat32;
}

uint64_t constant_bytes(const PlanFile& file, uint32_t index) {
  return file.plan->constants()->Get(index)->elements() * uint64_t{size_of(constant_type(file, index))};
}

// PlanRoom::bytes: how many bytes of a constant there are from `place` on. The constants are in the order of their
// places.
int64_t bytes_from(const void* self, const void* place) {
  const auto* at = static_cast<const uint8_t*>(place);
  const auto& file = *static_cast<const PlanFile*>(self);
  uint32_t low = 0, high = size_of(file.plan->constants());
  while (low < high) {  // the number of constants that begin at `at` or before
    const uint32_t middle = low + (high - low) / 2;
    if (constant_data(file, middle) <= at) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return 0;
  const int64_t left = constant_data(file, low - 1) + constant_bytes(file, low - 1) - at;
  return left > 0 ? left : 0;
}

bool types_fit(const schema::Plan& plan) {
  const flatbuffers::Vector<uint8_t>* types = plan.types();
  if (!types) return true;
  uint8_t largest = 0;
  for (const uint8_t type : *types) largest = type > largest ? type : largest;
  return largest < kDataTypes && types->size() == size_of(plan.views()) + size_of(plan.constants());
}

const char* resolve(const PlanFile& file, int32_t ref, Parameter* out) {
  *out = {};
  if (ref == -1) return nullptr;
  if (ref < 0 || static_cast<uint32_t>(ref) >= size_of(file.plan->refs())) return "there is no such parameter";
  const schema::PlanRef& r = *file.plan->refs()->Get(static_cast<uint32_t>(ref));
  return resolve_constant(file, r.constant(), r.element(), out);
}

void read_act(const schema::PlanAct* act, Act* out) {
  *out = act ? Act{static_cast<Act::Kind>(act->kind()), act->low(), act->high(), act->alpha(), act->beta()}
             : Act{Act::kClamp, -__builtin_inff(), __builtin_inff(), 0.f, 0.f};
}

// Reads `count` numbers; an absent list stands for zeros.
const char* read_numbers(const flatbuffers::Vector<int32_t>* list, int32_t count, int64_t* out) {
  for (int32_t i = 0; i < count; ++i) out[i] = 0;
  if (!list) return nullptr;
  if (list->size() != static_cast<uint32_t>(count)) return "index space: expected a stride for each dimension";
  for (int32_t i = 0; i < count; ++i) out[i] = list->Get(static_cast<uint32_t>(i));
  return nullptr;
}

const char* read_strided(const schema::PlanStrided& s, Strided* out) {
  const uint32_t rank = size_of(s.dims());
  if (rank > kMaxDims) return "index space: expected at most 8 dimensions";
  *out = {};
  out->rank = static_cast<int32_t>(rank);
  const struct {
    const flatbuffers::Vector<int32_t>* from;
    int64_t* to;
  } lists[] = {{s.dims(), out->dims},
               {s.out_strides(), out->out_strides},
               {s.in_strides(), out->in_strides[0]},
               {s.in2_strides(), out->in_strides[1]}};
  for (const auto& list : lists) {
    if (const char* message = read_numbers(list.from, out->rank, list.to)) return message;
  }
  out->out_start = s.out_start();
  out->in_start[0] = s.in_start();
  out->in_start[1] = s.in2_start();
  out->reduced_from = s.reduced_from();
  out->fill_first = s.fill_first();
  out->fill_value = s.fill_value();
  out->out_elements = s.out_elements();
  return nullptr;
}

const schema::PlanView* find_view(const PlanFile& file, int32_t index) {
  if (index < 0 || static_cast<uint32_t>(index) >= size_of(file.plan->views())) return nullptr;
  return file.plan->views()->Get(static_cast<uint32_t>(index));
}

// The caller's memory for the segments of a step's views, which lie there one after the other.
struct Segments {
  Segment* at;
  uint32_t left;
};

const char* step_view(const PlanFile& file, int32_t index, Segments* memory, View* view) {
  *view = {};
  if (index == -1) return nullptr;
  if (index < 0) return "there is no such view";
  const char* message = read_view(file, static_cast<uint32_t>(index), memory->at, memory->left, view);
  if (message) return message;
  memory->at += view->segment_count;
  memory->left -= static_cast<uint32_t>(view->segment_count);
  return nullptr;
}

void read_window(const schema::PlanStep& s, Step* step) {
  step->window.kernel_h = s.kernel_height();
  step->window.kernel_w = s.kernel_width();
  step->window.stride_h = s.stride_height();
  step->window.stride_w = s.stride_width();
  step->window.dilation_h = s.dilation_height();
  step->window.dilation_w = s.dilation_width();
  step->window.pad_top = s.pad_top();
  step->window.pad_left = s.pad_left();
  step->window.pad_bottom = s.pad_bottom();
  step->window.pad_right = s.pad_right();
  step->conv.groups = s.groups();
  step->pool.max = s.max_pool();
  step->pool.count_include_pad = s.count_include_pad();
}

const char* read_parameters(const PlanFile& file, const schema::PlanStep& s, Step* step) {
  if (size_of(s.params()) > sizeof step->attention.params / sizeof step->attention.params[0])
    return "expected at most 8 parameters";
  const struct {
    int32_t ref;
    Parameter* to;
  } singles[] = {{s.pre_scale(), &step->affine.scale},
                 {s.pre_shift(), &step->affine.shift},
                 {s.weight(), &step->conv.weight},
                 {s.bias(), &step->conv.bias}};
  for (const auto& single : singles) {
    if (const char* message = resolve(file, single.ref, single.to)) return message;
  }
  for (uint32_t i = 0; i < size_of(s.params()); ++i) {
    if (const char* message = resolve(file, s.params()->Get(i), &step->attention.params[i])) return message;
  }
  return nullptr;
}

// Reads where weight and bias of a variable step lie; check_step checks that they fit there.
const char* read_links(const schema::PlanStep& s, Step* step, StepLinks* links) {
  *links = {s.weight_at(), s.bias_at()};
  if (s.weight_at() == -1 && s.bias_at() == -1) return nullptr;
  if (s.weight_at() < 0 || s.bias_at() < -1 || step->conv.weight || step->conv.bias) {
    return "expected weight and bias in constants, or both in the arena";
  }
  step->conv.variable = true;
  step->conv.weight.data = &kUnplaced;
  if (s.bias_at() >= 0) step->conv.bias.data = &kUnplaced;
  return nullptr;
}

const char* read_operands(const PlanFile& file, const schema::PlanStep& s, Segments* segments, View* operands,
                          uint32_t capacity, Step* step) {
  const uint32_t count = size_of(s.operands());
  if (count > capacity || count > INT32_MAX) return "more operands than there is room for";
  for (uint32_t i = 0; i < count; ++i) {
    if (const char* message = step_view(file, s.operands()->Get(i), segments, &operands[i])) return message;
  }
  step->train.operands = count > 0 ? operands : nullptr;
  step->train.operand_count = static_cast<int32_t>(count);
  return nullptr;
}

}  // namespace

DataType constant_type(const PlanFile& file, uint32_t index) {
  return type_at(file, size_of(file.plan->views()) + index);
}

const char* resolve_constant(const PlanFile& file, uint32_t constant, uint32_t element, Parameter* out) {
  if (constant >= size_of(file.plan->constants())) return "there is no such constant";
  if (element >= file.plan->constants()->Get(constant)->elements()) return "there is no such element of a constant";
  const DataType type = constant_type(file, constant);
  *out = {constant_data(file, constant) + element * size_of(type), type};
  return nullptr;
}

PlanRoom room_of(const PlanFile& file) {
  return {static_cast<size_t>(file.plan->arena_bytes()), bytes_from, &file};
}

const char* check_plan(const PlanFile& file) {
  const schema::Plan& plan = *file.plan;
  if (plan.version() < 1 || plan.version() > kPlanVersion) return "a version that this runtime does not know";
  if (plan.training() && plan.version() < kTrainingPlanVersion)
    return "expected version 2 or later of a plan that trains, found 1";
  if (!plan.target()) return "it names no target";
  if (plan.batch() < 1 || plan.batch() > INT32_MAX) return "expected a batch of 1 to 2147483647";
  // Elements of the arena are counted with 32 bits.
  if (plan.arena_bytes() > sizeof(float) * uint64_t{UINT32_MAX} || plan.arena_bytes() > SIZE_MAX / 2) {
    return "expected a smaller arena";
  }
  if (size_of(plan.inputs()) == 0 || size_of(plan.outputs()) == 0) return "expected inputs and outputs";
  if (plan.types() && plan.version() < kTypedPlanVersion) return "expected version 3 of a plan with types";
  if (!types_fit(plan)) return "types: expected one for each view and constant";
  uint64_t end = 0;
  for (uint32_t i = 0; i < size_of(plan.constants()); ++i) {
    const schema::PlanConstant& c = *plan.constants()->Get(i);
    const uint64_t begin = c.block() * kBlock, bytes = constant_bytes(file, i);
    if (bytes == 0 || begin < end || begin + bytes > file.data_bytes) {
      return "constants: expected places in the data section, in order";
    }
    end = begin + bytes;
  }
  return nullptr;
}

const char* read_view(const PlanFile& file, uint32_t index, Segment* segments, uint32_t capacity, View* view) {
  const schema::PlanView* v = find_view(file, index > INT32_MAX ? -1 : static_cast<int32_t>(index));
  if (!v) return "there is no such view";
  const uint32_t all = size_of(file.plan->segments());
  if (v->first_segment() > all || v->segments() > all - v->first_segment()) return "there is no such range of channels";
  if (v->segments() > capacity || v->segments() > INT32_MAX) return "more ranges of channels than there is room for";
  const DataType type = type_at(file, index);
  for (uint32_t i = 0; i < v->segments(); ++i) {
    const schema::PlanSegment& s = *file.plan->segments()->Get(v->first_segment() + i);
    segments[i] = {0, nullptr, s.channels(), s.pixel_stride()};
    if (s.constant() == -1) {
      if (uint64_t{s.element()} * size_of(type) > file.plan->arena_bytes()) return "it leaves the arena";
      segments[i].offset = size_of(type) * size_t{s.element()};
    } else {
      if (s.constant() < 0) return "there is no such constant";
      Parameter constant;
      const char* message = resolve_constant(file, static_cast<uint32_t>(s.constant()), s.element(), &constant);
      if (message) return message;
      if (constant.type != type) return "its constant is of another type";
      segments[i].constant = constant.data;
    }
  }
  *view = {v->n(), v->h(), v->w(), v->c(), segments, static_cast<int32_t>(v->segments()), type};
  return nullptr;
}

const char* count_parts(const PlanFile& file, uint32_t step, StepParts* parts) {
  if (step >= size_of(file.plan->steps())) return "there is no such step";
  const schema::PlanStep& s = *file.plan->steps()->Get(step);
  const uint32_t operands = size_of(s.operands());
  if (operands > kMaxOperands) return "expected at most 8 operands";
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 3 + operands; ++i) {
    const int32_t index = i == 0   ? s.in_view()
                          : i == 1 ? s.in2_view()
                          : i == 2 ? s.out_view()
                                   : s.operands()->Get(i - 3);
    if (index == -1) continue;
    const schema::PlanView* view = find_view(file, index);
    if (!view) return "there is no such view";
    sum += view->segments();
  }
  if (sum > size_of(file.plan->segments()) * uint64_t{3 + operands} || sum > INT32_MAX) {
    return "there is no such range of channels";
  }
  *parts = {static_cast<uint32_t>(sum), operands, s.quant() ? s.residual() ? 2u : 1u : 0u};
  return nullptr;
}

const char* read_step(const PlanFile& file, uint32_t index, const StepMemory& parts, Step* step, StepLinks* links) {
  if (index >= size_of(file.plan->steps())) return "there is no such step";
  const schema::PlanStep& s = *file.plan->steps()->Get(index);
  *step = {};
  if (s.op() >= kDeviceStepKinds) return "an unknown kind of step";
  if (s.binary() > static_cast<uint8_t>(kLastBinaryOp)) return "unknown arithmetic";
  step->op = static_cast<StepOp>(s.op());
  if (!may_be_stored(step->op)) return "a kind of step that plans cannot hold";
  const bool of_training = trains(step->op) || s.weight_at() != -1 || s.bias_at() != -1;
  if (of_training && !file.plan->training()) return "a step of training, which only plans that train can hold";
  step->name = s.name() ? s.name()->c_str() : nullptr;
  step->is_copy = s.copies();
  Segments memory{parts.segments, parts.segment_capacity};
  if (const char* message = step_view(file, s.in_view(), &memory, &step->in)) return message;
  if (const char* message = step_view(file, s.in2_view(), &memory, &step->in2)) return message;
  if (const char* message = step_view(file, s.out_view(), &memory, &step->out)) return message;
  if (const char* message = read_operands(file, s, &memory, parts.operands, parts.operand_capacity, step)) {
    return message;
  }
  if (const char* message = read_parameters(file, s, step)) return message;
  if (const char* message = read_links(s, step, links)) return message;
  step->affine.low = s.pre_low();
  step->affine.high = s.pre_high();
  read_act(s.act(), &step->act);
  read_act(s.attention_act(), &step->attention.act);
  read_act(s.attention_gate(), &step->attention.gate);
  read_window(s, step);
  step->binary.op = static_cast<BinaryOp>(s.binary());
  step->attention.hidden = s.hidden();
  if (s.strided()) {
    if (const char* message = read_strided(*s.strided(), parts.strided)) return message;
    step->strided = parts.strided;
  }
  step->train.alpha = s.alpha();
  step->train.beta = s.beta();
  if (s.quant() || s.residual()) {
    const IntegerParts* integers = linked_integers();
    if (!integers) return kNoIntegers;
    if (const char* message = integers->read(s, parts.quant, step)) return message;
  }
  return check_step(*step, *links, room_of(file));
}

const char* read_port(const PlanFile& file, bool output, uint32_t index, Segment* segments, uint32_t capacity,
                      View* view, int32_t* rank, int32_t* dims) {
  const auto* ports = output ? file.plan->outputs() : file.plan->inputs();
  if (index >= size_of(ports)) return "there is no such input or output";
  const schema::PlanPort& port = *ports->Get(index);
  if (!port.name()) return "it has no name";
  if (size_of(port.shape()) > kMaxDims) return "expected at most 8 dimensions";
  *rank = static_cast<int32_t>(size_of(port.shape()));
  int64_t elements = 1;
  for (int32_t d = 0; d < *rank; ++d) {
    dims[d] = port.shape()->Get(static_cast<uint32_t>(d));
    if (dims[d] < 1) return "expected dimensions of at least 1";
    elements *= dims[d];
    if (elements > kMostElements) return "expected at most 1073741824 elements";
  }
  if (const char* message = read_view(file, port.view(), segments, capacity, view)) return message;
  const bool integers = view->type == DataType::kInt8 || view->type == DataType::kUInt8;
  // As it is copied from and to callers.
  if (view->type != DataType::kFloat32 && !integers) return "expected a view of float32, int8 or uint8";
  if (integers && !is_scale(port.scale())) return "expected a scale above 0";
  // Of float32, too: test vectors may hold integers for it.
  if (port.zero_point() < -128 || port.zero_point() > 255) return "expected a zero point of its type";
  if (const char* message = check_view(*view, room_of(file), !output)) return message;
  const bool image = *rank == 4, rows = *rank == 2;
  const int32_t n = image || rows ? dims[0] : 1, c = image || rows ? dims[1] : static_cast<int32_t>(elements);
  const int32_t h = image ? dims[2] : 1, w = image ? dims[3] : 1;
  if (view->n != n || view->c != c || view->h != h || view->w != w) return "its view has another shape";
  return nullptr;
}

}  // namespace sparsenet::rt
