/* The interface of backend plugins: what a shared library implements to run SparseNet plans on a device of its own, and
 * what the engine gives it. docs/backends.md walks through a complete plugin.
 *
 * A plugin exports one function, snp_entry. It takes the host's table and returns the plugin's; both begin with
 * {major, minor, size}, and each side reads what the other one says. What is handed over is the plan: steps over one
 * block of memory, the arena, in the form that model files store and devices run. A plugin never sees a graph.
 *
 * Rules of the interface:
 * - Another `major` is another interface: the two sides refuse each other. A higher `minor` has more members at the end
 *   of its tables and structures. What a side can do is told by capability bits, never by sizes.
 * - Every structure begins with its size in bytes, set by whoever fills it in; of a structure that a function fills in
 *   for its caller, the caller sets it to the room that there is. Nobody reads or writes beyond the size that the other
 *   side has stated. In arrays of structures, elements lie struct_size bytes apart: see SNP_AT.
 * - A null function means "not supported". Those of a plugin that may be null are marked "optional".
 * - No exception leaves a function, and loading a plugin runs no code that a CPU may lack.
 * - Strings are UTF-8 and end in 0. What the host passes to a function is valid only until it returns. What a plugin
 *   returns is valid as the function says.
 * - Threads: the host calls functions that take the same snp_prepared from one thread at a time; other calls may come
 *   from several threads at once.
 *
 * Numbers that name kinds (of steps, activations, arithmetic, elements) are those of model files and never change. */
#ifndef SPARSENET_PLUGIN_H
#define SPARSENET_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SNP_MAJOR 1
#define SNP_MINOR 0
#define SNP_MAX_DIMS 8

/* Element i of an array of structures of any version. */
#define SNP_AT(type, array, i) \
  ((const type*)(const void*)((const char*)(const void*)(array) + (size_t)(i) * (array)->struct_size))

typedef enum snp_status {
  SNP_OK = 0,
  SNP_INVALID_ARGUMENT = 1,
  SNP_UNSUPPORTED = 2, /* a step, a type, a precision, or a function that is not there */
  SNP_NO_MEMORY = 3,   /* of the host or of the device */
  SNP_NO_DEVICE = 4,   /* no driver, or no such device */
  SNP_FAILED = 5       /* the driver or the device failed */
} snp_status;

typedef enum snp_type {
  SNP_FLOAT32 = 0,
  SNP_INT32 = 1,
  SNP_INT64 = 2,
  SNP_UINT8 = 3,
  SNP_INT8 = 4,
  SNP_FLOAT16 = 5 /* IEEE 754 binary16 */
} snp_type;

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

/* Activations are stored pixel by pixel (NHWC): channel c of pixel p = (image * h + y) * w + x of a segment is at
 * element p * pixel_stride + c from its start. */
typedef struct snp_segment {
  uint32_t struct_size;
  int32_t constant; /* -1: in the arena; otherwise an index of snp_plan.constants */
  uint64_t offset;  /* bytes from the start of the arena or the constant; a multiple of the element's size */
  int32_t channels;
  int32_t pixel_stride; /* elements from one pixel to the next; 0: the same channels at every pixel */
} snp_segment;

/* n images of h rows and w columns with c channels, which are those of the segments, one after the other. */
typedef struct snp_view {
  uint32_t struct_size;
  uint32_t type; /* an snp_type */
  int32_t n, h, w, c;
  uint32_t segment_count; /* at least 1 */
  const snp_segment* segments;
} snp_view;

/* Numbers that a step reads besides its inputs: consecutive elements of a constant. */
typedef struct snp_parameter {
  uint32_t struct_size;
  int32_t constant;
  uint64_t offset; /* bytes from the start of the constant */
} snp_parameter;

