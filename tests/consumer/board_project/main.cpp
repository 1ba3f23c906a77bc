// A network on a board, using an installed device library: checks itself and prints the result.
#include <sparsenet/sparsenet.h>

#include "board.h"
#include "net.h"

alignas(SN_ALIGNMENT) static uint8_t memory[NET_MEMORY_BYTES];

int main() {
  sn_message why = {sizeof why, ""};
  sn_session* net = nullptr;
  if (sn_prepare(net_model, NET_BYTES, nullptr, memory, sizeof memory, &net, &why) != SN_OK ||
      sn_verify(net, 0, nullptr, &why) != SN_OK || sn_verify_steps(net, nullptr, &why) != SN_OK) {
    board::print(why.text);
    board::print("\n");
    return 1;
  }
  board::print("a network from an installed device library: verified\n");
  return 0;
}
