#include "mlperf_tiny/th.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {
namespace {

Port board;
Protocol* protocol = nullptr;
Task* task = nullptr;

void put(char c) {
  board.put(board.self, c);
}

void put_text(const char* text) {
  while (*text) put(*text++);
}

void put_number(uint64_t number, unsigned base, unsigned least_digits) {
  char digits[24];
  unsigned count = 0;
  do {
    digits[count++] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number > 0);
  while (count < least_digits) digits[count++] = '0';
  while (count > 0) put(digits[--count]);
}

// value = mantissa * 2^exponent in thousandths, rounded to nearest, ties to even; exponent <= 29.
uint64_t thousandths(uint32_t mantissa, int exponent) {
  const uint64_t scaled = uint64_t{mantissa} * 1000;
  if (exponent >= 0) return scaled << exponent;
  const int shift = -exponent;
  if (shift > 40) return 0;  // scaled is below 2^34
  const uint64_t whole = scaled >> shift, part = scaled - (whole << shift), half = uint64_t{1} << (shift - 1);
  return whole + (part > half || (part == half && whole % 2 == 1) ? 1 : 0);
}

// Three decimals, like %0.3f, with integer arithmetic only, so that a board needs no double precision. Values larger
// than any network's, which would need more than 64 bits, are printed as infinite.
void put_fixed(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const int biased = static_cast<int>(bits >> 23 & 0xff);
  uint32_t mantissa = bits & 0x7fffff;
  if (biased == 0xff && mantissa != 0) return put_text("nan");
  if (bits >> 31) put('-');
  if (biased != 0) mantissa |= 0x800000;
  const int exponent = (biased != 0 ? biased : 1) - 150;
  if (exponent > 29) return put_text("inf");
  const uint64_t t = thousandths(mantissa, exponent);
  put_number(t / 1000, 10, 1);
  put('.');
  put_number(t % 1000, 10, 3);
}

// Prints one conversion after '%'; returns where the format continues.
const char* put_conversion(const char* format, va_list* arguments) {
  unsigned width = 0, longs = 0;
  for (; *format >= '0' && *format <= '9'; ++format) width = width * 10 + static_cast<unsigned>(*format - '0');
  for (; *format == 'l'; ++format) ++longs;
  uint64_t number = 0;
  switch (*format) {
    case 's':
      put_text(va_arg(*arguments, const char*));
      break;
    case 'c':
      put(static_cast<char>(va_arg(*arguments, int)));
      break;
    case 'd': {
      const int64_t value = longs ? int64_t{va_arg(*arguments, long)} : int64_t{va_arg(*arguments, int)};
      if (value < 0) put('-');
      put_number(value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value), 10, width);
      break;
    }
    case 'u':
    case 'x':
      if (longs >= 2) {
        number = va_arg(*arguments, unsigned long long);
      } else if (longs == 1) {
        number = va_arg(*arguments, unsigned long);
      } else {
        number = va_arg(*arguments, unsigned);
      }
      put_number(number, *format == 'x' ? 16 : 10, width);
      break;
    case '\0':
      return format;
    default:
      put(*format);
      break;
  }
  return format + 1;
}

}  // namespace

void attach(const Port& to, Protocol* by, Task* with) {
  board = to;
  protocol = by;
  task = with;
}

void serve() {
  protocol->start();
  for (int c = board.get(board.self); c >= 0; c = board.get(board.self)) protocol->receive(static_cast<char>(c));
}

}  // namespace sparsenet::mlperf

using namespace sparsenet::mlperf;

void th_load_tensor() {
  task->load(protocol->input());
}

void th_infer() {
  // This cannot fail once the session is open.
  (void)task->infer();
}

void th_results() {
  th_printf("m-results-[");
  for (size_t i = 0; i < task->results(); ++i) {
    if (i > 0) put(',');
    put_fixed(task->result(i));
  }
  th_printf("]\r\n");
}

void th_timestamp() {
  th_printf("m-lap-us-%llu\r\n", static_cast<unsigned long long>(board.microseconds(board.self)));
}

void th_printf(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  while (*format) {
    if (*format == '%') {
      format = put_conversion(format + 1, &arguments);
    } else {
      put(*format++);
    }
  }
  va_end(arguments);
}

char th_getchar() {
  return static_cast<char>(board.get(board.self));
}

// The board's own code has already opened the line.
void th_serialport_initialize() {}

void th_timestamp_initialize() {
  th_printf("m-timestamp-mode-performance\r\n");
  th_timestamp();
}

void th_final_initialize() {}
void th_pre() {}
void th_post() {}

// Executed at once: the other end waits for the answer before it sends more.
void th_command_ready(char volatile* command) {
  protocol->execute(const_cast<char*>(command));
}
