// The C API: inputs, runs, outputs, the model's own information, and its test vectors.
#include "device/device_session.h"
#include "runtime/port_copy.h"
#include "step/linked_parts.h"
#include "step/step_digest.h"

namespace rt = sparsenet::rt;
namespace schema = sparsenet::schema;
using namespace sparsenet::device;

namespace {

// Raises *difference to the largest difference between a view and the expected values, and *largest to the largest
// absolute value expected. NaN counts as an infinite difference. Integers count as the real numbers that they stand
// for.
void compare(const Port& port, const uint8_t* arena, const void* expected, float* difference, float* largest) {
  const auto add = [&](float signed_difference, float want) {
    const float d = __builtin_fabsf(signed_difference);
    if (!(d <= *difference)) *difference = d == d ? d : __builtin_inff();
    if (__builtin_fabsf(want) > *largest) *largest = __builtin_fabsf(want);
  };
  const auto integer = [&](uint8_t byte) {
    return port.view.type == rt::DataType::kInt8 ? static_cast<int8_t>(byte) : int32_t{byte};
  };
  const bool is_real = port.view.type == rt::DataType::kFloat32;
  rt::for_each_channel(port.view, [&](int64_t from, int64_t pixel, int64_t area, const rt::Segment& s, int32_t c) {
    const int64_t first = pixel * s.pixel_stride + c;
    const auto* bytes = s.constant ? static_cast<const uint8_t*>(s.constant) : arena + s.offset;
    for (int64_t p = 0; p < area; ++p) {
      const int64_t at = first + p * s.pixel_stride;
      if (is_real) {
        const float want = static_cast<const float*>(expected)[from + p];
        add(reinterpret_cast<const float*>(bytes)[at] - want, want);
      } else {  // the difference of integers is exact, even where a product and a sum are rounded once
        const int32_t want = integer(static_cast<const uint8_t*>(expected)[from + p]);
        add(static_cast<float>(integer(bytes[at]) - want) * port.affine.scale, port.affine.real(want));
      }
    }
  });
}

sn_status describe_port(const sn_session* session, bool output, uint32_t index, sn_tensor* tensor) {
  Port port;
  if (!session || !tensor || !find_port(*session, output, index, &port)) return SN_INVALID_ARGUMENT;
  sn_tensor value{};
  value.rank = port.rank;
  value.name = (output ? session->plan.plan->outputs() : session->plan.plan->inputs())->Get(index)->name()->c_str();
  for (int32_t d = 0; d < port.rank; ++d) value.dims[d] = port.dims[d];
  value.elements = port.elements;
  const auto type = port.view.type;
  value.type = type == rt::DataType::kInt8 ? SN_INT8 : type == rt::DataType::kUInt8 ? SN_UINT8 : SN_FLOAT32;
  if (value.type != SN_FLOAT32) {
    value.scale = port.affine.scale;
    value.zero_point = port.affine.zero;
  }
  give(tensor, value);
  return SN_OK;
}

void observe(const sn_session& session, uint32_t index) {
  const schema::PlanStep& step = *session.plan.plan->steps()->Get(index);
  const bool conv = step.op() == static_cast<uint8_t>(rt::StepOp::kConv);
  const sn_step value{sizeof value,
                      index,
                      step.name() ? step.name()->c_str() : "",
                      session.steps[static_cast<int32_t>(index)].kernel->name,
                      step.macs(),
                      conv ? step.kernel_height() : 0,
                      conv ? step.kernel_width() : 0};
  session.observer(session.observer_self, &value);
}

__attribute__((noinline)) void say(uint32_t test_vector, bool is_output, uint32_t index, const char* what,
                                   sn_message* message) {
  MessageWriter(message) << "test vector " << size_t{test_vector} << (is_output ? ": output " : ": input ")
                         << size_t{index} << what;
}

sn_status damaged(uint32_t test_vector, const Port& port, sn_message* message) {
  say(test_vector, port.is_output, port.index, ": expected values of the plan's type in its shape", message);
  return SN_INVALID_MODEL;
}

// How far the digest of what a step has just written is from the expected one.
float step_difference(const sn_session& session, uint32_t index, const schema::PlanStepCheck& expected) {
  const auto output = static_cast<uint32_t>(session.plan.plan->steps()->Get(index)->out_view());
  rt::Segment segment;
  rt::View view;
  (void)rt::read_view(session.plan, output, &segment, 1, &view);  // cannot fail: sn_prepare has read it, in one piece
  return rt::difference(view.type, rt::digest(view, session.steps.arena()), {expected.sum(), expected.norm()});
}

}  // namespace

