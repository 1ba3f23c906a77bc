// A model in flash, on a board without an operating system: checks itself with its test vectors, classifies images,
// trains its last layer if the model has a plan for that, and reports time and memory. Exit status 0 if all checks
// passed.
#include <sparsenet/sparsenet.h>
#include <string.h>

#include "images.h"
#include "report.h"

namespace {

using images::kRecord;
using report::fail;
using report::print_line;

// Inference and training take turns in the same memory.
constexpr size_t kMemoryBytes =
    MODEL_MEMORY_BYTES > MODEL_TRAINING_MEMORY_BYTES ? MODEL_MEMORY_BYTES : MODEL_TRAINING_MEMORY_BYTES;
alignas(SN_ALIGNMENT) uint8_t memory[kMemoryBytes];
alignas(4) uint8_t input[MODEL_INPUT_BYTES];  // in the model's own type
float logits[MODEL_OUTPUT_ELEMENTS];
sn_message message;  // not on the stack, because the deepest calls have it as an argument

// Inlined into main(), its messages would be on the stack all the time.
#define OUT_OF_LINE __attribute__((noinline))

// FNV-1a over the logits' bits: two boards that print the same number have computed the same.
uint32_t checksum() {
  uint32_t sum = 2166136261u;
  for (const float& value : logits) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int shift = 0; shift < 32; shift += 8) sum = (sum ^ ((bits >> shift) & 255u)) * 16777619u;
  }
  return sum;
}

// The cost of one run, by kind of step.
struct Profile {
  uint32_t last;
  struct {
    const char* name;
    uint64_t ticks, macs;
  } kinds[3];
};

void count_step(void* self, const sn_step* step) {
  auto& profile = *static_cast<Profile*>(self);
  const uint32_t now = board::ticks();
  auto& kind = profile.kinds[step->kernel_height == 1 ? 0 : step->kernel_height == 3 ? 1 : 2];
  kind.ticks += now - profile.last;
  kind.macs += step->macs;
  profile.last = board::ticks();
}

OUT_OF_LINE void print_profile(sn_session* net) {
  Profile profile{0, {{"1x1 convolutions", 0, 0}, {"3x3 convolutions", 0, 0}, {"other steps", 0, 0}}};
  sn_observe(net, count_step, &profile);
  const uint32_t start = profile.last = board::ticks();
  (void)sn_run(net);
  const uint64_t all = board::ticks() - start;
  sn_observe(net, nullptr, nullptr);
  print_line("one run: ", board::units(all), " ");
  board::print(board::kUnit);
  board::print("\n");
  for (const auto& kind : profile.kinds) {
    board::print("  ");
    board::print(kind.name);
    print_line(": ", board::units(kind.ticks), "");
    if (kind.macs > 0) {
      board::print(", ");
      // (Conversions of 64-bit numbers to floats and back take 1 KB of flash.)
      const float each = static_cast<float>(static_cast<uint32_t>(board::units(kind.ticks))) /
                         static_cast<float>(static_cast<uint32_t>(kind.macs));
      board::print_fixed(static_cast<uint32_t>(each * 1000.f), 3);
      board::print(" a multiply-accumulate");
    }
    board::print("\n");
  }
}

OUT_OF_LINE int verify_all(sn_session* net, uint32_t count) {
  int failures = 0;
  for (uint32_t i = 0; i < count; ++i) {
    float error = 0;
    const sn_status status = sn_verify(net, i, &error, &message);
    if (status != SN_OK) failures += fail("self-test", message.text);
    print_line("self-test: vector ", i, ": relative difference ");
    board::print_small(error);
    board::print(status == SN_OK ? ", passed\n" : ", FAILED\n");
  }
  float error = 0;
  const sn_status status = sn_verify_steps(net, &error, &message);
  if (status == SN_NOT_FOUND) return failures;
  if (status != SN_OK) failures += fail("self-test", message.text);
  board::print("self-test: every step: relative difference ");
  board::print_small(error);
  board::print(status == SN_OK ? ", passed\n" : ", FAILED\n");
  return failures;
}

// The class of the image that was set.
bool classify(sn_session* net, uint32_t* best) {
  if (sn_run(net) != SN_OK || sn_get_output(net, 0, logits, MODEL_OUTPUT_ELEMENTS) != SN_OK) return false;
  *best = 0;
  for (uint32_t c = 1; c < MODEL_OUTPUT_ELEMENTS; ++c) *best = logits[c] > logits[*best] ? c : *best;
  return true;
}

// Prints the class's label, or its number if the model has no labels.
void print_class(const sn_session* net, uint32_t index) {
  const char* label = sn_label(net, index);
  if (label) return board::print(label);
  print_line("class ", index, "");
}

OUT_OF_LINE int classify_all(sn_session* net) {
  images::Input image;
  if (const char* why = images::open(net, &image)) return fail("images", why);
  for (const uint8_t* record = images_begin; record + kRecord <= images_end; record += kRecord) {
    uint32_t best;
    if (!images::set(net, image, record, input) || !classify(net, &best))
      return fail("classification", "a call failed");
    board::print("image: ");
    print_class(net, best);
    board::print(" (is ");
    print_class(net, record[0]);
    board::print("), logits checksum ");
    board::print_hex(checksum());
    board::print("\n");
  }
  return 0;
}