typedef enum snp_act_kind {
  SNP_CLAMP = 0,        /* min(max(x, low), high): also no activation, and ReLU */
  SNP_LEAKY_RELU = 1,   /* x < 0 ? alpha * x : x */
  SNP_SIGMOID = 2,      /* 1 / (1 + exp(-x)) */
  SNP_HARD_SIGMOID = 3, /* min(max(alpha * x + beta, 0), 1) */
  SNP_HARD_SWISH = 4,   /* x * min(max(x / 6 + 0.5, 0), 1) */
  SNP_TANH = 5,
  SNP_ELU = 6,        /* x < 0 ? alpha * (exp(x) - 1) : x */
  SNP_SOFTPLUS = 7,   /* log(1 + exp(x)) */
  SNP_SILU = 8,       /* x / (1 + exp(-alpha * x)) */
  SNP_MISH = 9,       /* x * tanh(softplus(x)) */
  SNP_GELU = 10,      /* x * (1 + erf(x / sqrt(2))) / 2 */
  SNP_GELU_TANH = 11, /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) */
  SNP_ERF = 12,
  /* Only steps of SNP_UNARY have those that follow. */
  SNP_EXP = 13,
  SNP_LOG = 14,
  SNP_POW = 15 /* to the power of alpha */
} snp_act_kind;

typedef struct snp_act {
  uint32_t struct_size;
  uint32_t kind;   /* an snp_act_kind */
  float low, high; /* SNP_CLAMP; infinities leave x as it is. NaN stays NaN */
  float alpha, beta;
} snp_act;

/* x -> min(max(x * scale[c] + shift[c], low), high) for channel c, applied to a step's input before its padding. */
typedef struct snp_affine {
  uint32_t struct_size;
  float low, high;
  const snp_parameter* scale; /* [in c] */
  const snp_parameter* shift; /* [in c] */
} snp_affine;

/* In pixels. Padding is never negative, except in SNP_POOL, where it cuts the input. */
typedef struct snp_window {
  uint32_t struct_size;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
} snp_window;

typedef struct snp_conv {
  uint32_t struct_size;
  int32_t groups;              /* divides the channels of input and output */
  const snp_parameter* weight; /* [out c][in c / groups][kernel_h][kernel_w] */
  const snp_parameter* bias;   /* [out c], or NULL */
} snp_conv;

typedef struct snp_pool {
  uint32_t struct_size;
  uint32_t max;               /* not 0: the maximum, else the average */
  uint32_t count_include_pad; /* average: not 0: padding within the padded input counts as zeros; else only pixels of
                                 the input count */
} snp_pool;

typedef enum snp_binary_op {
  SNP_ADD = 0,
  SNP_SUB = 1,
  SNP_MUL = 2,
  SNP_DIV = 3,
  SNP_MAX = 4,  /* NaN if one of them is */
  SNP_MIN = 5,  /* NaN if one of them is */
  SNP_PRELU = 6 /* a < 0 ? a * b : a */
} snp_binary_op;

/* An index space: element i of the output is made of element i of each input; all have strides of their own, in
 * elements from the start of the view's only segment. A stride of 0 broadcasts. */
typedef struct snp_strided {
  uint32_t struct_size;
  int32_t rank; /* 0 to SNP_MAX_DIMS */
  int64_t dims[SNP_MAX_DIMS];
  int64_t out_strides[SNP_MAX_DIMS], in_strides[SNP_MAX_DIMS], in2_strides[SNP_MAX_DIMS];
  int64_t out_start, in_start, in2_start; /* 0 of SNP_SOFTMAX and SNP_REDUCE_MEAN */
  int32_t reduced_from;                   /* dimensions from here on are summed, averaged or normalised over */
  uint32_t fill_first;                    /* SNP_STRIDED_COPY: not 0: all of the output is set to fill_value first */
  float fill_value;                       /* of integers too, which it is then one of */
  uint64_t out_elements;                  /* of the output in all, for fill_first */
} snp_strided;

/* Channel attention: out = in * f(mean of in over its pixels), for each image and channel; see snp_attention. */
typedef struct snp_attention {
  uint32_t struct_size;
  int32_t hidden; /* R below; 0: the first form */
  /* With g the means [c], and all parameters row-major:
   *   hidden = 0: t = act(p0 * g + p1); e = p2 t + p3, p2 [c][c]; u = max(p4 * [e, g] + p5, 0), [2c];
   *               f = 1 + gate(p6 u + p7), p6 [c][2c].
   *   hidden = R: f = gate(p2 act(p0 g + p1) + p3), p0 [R][c], p1 [R], p2 [c][R], p3 [c]; p4 to p7 are NULL. */
  const snp_parameter* params[8];
  const snp_act *act, *gate; /* NULL: none */
} snp_attention;