namespace sparsenet::device {

const schema::TestVector* find_test_vector(const sn_session& session, uint32_t index) {
  const auto* vectors = session.file.model->test_vectors();
  return index < size_of(vectors) ? vectors->Get(index) : nullptr;
}

const void* values_of(const sn_session& session, const schema::TestVector& vector, const Port& port) {
  const auto* list = port.is_output ? vector.outputs() : vector.inputs();
  if (port.index >= size_of(list)) return nullptr;
  const schema::Tensor& tensor = *list->Get(port.index);
  size_t left = port.elements;  // what the dimensions so far leave for the others
  for (uint32_t i = 0; i < size_of(tensor.shape()); ++i) {
    uint32_t dim[2];  // the verifier lets 8-byte numbers of a list stand at multiples of 4
    memcpy(dim, tensor.shape()->Data() + size_t{i} * sizeof dim, sizeof dim);
    if (dim[0] == 0 || dim[1] != 0 || left % dim[0] != 0) return nullptr;
    left /= dim[0];
  }
  const auto room = static_cast<size_t>(session.file.data_bytes);
  if (static_cast<rt::DataType>(tensor.type()) != port.view.type || left != 1 ||
      tensor.offset() % rt::kDataAlignment != 0 || tensor.offset() > room ||
      port.elements > (room - static_cast<size_t>(tensor.offset())) / rt::size_of(port.view.type)) {
    return nullptr;
  }
  return session.file.data + tensor.offset();
}

sn_status set_test_inputs(sn_session* session, uint32_t test_vector, sn_message* message) {
  const schema::TestVector& vector = *find_test_vector(*session, test_vector);
  Port port;
  for (uint32_t i = 0; find_port(*session, false, i, &port); ++i) {
    if (const void* values = values_of(*session, vector, port)) {
      rt::copy_elements_to_view(port.view, session->steps.arena(), values);
    } else {
      const rt::IntegerParts* integers = rt::linked_integers();
      if (!integers || !integers->set_input || !integers->set_input(session, vector, &port)) {
        return damaged(test_vector, port, message);
      }
    }
    if (session->trains) break;  // the other input is the label
  }
  return SN_OK;
}

bool find_port(const sn_session& session, bool output, uint32_t index, Port* port) {
  const schema::Plan& plan = *session.plan.plan;
  const auto* ports = output ? plan.outputs() : plan.inputs();
  if (index >= size_of(ports)) return false;
  const schema::PlanPort& from = *ports->Get(index);
  port->index = index;
  port->is_output = output;
  port->view = session.ports[output ? size_of(plan.inputs()) + index : index];
  port->affine = {from.scale(), from.zero_point()};
  port->rank = static_cast<int32_t>(size_of(from.shape()));
  port->elements = 1;
  for (int32_t d = 0; d < port->rank; ++d) {
    port->dims[d] = from.shape()->Get(static_cast<uint32_t>(d));
    port->elements *= static_cast<size_t>(port->dims[d]);
  }
  return true;
}

void execute_steps(sn_session* session, int32_t begin, int32_t end) {
  if (session->observer) {  // which is called with denormals as the calling thread has them
    for (int32_t i = begin; i < end; ++i) {
      session->steps.execute(i, i + 1);
      observe(*session, static_cast<uint32_t>(i));
    }
    return;
  }
  session->steps.execute(begin, end);
}

sn_status check_threads(sn_session* session, sn_message* message) {
  const rt::ThreadHook& threads = session->steps.threads();
  if (!threads.parallel) return SN_OK;
  const rt::Misuse misuse = static_cast<rt::HookGuard*>(threads.self)->take();
  if (misuse == rt::Misuse::kNone) return SN_OK;
  MessageWriter(message) << "threads: " << rt::text(misuse);
  return SN_INVALID_ARGUMENT;
}

}  // namespace sparsenet::device

