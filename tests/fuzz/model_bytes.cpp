#include "fuzz/model_bytes.h"

#include <model_generated.h>

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "format/model_format.h"
#include "fuzz/mutate_flatbuffer.h"

namespace sparsenet::fuzz {
namespace {

// The parts of a file.
struct Parts {
  Bytes structure, data;
};

bool split(const Bytes& file, Parts* parts) {
  if (file.size() < kMinStructureBytes + kFooterBytes) return false;
  const size_t payload = file.size() - kFooterBytes;
  uint64_t structure = 0;
  std::memcpy(&structure, file.data() + payload + 8, 8);
  if (structure > payload || align_up(structure) > payload) return false;
  parts->structure.assign(file.data(), file.data() + structure);
  parts->data.assign(file.data() + align_up(structure), file.data() + payload);
  return true;
}

Bytes join(const Parts& parts) {
  Bytes file = parts.structure;
  file.resize(static_cast<size_t>(align_up(file.size())));
  file.insert(file.end(), parts.data.begin(), parts.data.end());
  file.resize(file.size() + kFooterBytes);
  const uint64_t structure = parts.structure.size();
  std::memcpy(file.data() + file.size() - kFooterBytes + 8, &structure, 8);
  return file;
}

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
  // How much an output element reads: a window, or everything.
  const double window = double{1} * std::max(step.kernel_height(), 1) * std::max(step.kernel_width(), 1);
  const double read = std::max(in->c(), 1) * (pixels(*out) == 1 ? std::max(window, pixels(*in)) : window);
  return sum + read * std::max(pixels(*out), pixels(*in)) * std::max(out->c(), 1);
}

// About how many elements all steps of all plans touch, if what they state is true.
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

}  // namespace

bool plans_are_small(const uint8_t* data, size_t size) {
  constexpr double kMostWork = 2e6;
  return work(data, size) <= kMostWork;
}

Aligned aligned(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kDataAlignment, bytes) != 0) std::abort();
  return Aligned(static_cast<uint8_t*>(memory));
}

Aligned aligned_copy(const uint8_t* data, size_t size) {
  Aligned copy = aligned(size);
  if (size > 0) std::memcpy(copy.get(), data, size);
  return copy;
}

void repair_model(Bytes& bytes) {
  if (bytes.size() < kMinStructureBytes + kFooterBytes) return;
  std::memcpy(bytes.data() + 4, "SNET", 4);
  uint8_t* footer = bytes.data() + bytes.size() - kFooterBytes;
  const uint64_t payload = bytes.size() - kFooterBytes;
  std::memcpy(footer, kFooterMagic, 8);
  std::memcpy(footer + 16, &payload, 8);
  const uint64_t sum = xxh64(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
}

void mutate_model(Random& random, Bytes& bytes, size_t most) {
  static const FlatBufferMutator mutator(SPARSENET_FUZZ_SCHEMAS "/model.bfbs", schema::VerifyModelBuffer);
  Parts parts;
  if (!random.one_in(4) && split(bytes, &parts)) {
    const size_t rest = bytes.size() - parts.structure.size();
    if (random.one_in(16)) {
      mutate_bytes(parts.data, std::max(parts.data.size(), size_t{64}));
    } else if (!mutator.mutate(random, parts.structure, most > rest ? most - rest : 0)) {
      mutate_bytes(parts.structure, std::max(parts.structure.size(), kMinStructureBytes));
    }
    bytes = join(parts);
  } else {
    mutate_bytes(bytes, most);
  }
  repair_model(bytes);
}

}  // namespace sparsenet::fuzz
