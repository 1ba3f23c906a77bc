/* A small backend plugin, to be read first: docs/backends.md walks through it, and says how to build it. It has all
 * that a plugin needs, but runs only the steps of networks such as SparseNet-abc, with plain loops and in float32. */
#include <math.h>
#include <sparsenet/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Plans in a form of our own: what the loops read, with addresses instead of offsets -------------------------- */

/* Element c of pixel p is channel[c][p * stride[c]]: channels may lie anywhere. */
typedef struct tensor {
  int32_t n, h, w, c;
  float** channel; /* NULL: there is no such tensor */
  int64_t* stride;
} tensor;

/* Attention, or what all other steps become: pixels of a window, combined in one of four ways. */
typedef struct step {
  void (*run)(const struct step* s);
  tensor in, in2, out;
  snp_act act, gate;          /* gate: of attention */
  const float *scale, *shift; /* NULL: there is no affine */
  float low, high;            /* of the affine */
  snp_window window;
  enum { SUM, AVERAGE, AVERAGE_WITH_PADDING, MAXIMUM } combine;
  int32_t groups;
  const float* params[8]; /* of a window: weights (NULL: ones) and bias (NULL: none); else as in snp_attention */
  float* scratch;
} step;

/* All memory that grows with a plan is four blocks: three of the device, and the plan itself, which the host reads. */
enum { ARENA, WEIGHTS, SCRATCH, NOTES, BLOCKS };
static const uint32_t memory_of[BLOCKS] = {SNP_DEVICE_MEMORY, SNP_DEVICE_MEMORY, SNP_DEVICE_MEMORY, SNP_HOST_MEMORY};

struct snp_prepared {
  char* data[BLOCKS];
  uint64_t bytes[BLOCKS];
  char** constants; /* where each lies in WEIGHTS */
  step* steps;
  tensor* ports; /* the inputs, and then the outputs */
  uint32_t step_count, input_count, output_count;
};

/* ---- Steps: on a device of its own, these are kernels ------------------------------------------------------------ */

static float* at(const tensor* t, int64_t pixel, int32_t c) {
  return t->channel[c] + pixel * t->stride[c];
}

/* NaN stays NaN. */
static float bounded(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}

static float activate(float x, const snp_act* act) {
  if (act->kind == SNP_CLAMP) return bounded(x, act->low, act->high);
  if (act->kind == SNP_LEAKY_RELU) return x < 0 ? act->alpha * x : x;
  if (act->kind == SNP_SIGMOID) return 1 / (1 + expf(-x));
  if (act->kind == SNP_HARD_SIGMOID) return bounded(act->alpha * x + act->beta, 0, 1);
  return x * bounded(x / 6 + 0.5f, 0, 1); /* SNP_HARD_SWISH */
}

/* The input with the affine in front of it, which does not apply to padding. */
static float input(const step* s, int64_t pixel, int32_t c) {
  const float x = *at(&s->in, pixel, c);
  return s->scale ? bounded(x * s->scale[c] + s->shift[c], s->low, s->high) : x;
}

