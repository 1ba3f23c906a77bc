// A network of integers in flash, on a board without an operating system: computes, for GOLDEN_INPUTS inputs, the very
// bytes that another implementation has computed (tests/goldens/make_integer_goldens.py), and reports time and memory.
// Exit status 0 if it does.
#include <sparsenet/sparsenet.h>

#include "images.h"
#include "report.h"

extern "C" {
extern const uint8_t golden_begin[], golden_end[];
}

namespace {

using report::fail;
using report::print_line;

constexpr uint32_t kInputs = GOLDEN_INPUTS;
constexpr size_t kChecksumBytes = 8;

alignas(SN_ALIGNMENT) uint8_t memory[MODEL_MEMORY_BYTES];
alignas(4) uint8_t input[MODEL_INPUT_BYTES];
uint8_t output[MODEL_OUTPUT_BYTES], checksum[kChecksumBytes];
sn_message message;

// Bytes of a linear congruential generator: the upper 8 of 32 bits.
bool set_generated(sn_session* net) {
  static uint32_t state = 1;
  for (uint8_t& byte : input) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return sn_set_input_bytes(net, 0, input, sizeof input) == SN_OK;
}

// FNV-1a with 64 bits, little-endian: golden files hold it in place of long outputs.
const uint8_t* checksum_of_output() {
  uint64_t sum = 0xCBF29CE484222325u;
  for (const uint8_t byte : output) sum = (sum ^ byte) * 0x100000001B3u;
  for (size_t i = 0; i < kChecksumBytes; ++i) checksum[i] = static_cast<uint8_t>(sum >> (8 * i));
  return checksum;
}

// Runs all inputs; *ticks is what the last one took.
int compare_all(sn_session* net, uint32_t* ticks) {
  const size_t row = static_cast<size_t>(golden_end - golden_begin) / kInputs;
  const bool whole = row == sizeof output, generated = &images_begin[0] == &images_end[0];
  if (!whole && row != kChecksumBytes) return fail("golden file", "expected the output's bytes or its checksum");
  images::Input image;
  const char* why = generated ? nullptr : images::open(net, &image);
  if (why) return fail("images", why);
  uint32_t equal = 0;
  for (uint32_t i = 0; i < kInputs; ++i) {
    const bool is_set =
        generated ? set_generated(net) : images::set(net, image, images_begin + i * images::kRecord, input);
    const uint32_t start = board::ticks();
    if (!is_set || sn_run(net) != SN_OK) return fail("run", "a call failed");
    *ticks = board::ticks() - start;
    if (sn_get_output_bytes(net, 0, output, sizeof output) != SN_OK) return fail("output", "expected one of integers");
    const uint8_t *found = whole ? output : checksum_of_output(), *expected = golden_begin + i * row;
    size_t at = 0;
    while (at < row && found[at] == expected[at]) ++at;
    if (at == row) {
      ++equal;
      continue;
    }
    print_line("error: input ", i, "");
    print_line(whole ? ": output " : ": checksum of the output, byte ", at, "");
    print_line(": expected byte ", expected[at], "");
    print_line(", found ", found[at], "\n");
  }
  print_line("outputs: ", equal, "");
  print_line(" of ", kInputs, " are byte by byte as expected\n");
  return equal == kInputs ? 0 : 1;
}

}  // namespace

int main() {
  message.struct_size = sizeof message;
  sn_needs needs = {};
  needs.struct_size = sizeof needs;
  sn_session* net = nullptr;
  if (sn_measure(model_model, MODEL_BYTES, nullptr, &needs, &message) != SN_OK ||
      sn_prepare(model_model, MODEL_BYTES, nullptr, memory, sizeof memory, &net, &message) != SN_OK) {
    return fail("model", message.text);
  }
  report::print_flash();
  print_line("RAM: arena ", needs.arena_bytes, "");
  print_line("; together ", needs.memory_bytes, " bytes\n");
  uint32_t ticks = 0;
  const int failed = compare_all(net, &ticks);
  print_line("one run: ", board::units(ticks), " ");
  board::print(board::kUnit);
  board::print("\n");
  report::print_stack();
  return failed;
}
