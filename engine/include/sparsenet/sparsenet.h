/* The C API of SparseNet Engine, also for devices: runs a model from the plan stored in its file, in memory that the
 * caller provides.
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
 * Nothing here allocates, throws, prints or calls an operating system, except sn_map_file and sn_unmap_file, which
 * stand apart. The model's bytes stay where they are (in flash, in a mapping) and are read as long as the session
 * lives; only weights that kernels keep in another order are copied, into the caller's memory. Thread safety: a session
 * may be used by one thread at a time; different sessions are independent.
 *
 * Stability: functions are added, never changed. Structures begin with their size, which the caller sets to sizeof;
 * members are added at the end, and anything beyond the caller's size is neither read nor written. Handles are
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

#define SN_API_VERSION 3 /* of this header; 2: sn_options.kernels and the members after it; 3: integers */
#define SN_ALIGNMENT 64  /* bytes: alignment of models (so that weights are used in place) and of memory */

/* The library's SN_API_VERSION. A library serves programs built with this or any earlier version of the header. */
SN_API uint32_t sn_api_version(void);
SN_API const char* sn_version(void); /* "major.minor.patch" */

typedef enum sn_status {
  SN_OK = 0,
  SN_INVALID_ARGUMENT = 1, /* an argument of the call is wrong */
  SN_INVALID_MODEL = 2,    /* damaged, or not a model at all */
  SN_UNSUPPORTED = 3,      /* no plan, a newer version, or a step that none of the linked kernels can run */
  SN_NO_MEMORY = 4,        /* the memory given is too small */
  SN_NOT_FOUND = 5,
  SN_IO = 6,
  SN_DIFFERENT = 7, /* from sn_verify, sn_verify_steps, sn_train_verify: the difference exceeds the tolerance */
  SN_NOT_FINITE = 8 /* a loss or a gradient is not finite */
} sn_status;
SN_API const char* sn_status_name(sn_status status); /* e.g. "invalid model" */

/* Why a call failed, in one line. Every function that takes a pointer to one also accepts NULL. */
typedef struct sn_message {
  uint32_t struct_size;
  char text[252];
} sn_message;

/* The caller's own pool of threads: `parallel` calls function(context, chunk, thread) once for every chunk in
 * [0, chunks), on any of its threads, with thread < threads and never with the same `thread` in two calls at a time; it
 * returns when all calls are done. Results do not depend on the number of threads. All of these rules are checked: a
 * call that breaks one does nothing, chunks that were left out are run afterwards, and the function that runs steps
 * (sn_run, sn_train_add, sn_verify, ...) returns SN_INVALID_ARGUMENT. */
typedef struct sn_thread_hook {
  uint32_t struct_size;
  int32_t threads;
  void (*parallel)(void* self, int32_t chunks, void (*function)(void* context, int32_t chunk, int32_t thread),
                   void* context);
  void* self;
} sn_thread_hook;

/* Which kernels run the steps. Both give the same results within rounding. */
typedef enum sn_kernels {
  SN_KERNELS_LINKED = 0, /* the fastest of those that are linked: with the whole library, this CPU's vector kernels */
  SN_KERNELS_COMPACT = 1 /* those for devices, which use weights in place: slower, but they need far less memory. The
                            MEMORY_BYTES of sparsenet-convert --c-array are enough for them, with one thread.
                            libsparsenet_device.a has no others. */
} sn_kernels;

/* All zeros, or NULL in place of the structure: the linked kernels, only the calling thread, batch 1. */
typedef struct sn_options {
  uint32_t struct_size;
  uint32_t batch;                /* 0: 1; the model needs a plan for it */
  const sn_thread_hook* threads; /* is copied; `self` must outlive the session */
  uint32_t training;             /* not 0: the training plan; see "Training" below */
  uint32_t kernels;              /* an sn_kernels; since version 2 */
  /* Since version 2. Not 0: the floating-point mode of the threads stays as it is. 0: numbers below 1.2e-38 count as
   * zero while steps run (flush-to-zero, on CPUs that have it: x86-64, ARM), because they are slow to compute with; the
   * previous mode is restored afterwards. */
  uint32_t keep_denormals;
} sn_options;

