// The C API over the runtime: a session from a stored plan, in the caller's memory.
//
// The memory, in this order, each part at a multiple of 64: the session, what its steps are bound to, their channel
// ranges, their index spaces, the kernels' states, packed weights, arena, scratch. Steps themselves are read from the
// file one after the other, bound, and forgotten.
#include <model_generated.h>
#include <sparsenet/sparsenet.h>
#include <string.h>

#include "runtime/executor.h"
#include "runtime/linked_kernels.h"
#include "runtime/model_file.h"
#include "runtime/port_copy.h"
#include "runtime/stored_plan.h"

namespace rt = sparsenet::rt;
namespace schema = sparsenet::schema;

struct sn_session {
  rt::ModelFile file;
  rt::PlanFile plan;
  rt::Bound* bound;
  int32_t step_count;
  uint8_t *arena, *scratch;
  size_t scratch_stride;
  rt::Parallel parallel;
  sn_observer observer;
  void* observer_self;
};

namespace {

constexpr char kTarget[] = "portable-f32";
// Of one step or port, together.
constexpr uint32_t kMaxSegments = 128;

// Puts a message together, without stdio.
class Line {
 public:
  explicit Line(sn_message* message) {
    constexpr size_t kText = offsetof(sn_message, text);
    if (!message || message->struct_size <= kText) return;
    const size_t room = message->struct_size - kText;
    at_ = message->text;
    end_ = at_ + (room < sizeof message->text ? room : sizeof message->text) - 1;
    *at_ = '\0';
  }
  Line& operator<<(const char* text) {
    while (at_ && at_ < end_ && *text) *at_++ = *text++;
    if (at_) *at_ = '\0';
    return *this;
  }
  Line& operator<<(size_t number) {
    char digits[24];
    char* first = digits + sizeof digits - 1;
    *first = '\0';
    do {
      *--first = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    return *this << first;
  }

 private:
  char *at_ = nullptr, *end_ = nullptr;
};

size_t round_up(size_t bytes) {
  return (bytes + rt::kAlignment - 1) / rt::kAlignment * rt::kAlignment;
}

template <class List>
uint32_t size_of(const List* list) {
  return list ? list->size() : 0;
}

// Copies to the caller's structure as much as both know.
template <class T>
void give(T* to, T value) {
  const uint32_t size = to->struct_size;
  value.struct_size = size;
  memcpy(to, &value, size < sizeof value ? size : sizeof value);
}

struct Options {
  uint32_t batch;
  rt::Parallel parallel;
};

sn_status read_options(const sn_options* given, Options* options, sn_message* message) {
  *options = {1, {nullptr, nullptr, 1}};
  if (!given) return SN_OK;
  sn_options known{};
  memcpy(&known, given, given->struct_size < sizeof known ? given->struct_size : sizeof known);
  if (known.batch > 0) options->batch = known.batch;
  if (!known.threads) return SN_OK;
  sn_threads threads{};
  memcpy(&threads, known.threads,
         known.threads->struct_size < sizeof threads ? known.threads->struct_size : sizeof threads);
  if (threads.threads < 1 || threads.threads > 1024 || (threads.threads > 1 && !threads.parallel)) {
    Line(message) << "threads: expected 1 to 1024, and a function that runs chunks on them";
    return SN_INVALID_ARGUMENT;
  }
  if (threads.threads > 1) options->parallel = {threads.parallel, threads.self, threads.threads};
  return SN_OK;
}

sn_status open_model(const void* model, size_t bytes, uint32_t batch, rt::ModelFile* file, rt::PlanFile* plan,
                     sn_message* message) {
  if (!model || reinterpret_cast<uintptr_t>(model) % SN_ALIGNMENT != 0) {
    Line(message) << "model: expected an address that " << size_t{SN_ALIGNMENT} << " divides";
    return SN_INVALID_ARGUMENT;
  }
  const char* why = nullptr;
  switch (rt::open_model_file(static_cast<const uint8_t*>(model), bytes, file, &why)) {
    case rt::FileState::kGood:
      break;
    case rt::FileState::kDamaged:
      Line(message) << "model: " << why;
      return SN_INVALID_MODEL;
    case rt::FileState::kNewer:
    case rt::FileState::kWrongHost:
      Line(message) << "model: " << why;
      return SN_UNSUPPORTED;
  }
  for (uint32_t i = 0; i < size_of(file->model->plans()); ++i) {
    const schema::Plan* p = file->model->plans()->Get(i);
    if (!p->target() || strcmp(p->target()->c_str(), kTarget) != 0 || p->version() > rt::kPlanVersion) continue;
    if (p->batch() != batch) continue;
    *plan = {p, file->data, file->data_bytes};
    why = rt::check_plan(*plan);
    if (!why) return SN_OK;
    Line(message) << "plan " << size_t{i} << ": " << why;
    return SN_INVALID_MODEL;
  }
  Line(message) << "model: holds no plan " << kTarget << " for batch " << size_t{batch}
                << "; sparsenet-convert --plan makes one";
  return SN_UNSUPPORTED;
}

// How the memory is cut. Offsets of parts; the sum is what has to be given.
struct Layout {
  uint32_t steps, segments, strided;
  rt::Sizes sizes;
  size_t bound_at, segments_at, strided_at, state_at, weights_at, arena_at, scratch_at, end;
  size_t thread_scratch, scratch_bytes;
};

sn_status measure_ports(const rt::PlanFile& plan, rt::Segment* segments, sn_message* message) {
  for (const bool output : {false, true}) {
    const uint32_t count = size_of(output ? plan.plan->outputs() : plan.plan->inputs());
    for (uint32_t i = 0; i < count; ++i) {
      rt::View view;
      int32_t rank, dims[rt::kMaxDims];
      const char* why = rt::read_port(plan, output, i, segments, kMaxSegments, &view, &rank, dims);
      if (!why) continue;
      Line(message) << (output ? "output " : "input ") << size_t{i} << " of the plan: " << why;
      return SN_INVALID_MODEL;
    }
  }
  return SN_OK;
}

sn_status step_error(uint32_t index, const rt::Step& step, sn_status status, const char* why, sn_message* message) {
  Line line(message);
  line << "step " << size_t{index};
  if (step.name) line << " ('" << step.name << "')";
  line << ": " << why;
  return status;
}

sn_status lay_out(const rt::PlanFile& plan, const Options& options, Layout* layout, sn_message* message) {
  *layout = {};
  rt::Segment segments[kMaxSegments];
  const sn_status ports = measure_ports(plan, segments, message);
  if (ports != SN_OK) return ports;
  const rt::Kernel* const* lists[rt::kMaxLinkedLists];
  const int32_t list_count = rt::linked_kernels(lists);
  layout->steps = size_of(plan.plan->steps());
  for (uint32_t i = 0; i < layout->steps; ++i) {
    rt::Step step{};
    rt::Strided strided;
    uint32_t count = 0;
    const char* why = rt::count_segments(plan, i, &count);
    if (!why) why = rt::read_step(plan, i, segments, kMaxSegments, &strided, &step);
    if (why) return step_error(i, step, SN_INVALID_MODEL, why, message);
    rt::Bound bound;
    if (!rt::measure_step(step, lists, list_count, &bound, &layout->sizes)) {
      return step_error(i, step, SN_UNSUPPORTED, "no linked kernel serves for it", message);
    }
    layout->segments += count;
    layout->strided += step.strided ? 1 : 0;
  }
  const rt::Sizes& sizes = layout->sizes;
  const size_t all_threads = sizes.scratch_bytes * static_cast<size_t>(options.parallel.threads);
  layout->thread_scratch = all_threads > sizes.single_scratch_bytes ? all_threads : sizes.single_scratch_bytes;
  layout->scratch_bytes = layout->thread_scratch + sizes.shared_bytes;
  layout->bound_at = round_up(sizeof(sn_session));
  layout->segments_at = layout->bound_at + round_up(layout->steps * sizeof(rt::Bound));
  layout->strided_at = layout->segments_at + round_up(layout->segments * sizeof(rt::Segment));
  layout->state_at = layout->strided_at + round_up(layout->strided * sizeof(rt::Strided));
  layout->weights_at = layout->state_at + sizes.state_bytes;
  layout->arena_at = layout->weights_at + sizes.weight_bytes;
  layout->scratch_at = layout->arena_at + round_up(static_cast<size_t>(plan.plan->arena_bytes()));
  layout->end = layout->scratch_at + round_up(layout->scratch_bytes);
  return SN_OK;
}

// What sn_measure and sn_prepare begin with.
struct Checked {
  Options options;
  rt::ModelFile file;
  rt::PlanFile plan;
  Layout layout;
};

sn_status check_all(const void* model, size_t model_bytes, const sn_options* given, Checked* c, sn_message* message) {
  sn_status status = read_options(given, &c->options, message);
  if (status == SN_OK) status = open_model(model, model_bytes, c->options.batch, &c->file, &c->plan, message);
  if (status == SN_OK) status = lay_out(c->plan, c->options, &c->layout, message);
  return status;
}

const schema::TestVector* find_test_vector(const sn_session& session, uint32_t index) {
  const auto* vectors = session.file.model->test_vectors();
  return index < size_of(vectors) ? vectors->Get(index) : nullptr;
}

// Its values, if it is a float32 tensor of that many within the file.
const float* tensor_values(const sn_session& session,
                           const flatbuffers::Vector<flatbuffers::Offset<schema::Tensor>>* list, uint32_t index,
                           size_t elements) {
  if (index >= size_of(list)) return nullptr;
  const schema::Tensor& tensor = *list->Get(index);
  uint64_t count = 1;
  for (uint32_t i = 0; i < size_of(tensor.shape()); ++i) {
    const int64_t dim = tensor.shape()->Get(i);
    if (dim < 1 || dim > INT32_MAX || count * static_cast<uint64_t>(dim) > elements) return nullptr;
    count *= static_cast<uint64_t>(dim);
  }
  const uint64_t room = session.file.data_bytes, bytes = uint64_t{elements} * sizeof(float);
  if (tensor.type() != 0 || count != elements || tensor.offset() % rt::kDataAlignment != 0 || bytes > room ||
      tensor.offset() > room - bytes) {
    return nullptr;
  }
  return reinterpret_cast<const float*>(session.file.data + tensor.offset());
}

// The largest difference of a view from what is expected, and the largest expected value; NaN counts as infinite.
void compare(const rt::View& view, const uint8_t* arena, const float* expected, float* difference, float* largest) {
  rt::for_each_channel(view, [&](int64_t from, int64_t pixel, int64_t area, const rt::Segment& s, int32_t c) {
    const float* found =
        (s.constant ? s.constant : reinterpret_cast<const float*>(arena + s.offset)) + pixel * s.pixel_stride + c;
    for (int64_t p = 0; p < area; ++p) {
      const float want = expected[from + p], d = __builtin_fabsf(found[p * s.pixel_stride] - want);
      if (!(d <= *difference)) *difference = d == d ? d : __builtin_inff();
      if (__builtin_fabsf(want) > *largest) *largest = __builtin_fabsf(want);
    }
  });
}

struct Port {
  rt::Segment segments[kMaxSegments];
  rt::View view;
  int32_t rank, dims[rt::kMaxDims];
  size_t elements;
};

// sn_measure has checked all ports, so a message means that there is no such one.
bool find_port(const sn_session& session, bool output, uint32_t index, Port* port) {
  if (rt::read_port(session.plan, output, index, port->segments, kMaxSegments, &port->view, &port->rank, port->dims)) {
    return false;
  }
  port->elements = 1;
  for (int32_t d = 0; d < port->rank; ++d) port->elements *= static_cast<size_t>(port->dims[d]);
  return true;
}

sn_status describe_port(const sn_session* session, bool output, uint32_t index, sn_tensor* tensor) {
  Port port;
  if (!session || !tensor || !find_port(*session, output, index, &port)) return SN_INVALID_ARGUMENT;
  sn_tensor value{};
  value.rank = port.rank;
  value.name = (output ? session->plan.plan->outputs() : session->plan.plan->inputs())->Get(index)->name()->c_str();
  for (int32_t d = 0; d < port.rank; ++d) value.dims[d] = port.dims[d];
  value.elements = port.elements;
  give(tensor, value);
  return SN_OK;
}

void observe(const sn_session& session, uint32_t index) {
  const schema::PlanStep& step = *session.plan.plan->steps()->Get(index);
  const bool conv = step.op() == static_cast<uint8_t>(rt::StepOp::kConv);
  const sn_step value{sizeof value,
                      index,
                      step.name() ? step.name()->c_str() : "",
                      session.bound[index].kernel->name,
                      step.macs(),
                      conv ? step.kernel_height() : 0,
                      conv ? step.kernel_width() : 0};
  session.observer(session.observer_self, &value);
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
  }
  return "unknown";
}

sn_status sn_measure(const void* model, size_t model_bytes, const sn_options* given, sn_needs* needs,
                     sn_message* message) {
  if (!needs) return SN_INVALID_ARGUMENT;
  Checked checked;
  const sn_status status = check_all(model, model_bytes, given, &checked, message);
  if (status != SN_OK) return status;
  const auto& [options, file, plan, layout] = checked;
  sn_needs value{};
  value.inputs = size_of(plan.plan->inputs());
  value.outputs = size_of(plan.plan->outputs());
  value.labels = file.model->metadata() ? size_of(file.model->metadata()->labels()) : 0;
  value.steps = layout.steps;
  value.test_vectors = size_of(file.model->test_vectors());
  value.memory_bytes = layout.end;
  value.arena_bytes = static_cast<size_t>(plan.plan->arena_bytes());
  value.scratch_bytes = layout.scratch_bytes;
  value.weights_bytes = layout.sizes.weight_bytes;
  value.state_bytes = layout.weights_at;
  give(needs, value);
  return SN_OK;
}

sn_status sn_prepare(const void* model, size_t model_bytes, const sn_options* given, void* memory, size_t memory_bytes,
                     sn_session** session, sn_message* message) {
  if (!session) return SN_INVALID_ARGUMENT;
  Checked checked;
  const sn_status status = check_all(model, model_bytes, given, &checked, message);
  if (status != SN_OK) return status;
  const auto& [options, file, plan, layout] = checked;
  if (!memory || reinterpret_cast<uintptr_t>(memory) % SN_ALIGNMENT != 0) {
    Line(message) << "memory: expected an address that " << size_t{SN_ALIGNMENT} << " divides";
    return SN_INVALID_ARGUMENT;
  }
  if (memory_bytes < layout.end) {
    Line(message) << "memory: expected " << layout.end << " bytes, found " << memory_bytes;
    return SN_NO_MEMORY;
  }
  auto* base = static_cast<uint8_t*>(memory);
  memset(base, 0, layout.end);
  auto* s = reinterpret_cast<sn_session*>(base);
  *s = {file,
        plan,
        reinterpret_cast<rt::Bound*>(base + layout.bound_at),
        static_cast<int32_t>(layout.steps),
        base + layout.arena_at,
        base + layout.scratch_at,
        layout.sizes.scratch_bytes,
        options.parallel,
        nullptr,
        nullptr};
  auto* segments = reinterpret_cast<rt::Segment*>(base + layout.segments_at);
  auto* strided = reinterpret_cast<rt::Strided*>(base + layout.strided_at);
  uint32_t left = layout.segments;
  rt::Memory places{s->arena, base + layout.state_at, base + layout.weights_at, s->scratch + layout.thread_scratch,
                    nullptr};
  const rt::Kernel* const* lists[rt::kMaxLinkedLists];
  const int32_t list_count = rt::linked_kernels(lists);
  rt::Sizes again{};
  for (uint32_t i = 0; i < layout.steps; ++i) {
    rt::Step step{};
    uint32_t count = 0;
    // The first round has seen that these succeed.
    (void)rt::count_segments(plan, i, &count);
    (void)rt::read_step(plan, i, segments, left, strided, &step);
    (void)rt::measure_step(step, lists, list_count, &s->bound[i], &again);
    if (const char* why = rt::bind_step(step, &places, &s->bound[i])) {
      return step_error(i, step, SN_UNSUPPORTED, why, message);
    }
    segments += count;
    left -= count;
    strided += step.strided ? 1 : 0;
  }
  *session = s;
  return SN_OK;
}

sn_status sn_input(const sn_session* session, uint32_t index, sn_tensor* tensor) {
  return describe_port(session, false, index, tensor);
}

sn_status sn_output(const sn_session* session, uint32_t index, sn_tensor* tensor) {
  return describe_port(session, true, index, tensor);
}

sn_status sn_image(const sn_session* session, sn_image_info* info) {
  if (!session || !info) return SN_INVALID_ARGUMENT;
  sn_image_info value{};
  value.color_order = "RGB";
  if (const schema::Metadata* m = session->file.model->metadata()) {
    constexpr uint32_t kMost = sizeof value.mean / sizeof value.mean[0];
    // A list that is missing stands for zeros, or ones.
    const uint32_t means = size_of(m->mean()), deviations = size_of(m->std_dev());
    const uint32_t channels = means > deviations ? means : deviations;
    if (channels <= kMost && (means == 0 || deviations == 0 || means == deviations)) value.channels = channels;
    for (uint32_t c = 0; c < value.channels; ++c) {
      value.mean[c] = means > 0 ? m->mean()->Get(c) : 0.f;
      value.std_dev[c] = deviations > 0 ? m->std_dev()->Get(c) : 1.f;
    }
    if (m->color_order()) value.color_order = m->color_order()->c_str();
  }
  give(info, value);
  return SN_OK;
}

const char* sn_label(const sn_session* session, uint32_t index) {
  const schema::Metadata* metadata = session ? session->file.model->metadata() : nullptr;
  return metadata && index < size_of(metadata->labels()) ? metadata->labels()->Get(index)->c_str() : nullptr;
}

sn_status sn_set_input(sn_session* session, uint32_t index, const float* values, size_t elements) {
  Port port;
  if (!session || !values || !find_port(*session, false, index, &port) || elements != port.elements) {
    return SN_INVALID_ARGUMENT;
  }
  rt::copy_to_view(port.view, session->arena, values);
  return SN_OK;
}

sn_status sn_run(sn_session* session) {
  if (!session) return SN_INVALID_ARGUMENT;
  for (int32_t i = 0; i < session->step_count; ++i) {
    const rt::Bound& bound = session->bound[i];
    rt::execute_step(bound, session->scratch, session->scratch_stride, session->parallel);
    if (session->observer) observe(*session, static_cast<uint32_t>(i));
  }
  return SN_OK;
}

sn_status sn_get_output(const sn_session* session, uint32_t index, float* values, size_t elements) {
  Port port;
  if (!session || !values || !find_port(*session, true, index, &port) || elements != port.elements) {
    return SN_INVALID_ARGUMENT;
  }
  rt::copy_from_view(port.view, session->arena, values);
  return SN_OK;
}

void sn_observe(sn_session* session, sn_observer observer, void* self) {
  if (!session) return;
  session->observer = observer;
  session->observer_self = self;
}

sn_status sn_verify(sn_session* session, uint32_t test_vector, float* error, sn_message* message) {
  if (!session) return SN_INVALID_ARGUMENT;
  const schema::TestVector* vector = find_test_vector(*session, test_vector);
  if (!vector) {
    Line(message) << "test vector " << size_t{test_vector} << ": the model has "
                  << size_t{size_of(session->file.model->test_vectors())};
    return SN_NOT_FOUND;
  }
  if (session->plan.plan->batch() != 1) {
    Line(message) << "test vectors are for batch 1";
    return SN_UNSUPPORTED;
  }
  const auto damaged = [&](const char* what, uint32_t index) {
    Line(message) << "test vector " << size_t{test_vector} << ": " << what << size_t{index}
                  << ": expected float32 values in the plan's shape";
    return SN_INVALID_MODEL;
  };
  Port port;
  for (uint32_t i = 0; i < size_of(session->plan.plan->inputs()); ++i) {
    (void)find_port(*session, false, i, &port);
    const float* values = tensor_values(*session, vector->inputs(), i, port.elements);
    if (!values) return damaged("input ", i);
    rt::copy_to_view(port.view, session->arena, values);
  }
  (void)sn_run(session);
  float worst = 0;
  uint32_t worst_output = 0;
  for (uint32_t i = 0; i < size_of(session->plan.plan->outputs()); ++i) {
    (void)find_port(*session, true, i, &port);
    const float* values = tensor_values(*session, vector->outputs(), i, port.elements);
    if (!values) return damaged("output ", i);
    float difference = 0, largest = 1e-6f;
    compare(port.view, session->arena, values, &difference, &largest);
    if (!(difference / largest <= worst)) {
      worst = difference / largest;
      worst_output = i;
    }
  }
  if (error) *error = worst;
  if (worst <= vector->tolerance()) return SN_OK;
  Line(message) << "test vector " << size_t{test_vector} << ": output " << size_t{worst_output}
                << " is beyond its tolerance";
  return SN_DIFFERENT;
}

}  // extern "C"
