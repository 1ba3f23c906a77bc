/* SparseNet Engine from C, and on devices: runs a model from the plan that its file holds, in memory of the caller's.
 *
 *   sn_needs needs = {sizeof needs};
 *   sn_message why = {sizeof why};
 *   if (sn_measure(model, model_bytes, NULL, &needs, &why) != SN_OK) return fail(why.text);
 *   sn_session* net;                                 // memory: needs.memory_bytes, at a multiple of SN_ALIGNMENT
 *   if (sn_prepare(model, model_bytes, NULL, memory, needs.memory_bytes, &net, &why) != SN_OK) return fail(why.text);
 *   sn_set_input(net, 0, pixels, 3 * 32 * 32);       // float32, NCHW, normalised
 *   sn_run(net);
 *   sn_get_output(net, 0, logits, 10);
 *
 * A model needs a stored plan: sparsenet-convert net.snet --plan portable-f32 -o device.snet adds one. The C++ API
 * (sparsenet/session.h) also runs models without one.
 *
 * Nothing here allocates, throws, prints or calls an operating system; sn_map_file and sn_unmap_file alone do, and
 * stand apart. The model's bytes stay where they are (flash, a map) and are read while the session lives; only its
 * weights that kernels keep in another order are copied, into the caller's memory. Thread safety: one session is used
 * by one thread at a time; different sessions are independent.
 *
 * Stability: functions are added, never changed. Structures begin with their size, which the caller sets to sizeof;
 * members are added at the end, and what lies beyond the caller's size is neither read nor written. Handles are
 * opaque. */
#ifndef SPARSENET_SPARSENET_H
#define SPARSENET_SPARSENET_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SN_API __attribute__((visibility("default")))
#else
#define SN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SN_API_VERSION 2 /* of this header; 2: sn_options.kernels and what follows */
#define SN_ALIGNMENT 64  /* bytes: of models (so that weights are used in place) and of memory */

/* The library's SN_API_VERSION; what it has, it has for every header up to that. */
SN_API uint32_t sn_api_version(void);
SN_API const char* sn_version(void); /* "major.minor.patch" */

typedef enum sn_status {
  SN_OK = 0,
  SN_INVALID_ARGUMENT = 1, /* of the call */
  SN_INVALID_MODEL = 2,    /* damaged, or no model at all */
  SN_UNSUPPORTED = 3,      /* no plan, a newer version, a step for which the linked kernels do not serve */
  SN_NO_MEMORY = 4,        /* too little was given */
  SN_NOT_FOUND = 5,
  SN_IO = 6,
  SN_DIFFERENT = 7, /* sn_verify, sn_verify_steps, sn_train_verify: beyond the tolerance */
  SN_NOT_FINITE = 8 /* a loss or a gradient */
} sn_status;
SN_API const char* sn_status_name(sn_status status); /* "invalid model" */

/* Why a call failed: one line. Every call that takes one also takes NULL. */
typedef struct sn_message {
  uint32_t struct_size;
  char text[252];
} sn_message;

/* A pool of threads of the caller's: `parallel` calls function(context, chunk, thread) once for every chunk in
 * [0, chunks), on any of its threads, with thread < threads and no two at a time with the same; it returns when all are
 * done. Results do not depend on the number of threads. All of that is checked: a call that breaks it does nothing,
 * what was left out is made up for, and the function that runs steps (sn_run, sn_train_add, sn_verify, ...) answers
 * SN_INVALID_ARGUMENT. */
typedef struct sn_thread_hook {
  uint32_t struct_size;
  int32_t threads;
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context);
  void* self;
} sn_thread_hook;

/* Which kernels run the steps. Both give the same results within rounding. */
typedef enum sn_kernels {
  SN_KERNELS_LINKED = 0, /* the fastest of those that are linked: of the whole library the vector kernels of this CPU */
  SN_KERNELS_COMPACT = 1 /* a device's, which use weights where they lie: slower, and they need far less memory. The
                            MEMORY_BYTES of sparsenet-convert --c-array are enough for them, with one thread.
                            libsparsenet_device.a has no others. */
} sn_kernels;

