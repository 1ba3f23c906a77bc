// MLPerf Tiny's device side on the board: the model in flash answers the benchmark's commands over the serial line. See
// docs/mlperf-tiny.md. End of transmission (byte 4) ends the program.
#include <sparsenet/sparsenet.h>

#include "board.h"
#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/task.h"
#include "mlperf_tiny/th.h"
#include "model.h"

namespace {

using namespace sparsenet::mlperf;

alignas(SN_ALIGNMENT) uint8_t memory[MODEL_MEMORY_BYTES];
constexpr size_t kTaskBytes = Task::memory_bytes(MODEL_INPUT_BYTES, MODEL_OUTPUT_BYTES);
alignas(float) uint8_t task_memory[kTaskBytes];
uint8_t buffer[kMostInputBytes];
Task task;

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
  const TaskKind* kind = find_task(net);
  if (!kind) return fail(kNoTask);
  if (const char* problem = task.open(net, *kind, task_memory, sizeof task_memory)) return fail(problem);
  Protocol protocol("sparsenet", kind->id, buffer, kind->input_bytes);
  Port port{};
  port.get = [](void*) { return board::read_byte(); };
  port.put = [](void*, char c) { board::write_byte(c); };
  port.microseconds = [](void*) { return board::microseconds(); };
  attach(port, &protocol, &task);
  serve();
  return 0;
}
