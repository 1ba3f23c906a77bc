/* A complete backend plugin in plain C, which runs all float32 plans with plain loops on the CPU; small_plugin.c is the
 * one to read first. This file is what every plugin has: errors, memory and the table of functions. sample_copy.c
 * copies plans, and sample_steps.c has the loops.
 *
 *     cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -I INCLUDE sample_*.c -o sample.so -lm */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sample.h"

#if defined(_MSC_VER)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static const snp_host* host; /* set by snp_entry() */
static THREAD_LOCAL char error_text[256];

static snp_status fail(snp_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error_text, sizeof error_text, format, arguments);
  va_end(arguments);
  return status;
}

static const char* last_error(void) {
  return error_text;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* Whatever grows with the plan is announced to the host first, which may refuse it. A device of its own has
 * SNP_DEVICE_MEMORY there and calls its driver; here, memory of the device is memory of the host. */
static void* allocate(uint32_t memory, uint64_t bytes) {
  const int accounts = (host->capabilities & SNP_HOST_ACCOUNTS) != 0;
  void* block;
  if (bytes == 0 || bytes > SIZE_MAX / 2) return NULL;
  if (accounts && host->reserve(host->self, memory, bytes) != SNP_OK) return NULL;
  block = calloc(1, (size_t)bytes);
  if (!block && accounts) host->release(host->self, memory, bytes);
  return block;
}

static void give_back(uint32_t memory, void* block, uint64_t bytes) {
  if (!block) return;
  free(block);
  if (host->capabilities & SNP_HOST_ACCOUNTS) host->release(host->self, memory, bytes);
}

/* ---- The plugin's functions, in the order of the table ----------------------------------------------------------- */

#define DEVICES 2

/* Whether a structure that the host wants filled in has room for all members of version 1.0. */
#define CHECK_SIZE(structure)                                                                \
  if ((structure)->struct_size < sizeof *(structure)) {                                      \
    return fail(SNP_INVALID_ARGUMENT, "expected a structure of at least %u bytes, found %u", \
                (unsigned)sizeof *(structure), (unsigned)(structure)->struct_size);          \
  }

static snp_status describe(snp_description* description) {
  CHECK_SIZE(description)
  description->score = 1;
  description->name = "sample";
  description->version = "1.0";
  return SNP_OK;
}

static snp_status count_devices(uint32_t* devices) {
  *devices = DEVICES;
  return SNP_OK;
}

static snp_status check_device(uint32_t index) {
  if (index < DEVICES) return SNP_OK;
  return fail(SNP_NO_DEVICE, "expected a device from 0 to %d, found %u", DEVICES - 1, (unsigned)index);
}

static snp_status describe_device(uint32_t index, snp_device* device) {
  const snp_status status = check_device(index);
  if (status != SNP_OK) return status;
  CHECK_SIZE(device)
  device->units = 1;
  device->name = index == 0 ? "plain loops" : "plain loops again";
  device->vendor = "SparseNet";
  device->driver = "none";
  device->memory_bytes = 0;
  device->max_allocation_bytes = 0;
  return SNP_OK;
}

static snp_status check_options(const snp_options* options) {
  if (options->precision != SNP_FLOAT32) {
    return fail(SNP_UNSUPPORTED, "expected a precision of float32 (%d), found %u", SNP_FLOAT32,
                (unsigned)options->precision);
  }
  return check_device(options->device);
}

static snp_status supports(const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons) {
  const snp_status status = check_options(options);
  uint32_t i;
  if (status != SNP_OK) return status;
  for (i = 0; i < plan->step_count; ++i) {
    reasons[i] = sample_why_not(SNP_AT(snp_step, plan->steps, i));
    supported[i] = reasons[i] == NULL;
  }
  return SNP_OK;
}

/* Whether all of the plan can run here. */
static snp_status check_plan(const snp_plan* plan, const snp_options* options) {
  const snp_status status = check_options(options);
  uint32_t i;
  if (status != SNP_OK) return status;
  for (i = 0; i < plan->step_count; ++i) {
    const snp_step* step = SNP_AT(snp_step, plan->steps, i);
    const char* reason = sample_why_not(step);
    if (reason) return fail(SNP_UNSUPPORTED, "step %u ('%.60s'): %s", (unsigned)i, step->name, reason);
  }
  for (i = 0; i < plan->input_count + plan->output_count; ++i) {
    const int is_input = i < plan->input_count;
    const snp_port* port =
        is_input ? SNP_AT(snp_port, plan->inputs, i) : SNP_AT(snp_port, plan->outputs, i - plan->input_count);
    if (port->view->type != SNP_FLOAT32) {
      return fail(SNP_UNSUPPORTED, "'%.60s': expected inputs and outputs of float32", port->name);
    }
  }
  return SNP_OK;
}

/* The bytes of the three blocks, and of the plan's copy. */
static void size(const snp_plan* plan, snp_needs* needs, uint64_t* notes_bytes) {
  uint32_t i;
  sample_copy(plan, NULL, notes_bytes, NULL, &needs->weights_bytes);
  needs->launches = plan->step_count;
  needs->arena_bytes = plan->arena_bytes;
  needs->scratch_bytes = 0;
  for (i = 0; i < plan->step_count; ++i) {
    const uint64_t bytes = sample_scratch(SNP_AT(snp_step, plan->steps, i)) * sizeof(float);
    if (bytes > needs->scratch_bytes) needs->scratch_bytes = bytes;
  }
}

static snp_status measure(const snp_plan* plan, const snp_options* options, snp_needs* needs) {
  uint64_t notes_bytes;
  const snp_status status = check_plan(plan, options);
  if (status != SNP_OK) return status;
  CHECK_SIZE(needs)
  size(plan, needs, &notes_bytes);
  return SNP_OK;
}

static void destroy(snp_prepared* p) {
  if (!p) return;
  give_back(SNP_DEVICE_MEMORY, p->arena, p->needs.arena_bytes);
  give_back(SNP_DEVICE_MEMORY, p->weights, p->needs.weights_bytes);
  give_back(SNP_DEVICE_MEMORY, p->scratch, p->needs.scratch_bytes);
  give_back(SNP_HOST_MEMORY, p->notes, p->notes_bytes);
  free(p);
}

static snp_status prepare(const snp_plan* plan, const snp_options* options, snp_prepared** result) {
  snp_prepared* p;
  const snp_status status = check_plan(plan, options);
  if (status != SNP_OK) return status;
  p = calloc(1, sizeof *p); /* of a size that does not depend on the plan */
  if (!p) return fail(SNP_NO_MEMORY, "no memory for a plan");
  size(plan, &p->needs, &p->notes_bytes);
  p->notes = allocate(SNP_HOST_MEMORY, p->notes_bytes);
  p->arena = allocate(SNP_DEVICE_MEMORY, p->needs.arena_bytes);
  p->weights = allocate(SNP_DEVICE_MEMORY, p->needs.weights_bytes);
  p->scratch = allocate(SNP_DEVICE_MEMORY, p->needs.scratch_bytes);
  if ((p->notes_bytes && !p->notes) || (p->needs.arena_bytes && !p->arena) || (p->needs.weights_bytes && !p->weights) ||
      (p->needs.scratch_bytes && !p->scratch)) {
    destroy(p); /* which leaves out what is not there */
    return fail(SNP_NO_MEMORY, "no memory for an arena of %llu bytes, its constants and scratch",
                (unsigned long long)plan->arena_bytes);
  }
  p->plan = sample_copy(plan, p->notes, &p->notes_bytes, p->weights, &p->needs.weights_bytes);
  *result = p;
  return SNP_OK;
}

/* Moves a port's elements: outside, those of a channel lie next to each other; in the arena, those of a pixel. */
static void copy_port(const snp_prepared* p, const snp_port* port, float* outside, int to_view) {
  const snp_view* v = port->view;
  const int64_t pixels = (int64_t)v->h * v->w;
  int64_t i;
  int32_t n, c;
  for (n = 0; n < v->n; ++n) {
    for (c = 0; c < v->c; ++c) {
      for (i = 0; i < pixels; ++i, ++outside) {
        float* inside = sample_at(p, v, n * pixels + i, c);
        if (to_view)
          *inside = *outside;
        else
          *outside = *inside;
      }
    }
  }
}

static snp_status check_port(uint32_t ports, const snp_port* port, uint32_t index, const void* data, uint64_t bytes,
                             uint32_t memory) {
  if (index >= ports) return fail(SNP_INVALID_ARGUMENT, "expected an index below %u, found %u", ports, index);
  if (bytes != port[index].bytes) {
    return fail(SNP_INVALID_ARGUMENT, "expected %llu bytes, found %llu", (unsigned long long)port[index].bytes,
                (unsigned long long)bytes);
  }
  if (memory != SNP_HOST_MEMORY) return fail(SNP_UNSUPPORTED, "expected memory of the host");
  if (!data)
    return fail(SNP_INVALID_ARGUMENT, "expected the address of %llu bytes, found none", (unsigned long long)bytes);
  return SNP_OK;
}

static snp_status set_input(snp_prepared* p, uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
  const snp_status status = check_port(p->plan.input_count, p->plan.inputs, index, data, bytes, memory);
  if (status == SNP_OK) copy_port(p, &p->plan.inputs[index], (float*)data, 1); /* which only reads it */
  return status;
}

static snp_status get_output(snp_prepared* p, uint32_t index, void* data, uint64_t bytes, uint32_t memory) {
  const snp_status status = check_port(p->plan.output_count, p->plan.outputs, index, data, bytes, memory);
  if (status == SNP_OK) copy_port(p, &p->plan.outputs[index], data, 0);
  return status;
}

static snp_status profile(snp_prepared* p, snp_step_profile* profiles, uint32_t count) {
  uint32_t i;
  if (count != p->plan.step_count) {
    return fail(SNP_INVALID_ARGUMENT, "expected %u profiles, found %u", p->plan.step_count, count);
  }
  for (i = 0; i < count; ++i) {
    snp_step_profile* of_step = (snp_step_profile*)SNP_AT(snp_step_profile, profiles, i);
    const sample_run run = sample_runner(&p->plan.steps[i], &of_step->kernel);
    const clock_t start = clock();
    run(p, &p->plan.steps[i]);
    of_step->milliseconds = (double)(clock() - start) * 1000 / CLOCKS_PER_SEC;
    of_step->launches = 1;
    of_step->bytes_read = of_step->bytes_written = 0;
  }
  return SNP_OK;
}

static snp_status run(snp_prepared* p) {
  const char* name;
  uint32_t i;
  for (i = 0; i < p->plan.step_count; ++i) sample_runner(&p->plan.steps[i], &name)(p, &p->plan.steps[i]);
  return SNP_OK;
}

/* A device starts its work here, and waits for it in wait(). Loops on the CPU have nothing to wait for. */
static snp_status run_async(snp_prepared* p) {
  return run(p);
}

static snp_status wait_for(snp_prepared* p) {
  (void)p;
  return SNP_OK;
}

static snp_status requirements(const snp_options* options, char* text, size_t capacity) {
  const snp_status status = check_options(options);
  if (status != SNP_OK) return status;
  if (snprintf(text, capacity, "sample 1.0, device %u, float32", (unsigned)options->device) >= (int)capacity) {
    return fail(SNP_INVALID_ARGUMENT, "expected room for more than %llu bytes", (unsigned long long)capacity);
  }
  return SNP_OK;
}

static const snp_plugin table = {SNP_MAJOR,
                                 SNP_MINOR,
                                 sizeof(snp_plugin),
                                 0, /* no capabilities */
                                 last_error,
                                 describe,
                                 count_devices,
                                 describe_device,
                                 supports,
                                 measure,
                                 prepare,
                                 destroy,
                                 set_input,
                                 run,
                                 get_output,
                                 run_async,
                                 wait_for,
                                 profile,
                                 requirements};

SNP_EXPORT const snp_plugin* snp_entry(const snp_host* from, const char** why);
SNP_EXPORT const snp_plugin* snp_entry(const snp_host* from, const char** why) {
  if (from->major != SNP_MAJOR) {
    if (why) *why = "the sample plugin needs a host of interface 1";
    return NULL;
  }
  host = from;
  return &table;
}
