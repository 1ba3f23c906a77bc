// A model file with plans through the C API: measured, prepared, run, verified and trained. A plan may ask for more
// work than anyone would wait for, so only small ones are run.
#include <model_generated.h>
#include <sparsenet/sparsenet.h>

#include <algorithm>

#include "fuzz/model_bytes.h"
#include "runtime/model_file.h"

namespace sparsenet::fuzz {
namespace {

constexpr size_t kMostMemory = 1 << 17;
constexpr double kMostWork = 2e6;

double product(const flatbuffers::Vector<int32_t>* dims) {
  double count = 1;
  for (size_t i = 0; dims != nullptr && i < dims->size(); ++i)
    count *= std::max(dims->Get(static_cast<uint32_t>(i)), 1);
  return count;
}

const schema::PlanView* view_of(const schema::Plan& plan, int32_t index) {
  const bool known = plan.views() != nullptr && index >= 0 && static_cast<uint32_t>(index) < plan.views()->size();
  return known ? plan.views()->Get(static_cast<uint32_t>(index)) : nullptr;
}

double pixels(const schema::PlanView& view) {
  return double{1} * std::max(view.n(), 1) * std::max(view.h(), 1) * std::max(view.w(), 1);
}

double work(const schema::Plan& plan, const schema::PlanStep& step) {
  double sum = step.strided() == nullptr ? 0 : product(step.strided()->dims());
  const schema::PlanView* in = view_of(plan, step.in_view());
  const schema::PlanView* out = view_of(plan, step.out_view());
  if (in == nullptr || out == nullptr) return sum;
  // What an output element reads: a window, or everything.
  const double window = double{1} * std::max(step.kernel_height(), 1) * std::max(step.kernel_width(), 1);
  const double read = std::max(in->c(), 1) * (pixels(*out) == 1 ? std::max(window, pixels(*in)) : window);
  return sum + read * std::max(pixels(*out), pixels(*in)) * std::max(out->c(), 1);
}

// About how many elements all steps of all plans touch, if what they say is true.
double work(const uint8_t* bytes, size_t size) {
  rt::ModelFile file;
  const char* message;
  double sum = 0;
  if (rt::open_model_file(bytes, size, &file, &message) != rt::FileState::kGood || file.model->plans() == nullptr)
    return sum;
  for (const schema::Plan* plan : *file.model->plans()) {
    for (uint32_t i = 0; plan->steps() != nullptr && i < plan->steps()->size(); ++i)
      sum += work(*plan, *plan->steps()->Get(i));
  }
  return sum;
}

void use(const uint8_t* model, size_t bytes, uint32_t training) {
  sn_options options{};
  options.struct_size = sizeof options;
  options.training = training;
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  if (sn_measure(model, bytes, &options, &needs, &why) != SN_OK || needs.memory_bytes > kMostMemory) return;
  if (work(model, bytes) > kMostWork) return;
  const Aligned memory = aligned(needs.memory_bytes);
  sn_session* session = nullptr;
  if (sn_prepare(model, bytes, &options, memory.get(), needs.memory_bytes, &session, &why) != SN_OK) return;
  float error;
  (void)sn_run(session);
  (void)sn_verify(session, 0, &error, &why);
  (void)sn_verify_steps(session, &error, &why);
  (void)sn_train_verify(session, &error, &why);
  (void)sn_train_add(session, 1, &error, &why);
  const sn_train_options sgd{sizeof sgd, 0.1f, 0.9f, 1e-4f, 1};
  (void)sn_train_update(session, &sgd, &error, &why);
}

void run(const uint8_t* data, size_t size) {
  const Aligned model = aligned_copy(data, size);
  use(model.get(), size, 0);
  use(model.get(), size, 1);
}

}  // namespace

extern const Target device_target{"device", 32768, run, mutate_model};

}  // namespace sparsenet::fuzz
