/* Sessions on a host with an operating system, from C: any model file, with or without a stored plan, on any backend,
 * GPUs included. Devices use sparsenet/sparsenet.h, whose types these functions share.
 *
 *   sn_host_options options = {sizeof options};
 *   options.backend = "opencl:0";
 *   sn_message why = {sizeof why};
 *   sn_host* net;
 *   if (sn_host_open("net.snet", &options, &net, &why) != SN_OK) return fail(why.text);
 *   if (sn_host_set_input(net, 0, pixels, 3 * 32 * 32, &why) != SN_OK) ...    // float32, NCHW, normalised
 *   if (sn_host_run(net, &why) != SN_OK) ...
 *   if (sn_host_get_output(net, 0, logits, 10, &why) != SN_OK) ...
 *   sn_host_close(net);
 *
 * They are in libsparsenet, not in libsparsenet_device. They allocate memory, and never throw. Thread safety: a session
 * may be used by one thread at a time; different sessions are independent. Stability is that of sparsenet.h. */
#ifndef SPARSENET_HOST_H
#define SPARSENET_HOST_H

#include <sparsenet/sparsenet.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sn_host sn_host;

/* All zeros, or NULL in place of the structure: the CPU, float32, as many threads as CPUs, batch 1. */
typedef struct sn_host_options {
  uint32_t struct_size;
  uint32_t batch;         /* images per run; 0: 1 */
  const char* backend;    /* "auto", "portable", "onednn", "reference", or a plugin and a device: "opencl", "cuda:1";
                             NULL: "auto" */
  const char* precision;  /* "f32", "bf16" or "f16"; NULL: "f32" */
  int32_t threads;        /* of the CPU; 0: as many as CPUs that the process may use */
  uint32_t strict;        /* not 0: a plugin must run all steps, and the first run must agree with the CPU */
  uint64_t max_bytes;     /* most memory that the session may take; 0: no limit */
  const char* cache_path; /* folder of compiled kernels and verdicts; NULL: that of the user */
} sn_host_options;

/* Loads and verifies the model and prepares it. *host is NULL after a failure; otherwise sn_host_close() releases it.
 */
SN_API sn_status sn_host_open(const char* path, const sn_host_options* options, sn_host** host, sn_message* message);
SN_API void sn_host_close(sn_host* host); /* NULL is accepted */

/* Inputs and outputs, with shapes for the batch. SN_INVALID_ARGUMENT if there is none with this index. Names live as
 * long as the session. */
SN_API sn_status sn_host_input(const sn_host* host, uint32_t index, sn_tensor* tensor);
SN_API sn_status sn_host_output(const sn_host* host, uint32_t index, sn_tensor* tensor);

/* As sn_set_input, sn_run and sn_get_output. A plugin's device may fail in each of them (SN_IO). */
SN_API sn_status sn_host_set_input(sn_host* host, uint32_t index, const float* values, size_t elements,
                                   sn_message* message);
SN_API sn_status sn_host_run(sn_host* host, sn_message* message);
SN_API sn_status sn_host_get_output(sn_host* host, uint32_t index, float* values, size_t elements, sn_message* message);

#ifdef __cplusplus
}
#endif

#endif