static void run_window(const step* s) {
  const snp_window* w = &s->window;
  const int32_t group_in = s->in.c / s->groups, group_out = s->out.c / s->groups;
  const int64_t taps = (int64_t)w->kernel_h * w->kernel_w, image_size = (int64_t)s->out.h * s->out.w;
  for (int64_t pixel = 0; pixel < s->out.n * image_size; ++pixel) {
    const int32_t top = (int32_t)(pixel % image_size / s->out.w) * w->stride_h - w->pad_top;
    const int32_t left = (int32_t)(pixel % s->out.w) * w->stride_w - w->pad_left;
    for (int32_t o = 0; o < s->out.c; ++o) {
      float sum = s->params[1] ? s->params[1][o] : 0, best = -INFINITY;
      int32_t inside = 0, padded = 0;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int32_t y = top + (int32_t)(tap / w->kernel_w) * w->dilation_h;
        const int32_t x = left + (int32_t)(tap % w->kernel_w) * w->dilation_w;
        if (y < s->in.h + w->pad_bottom && x < s->in.w + w->pad_right) ++padded;
        if (y < 0 || y >= s->in.h || x < 0 || x >= s->in.w) continue;
        ++inside;
        for (int32_t c = 0; c < group_in; ++c) {
          const float v = input(s, (pixel / image_size * s->in.h + y) * s->in.w + x, o / group_out * group_in + c);
          sum += s->params[0] ? v * s->params[0][((int64_t)o * group_in + c) * taps + tap] : v;
          best = fmaxf(best, v);
        }
      }
      if (s->combine == AVERAGE) sum /= (float)(inside > 0 ? inside : 1);
      if (s->combine == AVERAGE_WITH_PADDING) sum /= (float)(padded > 0 ? padded : 1);
      if (s->combine == MAXIMUM) sum = best;
      if (s->in2.channel) sum += *at(&s->in2, pixel, o);
      *at(&s->out, pixel, o) = activate(sum, &s->act);
    }
  }
}

static void run_attention(const step* s) {
  const float* const* p = s->params;
  const int32_t c = s->in.c;
  const int64_t pixels = (int64_t)s->in.h * s->in.w;
  float *g = s->scratch, *e = g + c, *t = e + c; /* t: 2 c numbers */
  for (int64_t first = 0; first < s->in.n * pixels; first += pixels) {
    for (int32_t i = 0; i < c; ++i) {
      double sum = 0;
      for (int64_t k = 0; k < pixels; ++k) sum += *at(&s->in, first + k, i);
      g[i] = (float)(sum / (double)pixels);
      t[i] = activate(p[0][i] * g[i] + p[1][i], &s->act);
    }
    for (int32_t i = 0; i < c; ++i) {
      e[i] = p[3][i];
      for (int32_t k = 0; k < c; ++k) e[i] += p[2][(int64_t)i * c + k] * t[k];
    }
    for (int32_t i = 0; i < 2 * c; ++i) t[i] = bounded(p[4][i] * (i < c ? e[i] : g[i - c]) + p[5][i], 0, INFINITY);
    for (int32_t i = 0; i < c; ++i) {
      float sum = p[7][i];
      for (int32_t k = 0; k < 2 * c; ++k) sum += p[6][(int64_t)i * 2 * c + k] * t[k];
      const float f = 1 + activate(sum, &s->gate);
      for (int64_t k = first; k < first + pixels; ++k) *at(&s->out, k, i) = *at(&s->in, k, i) * f;
    }
  }
}

/* ---- From the host's plan to ours -------------------------------------------------------------------------------- */

/* The next bytes of a block, at a multiple of 16; NULL while the block is not allocated: then they are only counted. */
static void* take(snp_prepared* p, int block, uint64_t bytes) {
  char* taken = p->data[block] ? p->data[block] + p->bytes[block] : NULL;
  p->bytes[block] += (bytes + 15) / 16 * 16;
  return taken;
}

/* NULL while blocks are not allocated. */
static float* address(const snp_prepared* p, const snp_parameter* from) {
  if (!from) return NULL;
  char* data = from->constant < 0 ? p->data[ARENA] : p->constants ? p->constants[from->constant] : NULL;
  return data ? (float*)(void*)(data + from->offset) : NULL;
}

static tensor translate_view(snp_prepared* p, const snp_view* from) {
  if (!from) return (tensor){0};
  tensor t = {from->n, from->h, from->w, from->c, NULL, NULL};
  t.channel = take(p, NOTES, (uint64_t)t.c * sizeof *t.channel);
  t.stride = take(p, NOTES, (uint64_t)t.c * sizeof *t.stride);
  for (uint32_t i = 0, next = 0; t.channel && i < from->segment_count; ++i) {
    const snp_segment* segment = SNP_AT(snp_segment, from->segments, i);
    const snp_parameter start = {sizeof start, segment->constant, segment->offset};
    for (int32_t c = 0; c < segment->channels; ++c, ++next) {
      t.channel[next] = address(p, &start) + c;
      t.stride[next] = segment->pixel_stride;
    }
  }
  return t;
}

