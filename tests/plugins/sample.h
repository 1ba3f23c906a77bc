/* What the sources of the sample plugin share. */
#ifndef SPARSENET_SAMPLE_H
#define SPARSENET_SAMPLE_H

#include <sparsenet/plugin.h>

/* A prepared plan has three blocks, as on any device: the arena, the weights (all constants) and scratch. */
struct snp_prepared {
  snp_plan plan; /* a copy: all that it points to is in `notes`, and the data of its constants in `weights` */
  char* notes;
  uint64_t notes_bytes;
  char *arena, *weights;
  float* scratch;
  snp_needs needs;
};

/* sample_copy.c */

/* Copies a plan into `notes`, and the data of its constants into `weights`. Either may be NULL: then its bytes are only
 * counted, and the result means nothing. */
snp_plan sample_copy(const snp_plan* from, char* notes, uint64_t* notes_bytes, char* weights, uint64_t* weights_bytes);

/* sample_steps.c */

typedef void (*sample_run)(const snp_prepared* p, const snp_step* step);

/* NULL, or why the step does not run on this plugin, in static storage. */
const char* sample_why_not(const snp_step* step);

/* The function for a step that does run, and what profiles call it. */
sample_run sample_runner(const snp_step* step, const char** name);

/* Channel c of a pixel of a view. */
float* sample_at(const snp_prepared* p, const snp_view* view, int64_t pixel, int32_t c);

/* Floats of scratch that a step needs. */
uint64_t sample_scratch(const snp_step* step);

#endif /* SPARSENET_SAMPLE_H */
