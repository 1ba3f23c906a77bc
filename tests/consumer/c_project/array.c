/* A model as a C array with the kernels that it uses, in memory of the size given in its header. */
#include <sparsenet/sparsenet.h>
#include <stdint.h>
#include <stdio.h>

#include "net.h"

static uint8_t memory[NET_MEMORY_BYTES] __attribute__((aligned(SN_ALIGNMENT)));

int main(void) {
  sn_message why = {sizeof why, ""};
  sn_session* session = NULL;
  if (sn_prepare(net_model, NET_BYTES, NULL, memory, sizeof memory, &session, &why) != SN_OK ||
      sn_verify(session, 0, NULL, &why) != SN_OK || sn_verify_steps(session, NULL, &why) != SN_OK) {
    fprintf(stderr, "error: %s\n", why.text);
    return 1;
  }
  printf("an array of %d bytes, verified in %d bytes of memory\n", NET_BYTES, NET_MEMORY_BYTES);
  return 0;
}
