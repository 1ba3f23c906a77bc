// The C API: makes a session from a stored plan, in the caller's memory. run.cpp and train.cpp use the session.
//
// The memory has these parts, in this order, each at a multiple of 64 bytes: the session; its bound steps; the guard of
// the caller's threads and the words it keeps; inputs and outputs; channel ranges, operands, index spaces and integers'
// factors of the steps; the kernels' states; packed weights; weights that are packed before every run; the arena;
// scratch. The steps themselves are read from the file one after the other, bound, and forgotten.
#include "device/device_session.h"
#include "runtime/linked_kernels.h"
#include "step/linked_parts.h"

namespace rt = sparsenet::rt;
namespace schema = sparsenet::schema;
using namespace sparsenet::device;

namespace {

constexpr char kTarget[] = "portable-f32";
constexpr char kTooMuch[] = "it needs more memory than this machine can address";

struct Options {
  uint32_t batch;
  bool trains, flush_denormals;
  rt::ThreadHook threads;
  uint32_t kernels;
};

int32_t kernel_lists(const Options& options, const rt::Kernel* const* lists[rt::kMaxLinkedLists]) {
  return options.kernels == SN_KERNELS_COMPACT ? rt::compact_kernels(lists) : rt::linked_kernels(lists);
}

sn_status read_options(const sn_options* given, Options* options, sn_message* message) {
  *options = {1, false, true, {nullptr, nullptr, 1}, SN_KERNELS_LINKED};
  if (!given) return SN_OK;
  sn_options known{};
  memcpy(&known, given, given->struct_size < sizeof known ? given->struct_size : sizeof known);
  if (known.batch > 0) options->batch = known.batch;
  options->trains = known.training != 0;
  options->flush_denormals = known.keep_denormals == 0;
  options->kernels = known.kernels;
  if (known.kernels > SN_KERNELS_COMPACT) {
    MessageWriter(message) << "kernels: expected SN_KERNELS_LINKED (0) or SN_KERNELS_COMPACT (1), found "
                           << size_t{known.kernels};
    return SN_INVALID_ARGUMENT;
  }
  if (!known.threads) return SN_OK;
  sn_thread_hook threads{};
  memcpy(&threads, known.threads,
         known.threads->struct_size < sizeof threads ? known.threads->struct_size : sizeof threads);
  if (threads.threads < 1 || threads.threads > 1024 || (threads.threads > 1 && !threads.parallel)) {
    MessageWriter(message) << "threads: expected 1 to 1024, and a function that runs chunks on them";
    return SN_INVALID_ARGUMENT;
  }
  if (threads.threads > 1) options->threads = {threads.parallel, threads.self, threads.threads};
  return SN_OK;
}

sn_status open_model(const void* model, size_t bytes, const Options& options, rt::ModelFile* file, rt::PlanFile* plan,
                     sn_message* message) {
  if (!model || reinterpret_cast<uintptr_t>(model) % SN_ALIGNMENT != 0) {
    MessageWriter(message) << "model: expected an address that " << size_t{SN_ALIGNMENT} << " divides";
    return SN_INVALID_ARGUMENT;
  }
  const char* why = nullptr;
  switch (rt::open_model_file(static_cast<const uint8_t*>(model), bytes, file, &why)) {
    case rt::FileState::kGood:
      break;
    case rt::FileState::kDamaged:
      MessageWriter(message) << "model: " << why;
      return SN_INVALID_MODEL;
    case rt::FileState::kNewer:
    case rt::FileState::kWrongHost:
      MessageWriter(message) << "model: " << why;
      return SN_UNSUPPORTED;
  }
  for (uint32_t i = 0; i < size_of(file->model->plans()); ++i) {
    const schema::Plan* p = file->model->plans()->Get(i);
    if (!p->target() || p->target()->size() != sizeof kTarget - 1 || p->version() > rt::kPlanVersion) continue;
    if (memcmp(p->target()->data(), kTarget, sizeof kTarget - 1) != 0) continue;
    if (p->batch() != options.batch || (p->training() != nullptr) != options.trains) continue;
    *plan = {p, file->data, file->data_bytes};
    why = rt::check_plan(*plan);
    if (!why) return SN_OK;
    MessageWriter(message) << "plan " << size_t{i} << ": " << why;
    return SN_INVALID_MODEL;
  }
  MessageWriter text(message);
  text << "model: holds no " << (options.trains ? "training plan " : "plan ") << kTarget << " for batch "
       << size_t{options.batch};
  if (options.trains) {
    text << "; `sparsenet-convert MODEL --plan portable-f32 --training-plan -o DEVICE` adds one";
  } else if (options.batch == 1) {
    text << "; `sparsenet-convert MODEL --plan portable-f32 -o DEVICE` adds one";
  }
  return SN_UNSUPPORTED;
}

// How the memory is divided: the offsets of its parts, and their end, which is how much the caller has to provide.
struct Layout {
  uint32_t steps;
  rt::PlanNeeds needs;
  size_t bound_at, hook_at, hook_words_at, segments_at, operands_at, strided_at, quant_at, ports_at, state_at,
      weights_at, refreshed_at, arena_at, scratch_at, end;
  size_t thread_scratch, scratch_bytes;
};

void raise(size_t value, size_t* most) {
  if (value > *most) *most = value;
}

// Memory for the parts of one step or port.
struct Parts {
  rt::Segment* segments;
  uint32_t segment_capacity;
  rt::View* operands;
  uint32_t operand_capacity;
};

uint32_t count_ports(const rt::PlanFile& plan) {
  return size_of(plan.plan->inputs()) + size_of(plan.plan->outputs());
}

// Checks the ports. *used becomes at least the number of bytes that they reach into the arena; their ranges of channels
// are added to *segments.
sn_status measure_ports(const rt::PlanFile& plan, const Parts& parts, size_t* used, uint64_t* segments,
                        sn_message* message) {
  for (const bool output : {false, true}) {
    const uint32_t count = size_of(output ? plan.plan->outputs() : plan.plan->inputs());
    for (uint32_t i = 0; i < count; ++i) {
      rt::View view;
      int32_t rank, dims[rt::kMaxDims];
      const char* why = rt::read_port(plan, output, i, parts.segments, parts.segment_capacity, &view, &rank, dims);
      if (!why) raise(rt::arena_end(view), used);
      if (!why) *segments += static_cast<uint32_t>(view.segment_count);
      if (!why) continue;
      MessageWriter(message) << (output ? "output " : "input ") << size_t{i} << " of the plan: " << why;
      return SN_INVALID_MODEL;
    }
  }
  return SN_OK;
}

sn_status step_error(uint32_t index, const rt::Step& step, sn_status status, const char* why, sn_message* message) {
  MessageWriter text(message);
  text << "step " << size_t{index};
  if (step.name) text << " ('" << step.name << "')";
  text << ": " << why;
  return status;
}

sn_status check_training(const rt::PlanFile& plan, rt::TrainingLayout* training, sn_message* message) {
  const rt::TrainingParts* parts = rt::linked_training();
  if (!parts) {
    MessageWriter(message) << "plan: " << rt::kNoTraining;
    return SN_UNSUPPORTED;
  }
  const char* why = parts->read(plan, training);
  if (!why) return SN_OK;
  MessageWriter(message) << "plan: " << why;
  return SN_INVALID_MODEL;
}

sn_status lay_out_with(const Parts& room, const rt::PlanFile& plan, const Options& options,
                       const rt::TrainingLayout& training, Layout* layout, sn_message* message) {
  *layout = {};
  uint64_t segment_count = 0, operand_count = 0, strided_count = 0, quant_count = 0;
  size_t used = 0;
  for (const rt::ArenaRange& region : training.regions) raise(region.offset + region.bytes, &used);
  const sn_status ports = measure_ports(plan, room, &used, &segment_count, message);
  if (ports != SN_OK) return ports;
  const rt::Kernel* const* lists[rt::kMaxLinkedLists];
  const rt::KernelLists kernels{lists, kernel_lists(options, lists)};
  layout->steps = size_of(plan.plan->steps());
  for (uint32_t i = 0; i < layout->steps; ++i) {
    rt::Step step{};
    rt::Strided strided;
    rt::QuantParams quant[rt::kMaxQuant];
    rt::StepParts parts{};
    rt::StepLinks links;
    const char* why = rt::count_parts(plan, i, &parts);
    const rt::StepMemory memory{room.segments, room.segment_capacity, room.operands, room.operand_capacity,
                                &strided,      {&quant[0], &quant[1]}};
    if (!why) why = rt::read_step(plan, i, memory, &step, &links);
    const sn_status status = why == rt::kNoLinkedKernel ? SN_UNSUPPORTED : SN_INVALID_MODEL;
    if (why) return step_error(i, step, status, why, message);
    rt::BoundStep bound;
    const rt::Fit fit = rt::measure_step(step, kernels, &bound, &layout->needs);
    if (fit != rt::Fit::kFits) {
      const char* reason = fit == rt::Fit::kTooLarge ? kTooMuch : rt::kNoLinkedKernel;
      return step_error(i, step, SN_UNSUPPORTED, reason, message);
    }
    raise(rt::arena_end(step), &used);
    segment_count += parts.segments;
    operand_count += parts.operands;
    strided_count += step.strided ? 1 : 0;
    quant_count += parts.quant;
  }
  const uint64_t most_arena = rt::aligned_bytes(used);
  if (plan.plan->arena_bytes() > most_arena) {
    MessageWriter(message) << "plan: expected an arena of at most the " << static_cast<size_t>(most_arena)
                           << " bytes that steps use, found " << static_cast<size_t>(plan.plan->arena_bytes());
    return SN_INVALID_MODEL;
  }
  const rt::PlanNeeds& needs = layout->needs;
  const uint64_t scratch = rt::scratch_of(needs, options.threads.threads);
  rt::MemoryLayout memory_layout;
  (void)memory_layout.take(sizeof(sn_session));
  layout->bound_at = memory_layout.take(uint64_t{layout->steps} * sizeof(rt::BoundStep));
  const bool guards = options.threads.threads > 1;
  layout->hook_at = memory_layout.take(guards ? sizeof(rt::HookGuard) : 0);
  layout->hook_words_at =
      memory_layout.take(guards ? rt::HookGuard::bytes(options.threads.threads, needs.most_chunks) : 0);
  layout->ports_at = memory_layout.take(count_ports(plan) * sizeof(rt::View));
  layout->segments_at = memory_layout.take(segment_count * sizeof(rt::Segment));
  layout->operands_at = memory_layout.take(operand_count * sizeof(rt::View));
  layout->strided_at = memory_layout.take(strided_count * sizeof(rt::Strided));
  layout->quant_at = memory_layout.take(quant_count * sizeof(rt::QuantParams));
  layout->state_at = memory_layout.take(needs.state_bytes);
  layout->weights_at = memory_layout.take(needs.weight_bytes);
  layout->refreshed_at = memory_layout.take(needs.refreshed_bytes);
  layout->arena_at = memory_layout.take(plan.plan->arena_bytes());
  layout->scratch_at = memory_layout.take(rt::add_bytes(scratch, needs.shared_bytes));
  if (!memory_layout.fits()) {
    MessageWriter(message) << "plan: " << kTooMuch;
    return SN_UNSUPPORTED;
  }
  layout->thread_scratch = static_cast<size_t>(scratch);
  layout->scratch_bytes = layout->thread_scratch + needs.shared_bytes;
  layout->end = static_cast<size_t>(memory_layout.end());
  return SN_OK;
}

// The largest number of ranges of channels in a step or a port; 0 if a step is damaged.
uint32_t most_segments(const rt::PlanFile& plan) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < size_of(plan.plan->steps()); ++i) {
    rt::StepParts parts{};
    (void)rt::count_parts(plan, i, &parts);
    if (parts.segments > most) most = parts.segments;
  }
  for (uint32_t i = 0; i < count_ports(plan); ++i) {
    const uint32_t inputs = size_of(plan.plan->inputs());
    const schema::PlanPort& port = *(i < inputs ? plan.plan->inputs()->Get(i) : plan.plan->outputs()->Get(i - inputs));
    const uint32_t segments =
        port.view() < size_of(plan.plan->views()) ? plan.plan->views()->Get(port.view())->segments() : 0;
    if (segments > most) most = segments;
  }
  return most;
}