extern "C" {

sn_status sn_input(const sn_session* session, uint32_t index, sn_tensor* tensor) {
  return describe_port(session, false, index, tensor);
}

sn_status sn_output(const sn_session* session, uint32_t index, sn_tensor* tensor) {
  return describe_port(session, true, index, tensor);
}

sn_status sn_image(const sn_session* session, sn_image_info* info) {
  Port port;
  if (!session || !info || !find_port(*session, false, 0, &port)) return SN_INVALID_ARGUMENT;
  sn_image_info value{};
  constexpr uint32_t kMost = sizeof value.mean / sizeof value.mean[0];
  value.color_order = "RGB";
  if (port.rank == 4 && static_cast<uint32_t>(port.dims[1]) <= kMost) {
    value.channels = static_cast<uint32_t>(port.dims[1]);
  }
  const schema::Metadata* m = session->file.model->metadata();
  const uint32_t means = m ? size_of(m->mean()) : 0, deviations = m ? size_of(m->std_dev()) : 0;
  // A missing list stands for means of zero or deviations of one; one of another length says nothing about these
  // channels.
  if ((means != 0 && means != value.channels) || (deviations != 0 && deviations != value.channels)) value.channels = 0;
  for (uint32_t c = 0; c < value.channels; ++c) {
    value.mean[c] = means > 0 ? m->mean()->Get(c) : 0.f;
    value.std_dev[c] = deviations > 0 ? m->std_dev()->Get(c) : 1.f;
  }
  if (m && m->color_order()) value.color_order = m->color_order()->c_str();
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
  rt::copy_real_to_view(port.view, port.affine, session->steps.arena(), values);
  return SN_OK;
}

sn_status sn_set_input_bytes(sn_session* session, uint32_t index, const void* values, size_t elements) {
  Port port;
  if (!session || !values || !find_port(*session, false, index, &port) || elements != port.elements ||
      port.view.type == rt::DataType::kFloat32) {
    return SN_INVALID_ARGUMENT;
  }
  rt::copy_elements_to_view(port.view, session->steps.arena(), values);
  return SN_OK;
}

sn_status sn_run(sn_session* session) {
  if (!session) return SN_INVALID_ARGUMENT;
  execute_steps(session, 0, session->trains ? session->training.loss : session->steps.count());
  return check_threads(session, nullptr);
}

sn_status sn_get_output(const sn_session* session, uint32_t index, float* values, size_t elements) {
  Port port;
  if (!session || !values || !find_port(*session, true, index, &port) || elements != port.elements) {
    return SN_INVALID_ARGUMENT;
  }
  rt::copy_real_from_view(port.view, port.affine, session->steps.arena(), values);
  return SN_OK;
}

sn_status sn_get_output_bytes(const sn_session* session, uint32_t index, void* values, size_t elements) {
  Port port;
  if (!session || !values || !find_port(*session, true, index, &port) || elements != port.elements ||
      port.view.type == rt::DataType::kFloat32) {
    return SN_INVALID_ARGUMENT;
  }
  rt::copy_elements_from_view(port.view, session->steps.arena(), values);
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
    MessageWriter(message) << "test vector " << size_t{test_vector} << ": the model has "
                           << size_t{size_of(session->file.model->test_vectors())};
    return SN_NOT_FOUND;
  }
  if (session->plan.plan->batch() != 1 || session->trains) {
    MessageWriter(message) << "test vectors are for batch 1, and not for training";
    return SN_UNSUPPORTED;
  }
  Port port;
  const sn_status inputs = set_test_inputs(session, test_vector, message);
  if (inputs != SN_OK) return inputs;
  execute_steps(session, 0, session->steps.count());
  const sn_status threads = check_threads(session, message);
  if (threads != SN_OK) return threads;
  float worst = 0;
  uint32_t worst_output = 0;
  for (uint32_t i = 0; find_port(*session, true, i, &port); ++i) {
    const void* values = values_of(*session, *vector, port);
    if (!values) return damaged(test_vector, port, message);
    float difference = 0, largest = 1e-6f;
    compare(port, session->steps.arena(), values, &difference, &largest);
    if (!(difference / largest <= worst)) {
      worst = difference / largest;
      worst_output = i;
    }
  }
  if (error) *error = worst;
  if (worst <= vector->tolerance()) return SN_OK;
  say(test_vector, true, worst_output, " is beyond its tolerance", message);
  return SN_DIFFERENT;
}

sn_status sn_verify_steps(sn_session* session, float* error, sn_message* message) {
  if (!session) return SN_INVALID_ARGUMENT;
  const auto* checks = session->plan.plan->step_checks();
  const schema::TestVector* vector = find_test_vector(*session, 0);
  if (session->trains || size_of(checks) != static_cast<uint32_t>(session->steps.count()) || !vector) {
    MessageWriter(message) << "steps: the plan has nothing to compare them with";
    return SN_NOT_FOUND;
  }
  // The output of a step is compared as a whole, even if the step writes only a part of it. So the rest must be zero,
  // as it was when the expected numbers were computed.
  memset(session->steps.arena(), 0, static_cast<size_t>(session->plan.plan->arena_bytes()));
  const sn_status inputs = set_test_inputs(session, 0, message);
  if (inputs != SN_OK) return inputs;
  float worst = 0;
  uint32_t first_wrong = 0;
  bool wrong = false;
  for (uint32_t i = 0; i < static_cast<uint32_t>(session->steps.count()); ++i) {
    execute_steps(session, static_cast<int32_t>(i), static_cast<int32_t>(i) + 1);
    const float d = step_difference(*session, i, *checks->Get(i));
    if (d > worst) worst = d;
    if (!wrong && !(d <= vector->tolerance())) {
      wrong = true;
      first_wrong = i;
    }
  }
  const sn_status threads = check_threads(session, message);
  if (threads != SN_OK) return threads;
  if (error) *error = worst;
  if (!wrong) return SN_OK;
  const auto* name = session->plan.plan->steps()->Get(first_wrong)->name();
  MessageWriter(message) << "step " << size_t{first_wrong} << " ('" << (name ? name->c_str() : "") << "', kernel "
                         << session->steps[static_cast<int32_t>(first_wrong)].kernel->name
                         << ") is the first beyond the tolerance";
  return SN_DIFFERENT;
}

}  // extern "C"