static step translate_step(snp_prepared* p, const snp_step* from) {
  static const snp_act none = {sizeof none, SNP_CLAMP, -INFINITY, INFINITY, 0, 0};
  step s = {.run = run_window, .act = from->act ? *from->act : none, .combine = AVERAGE};
  s.in = translate_view(p, from->in);
  s.in2 = translate_view(p, from->in2);
  s.out = translate_view(p, from->out);
  if (from->affine) {
    s.scale = address(p, from->affine->scale);
    s.shift = address(p, from->affine->shift);
    s.low = from->affine->low, s.high = from->affine->high;
  }
  s.groups = s.in.c;
  if (from->op == SNP_CONV) {
    s.window = *from->window;
    s.combine = SUM;
    s.groups = from->conv->groups;
    s.params[0] = address(p, from->conv->weight);
    s.params[1] = address(p, from->conv->bias);
  } else if (from->op == SNP_POOL) {
    s.window = *from->window;
    if (from->pool->count_include_pad) s.combine = AVERAGE_WITH_PADDING;
    if (from->pool->max) s.combine = MAXIMUM;
  } else if (from->op == SNP_ATTENTION) {
    s.run = run_attention;
    s.act = from->attention->act ? *from->attention->act : none;
    s.gate = from->attention->gate ? *from->attention->gate : none;
    s.scratch = take(p, SCRATCH, 4 * (uint64_t)s.in.c * sizeof(float));
    for (int i = 0; i < 8; ++i) s.params[i] = address(p, from->attention->params[i]);
  } else { /* SNP_GLOBAL_POOL is the average of a whole image, SNP_AFFINE that of a single pixel */
    s.window = (snp_window){sizeof s.window, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
    if (from->op == SNP_GLOBAL_POOL) s.window.kernel_h = s.in.h, s.window.kernel_w = s.in.w;
  }
  return s;
}

static const snp_port* port_of(const snp_plan* plan, uint32_t i) {
  if (i < plan->input_count) return SNP_AT(snp_port, plan->inputs, i);
  return SNP_AT(snp_port, plan->outputs, i - plan->input_count);
}

/* Finds the sizes of all blocks and, once they are allocated, fills them in: so measure() and prepare() agree. */
static void translate(snp_prepared* p, const snp_plan* plan) {
  p->bytes[ARENA] = plan->arena_bytes;
  p->bytes[WEIGHTS] = p->bytes[SCRATCH] = p->bytes[NOTES] = 0;
  p->constants = take(p, NOTES, (uint64_t)plan->constant_count * sizeof(char*));
  for (uint32_t i = 0; i < plan->constant_count; ++i) {
    const snp_constant* constant = SNP_AT(snp_constant, plan->constants, i);
    const uint64_t bytes = constant->type == SNP_FLOAT32 ? constant->elements * sizeof(float) : 0;
    char* copy = take(p, WEIGHTS, bytes);
    if (copy && bytes > 0) memcpy(copy, constant->data, (size_t)bytes);
    if (p->constants) p->constants[i] = copy;
  }
  p->step_count = plan->step_count;
  p->steps = take(p, NOTES, (uint64_t)plan->step_count * sizeof(step));
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    const step s = translate_step(p, SNP_AT(snp_step, plan->steps, i));
    if (p->steps) p->steps[i] = s;
  }
  p->input_count = plan->input_count;
  p->output_count = plan->output_count;
  p->ports = take(p, NOTES, ((uint64_t)p->input_count + p->output_count) * sizeof(tensor));
  for (uint32_t i = 0; i < p->input_count + p->output_count; ++i) {
    const tensor port = translate_view(p, port_of(plan, i)->view);
    if (p->ports) p->ports[i] = port;
  }
}

/* ---- Errors and refusals ----------------------------------------------------------------------------------------- */