/* How a step computes with integers. docs/quantization.md defines the arithmetic to the last bit. */
typedef struct snp_quant {
  uint32_t struct_size;
  uint32_t rounding; /* 0: single, 1: double (docs/quantization.md) */
  int32_t in_zero, in2_zero, out_zero;
  int32_t low, high;                /* bounds of the output */
  uint32_t multiplier_count;        /* SNP_CONV: out c; SNP_BINARY, add and subtract: 3; otherwise 1 or 0 */
  const int32_t* multipliers;       /* [multiplier_count][2]: value and shift; the factor is value * 2^(shift - 31) */
  int32_t left_shift;               /* SNP_BINARY, add and subtract */
  int32_t least;                    /* SNP_SOFTMAX */
  float scale;                      /* SNP_QUANTIZE from float32, SNP_DEQUANTIZE */
  const int32_t* channels;          /* NULL, or [in c][3]: multiplier, addend, shift of the input's channels */
  const int8_t* table;              /* SNP_UNARY: [256], from -128 on */
  const struct snp_quant* residual; /* SNP_CONV with in2: the sum behind it; else NULL */
} snp_quant;

typedef enum snp_op {
  SNP_CONV = 0,         /* act(convolution of affine(in) + bias + in2); in2 has the output's size. Also fully connected
                           layers, as one pixel per image */
  SNP_POOL = 1,         /* act(maximum or average of affine(in) over windows) */
  SNP_GLOBAL_POOL = 2,  /* act(mean of affine(in) over all pixels of an image) */
  SNP_AFFINE = 3,       /* act(affine(in)); without an affine, a copy of channel ranges */
  SNP_UNARY = 4,        /* act(in) */
  SNP_BINARY = 5,       /* act(in op in2); with `strided`, over its index space, else of operands of one size */
  SNP_SOFTMAX = 6,      /* exp(in) / sum of exp(in) over the dimensions of `strided` from reduced_from on */
  SNP_REDUCE_MEAN = 7,  /* act(mean of in over the dimensions of `strided` from reduced_from on) */
  SNP_STRIDED_COPY = 8, /* in, moved as `strided` says */
  SNP_ATTENTION = 9,    /* see snp_attention */
  SNP_MAT_MUL = 33,     /* act(sum of in * in2 over the last dimension of `strided`) */
  SNP_LAYER_NORM = 34,  /* act(affine((in - mean) / sqrt(variance + epsilon))) over the channels of each pixel; the
                           affine has no bounds */
  SNP_QUANTIZE = 35,    /* in / scale + out_zero, rounded and bounded; from integers: another scale */
  SNP_DEQUANTIZE = 36   /* (in - in_zero) * scale */
} snp_op;

/* A step's input, residual and output may be the same memory only where elementwise steps read each element before they
 * write it, and where a convolution's in2 is its out. */
typedef struct snp_step {
  uint32_t struct_size;
  uint32_t op;                    /* an snp_op */
  const char* name;               /* of the graph node that it comes from */
  const snp_view *in, *in2, *out; /* in2: NULL: none */
  const snp_act* act;             /* NULL: none */
  const snp_affine* affine;       /* NULL: none */
  const snp_window* window;       /* of SNP_CONV and SNP_POOL */
  const snp_conv* conv;           /* of SNP_CONV */
  const snp_pool* pool;           /* of SNP_POOL */
  uint32_t binary;                /* of SNP_BINARY: an snp_binary_op */
  float epsilon;                  /* of SNP_LAYER_NORM */
  const snp_strided* strided;     /* NULL: none */
  const snp_quant* quant;         /* NULL: float32 */
  const snp_attention* attention; /* of SNP_ATTENTION */
  uint64_t macs;                  /* multiply-adds */
} snp_step;