typedef struct sn_needs {
  uint32_t struct_size;
  uint32_t inputs, outputs, labels, steps, test_vectors; /* counts */
  size_t memory_bytes;                                   /* what sn_prepare must be given; covers everything below */
  size_t arena_bytes;                                    /* activations, inputs and outputs: as in `sparsenet info` */
  size_t scratch_bytes;                                  /* working memory of the kernels, for all threads */
  size_t weights_bytes;    /* weights in the kernels' own order; 0 if they are used in place */
  size_t state_bytes;      /* steps, and what kernels keep for them */
  size_t parameters_bytes; /* trained parameters, part of the arena; 0: none are trained */
} sn_needs;

typedef enum sn_type { SN_FLOAT32 = 0, SN_UINT8 = 3, SN_INT8 = 4 } sn_type;

typedef struct sn_tensor {
  uint32_t struct_size;
  int32_t rank;
  const char* name;
  int32_t dims[8]; /* in the graph's own order: images are [N, C, H, W] */
  size_t elements;
  /* Since version 3. An integer q stands for scale * (q - zero_point); of float32 both are 0. */
  uint32_t type; /* an sn_type */
  float scale;
  int32_t zero_point;
} sn_tensor;

/* How images become inputs: (pixel - mean) / std_dev, for pixel values of 0..255. If the model states no mean, it is 0;
 * if it states no standard deviation, that is 1; without both, pixels are used as they are. */
typedef struct sn_image_info {
  uint32_t struct_size;
  uint32_t channels; /* of input 0, mean and std_dev; 0: input 0 is not an image [N, C, H, W] with 1 to 4 channels */
  const char* color_order; /* "RGB", "BGR" or "GRAY" */
  float mean[4], std_dev[4];
} sn_image_info;

typedef struct sn_session sn_session;

/* Checks the whole model and reports what running it needs. */
SN_API sn_status sn_measure(const void* model, size_t model_bytes, const sn_options* options, sn_needs* needs,
                            sn_message* message);
/* Makes the same checks, then prepares all steps in `memory`, where the session lives. After a failure there is nothing
 * to undo. The session ends when the caller takes its memory back; there is nothing to release. */
SN_API sn_status sn_prepare(const void* model, size_t model_bytes, const sn_options* options, void* memory,
                            size_t memory_bytes, sn_session** session, sn_message* message);

SN_API sn_status sn_input(const sn_session* session, uint32_t index, sn_tensor* tensor);
SN_API sn_status sn_output(const sn_session* session, uint32_t index, sn_tensor* tensor);
SN_API sn_status sn_image(const sn_session* session, sn_image_info* info);
SN_API const char* sn_label(const sn_session* session, uint32_t index); /* NULL if there is none */

/* Copy `elements` float32 values, row-major in the tensor's own shape. SN_INVALID_ARGUMENT if the index or the count is
 * wrong. Set every input before every run. Inputs of integers round: halves away from zero, to the nearest end where a
 * value is beyond the type, to the zero point for NaN; outputs of integers give the numbers that they stand for. */
SN_API sn_status sn_set_input(sn_session* session, uint32_t index, const float* values, size_t elements);
SN_API sn_status sn_run(sn_session* session);
SN_API sn_status sn_get_output(const sn_session* session, uint32_t index, float* values, size_t elements);
/* Since version 3. The same for inputs and outputs of int8 or uint8: copy `elements` bytes as they are. Also
 * SN_INVALID_ARGUMENT if the type is float32. */
SN_API sn_status sn_set_input_bytes(sn_session* session, uint32_t index, const void* values, size_t elements);
SN_API sn_status sn_get_output_bytes(const sn_session* session, uint32_t index, void* values, size_t elements);

typedef struct sn_step {
  uint32_t struct_size; /* set by the library */
  uint32_t index;
  const char* name;                    /* of the node that the step came from */
  const char* kernel;                  /* e.g. "conv2d_f32_compact" */
  uint64_t macs;                       /* multiply-accumulates, for all images of the batch */
  int32_t kernel_height, kernel_width; /* of convolutions; otherwise 0 */
} sn_step;
/* Called after each step of a run, for profiling; `step` is valid only during the call. A NULL observer ends it. */
typedef void (*sn_observer)(void* self, const sn_step* step);
SN_API void sn_observe(sn_session* session, sn_observer observer, void* self);

