// The smallest program of one's own: classifies an image, prints the result, and blinks the board's LED as many times
// as the class's index plus one. A starting point: here images come from flash, in a real program from a camera.
#include <sparsenet/sparsenet.h>

#include "board.h"
#include "images.h"
#include "model.h"

namespace {

alignas(SN_ALIGNMENT) uint8_t memory[MODEL_MEMORY_BYTES];
alignas(4) uint8_t input[MODEL_INPUT_BYTES];  // in the model's own type
float logits[MODEL_OUTPUT_ELEMENTS];

void wait(uint64_t milliseconds) {
  const uint64_t start = board::microseconds();
  while (board::microseconds() - start < milliseconds * 1000) {
  }
}

void blink(uint32_t times) {
  for (uint32_t i = 0; i < times; ++i) {
    board::led(true);
    wait(5);
    board::led(false);
    wait(5);
  }
}

int fail(const char* why) {
  board::print("error: ");
  board::print(why);
  board::print("\n");
  return 1;
}

}  // namespace

int main() {
  sn_message why = {sizeof why, ""};
  sn_session* net = nullptr;
  if (sn_prepare(model_model, MODEL_BYTES, nullptr, memory, sizeof memory, &net, &why) != SN_OK) return fail(why.text);
  images::Input image;
  if (const char* problem = images::open(net, &image)) return fail(problem);
  for (const uint8_t* record = images_begin; record + images::kRecord <= images_end; record += images::kRecord) {
    if (!images::set(net, image, record, input) || sn_run(net) != SN_OK ||
        sn_get_output(net, 0, logits, MODEL_OUTPUT_ELEMENTS) != SN_OK) {
      return fail("a run failed");
    }
    uint32_t best = 0;
    for (uint32_t c = 1; c < MODEL_OUTPUT_ELEMENTS; ++c) best = logits[c] > logits[best] ? c : best;
    const char* label = sn_label(net, best);
    if (label) board::print(label);
    if (!label) board::print(uint64_t{best});
    board::print("\n");
    blink(best + 1);
  }
  return 0;
}