constexpr int kTrainingSteps = 6;
constexpr sn_train_options kSgd = {sizeof(sn_train_options), 0.02f, 0.9f, 1e-4f, 1};

// One step over all images; gives their mean loss.
bool train_step(sn_session* net, const images::Input& image, float* loss) {
  for (const uint8_t* record = images_begin; record + kRecord <= images_end; record += kRecord) {
    if (!images::set(net, image, record, input) || sn_train_add(net, record[0], nullptr, &message) != SN_OK)
      return false;
  }
  return sn_train_update(net, &kSgd, loss, &message) == SN_OK;
}

// First runs a short training whose losses are known, then resets the last layer and trains it anew on the images.
int train(sn_session* net) {
  float error = 0;
  const sn_status status = sn_train_verify(net, &error, &message);
  if (status == SN_NOT_FOUND) {
    board::print("training: no losses of the host's training to compare with\n");
  } else if (status != SN_OK) {
    return fail("training", message.text);
  } else {
    board::print("training: losses of the host's training: relative difference ");
    board::print_small(error);
    board::print(", passed\n");
  }

  images::Input image;
  if (const char* what = images::open(net, &image)) return fail("training", what);
  void* parameters = nullptr;
  size_t bytes = 0;
  if (sn_train_parameters(net, &parameters, &bytes) != SN_OK) return fail("training", "no parameters to train");
  memset(parameters, 0, bytes);
  float first = 0, loss = 0;
  for (int step = 0; step < kTrainingSteps; ++step) {
    if (!train_step(net, image, &loss)) return fail("training", message.text);
    if (step == 0) first = loss;
    print_line("training: step ", static_cast<uint64_t>(step) + 1, ": loss ");
    board::print_fixed(static_cast<uint64_t>(static_cast<double>(loss) * 1e6 + 0.5), 6);
    board::print("\n");
  }
  uint64_t right = 0, all = 0;
  for (const uint8_t* record = images_begin; record + kRecord <= images_end; record += kRecord) {
    uint32_t best;
    if (!images::set(net, image, record, input) || !classify(net, &best)) return fail("training", "a call failed");
    right += best == record[0] ? 1 : 0;
    ++all;
  }
  print_line("training: ", right, "");
  print_line(" of ", all, " images right with the layer learnt here\n");
  return loss < first ? 0 : fail("training", "the loss did not fall");
}

OUT_OF_LINE int train_if_planned() {
  if (MODEL_TRAINING_MEMORY_BYTES == 0) return 0;
  sn_options options = {};
  options.struct_size = sizeof options;
  options.training = 1;
  sn_needs needs = {};
  needs.struct_size = sizeof needs;
  sn_session* net = nullptr;
  if (sn_measure(model_model, MODEL_BYTES, &options, &needs, &message) != SN_OK ||
      sn_prepare(model_model, MODEL_BYTES, &options, memory, sizeof memory, &net, &message) != SN_OK) {
    return fail("training", message.text);
  }
  print_line("training: arena ", needs.arena_bytes, "");
  print_line(", of it parameters ", needs.parameters_bytes, "");
  print_line("; together ", needs.memory_bytes, " bytes\n");
  return train(net);
}

// The board's clock must never go back after its first reading: a step back would appear as a very long time to
// whatever is measured across it.
int check_clock() {
  uint32_t last = board::ticks();
  for (int i = 0; i < 1000; ++i) {
    const uint32_t now = board::ticks();
    if (static_cast<int32_t>(now - last) < 0) return fail("clock", "it went back");
    last = now;
  }
  return 0;
}

}  // namespace

int main() {
  message.struct_size = sizeof message;
  const int clock = check_clock();
  board::print("SparseNet Engine ");
  board::print(sn_version());
  board::print("\n");
  sn_needs needs = {};
  needs.struct_size = sizeof needs;
  if (sn_measure(model_model, MODEL_BYTES, nullptr, &needs, &message) != SN_OK) return fail("model", message.text);
  sn_session* net = nullptr;
  if (sn_prepare(model_model, MODEL_BYTES, nullptr, memory, sizeof memory, &net, &message) != SN_OK) {
    return fail("model", message.text);
  }
  report::print_flash();
  print_line("RAM: arena ", needs.arena_bytes, "");
  print_line(", scratch ", needs.scratch_bytes, "");
  print_line(", weights ", needs.weights_bytes, "");
  print_line(", steps ", needs.state_bytes, "");
  print_line("; together ", needs.memory_bytes, " bytes\n");

  int failures = clock + verify_all(net, needs.test_vectors);
  failures += classify_all(net);
  print_profile(net);
  failures += train_if_planned();
  report::print_stack();
  board::print(failures == 0 ? "all checks passed\n" : "some checks FAILED\n");
  return failures == 0 ? 0 : 1;
}