// Most networks need little room for the parts of a step, and small devices have small stacks.
template <uint32_t kSegments, uint32_t kOperands>
__attribute__((noinline)) sn_status lay_out_in(const rt::PlanFile& plan, const Options& options,
                                               const rt::TrainingLayout& training, Layout* layout,
                                               sn_message* message) {
  rt::Segment segments[kSegments];
  rt::View operands[kOperands];
  return lay_out_with({segments, kSegments, operands, kOperands}, plan, options, training, layout, message);
}

sn_status lay_out(const rt::PlanFile& plan, const Options& options, const rt::TrainingLayout& training, Layout* layout,
                  sn_message* message) {
  constexpr uint32_t kFew = 4;
  const bool is_small = !options.trains && most_segments(plan) <= kFew;
  const auto chosen = is_small ? lay_out_in<kFew, 1> : lay_out_in<kMaxSegments, kMaxOperands>;
  return chosen(plan, options, training, layout, message);
}

// What the checks that sn_measure and sn_prepare begin with have found.
struct Checked {
  Options options;
  rt::ModelFile file;
  rt::PlanFile plan;
  rt::TrainingLayout training;  // zeros for inference
  Layout layout;
};

sn_status check_all(const void* model, size_t model_bytes, const sn_options* given, Checked* c, sn_message* message) {
  c->training = {};
  sn_status status = read_options(given, &c->options, message);
  if (status == SN_OK) status = open_model(model, model_bytes, c->options, &c->file, &c->plan, message);
  if (status == SN_OK && c->options.trains) status = check_training(c->plan, &c->training, message);
  if (status == SN_OK) status = lay_out(c->plan, c->options, c->training, &c->layout, message);
  return status;
}