static const snp_host* host;          /* set by snp_entry() */
static __thread char error_text[256]; /* of each thread */
#define FAIL(status, ...) (snprintf(error_text, sizeof error_text, __VA_ARGS__), (status))

/* Whether a structure that the host wants filled in has room for all members of version 1.0. */
#define CHECK_SIZE(s)             \
  if (s->struct_size < sizeof *s) \
    return FAIL(SNP_INVALID_ARGUMENT, "expected a structure of %zu bytes, found %u", sizeof *s, s->struct_size);

static int is_known(const snp_act* act) {
  return !act || act->kind <= SNP_HARD_SWISH;
}

/* NULL, or why a step does not run here. Numbers that are unknown are those of a later version. */
static const char* why_not(const snp_step* s) {
  const snp_attention* a = s->op == SNP_ATTENTION ? s->attention : NULL;
  if (s->quant) return "steps that compute with integers are not supported";
  if (s->op > SNP_AFFINE && !a) return "this kind of step is not supported";
  if (s->in->type != SNP_FLOAT32 || s->out->type != SNP_FLOAT32 || (s->in2 && s->in2->type != SNP_FLOAT32)) {
    return "expected views of float32";
  }
  if (a && a->hidden != 0) return "attention of the second form is not supported";
  if (a && !(is_known(a->act) && is_known(a->gate))) return "this kind of activation in an attention is not supported";
  if (!is_known(s->act)) return "this kind of activation is not supported";
  return NULL;
}

static snp_status check_options(const snp_options* options) {
  if (options->device != 0) return FAIL(SNP_NO_DEVICE, "expected device 0, found %u", options->device);
  if (options->precision == SNP_FLOAT32) return SNP_OK;
  return FAIL(SNP_UNSUPPORTED, "expected a precision of float32 (%d), found %u", SNP_FLOAT32, options->precision);
}

static snp_status check_plan(const snp_plan* plan, const snp_options* options) {
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    const snp_step* s = SNP_AT(snp_step, plan->steps, i);
    if (why_not(s)) return FAIL(SNP_UNSUPPORTED, "step %u ('%.60s'): %s", i, s->name, why_not(s));
  }
  for (uint32_t i = 0; i < plan->input_count + plan->output_count; ++i) {
    const snp_port* port = port_of(plan, i);
    if (port->view->type != SNP_FLOAT32) return FAIL(SNP_UNSUPPORTED, "'%.60s': expected float32", port->name);
  }
  return check_options(options);
}

/* ---- The functions of the table, in its order -------------------------------------------------------------------- */

static const char* last_error(void) {
  return error_text;
}

static snp_status describe(snp_description* description) {
  CHECK_SIZE(description)
  description->score = 1;
  description->name = "small";
  description->version = "1.0";
  return SNP_OK;
}

static snp_status count_devices(uint32_t* devices) {
  *devices = 1;
  return SNP_OK;
}

static snp_status describe_device(uint32_t index, snp_device* device) {
  if (index != 0) return FAIL(SNP_NO_DEVICE, "expected device 0, found %u", index);
  CHECK_SIZE(device)
  device->units = 1;
  device->name = "plain loops";
  device->vendor = "SparseNet";
  device->driver = "none";
  device->memory_bytes = device->max_allocation_bytes = 0;
  return SNP_OK;
}

static snp_status supports(const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons) {
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    reasons[i] = why_not(SNP_AT(snp_step, plan->steps, i));
    supported[i] = reasons[i] == NULL;
  }
  return check_options(options);
}

static snp_status measure(const snp_plan* plan, const snp_options* options, snp_needs* needs) {
  const snp_status status = check_plan(plan, options);
  snp_prepared p = {0};
  if (status != SNP_OK) return status;
  CHECK_SIZE(needs)
  translate(&p, plan);
  needs->launches = p.step_count;
  needs->arena_bytes = p.bytes[ARENA];
  needs->weights_bytes = p.bytes[WEIGHTS];
  needs->scratch_bytes = p.bytes[SCRATCH];
  return SNP_OK;
}

