/* Copies of plans for the sample plugin. What the host passes to prepare() is valid only until it returns, and may have
 * longer structures than ours if the host is of a later version: so everything is copied, member by member. */
#include <string.h>

#include "sample.h"

/* Copies structures into a block, one after the other; without a block it only counts their bytes. */
typedef struct keeper {
  char* block;
  uint64_t used;
} keeper;

static void* keep(keeper* k, const void* from, size_t bytes) {
  char* to = k->block ? k->block + k->used : NULL;
  if (to) memcpy(to, from, bytes);
  k->used += (bytes + 7) / 8 * 8;
  return to;
}

/* Copies one structure that points to nothing, or NULL. The host's may be longer than ours: the copy gets our size. */
#define KEEP(k, type, from) ((const type*)keep_one(k, from, sizeof(type)))

static const void* keep_one(keeper* k, const void* from, uint32_t size) {
  char* to = from ? keep(k, from, size) : NULL;
  if (to) memcpy(to, &size, sizeof size); /* struct_size is the first member of every structure */
  return to;
}

static const snp_view* keep_view(keeper* k, const snp_view* from) {
  snp_view view;
  uint32_t i;
  if (!from) return NULL;
  view = *from;
  for (i = 0; i < from->segment_count; ++i) { /* of a size without gaps, so these are an array again */
    const snp_segment* segment = KEEP(k, snp_segment, SNP_AT(snp_segment, from->segments, i));
    if (i == 0) view.segments = segment;
  }
  return KEEP(k, snp_view, &view);
}

static const snp_affine* keep_affine(keeper* k, const snp_affine* from) {
  snp_affine affine;
  if (!from) return NULL;
  affine = *from;
  affine.scale = KEEP(k, snp_parameter, from->scale);
  affine.shift = KEEP(k, snp_parameter, from->shift);
  return KEEP(k, snp_affine, &affine);
}

static const snp_conv* keep_conv(keeper* k, const snp_conv* from) {
  snp_conv conv;
  if (!from) return NULL;
  conv = *from;
  conv.weight = KEEP(k, snp_parameter, from->weight);
  conv.bias = KEEP(k, snp_parameter, from->bias);
  return KEEP(k, snp_conv, &conv);
}

static const snp_attention* keep_attention(keeper* k, const snp_attention* from) {
  snp_attention attention;
  int i;
  if (!from) return NULL;
  attention = *from;
  for (i = 0; i < 8; ++i) attention.params[i] = KEEP(k, snp_parameter, from->params[i]);
  attention.act = KEEP(k, snp_act, from->act);
  attention.gate = KEEP(k, snp_act, from->gate);
  return KEEP(k, snp_attention, &attention);
}

static const snp_step* keep_steps(keeper* k, const snp_plan* plan) {
  const uint64_t first = k->used; /* the steps come first, as an array, and what they point to behind them */
  uint32_t i;
  k->used += (uint64_t)plan->step_count * sizeof(snp_step);
  for (i = 0; i < plan->step_count; ++i) {
    snp_step step = *SNP_AT(snp_step, plan->steps, i);
    step.struct_size = sizeof step;
    step.name = NULL;
    step.in = keep_view(k, step.in);
    step.in2 = keep_view(k, step.in2);
    step.out = keep_view(k, step.out);
    step.act = KEEP(k, snp_act, step.act);
    step.affine = keep_affine(k, step.affine);
    step.window = KEEP(k, snp_window, step.window);
    step.conv = keep_conv(k, step.conv);
    step.pool = KEEP(k, snp_pool, step.pool);
    step.strided = KEEP(k, snp_strided, step.strided);
    step.attention = keep_attention(k, step.attention);
    if (k->block) memcpy(k->block + first + i * sizeof step, &step, sizeof step);
  }
  return k->block ? (const snp_step*)(const void*)(k->block + first) : NULL;
}

static const snp_port* keep_ports(keeper* k, const snp_port* ports, uint32_t count) {
  const uint64_t first = k->used;
  uint32_t i;
  k->used += (uint64_t)count * sizeof(snp_port);
  for (i = 0; i < count; ++i) {
    snp_port port = *SNP_AT(snp_port, ports, i);
    port.struct_size = sizeof port;
    port.name = NULL;
    port.view = keep_view(k, port.view);
    if (k->block) memcpy(k->block + first + i * sizeof port, &port, sizeof port);
  }
  return k->block ? (const snp_port*)(const void*)(k->block + first) : NULL;
}

static uint64_t constant_bytes(const snp_constant* constant) {
  static const uint64_t bytes[] = {4, 4, 8, 1, 1, 2}; /* by snp_type */
  return constant->type < 6 ? constant->elements * bytes[constant->type] : 0;
}

/* All constants go into `weights`, at multiples of 16 bytes. A faster plugin would bring them into its own order here.
 */
static const snp_constant* keep_constants(keeper* k, keeper* weights, const snp_plan* plan) {
  const snp_constant* kept = NULL;
  uint32_t i;
  for (i = 0; i < plan->constant_count; ++i) {
    snp_constant constant = *SNP_AT(snp_constant, plan->constants, i);
    constant.data = keep(weights, constant.data, (size_t)constant_bytes(&constant));
    weights->used = (weights->used + 15) / 16 * 16;
    if (i == 0)
      kept = KEEP(k, snp_constant, &constant);
    else
      (void)KEEP(k, snp_constant, &constant);
  }
  return kept;
}

snp_plan sample_copy(const snp_plan* from, char* notes, uint64_t* notes_bytes, char* weights, uint64_t* weights_bytes) {
  keeper of_notes = {notes, 0}, of_weights = {weights, 0};
  snp_plan plan = *from;
  plan.struct_size = sizeof plan;
  plan.steps = keep_steps(&of_notes, from);
  plan.inputs = keep_ports(&of_notes, from->inputs, from->input_count);
  plan.outputs = keep_ports(&of_notes, from->outputs, from->output_count);
  plan.constants = keep_constants(&of_notes, &of_weights, from);
  *notes_bytes = of_notes.used;
  *weights_bytes = of_weights.used;
  return plan;
}