// Reads the steps one after the other and binds them, in the memory from `base` on. (Not inlined: its stack is needed
// when that of lay_out() is not any more.)
__attribute__((noinline)) sn_status bind_steps(const Checked& checked, uint8_t* base, sn_session* session,
                                               sn_message* message) {
  const auto& [options, file, plan, training, layout] = checked;
  rt::ThreadHook threads = options.threads;
  if (threads.threads > 1) {
    auto* guard = reinterpret_cast<rt::HookGuard*>(base + layout.hook_at);
    guard->init(threads, layout.needs.most_chunks, options.flush_denormals, base + layout.hook_words_at);
    threads = guard->handle();
  }
  auto* steps = reinterpret_cast<rt::BoundStep*>(base + layout.bound_at);
  uint8_t* scratch = base + layout.scratch_at;
  session->steps.init(
      steps,
      {base + layout.arena_at, base + layout.state_at, base + layout.weights_at, base + layout.refreshed_at, scratch,
       scratch + layout.thread_scratch, layout.needs.scratch_bytes},
      threads, options.flush_denormals);
  auto* segments = reinterpret_cast<rt::Segment*>(base + layout.segments_at);
  auto* operands = reinterpret_cast<rt::View*>(base + layout.operands_at);
  auto* strided = reinterpret_cast<rt::Strided*>(base + layout.strided_at);
  auto* quant = reinterpret_cast<rt::QuantParams*>(base + layout.quant_at);
  const auto* arena = reinterpret_cast<const float*>(base + layout.arena_at);
  const rt::Kernel* const* lists[rt::kMaxLinkedLists];
  const rt::KernelLists kernels{lists, kernel_lists(options, lists)};
  rt::PlanNeeds again{};
  for (uint32_t i = 0; i < layout.steps; ++i) {
    rt::Step step{};
    rt::StepParts parts{};
    rt::StepLinks links;
    // These calls cannot fail, because they have succeeded in lay_out().
    (void)rt::count_parts(plan, i, &parts);
    (void)rt::read_step(plan, i, {segments, parts.segments, operands, parts.operands, strided, {quant, quant + 1}},
                        &step, &links);
    if (links.weight >= 0) step.conv.weight.data = arena + links.weight;
    if (links.bias >= 0) step.conv.bias.data = arena + links.bias;
    (void)rt::measure_step(step, kernels, &steps[i], &again);
    if (const char* why = session->steps.bind(step)) return step_error(i, step, SN_UNSUPPORTED, why, message);
    segments += parts.segments;
    operands += parts.operands;
    strided += step.strided ? 1 : 0;
    quant += parts.quant;
  }
  auto* view = reinterpret_cast<rt::View*>(base + layout.ports_at);
  session->ports = view;
  for (const bool output : {false, true}) {
    for (uint32_t i = 0; i < size_of(output ? plan.plan->outputs() : plan.plan->inputs()); ++i, ++view) {
      int32_t rank, dims[rt::kMaxDims];
      (void)rt::read_port(plan, output, i, segments, kMaxSegments, view, &rank, dims);
      segments += view->segment_count;
    }
  }
  return SN_OK;
}

}  // namespace