/* Runs an embedded test vector and compares the outputs. `error`, if not NULL, receives the largest difference in any
 * output, relative to the largest expected value of that output. SN_DIFFERENT if it exceeds the vector's tolerance. */
SN_API sn_status sn_verify(sn_session* session, uint32_t test_vector, float* error, sn_message* message);

/* Runs the first test vector step by step. For each step it compares two numbers that summarise what the step wrote (a
 * signed sum and a norm; see engine/step/step_digest.h) with those of the machine that made the plan; the message names
 * the first step that differs. `error`, if not NULL, receives the largest difference, relative to the root of the
 * step's sum of squares. SN_DIFFERENT if it exceeds the vector's tolerance, SN_NOT_FOUND if the plan has no such
 * numbers. */
SN_API sn_status sn_verify_steps(sn_session* session, float* error, sn_message* message);

/* --- Training. A model can hold a second plan that trains its last layer (sparsenet-convert --training-plan);
 * everything in front of that layer runs as it does in inference, with integers too. A session with options.training
 * set has two inputs (image, label) and two outputs (logits; loss and whether the answer was right). It serves
 * inference and training:
 *
 * - sn_run computes the logits, output 0, with the current parameters (a Softmax at the end is left out);
 * - sn_train_add computes the loss of the image in input 0 and adds its gradients to a sum;
 * - sn_train_update takes one SGD step with the mean of the gradients added since the last update.
 *
 * Set input 0 before every sn_run and every sn_train_add: a run reuses its input's memory. The label is an argument of
 * sn_train_add, which sets input 1 itself. The parameters start as the model's. With the same kernels their bits after
 * an update depend only on images, labels and options. The loss is the cross-entropy -log softmax(logits)[label]. For
 * inference sessions all sn_train_ functions return SN_INVALID_ARGUMENT. */

/* Adds one image, which must have been set as input 0 since the last call. `loss`, if not NULL, receives that image's
 * loss before the update. SN_INVALID_ARGUMENT: no such class. SN_NOT_FINITE: the image is not counted. */
SN_API sn_status sn_train_add(sn_session* session, uint32_t label, float* loss, sn_message* message);

/* SGD with momentum m, gradient g (weight decay included) and velocity v (initially 0): v = m v + g; then
 * parameter -= rate * v, or with nesterov parameter -= rate * (g + m v), as in PyTorch. */
typedef struct sn_train_options {
  uint32_t struct_size;
  float learning_rate; /* 0 to below 1e6 */
  float momentum;      /* 0 to below 1 */
  float weight_decay;  /* 0 to below 1 */
  int32_t nesterov;    /* not 0: Nesterov's form */
} sn_train_options;
/* `mean_loss`, if not NULL, receives the mean loss of the images added. SN_INVALID_ARGUMENT: an option is out of range,
 * options is NULL, or no image was added. SN_NOT_FINITE: the parameters stay as they were, and the images added are
 * discarded. */
SN_API sn_status sn_train_update(sn_session* session, const sn_train_options* options, float* mean_loss,
                                 sn_message* message);

/* Where the trained parameters (float32) lie in the caller's memory, so that they can be saved (to flash, for example)
 * and restored after sn_prepare of the same model. They may be read and written between any two calls. */
SN_API sn_status sn_train_parameters(sn_session* session, void** data, size_t* bytes);

/* Runs the short training that the plan holds for this purpose, and compares its losses with those of the machine that
 * made the plan. `error`, if not NULL, receives the largest relative difference. Afterwards the session is as
 * sn_prepare left it: the parameters are the model's again. SN_DIFFERENT if the difference exceeds the tolerance;
 * SN_NOT_FOUND, with nothing changed, if the plan holds no such training. */
SN_API sn_status sn_train_verify(sn_session* session, float* error, sn_message* message);

/* Maps a file into memory, read-only, until sn_unmap_file. Not available on devices without an operating system. If the
 * file is shortened or overwritten in place while it is mapped, the model's bytes are lost and the process ends with
 * SIGBUS: replace the file by renaming another one over it, or read it into memory of your own. */
SN_API sn_status sn_map_file(const char* path, const void** data, size_t* bytes, sn_message* message);
SN_API void sn_unmap_file(const void* data, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