static void destroy(snp_prepared* p) {
  for (int i = 0; p && i < BLOCKS; ++i) {
    if (!p->data[i]) continue;
    free(p->data[i]);
    if (host->capabilities & SNP_HOST_ACCOUNTS) host->release(host->self, memory_of[i], p->bytes[i]);
  }
  free(p);
}

static snp_status prepare(const snp_plan* plan, const snp_options* options, snp_prepared** result) {
  const snp_status status = check_plan(plan, options);
  if (status != SNP_OK) return status;
  snp_prepared* p = calloc(1, sizeof *p); /* of a size that does not depend on the plan */
  if (!p) return FAIL(SNP_NO_MEMORY, "no memory for a plan");
  translate(p, plan);
  const int accounts = (host->capabilities & SNP_HOST_ACCOUNTS) != 0;
  for (int i = 0; i < BLOCKS; ++i) {
    const uint64_t bytes = p->bytes[i];
    if (bytes == 0) continue;
    const int granted = !accounts || host->reserve(host->self, memory_of[i], bytes) == SNP_OK;
    if (granted && bytes <= SIZE_MAX)
      p->data[i] = calloc(1, (size_t)bytes); /* a device's driver allocates all but NOTES */
    if (p->data[i]) continue;
    if (granted && accounts) host->release(host->self, memory_of[i], bytes);
    destroy(p); /* which leaves out what is not there */
    return FAIL(SNP_NO_MEMORY, "no memory for a block of %llu bytes", (unsigned long long)bytes);
  }
  translate(p, plan);
  *result = p;
  return SNP_OK;
}

/* Moves a port's elements: outside, those of a channel lie next to each other. */
static snp_status copy(const tensor* ports, uint32_t count, uint32_t index, float* outside, uint64_t bytes,
                       uint32_t memory, int to_arena) {
  if (index >= count) return FAIL(SNP_INVALID_ARGUMENT, "expected an index below %u, found %u", count, index);
  const tensor* t = &ports[index];
  const int64_t pixels = (int64_t)t->h * t->w, image = pixels * t->c;
  const uint64_t expected = (uint64_t)(t->n * image) * sizeof(float);
  if (bytes != expected || !outside) {
    return FAIL(SNP_INVALID_ARGUMENT, "expected the address of %llu bytes, found %llu at %p",
                (unsigned long long)expected, (unsigned long long)bytes, (void*)outside);
  }
  if (memory != SNP_HOST_MEMORY) return FAIL(SNP_UNSUPPORTED, "expected memory of the host, found kind %u", memory);
  for (int64_t i = 0; i < t->n * image; ++i) {
    float* inside = at(t, i / image * pixels + i % pixels, (int32_t)(i % image / pixels));
    memcpy(to_arena ? inside : outside + i, to_arena ? outside + i : inside, sizeof(float));
  }
  return SNP_OK;
}

static snp_status set_input(snp_prepared* p, uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
  return copy(p->ports, p->input_count, index, (float*)data, bytes, memory, 1); /* which only reads `data` */
}

static snp_status run(snp_prepared* p) {
  for (uint32_t i = 0; i < p->step_count; ++i) p->steps[i].run(&p->steps[i]);
  return SNP_OK;
}

static snp_status get_output(snp_prepared* p, uint32_t index, void* data, uint64_t bytes, uint32_t memory) {
  return copy(p->ports + p->input_count, p->output_count, index, data, bytes, memory, 0);
}

SNP_EXPORT const snp_plugin* snp_entry(const snp_host* from, const char** why) {
  static const snp_plugin table = {
      SNP_MAJOR,       SNP_MINOR, sizeof table, 0,       last_error, describe,  count_devices,
      describe_device, supports,  measure,      prepare, destroy,    set_input, run,
      get_output,      NULL,      NULL,         NULL,    NULL};
  if (from->major != SNP_MAJOR) {
    if (why) *why = "the small plugin needs a host of interface 1";
    return NULL;
  }
  host = from;
  return &table;
}