typedef struct snp_constant {
  uint32_t struct_size;
  uint32_t type; /* an snp_type */
  uint64_t elements;
  const void* data; /* in the host's memory, little-endian, aligned to the type */
} snp_constant;

/* An input or output: its shape outside, where elements are in row-major order and images are [N, C, H, W], and where
 * it lies in the arena: `view`, whose channel c of pixel p of an image is element [n][c][p] outside. */
typedef struct snp_port {
  uint32_t struct_size;
  int32_t rank;
  int64_t dims[SNP_MAX_DIMS];
  const char* name;
  const snp_view* view;
  uint64_t bytes; /* outside; elements are of the view's type there too */
} snp_port;

typedef struct snp_plan {
  uint32_t struct_size;
  uint32_t step_count, constant_count, input_count, output_count;
  uint64_t arena_bytes;  /* every offset and extent in the arena is checked against it by the host */
  const snp_step* steps; /* in the order in which they run */
  const snp_constant* constants;
  const snp_port *inputs, *outputs;
} snp_plan;

/* ---- The host ---------------------------------------------------------------------------------------------------- */

typedef enum snp_memory { SNP_HOST_MEMORY = 0, SNP_DEVICE_MEMORY = 1 } snp_memory;

/* The host's capabilities. */
#define SNP_HOST_ACCOUNTS 1u /* reserve and release are there */
#define SNP_HOST_LOGS 2u     /* log is there */

typedef struct snp_host {
  uint32_t major, minor, size;
  uint32_t capabilities;
  void* self; /* first argument of the functions below, which may be called from any thread */
  /* To be called before each allocation whose size depends on the plan; anything but SNP_OK means that it must not be
   * made, and the function that needed it returns SNP_NO_MEMORY. `memory`: an snp_memory. */
  snp_status (*reserve)(void* self, uint32_t memory, uint64_t bytes);
  /* To be called after such memory has been freed, or if its allocation failed. */
  void (*release)(void* self, uint32_t memory, uint64_t bytes);
  /* One line for people, without a line break. */
  void (*log)(void* self, const char* text);
} snp_host;

/* ---- The plugin -------------------------------------------------------------------------------------------------- */

typedef struct snp_description {
  uint32_t struct_size;
  int32_t score;       /* of several plugins with the same name, the host takes the one with the highest score */
  const char* name;    /* what users write: "opencl"; letters, digits and '-'. Static storage */
  const char* version; /* of the plugin. Static storage */
} snp_description;

/* Texts are valid as long as the plugin is loaded. */
typedef struct snp_device {
  uint32_t struct_size;
  uint32_t units; /* compute units or multiprocessors; 0: unknown */
  const char* name;
  const char* vendor;
  const char* driver;            /* version */
  uint64_t memory_bytes;         /* 0: unknown */
  uint64_t max_allocation_bytes; /* 0: as large as its memory */
} snp_device;

/* Bits of snp_options.flags. They are wishes: a plugin ignores those that it does not know or cannot fulfil. */
#define SNP_TUNE 1u         /* find the best sizes by timing, and keep them in `cache_folder` */
#define SNP_TF32 2u         /* float32 products may be rounded to TF32 */
#define SNP_TENSOR_CORES 4u /* with SNP_FLOAT16: products may be of float16 numbers, with sums in float32 */

typedef struct snp_options {
  uint32_t struct_size;
  uint32_t device;    /* below the number of devices */
  uint32_t precision; /* SNP_FLOAT32, or SNP_FLOAT16: how float32 activations and constants are stored on the
                         device; arithmetic is float32 in both cases */
  uint32_t flags;
  const char* cache_folder; /* where compiled kernels and tuned sizes may be kept; NULL: nowhere */
} snp_options;

/* Bytes on the device: one allocation each, unless 0. */
typedef struct snp_needs {
  uint32_t struct_size;
  uint32_t launches; /* of kernels, per run, for the steps; 0: unknown */
  uint64_t arena_bytes, weights_bytes, scratch_bytes;
} snp_needs;