/* Zeros, or NULL in its place: the linked kernels, the calling thread alone, batch 1. */
typedef struct sn_options {
  uint32_t struct_size;
  uint32_t batch;                /* 0: 1; the model needs a plan for it */
  const sn_thread_hook* threads; /* is copied; `self` must outlive the session */
  uint32_t training;             /* not 0: the training plan; see "Training" below */
  uint32_t kernels;              /* of sn_kernels; since version 2 */
  /* Since version 2. Not 0: the floating-point mode of the threads stays as it is. 0: numbers below 1.2e-38 count as
   * zero while steps run (flush-to-zero, on CPUs that have it: x86-64, ARM), for their cost; the mode is then as before
   * again. */
  uint32_t keep_denormals;
} sn_options;

typedef struct sn_needs {
  uint32_t struct_size;
  uint32_t inputs, outputs, labels, steps, test_vectors; /* counts */
  size_t memory_bytes;                                   /* what sn_prepare must be given: all of the following */
  size_t arena_bytes;                                    /* activations, inputs and outputs: as in `sparsenet info` */
  size_t scratch_bytes;                                  /* working memory of kernels, of all threads */
  size_t weights_bytes;    /* weights in the kernels' own order; 0 where they are used in place */
  size_t state_bytes;      /* steps and kernels' notes */
  size_t parameters_bytes; /* of the arena: what is trained; 0: nothing */
} sn_needs;

typedef struct sn_tensor {
  uint32_t struct_size;
  int32_t rank;
  const char* name;
  int32_t dims[8]; /* in the graph's own order: images are [N, C, H, W] */
  size_t elements;
} sn_tensor;

/* How images become inputs: (pixel - mean) / std_dev, for pixels of 0..255. A model that names no mean takes zeros, one
 * that names no standard deviation ones: without both, pixels as they are. */
typedef struct sn_image_info {
  uint32_t struct_size;
  uint32_t channels;       /* of input 0, mean and std_dev; 0: it takes no images [N, C, H, W] of 1 to 4 channels */
  const char* color_order; /* "RGB", "BGR" or "GRAY" */
  float mean[4], std_dev[4];
} sn_image_info;

typedef struct sn_session sn_session;

/* Checks the model from end to end and says what running it takes. */
SN_API sn_status sn_measure(const void* model, size_t model_bytes, const sn_options* options, sn_needs* needs,
                            sn_message* message);
/* The same checks; then prepares all steps in `memory`, where the session lives. Nothing has to be undone when it
 * fails. The session ends when the caller takes its memory back; there is nothing to release. */
SN_API sn_status sn_prepare(const void* model, size_t model_bytes, const sn_options* options, void* memory,
                            size_t memory_bytes, sn_session** session, sn_message* message);

SN_API sn_status sn_input(const sn_session* session, uint32_t index, sn_tensor* tensor);
SN_API sn_status sn_output(const sn_session* session, uint32_t index, sn_tensor* tensor);
SN_API sn_status sn_image(const sn_session* session, sn_image_info* info);
SN_API const char* sn_label(const sn_session* session, uint32_t index); /* NULL: there is none */

/* Copy `elements` float32 values, row-major in the tensor's own shape. SN_INVALID_ARGUMENT: index or count is wrong.
 * Set every input before every run. */
SN_API sn_status sn_set_input(sn_session* session, uint32_t index, const float* values, size_t elements);
SN_API sn_status sn_run(sn_session* session);
SN_API sn_status sn_get_output(const sn_session* session, uint32_t index, float* values, size_t elements);

typedef struct sn_step {
  uint32_t struct_size; /* the library's */
  uint32_t index;
  const char* name;                    /* of the node that it came from */
  const char* kernel;                  /* "conv2d_f32_compact" */
  uint64_t macs;                       /* multiply-accumulates, of all images */
  int32_t kernel_height, kernel_width; /* of convolutions; 0: none */
} sn_step;
/* Called after each step of a run, for profiles; `step` goes with the call. NULL ends it. */
typedef void (*sn_observer)(void* self, const sn_step* step);
SN_API void sn_observe(sn_session* session, sn_observer observer, void* self);

