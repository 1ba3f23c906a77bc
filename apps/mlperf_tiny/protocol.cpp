#include "mlperf_tiny/protocol.h"

#include <string.h>

#include "mlperf_tiny/th.h"

namespace sparsenet::mlperf {
namespace {

// Runners expect this name of the firmware's profile.
constexpr char kProfile[] = "ULPMark for tinyML Firmware V0.0.1";
constexpr uint32_t kDefaultIterations = 1, kDefaultWarmup = 10, kMostIterations = 1000000000;

// The next word of `*rest`, terminated with a zero, or null.
char* next_word(char** rest) {
  char* word = *rest;
  while (*word == ' ' || *word == '\t') ++word;
  if (*word == '\0') return nullptr;
  char* end = word;
  while (*end != '\0' && *end != ' ' && *end != '\t') ++end;
  *rest = *end == '\0' ? end : end + 1;
  *end = '\0';
  return word;
}

bool equal(const char* a, const char* b) {
  return strcmp(a, b) == 0;
}

// Accepts only decimal digits, with a value of at most `most`.
bool read_number(const char* word, uint32_t most, uint32_t* number) {
  uint64_t value = 0;
  if (*word == '\0') return false;
  for (; *word != '\0'; ++word) {
    if (*word < '0' || *word > '9') return false;
    value = value * 10 + static_cast<uint64_t>(*word - '0');
    if (value > most) return false;
  }
  *number = static_cast<uint32_t>(value);
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void print_help() {
  th_printf(
      "%s\r\n\r\n"
      "help          : these lines\r\n"
      "name          : the device's name\r\n"
      "profile       : the firmware's profile and its model\r\n"
      "timestamp     : the clock, in microseconds\r\n"
      "db load N     : begin an input of N bytes\r\n"
      "db HH[HH]*    : its next bytes, in hexadecimal\r\n"
      "db print [N] [OFFSET] : the input\r\n"
      "infer [N] [W] : N inferences (1) after W for warming up (10)\r\n"
      "results       : the last outputs\r\n",
      kProfile);
}

}  // namespace

Protocol::Protocol(const char* vendor, const char* model, uint8_t* buffer, size_t buffer_bytes)
    : vendor_(vendor), model_(model), buffer_(buffer), capacity_(buffer_bytes) {}

void Protocol::start() {
  th_serialport_initialize();
  th_timestamp_initialize();
  th_final_initialize();
  th_printf("m-init-done\r\nm-ready\r\n");
}

void Protocol::receive(char c) {
  if (c == '\r' || c == '\n') return;
  if (c != '%') {
    if (length_ < kLineBytes) {
      line_[length_++] = c;
    } else {
      overlong_ = true;
    }
    return;
  }
  line_[length_] = '\0';
  length_ = 0;
  if (overlong_) {
    // An incomplete command is not executed.
    overlong_ = false;
    th_printf("e-[Command is longer than %u characters]\r\nm-ready\r\n", static_cast<unsigned>(kLineBytes));
    return;
  }
  th_command_ready(line_);
}

void Protocol::execute(char* command) {
  dispatch(command);
  th_printf("m-ready\r\n");
}

void Protocol::dispatch(char* command) {
  const char* word = next_word(&command);
  if (!word) return;
  if (equal(word, "name")) {
    th_printf("m-name-dut-[%s]\r\n", vendor_);
  } else if (equal(word, "timestamp")) {
    th_timestamp();
  } else if (equal(word, "profile")) {
    th_printf("m-profile-[%s]\r\nm-model-[%s]\r\n", kProfile, model_);
  } else if (equal(word, "help")) {
    print_help();
  } else if (equal(word, "db")) {
    buffer_command(command);
  } else if (equal(word, "infer")) {
    infer_command(command);
  } else if (equal(word, "results")) {
    th_results();
  } else {
    th_printf("e-[Unknown command: %s]\r\n", word);
  }
}

void Protocol::buffer_command(char* rest) {
  const char* word = next_word(&rest);
  if (!word) {
    th_printf("e-[Command 'db' requires a subcommand]\r\n");
  } else if (equal(word, "print")) {
    print_buffer(rest);
  } else if (equal(word, "load")) {
    const char* count = next_word(&rest);
    uint32_t bytes = 0;
    if (!count) {
      th_printf("e-[Command 'db load' requires the # of bytes]\r\n");
    } else if (!read_number(count, UINT32_MAX, &bytes) || bytes == 0 || bytes > capacity_) {
      th_printf("e-[Command 'db load' takes 1 to %lu bytes, not %s]\r\n", static_cast<unsigned long>(capacity_), count);
    } else {
      expected_ = bytes;
      filled_ = 0;
      th_printf("m-[Expecting %lu bytes]\r\n", static_cast<unsigned long>(bytes));
    }
  } else {
    load_digits(word);
  }
}

void Protocol::load_digits(const char* digits) {
  const size_t length = strlen(digits);
  for (size_t i = 0; i < length; ++i) {
    if (hex_digit(digits[i]) < 0) {
      th_printf("e-[Invalid hex digit '%c']\r\n", digits[i]);
      return;
    }
  }
  if (length % 2 != 0) {
    th_printf("e-[Insufficient number of hex digits]\r\n");
    return;
  }
  if (filled_ == expected_) {
    th_printf("e-[No bytes expected: 'db load N' comes first]\r\n");
    return;
  }
  // Anything beyond the expected bytes is dropped, as in the benchmark's own firmware.
  for (size_t i = 0; i < length && filled_ < expected_; i += 2) {
    buffer_[filled_++] = static_cast<uint8_t>(hex_digit(digits[i]) << 4 | hex_digit(digits[i + 1]));
  }
  if (filled_ == expected_) th_printf("m-load-done\r\n");
}

void Protocol::print_buffer(char* rest) {
  constexpr size_t kPerLine = 8;
  uint32_t count = static_cast<uint32_t>(filled_), offset = 0;
  const char* words[2] = {next_word(&rest), nullptr};
  if (words[0]) words[1] = next_word(&rest);
  if ((words[0] && !read_number(words[0], UINT32_MAX, &count)) ||
      (words[1] && !read_number(words[1], UINT32_MAX, &offset))) {
    th_printf("e-[Command 'db print' takes a number of bytes and an offset]\r\n");
    return;
  }
  if (offset > filled_) offset = static_cast<uint32_t>(filled_);
  if (count > filled_ - offset) count = static_cast<uint32_t>(filled_ - offset);
  for (size_t i = 0; i < count; ++i) {
    th_printf(i % kPerLine == 0 ? "m-buffer-" : "-");
    th_printf("%02x", buffer_[offset + i]);
    if (i % kPerLine == kPerLine - 1 || i + 1 == count) th_printf("\r\n");
  }
}

void Protocol::infer_command(char* rest) {
  uint32_t iterations = kDefaultIterations, warmup = kDefaultWarmup;
  const char* words[2] = {next_word(&rest), nullptr};
  if (words[0]) words[1] = next_word(&rest);
  if (words[0] && (!read_number(words[0], kMostIterations, &iterations) || iterations == 0)) {
    th_printf("e-[Inference iterations must be >0]\r\n");
    return;
  }
  if (words[1] && !read_number(words[1], kMostIterations, &warmup)) {
    th_printf("e-[Inference warmup must be >=0]\r\n");
    return;
  }
  if (filled_ != capacity_) {
    th_printf("e-[Input has %lu of %lu bytes]\r\n", static_cast<unsigned long>(filled_),
              static_cast<unsigned long>(capacity_));
    return;
  }
  th_load_tensor();
  th_printf("m-warmup-start-%lu\r\n", static_cast<unsigned long>(warmup));
  for (uint32_t i = 0; i < warmup; ++i) th_infer();
  th_printf("m-warmup-done\r\nm-infer-start-%lu\r\n", static_cast<unsigned long>(iterations));
  th_timestamp();
  th_pre();
  for (uint32_t i = 0; i < iterations; ++i) th_infer();
  th_post();
  th_timestamp();
  th_printf("m-infer-done\r\n");
  th_results();
}

}  // namespace sparsenet::mlperf