typedef struct snp_step_profile {
  uint32_t struct_size;
  uint32_t launches;                  /* of kernels */
  double milliseconds;                /* on the device */
  uint64_t bytes_read, bytes_written; /* of device memory, by the kernels' loads and stores; 0: unknown */
  const char* kernel;                 /* valid as long as the plan is prepared */
} snp_step_profile;

typedef struct snp_prepared snp_prepared; /* a plan, ready to run on a device */

/* The plugin's capabilities. */
#define SNP_CAN_FLOAT16 1u         /* SNP_FLOAT16 in snp_options.precision */
#define SNP_CAN_DEVICE_POINTERS 2u /* SNP_DEVICE_MEMORY in set_input and get_output */
#define SNP_CAN_TUNE 4u            /* SNP_TUNE */
#define SNP_READS_FLOAT16 8u       /* parameters may be of SNP_FLOAT16 constants; otherwise the host widens these */

typedef struct snp_plugin {
  uint32_t major, minor, size;
  uint32_t capabilities;
  /* Why the calling thread's last call failed, in one line without a line break; valid until its next call. */
  const char* (*last_error)(void);
  snp_status (*describe)(snp_description* description);
  /* The number of devices, from 0 on. SNP_NO_DEVICE if there is no driver, with the reason in last_error(). */
  snp_status (*count_devices)(uint32_t* count);
  snp_status (*describe_device)(uint32_t index, snp_device* device);
  /* Sets supported[i] to 1 if the plugin runs step i with these options, else to 0 and reasons[i] to why not, in static
   * storage. Both have step_count elements. */
  snp_status (*supports)(const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons);
  /* What prepare() will allocate, without allocating it. */
  snp_status (*measure)(const snp_plan* plan, const snp_options* options, snp_needs* needs);
  /* Copies all that it needs of the plan and its constants. Several plans may be prepared at a time, also on different
   * devices, and destroyed in any order. After a failure nothing is left allocated. */
  snp_status (*prepare)(const snp_plan* plan, const snp_options* options, snp_prepared** prepared);
  /* Destroys a prepared plan, also while it runs: it waits for that. Accepts NULL. */
  void (*destroy)(snp_prepared* prepared);
  /* Copies an input to the device, from elements in the port's order outside. `memory`: where `data` points; of
   * SNP_DEVICE_MEMORY, a cl_mem or a CUdeviceptr, for which the caller's own work must be done. `bytes` must be the
   * port's. Every input is to be set before every run. When it returns, `data` may be overwritten. */
  snp_status (*set_input)(snp_prepared* prepared, uint32_t index, const void* data, uint64_t bytes, uint32_t memory);
  /* Runs all steps and waits. The same inputs give the same bits on the same device. */
  snp_status (*run)(snp_prepared* prepared);
  /* Copies an output of the last run from the device. */
  snp_status (*get_output)(snp_prepared* prepared, uint32_t index, void* data, uint64_t bytes, uint32_t memory);
  /* Optional: starts a run, and waits for it. Nothing but wait() and destroy() may be called in between. */
  snp_status (*run_async)(snp_prepared* prepared);
  snp_status (*wait)(snp_prepared* prepared);
  /* Optional: runs once, and fills in `count` profiles, one for each step; each has its struct_size set by the host. */
  snp_status (*profile)(snp_prepared* prepared, snp_step_profile* profiles, uint32_t count);
  /* Optional: what results and compiled kernels depend on besides the plan: device, driver, plugin version and options.
   * Writes at most `capacity` bytes with the 0 at the end. */
  snp_status (*requirements)(const snp_options* options, char* text, size_t capacity);
} snp_plugin;

/* The function that a plugin exports. `host` and all it points to outlive the plugin's use. NULL: the plugin does not
 * work with this host; then *why, if it is set, says why, in static storage. It must not fail for lack of a driver or a
 * device: count_devices() says so. */
typedef const snp_plugin* (*snp_entry_function)(const snp_host* host, const char** why);
#define SNP_ENTRY_NAME "snp_entry"

#if defined(_WIN32)
#define SNP_EXPORT __declspec(dllexport)
#else
#define SNP_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
}
#endif

#endif /* SPARSENET_PLUGIN_H */
