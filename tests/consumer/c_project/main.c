/* What a C program does with a model that contains a plan: maps it, allocates memory, runs it, and checks it with the
 * test data in the file. Once with the linked kernels, once with the compact ones. */
#include <sparsenet/sparsenet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static sn_message why = {sizeof why, ""};

static int fail(const char* what) {
  fprintf(stderr, "error: %s: %s\n", what, why.text);
  return 1;
}

static int check(const void* model, size_t bytes, uint32_t kernels, size_t* memory_bytes) {
  sn_options options = {sizeof options, 1, NULL, 0, kernels};
  sn_needs needs = {sizeof needs};
  if (sn_measure(model, bytes, &options, &needs, &why) != SN_OK) return fail("measure");
  void* memory = aligned_alloc(SN_ALIGNMENT, (needs.memory_bytes + SN_ALIGNMENT - 1) / SN_ALIGNMENT * SN_ALIGNMENT);
  if (!memory) return fail("memory");
  sn_session* session = NULL;
  if (sn_prepare(model, bytes, &options, memory, needs.memory_bytes, &session, &why) != SN_OK) return fail("prepare");
  if (sn_verify(session, 0, NULL, &why) != SN_OK) return fail("verify");
  if (sn_verify_steps(session, NULL, &why) != SN_OK) return fail("verify steps");
  free(memory);
  *memory_bytes = needs.memory_bytes;
  return 0;
}

int main(int argc, char** argv) {
  const void* model = NULL;
  size_t bytes = 0, linked = 0, compact = 0;
  if (argc != 2) {
    fprintf(stderr, "usage: PROGRAM FILE.snet (with a plan and a test vector)\n");
    return 2;
  }
  if (sn_map_file(argv[1], &model, &bytes, &why) != SN_OK) return fail("map");
  if (check(model, bytes, SN_KERNELS_LINKED, &linked) != 0 || check(model, bytes, SN_KERNELS_COMPACT, &compact) != 0) {
    return 1;
  }
  sn_unmap_file(model, bytes);
  printf("sparsenet %s: %zu bytes of memory with the linked kernels, %zu with the compact ones\n", sn_version(), linked,
         compact);
  return compact <= linked ? 0 : 1;
}