extern "C" {

uint32_t sn_api_version(void) {
  return SN_API_VERSION;
}

const char* sn_version(void) {
  return SPARSENET_VERSION;
}

const char* sn_status_name(sn_status status) {
  switch (status) {
    case SN_OK:
      return "ok";
    case SN_INVALID_ARGUMENT:
      return "invalid argument";
    case SN_INVALID_MODEL:
      return "invalid model";
    case SN_UNSUPPORTED:
      return "unsupported";
    case SN_NO_MEMORY:
      return "no memory";
    case SN_NOT_FOUND:
      return "not found";
    case SN_IO:
      return "input or output failed";
    case SN_DIFFERENT:
      return "different";
    case SN_NOT_FINITE:
      return "not finite";
  }
  return "unknown";
}

sn_status sn_measure(const void* model, size_t model_bytes, const sn_options* given, sn_needs* needs,
                     sn_message* message) {
  if (!needs) return SN_INVALID_ARGUMENT;
  Checked checked;
  const sn_status status = check_all(model, model_bytes, given, &checked, message);
  if (status != SN_OK) return status;
  const auto& [options, file, plan, training, layout] = checked;
  sn_needs value{};
  value.inputs = size_of(plan.plan->inputs());
  value.outputs = size_of(plan.plan->outputs());
  value.labels = file.model->metadata() ? size_of(file.model->metadata()->labels()) : 0;
  value.steps = layout.steps;
  value.test_vectors = size_of(file.model->test_vectors());
  value.memory_bytes = layout.end;
  value.arena_bytes = static_cast<size_t>(plan.plan->arena_bytes());
  value.scratch_bytes = layout.scratch_bytes;
  value.weights_bytes = layout.needs.weight_bytes + layout.needs.refreshed_bytes;
  value.state_bytes = layout.weights_at;
  if (options.trains) value.parameters_bytes = training.regions[rt::kStoredParameters].bytes;
  give(needs, value);
  return SN_OK;
}

sn_status sn_prepare(const void* model, size_t model_bytes, const sn_options* given, void* memory, size_t memory_bytes,
                     sn_session** session, sn_message* message) {
  if (!session) return SN_INVALID_ARGUMENT;
  Checked checked;
  const sn_status status = check_all(model, model_bytes, given, &checked, message);
  if (status != SN_OK) return status;
  const Layout& layout = checked.layout;
  if (!memory || reinterpret_cast<uintptr_t>(memory) % SN_ALIGNMENT != 0) {
    MessageWriter(message) << "memory: expected an address that " << size_t{SN_ALIGNMENT} << " divides";
    return SN_INVALID_ARGUMENT;
  }
  if (memory_bytes < layout.end) {
    MessageWriter(message) << "memory: expected " << layout.end << " bytes, found " << memory_bytes;
    return SN_NO_MEMORY;
  }
  auto* base = static_cast<uint8_t*>(memory);
  memset(base, 0, layout.end);
  auto* s = reinterpret_cast<sn_session*>(base);
  s->file = checked.file;
  s->plan = checked.plan;
  s->trains = checked.options.trains;
  s->training = checked.training;
  const sn_status bound = bind_steps(checked, base, s, message);
  if (bound != SN_OK) return bound;
  if (s->trains) rt::linked_training()->restart(s);
  *session = s;
  return SN_OK;
}

}  // extern "C"
