/* What tests ask the fake CUDA driver (libcuda.so.1 of this folder), besides what a driver does. Tests find these
 * functions with dlsym, as they are not in a real driver.
 *
 * The fake keeps books of everything that it hands out and checks every argument. Work on streams waits, as it may on a
 * device, until something synchronizes; kernels run on an OpenCL device, from the source that the fake NVRTC has put
 * into the image. Device memory has addresses that the host cannot read.
 *
 * Environment:
 *   FAKE_CUDA_FAIL        "cuMemAlloc_v2:3:2,cuInit:0:100": the third call of cuMemAlloc_v2 returns 2, and every call
 * of cuInit 100. Functions of the fake NVRTC too FAKE_CUDA_DEVICES     the number of devices (1) FAKE_CUDA_CAPABILITY
 * their compute capability times ten (80) FAKE_CUDA_MEMORY      bytes of each (4 GiB) FAKE_CUDA_VERSION     of the
 * driver (12040) FAKE_NVRTC_VERSION    of the compiler (12040) FAKE_CUDA_EXIT        the status that a program ends
 * with if the report at its end is not empty */
#ifndef SPARSENET_FAKE_CUDA_H
#define SPARSENET_FAKE_CUDA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes a line for each misuse since the last report, and for each object that is still there; returns how many there
 * are. The program's end prints them to stderr. */
size_t fake_cuda_report(char* text, size_t capacity);
/* The names of the driver's functions; a null at the end. */
const char* const* fake_cuda_functions(void);
/* How often a function has been called since the last fake_cuda_fail(). */
unsigned long fake_cuda_calls(const char* name);
/* Replaces FAKE_CUDA_FAIL (null: nothing fails), and starts counting calls anew. */
void fake_cuda_fail(const char* faults);

/* The same of the fake NVRTC. */
size_t fake_nvrtc_report(char* text, size_t capacity);
const char* const* fake_nvrtc_functions(void);
unsigned long fake_nvrtc_calls(const char* name);
void fake_nvrtc_fail(const char* faults);

#ifdef __cplusplus
}
#endif

#endif /* SPARSENET_FAKE_CUDA_H */