/* Runs an embedded test vector and compares. `error`, if not NULL: the largest difference of an output, as a share of
 * the largest expected value of that output. SN_DIFFERENT beyond the vector's tolerance. */
SN_API sn_status sn_verify(sn_session* session, uint32_t test_vector, float* error, sn_message* message);

/* Runs the first test vector step by step and compares two numbers that stand for what each step wrote (sums; see
 * engine/step/step_digest.h) with those of the machine that made the plan: the message names the first step that
 * goes wrong. `error`, if not NULL: the largest difference, as a share of the root of the step's sum of squares.
 * SN_DIFFERENT beyond the vector's tolerance, SN_NOT_FOUND where the plan has no such numbers. */
SN_API sn_status sn_verify_steps(sn_session* session, float* error, sn_message* message);

/* --- Training. A model can hold a second plan that trains its last layer (sparsenet-convert --training-plan);
 * everything in front of it runs as it does in inference. A session with options.training set has two inputs (image,
 * label) and two outputs (logits; loss and whether the answer was right), and is used for both:
 *
 * - sn_run computes the logits, output 0, with the parameters as they are now (a Softmax at the end is left out);
 * - sn_train_add computes the loss of the image in input 0 and adds its gradients to a sum;
 * - sn_train_update takes one step of SGD with the mean of what was added since the last one.
 *
 * Set input 0 before every sn_run and every sn_train_add: a run uses its input's memory for other things. The label is
 * an argument of sn_train_add, which sets input 1 itself. Parameters are the model's at first. With
 * the same kernels their bits after an update depend on images, labels and options alone. The loss is the cross-entropy
 * -log softmax(logits)[label]. For sessions of inference all sn_train_ functions return SN_INVALID_ARGUMENT. */

/* One image more, which was set as input 0 since the last call. `loss`, if not NULL: its own, before the update.
 * SN_INVALID_ARGUMENT: no such class. SN_NOT_FINITE: the image does not count. */
SN_API sn_status sn_train_add(sn_session* session, uint32_t label, float* loss, sn_message* message);

/* SGD with momentum m, gradient g (weight decay added), velocity v (0 at first): v = m v + g; parameter -= rate * v, or
 * rate * (g + m v) with nesterov, as in PyTorch. */
typedef struct sn_train_options {
  uint32_t struct_size;
  float learning_rate; /* 0 to below 1e6 */
  float momentum;      /* 0 to below 1 */
  float weight_decay;  /* 0 to below 1 */
  int32_t nesterov;    /* not 0: Nesterov's form */
} sn_train_options;
/* `mean_loss`, if not NULL: that of the images added. SN_INVALID_ARGUMENT: an option, no options, or no image was
 * added. SN_NOT_FINITE: the parameters stay as they were, the images are forgotten. */
SN_API sn_status sn_train_update(sn_session* session, const sn_train_options* options, float* mean_loss,
                                 sn_message* message);

/* Where the trained parameters are, in the caller's memory: copy them away (to flash) and back (after sn_prepare of the
 * same model). float32; they may be read and written between any two calls. */
SN_API sn_status sn_train_parameters(sn_session* session, void** data, size_t* bytes);

/* Runs the short training that the plan holds for this purpose, and compares its losses with those of the machine that
 * made the plan. `error`, if not NULL: the largest relative difference. The session is then as sn_prepare left it:
 * parameters are the model's again. SN_DIFFERENT beyond the tolerance; SN_NOT_FOUND, with nothing touched, where the
 * plan holds none. */
SN_API sn_status sn_train_verify(sn_session* session, float* error, sn_message* message);

/* A file in memory, read-only, until sn_unmap_file. Not on devices without an operating system. If
 * the file is shortened or overwritten in place while it is mapped, the model's bytes are lost and the process ends
 * with SIGBUS: replace the file by renaming another one over it, or read it into memory of your own. */
SN_API sn_status sn_map_file(const char* path, const void** data, size_t* bytes, sn_message* message);
SN_API void sn_unmap_file(const void* data, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
