// What all kernels share. They are written in the common subset of OpenCL C 1.2 and CUDA C++: this file is the only one
// that knows which of the two compiles it. kernels/params.h comes before it, the file of one family of kernels after it.
//
// Every kernel has the same four parameters: arena, weights, scratch (one block of device memory each) and a structure
// of numbers by value, which begins with its own size. Sizes of groups are known when a kernel is compiled: GROUP_X,
// GROUP_Y and GROUP_Z. KERNEL_OF(threads) is KERNEL with so few registers that a multiprocessor, which has 65536 of them,
// holds this many threads: without it, compilers may spill registers where they should not.
//
// Elements of activations and of parameters are float32, or float16 if STORE_HALF is defined; arithmetic is float32.
// Tensor cores: with TENSOR_CORES defined, the threads of a warp multiply pieces of matrices of float16 numbers, spread
// over them as PTX defines for mma.m16n8k16. MMA adds the products of two pieces of 16 x 16, one below the other, and of
// four pieces of 16 x 8, side by side, to d. load_matrices gives the piece of 16 x 16 numbers at `origin`, whose rows are
// `row` numbers apart; load_matrices_transposed gives two of the pieces of 16 x 8.
//
// load_elem4 and store_elem4 move four neighbours, of which the first is at a multiple of four elements.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define KERNEL extern "C" __global__ void __launch_bounds__(GROUP_X* GROUP_Y* GROUP_Z)
#define KERNEL_OF(threads) \
  extern "C" __global__ void __launch_bounds__(GROUP_X* GROUP_Y* GROUP_Z, (threads) / (GROUP_X * GROUP_Y * GROUP_Z))
#define INLINE __device__ __forceinline__
#define GLOBAL
#define LOCAL __shared__
#define LOCAL_POINTER
#define BARRIER() __syncthreads()
#define GROUP_ID(d) (d == 0 ? (int)blockIdx.x : d == 1 ? (int)blockIdx.y : (int)blockIdx.z)
#define LOCAL_ID(d) (d == 0 ? (int)threadIdx.x : d == 1 ? (int)threadIdx.y : (int)threadIdx.z)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define FMA(a, b, c) fmaf(a, b, c)
#define EXP(x) expf(x)
#define EXPM1(x) expm1f(x)
#define LOG(x) logf(x)
#define LOG1P(x) log1pf(x)
#define TANH(x) tanhf(x)
#define ERF(x) erff(x)
#define ERFC(x) erfcf(x)
#define POW(x, y) powf(x, y)
#define SQRT(x) sqrtf(x)
#define RINT(x) rintf(x)
#define ROUND(x) roundf(x)
#define FABS(x) fabsf(x)
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long long ulong64;
typedef long long long64;
#define MIN(a, b) min(a, b)
#define MAX(a, b) max(a, b)
#ifdef STORE_HALF
typedef ushort ELEM;
INLINE float load_elem(const ELEM* p, size_t i) {
  float value;
  asm("{ .reg .b16 h; mov.b16 h, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "h"(p[i]));
  return value;
}
INLINE void store_elem(ELEM* p, size_t i, float value) {
  ushort bits;
  asm("{ .reg .b16 h; cvt.rn.f16.f32 h, %1; mov.b16 %0, h; }" : "=h"(bits) : "f"(value));
  p[i] = bits;
}
INLINE float2 two_floats(uint bits) {
  float2 v;
  asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }" : "=f"(v.x), "=f"(v.y) : "r"(bits));
  return v;
}
INLINE uint two_halves(float x, float y) {
  uint bits;
  asm("{ .reg .b16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b}; }" : "=r"(bits) : "f"(x), "f"(y));
  return bits;
}
INLINE float4 load_elem4(const ELEM* p, size_t i) {
  const uint2 bits = *(const uint2*)(p + i);
  const float2 low = two_floats(bits.x), high = two_floats(bits.y);
  return make_float4(low.x, low.y, high.x, high.y);
}
INLINE void store_elem4(ELEM* p, size_t i, float4 v) {
  *(uint2*)(p + i) = make_uint2(two_halves(v.x, v.y), two_halves(v.z, v.w));
}
#else
typedef float ELEM;
INLINE float load_elem(const ELEM* p, size_t i) { return p[i]; }
INLINE void store_elem(ELEM* p, size_t i, float value) { p[i] = value; }
INLINE float4 load_elem4(const ELEM* p, size_t i) { return *(const float4*)(p + i); }
INLINE void store_elem4(ELEM* p, size_t i, float4 v) { *(float4*)(p + i) = v; }
#endif
#define FLOAT4(a, b, c, d) make_float4(a, b, c, d)
#define UINT2(a, b) make_uint2(a, b)
#if defined(TENSOR_CORES)
#define MMA_EXCHANGE(name, threads)
#define MMA(d, a, b, exchange, thread) multiply_pieces(d, a, b);
INLINE void multiply_pieces(float d[2][4][4], const uint4* a, const uint4* b) {
  UNROLL for (int i = 0; i < 2; ++i) {
    UNROLL for (int j = 0; j < 4; ++j) {
      const uint b0 = j % 2 ? b[j / 2].z : b[j / 2].x, b1 = j % 2 ? b[j / 2].w : b[j / 2].y;
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(d[i][j][0]), "+f"(d[i][j][1]), "+f"(d[i][j][2]), "+f"(d[i][j][3])
          : "r"(a[i].x), "r"(a[i].y), "r"(a[i].z), "r"(a[i].w), "r"(b0), "r"(b1));
    }
  }
}
INLINE uint4 load_matrices(const ushort* origin, int row, int lane) {
  const uint at = (uint)__cvta_generic_to_shared(origin + lane % 16 * row + lane / 16 * 8);
  uint4 m;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m.x), "=r"(m.y), "=r"(m.z), "=r"(m.w)
               : "r"(at)
               : "memory");
  return m;
}
INLINE uint4 load_matrices_transposed(const ushort* origin, int row, int lane) {
  const uint at = (uint)__cvta_generic_to_shared(origin + lane % 16 * row + lane / 16 * 8);
  uint4 m;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m.x), "=r"(m.y), "=r"(m.z), "=r"(m.w)
               : "r"(at)
               : "memory");
  return m;
}
#endif

#else  // OpenCL

#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, GROUP_Z))) void
#define KERNEL_OF(threads) KERNEL
#define INLINE static inline
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_POINTER __local
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define GROUP_ID(d) ((int)get_group_id(d))
#define LOCAL_ID(d) ((int)get_local_id(d))
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define FMA(a, b, c) fma(a, b, c)
#define EXP(x) exp(x)
#define EXPM1(x) expm1(x)
#define LOG(x) log(x)
#define LOG1P(x) log1p(x)
#define TANH(x) tanh(x)
#define ERF(x) erf(x)
#define ERFC(x) erfc(x)
#define POW(x, y) pow(x, y)
#define SQRT(x) sqrt(x)
#define RINT(x) rint(x)
#define ROUND(x) round(x)
#define FABS(x) fabs(x)
typedef ulong ulong64;
typedef long long64;
#define MIN(a, b) min(a, b)
#define MAX(a, b) max(a, b)
#ifdef STORE_HALF
typedef half ELEM;
INLINE float load_elem(__global const ELEM* p, size_t i) { return vload_half(i, p); }
INLINE void store_elem(__global ELEM* p, size_t i, float value) { vstore_half_rte(value, i, p); }
INLINE float4 load_elem4(__global const ELEM* p, size_t i) { return vload_half4(0, p + i); }
INLINE void store_elem4(__global ELEM* p, size_t i, float4 v) { vstore_half4_rte(v, 0, p + i); }
#else
typedef float ELEM;
INLINE float load_elem(__global const ELEM* p, size_t i) { return p[i]; }
INLINE void store_elem(__global ELEM* p, size_t i, float value) { p[i] = value; }
INLINE float4 load_elem4(__global const ELEM* p, size_t i) { return vload4(0, p + i); }
INLINE void store_elem4(__global ELEM* p, size_t i, float4 v) { vstore4(v, 0, p + i); }
#endif
#define FLOAT4(a, b, c, d) ((float4)(a, b, c, d))
#define UINT2(a, b) ((uint2)((uint)(a), (uint)(b)))
#ifdef STORE_HALF
INLINE uint two_halves(float x, float y) {
  uint bits;
  vstore_half2_rte((float2)(x, y), 0, (half*)&bits);
  return bits;
}
#endif
#if defined(TENSOR_CORES)
// The same in plain C, for tests where there is no GPU: threads give each other their factors through `exchange`.
#define MMA_EXCHANGE(name, threads) __local uint4 name[4 * threads];
#define MMA(d, a, b, exchange, thread)                                            \
  {                                                                               \
    __local uint4* const own = exchange + thread * 4;                             \
    own[0] = a[0], own[1] = a[1], own[2] = b[0], own[3] = b[1];                   \
    BARRIER();                                                                    \
    multiply_pieces(d, (__local const uint*)(exchange + thread / 32 * 32 * 4), thread % 32); \
    BARRIER();                                                                    \
  }
INLINE float half_of(uint bits, int high) {
  const ushort h = (ushort)(high ? bits >> 16 : bits);
  return vload_half(0, (const half*)&h);
}
INLINE void multiply_pieces(float d[2][4][4], __local const uint* warp, int lane) {
  ROLLED for (int i = 0; i < 32; ++i) {
    const int row = lane / 4 + i / 2 % 2 * 8, column = lane % 4 * 2 + i % 2, down = i / 16, across = i / 4 % 4;
    float sum = 0.0f;
    ROLLED for (int k = 0; k < 16; ++k) {
      const uint a = warp[(row % 8 * 4 + k % 8 / 2) * 16 + down * 4 + row / 8 + k / 8 * 2];
      const uint b = warp[(column * 4 + k % 8 / 2) * 16 + 8 + across * 2 + k / 8];
      sum = fma(half_of(a, k % 2), half_of(b, k % 2), sum);
    }
    d[down][across][i % 4] += sum;
  }
}
INLINE uint two_at(__local const ushort* p, int step) { return (uint)p[0] | (uint)p[step] << 16; }
INLINE uint4 load_matrices(__local const ushort* origin, int row, int lane) {
  __local const ushort* p = origin + lane / 4 * row + lane % 4 * 2;
  return (uint4)(two_at(p, 1), two_at(p + 8 * row, 1), two_at(p + 8, 1), two_at(p + 8 * row + 8, 1));
}
INLINE uint4 load_matrices_transposed(__local const ushort* origin, int row, int lane) {
  __local const ushort* p = origin + lane % 4 * 2 * row + lane / 4;
  return (uint4)(two_at(p, row), two_at(p + 8 * row, row), two_at(p + 8, row), two_at(p + 8 * row + 8, row));
}
#endif

#endif

#define ARENA_PARAMETERS GLOBAL uchar *arena, GLOBAL const uchar *weights, GLOBAL uchar *scratch

// Places in the three blocks. `element` counts elements, `byte` bytes.
#define ARENA_AT(element) ((GLOBAL ELEM*)arena + (element))
#define WEIGHTS_AT(byte) ((GLOBAL const ELEM*)(weights + (byte)))
#define FLOATS_AT(byte) ((GLOBAL const float*)(weights + (byte)))
#define INTS_AT(byte) ((GLOBAL const int*)(weights + (byte)))

// min(max(x, low), high); NaN stays NaN.
INLINE float bounded(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

INLINE float sigmoid_of(float x) { return 1.0f / (1.0f + EXP(-x)); }
INLINE float softplus_of(float x) { return (x < 0.0f ? 0.0f : x) + LOG1P(EXP(-FABS(x))); }

// The formulas are those of snp_act_kind (sparsenet/plugin.h).
INLINE float activate(float x, struct Activation a) {
  switch (a.kind) {
    case 0: return bounded(x, a.low, a.high);
    case 1: return x < 0.0f ? a.alpha * x : x;
    case 2: return sigmoid_of(x);
    case 3: return bounded(a.alpha * x + a.beta, 0.0f, 1.0f);
    case 4: return x * bounded(x / 6.0f + 0.5f, 0.0f, 1.0f);
    case 5: return TANH(x);
    case 6: return x < 0.0f ? a.alpha * EXPM1(x) : x;
    case 7: return softplus_of(x);
    case 8: return a.alpha * x < -80.0f ? 0.0f : x * sigmoid_of(a.alpha * x);
    case 9: return x < -80.0f ? 0.0f : x * TANH(softplus_of(x));
    case 10: return x < -20.0f ? 0.0f : 0.5f * x * ERFC(-x * 0.707106781f);
    case 11:  // (1 + tanh(y)) / 2 is sigmoid(2 y), in which nothing cancels
      return x < -20.0f ? 0.0f : x * sigmoid_of(1.595769122f * x * (1.0f + 0.044715f * x * x));
    case 12: return ERF(x);
    case 13: return EXP(x);
    case 14: return LOG(x);
    case 15: return a.alpha == 0.5f ? SQRT(x) : POW(x, a.alpha);
  }
  return x;
}

// Element c of a pixel of a view. Views of several channel ranges have a table with two integers for each channel: the
// element where the channel of pixel 0 is, and the number of elements from pixel to pixel; if the latter is negative,
// the channel is constant: it lies in `weights`, and ~stride elements are between pixels.
INLINE float load_view(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ViewArg v, size_t pixel, int c) {
  if (v.table < 0) return load_elem((GLOBAL const ELEM*)arena + v.offset, pixel * (size_t)v.stride + (size_t)c);
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)v.table * 16) + 2 * c;
  const int stride = entry[1];
  if (stride < 0) return load_elem((GLOBAL const ELEM*)weights + (uint)entry[0], pixel * (size_t)~stride);
  return load_elem((GLOBAL const ELEM*)arena + (uint)entry[0], pixel * (size_t)stride);
}
INLINE void store_view(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ViewArg v, size_t pixel, int c,
                       float value) {
  if (v.table < 0) {
    store_elem((GLOBAL ELEM*)arena + v.offset, pixel * (size_t)v.stride + (size_t)c, value);
    return;
  }
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)v.table * 16) + 2 * c;
  store_elem((GLOBAL ELEM*)arena + (uint)entry[0], pixel * (size_t)entry[1], value);
}

// The end of a convolution: out = act(value + bias + in2), for channel c of a pixel. Conv kernels share it.
INLINE void finish_conv(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ConvEnd e, size_t pixel, int c,
                        float value) {
  if (e.has_bias) value += FLOATS_AT(e.bias)[c];
  if (e.has_in2) value += load_view(arena, weights, e.in2, pixel, c);
  store_view(arena, weights, e.out, pixel, c, activate(value, e.act));
}

INLINE float4 bounded4(float4 v, float low, float high) {
  return FLOAT4(bounded(v.x, low, high), bounded(v.y, low, high), bounded(v.z, low, high), bounded(v.w, low, high));
}

// The same for channels c to c + 3, where ConvEnd::vectors says that all of them are neighbours in memory and that the
// activation is SNP_CLAMP.
INLINE void finish_conv4(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ConvEnd e, size_t pixel, int c,
                         float4 value) {
  if (e.has_bias) {
    GLOBAL const float* bias = FLOATS_AT(e.bias) + c;
    value = FLOAT4(value.x + bias[0], value.y + bias[1], value.z + bias[2], value.w + bias[3]);
  }
  if (e.has_in2) {
    const float4 v = load_elem4(ARENA_AT(e.in2.offset), pixel * (size_t)e.in2.stride + (size_t)c);
    value = FLOAT4(value.x + v.x, value.y + v.y, value.z + v.z, value.w + v.w);
  }
  store_elem4(ARENA_AT(e.out.offset), pixel * (size_t)e.out.stride + (size_t)c,
              bounded4(value, e.act.low, e.act.high));
}

// The input of a convolution at a pixel, with the affine in front of it: for channel c, and for c to c + 3, which
// ConvStart::vectors says to be neighbours in memory.
INLINE float start_conv(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel,
                        int c) {
  const float v = load_view(arena, weights, s.in, pixel, c);
  if (!s.has_affine) return v;
  return bounded(FMA(v, FLOATS_AT(s.scale)[c], FLOATS_AT(s.shift)[c]), s.low, s.high);
}
INLINE float4 start_conv4(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ConvStart s, size_t pixel,
                          int c) {
  GLOBAL const ELEM* from = (GLOBAL const ELEM*)arena;
  size_t at;
  if (s.in.table < 0) {
    at = s.in.offset + pixel * (size_t)s.in.stride + (size_t)c;
  } else {
    GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)s.in.table * 16) + 2 * c;
    const int stride = entry[1];
    if (stride < 0) from = (GLOBAL const ELEM*)weights;
    at = (uint)entry[0] + pixel * (size_t)(stride < 0 ? ~stride : stride);
  }
  const float4 v = load_elem4(from, at);
  if (!s.has_affine) return v;
  GLOBAL const float* a = FLOATS_AT(s.scale) + c;
  GLOBAL const float* b = FLOATS_AT(s.shift) + c;
  return bounded4(FLOAT4(FMA(v.x, a[0], b[0]), FMA(v.y, a[1], b[1]), FMA(v.z, a[2], b[2]), FMA(v.w, a[3], b[3])), s.low,
                  s.high);
}

// Where channel c of a view lies: its element at pixel 0, and the number of elements from pixel to pixel.
struct Channel {
  GLOBAL const ELEM* first;
  size_t stride;
};
INLINE struct Channel channel_of(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ViewArg v, int c) {
  struct Channel channel;
  if (v.table < 0) {
    channel.first = (GLOBAL const ELEM*)arena + v.offset + c;
    channel.stride = (size_t)v.stride;
    return channel;
  }
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)v.table * 16) + 2 * c;
  const int stride = entry[1];
  channel.first = (GLOBAL const ELEM*)(stride < 0 ? weights : arena) + (uint)entry[0];
  channel.stride = (size_t)(stride < 0 ? ~stride : stride);
  return channel;
}

// What one thread loads and stores: an element (width 1), or four neighbours at a multiple of four elements (width 4).
INLINE void load_some(GLOBAL const ELEM* p, size_t i, int width, float* v) {
  if (width == 4) {
    const float4 four = load_elem4(p, i);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    v[0] = load_elem(p, i);
    v[1] = v[2] = v[3] = 0.0f;
  }
}
INLINE void store_some(GLOBAL ELEM* p, size_t i, int width, const float* v) {
  if (width == 4) {
    store_elem4(p, i, FLOAT4(v[0], v[1], v[2], v[3]));
  } else {
    store_elem(p, i, v[0]);
  }
}
INLINE void load_view_some(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ViewArg view, size_t pixel,
                           int c, int width, float* v) {
  const struct Channel channel = channel_of(arena, weights, view, c);
  load_some(channel.first, pixel * channel.stride, width, v);
}
INLINE void store_view_some(GLOBAL uchar* arena, GLOBAL const uchar* weights, struct ViewArg view, size_t pixel, int c,
                            int width, const float* v) {
  if (view.table < 0) {
    store_some((GLOBAL ELEM*)arena + view.offset, pixel * (size_t)view.stride + (size_t)c, width, v);
    return;
  }
  GLOBAL const int* entry = (GLOBAL const int*)(weights + (size_t)(uint)view.table * 16) + 2 * c;
  store_some((GLOBAL ELEM*)arena + (uint)entry[0], pixel * (size_t)entry[1], width, v);
}

INLINE float affine_at(GLOBAL const uchar* weights, struct AffineArg a, int c, float x) {
  if (!a.on) return x;
  return bounded(FMA(x, FLOATS_AT(a.scale)[c], FLOATS_AT(a.shift)[c]), a.low, a.high);
}

// The arithmetic of snp_binary_op; of another number, the first operand.
INLINE float combine(int op, float a, float b) {
  switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a / b;
    case 4: return a != a ? a : a > b ? a : b;
    case 5: return a != a ? a : a < b ? a : b;
    case 6: return a < 0.0f ? a * b : a;
  }
  return a;
}

INLINE GLOBAL const ELEM* operand_start(GLOBAL const uchar* arena, GLOBAL const uchar* weights,
                                        struct Operand operand) {
  return (GLOBAL const ELEM*)(operand.in_weights ? weights : arena) + operand.at;
}

// Where index i of an index space lies in each operand.
struct Place {
  uint out, in, in2;
};
INLINE struct Place place_in_space(struct Space s, uint i) {
  struct Place place = {0, 0, 0};
  UNROLL
  for (int d = 0; d < 8; ++d) {
    if (d < s.rank) {
      const uint next = d + 1 < s.rank ? i / s.dims[d] : 0;
      const uint at = i - next * s.dims[d];
      place.out += at * s.out[d];
      place.in += at * s.in[d];
      place.in2 += at * s.in2[d];
      i = next;
    }
  }
  return place;
}

// The sum over the threads of a row, in the order of a binary tree. Each thread of the group has one place in `tile`:
// thread `lane` of a row has place first + lane * apart. All threads of the group call this; `lanes`, how many a row
// has, is a power of two.
INLINE float sum_of_lanes(LOCAL_POINTER float* tile, int first, int apart, int lane, int lanes, float value) {
  BARRIER();
  tile[first + lane * apart] = value;
  BARRIER();
  for (int others = lanes / 2; others > 0; others /= 2) {
    if (lane < others) tile[first + lane * apart] += tile[first + (lane + others) * apart];
    BARRIER();
  }
  return tile[first];
}
// The same for the maximum, which passes over NaN.
INLINE float max_of_lanes(LOCAL_POINTER float* tile, int first, int apart, int lane, int lanes, float value) {
  BARRIER();
  tile[first + lane * apart] = value;
  BARRIER();
  for (int others = lanes / 2; others > 0; others /= 2) {
    if (lane < others) {
      const float other = tile[first + (lane + others) * apart];
      if (other > tile[first + lane * apart]) tile[first + lane * apart] = other;
    }
    BARRIER();
  }
  return tile[first];
}

// ---- Integers -------------------------------------------------------------------------------------------------------
//
// The arithmetic is that of engine/runtime/requantize.h, which defines every bit; sums are modulo 2^32. Four bytes make
// a word, the first one in its lowest bits.

#define WORDS_AT(byte) ((GLOBAL const uint*)(weights + (byte)))

INLINE int byte_of(uint word, int i) { return (int)(word << (24 - 8 * i)) >> 24; }

// sum + the products of the signed bytes of two words. DOT_PRODUCT: the device has an instruction for it.
INLINE int dot4(uint a, uint b, int sum) {
#if defined(DOT_PRODUCT) && (defined(__CUDACC__) || defined(__CUDACC_RTC__))
  return __dp4a((int)a, (int)b, sum);
#elif defined(DOT_PRODUCT) && defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
  return (int)((uint)sum + (uint)dot_4x8packed_ss_int(a, b));
#else
  return (int)((uint)sum + (uint)(byte_of(a, 0) * byte_of(b, 0) + byte_of(a, 1) * byte_of(b, 1) +
                                  byte_of(a, 2) * byte_of(b, 2) + byte_of(a, 3) * byte_of(b, 3)));
#endif
}

// a * b / 2^31, halves rounded up. They are never both -2^31.
INLINE int high_product(int a, int b) { return (int)(((long64)a * b + ((long64)1 << 30)) >> 31); }

// x / 2^exponent, halves rounded away from zero.
INLINE int rounded_quotient(int x, int exponent) {
  if (exponent == 0) return x;
  return (int)(((long64)x + ((long64)1 << (exponent - 1)) - (x < 0 ? 1 : 0)) >> exponent);
}

// x * value * 2^(shift - 31), rounded once, or twice.
INLINE int multiplied(int x, int value, int shift, int twice) {
  if (twice) {
    const int left = shift > 0 ? shift : 0;
    return rounded_quotient(high_product((int)((uint)x << left), value), left - shift);
  }
  const int right = 31 - shift;
  return (int)(((long64)x * value + ((long64)1 << (right - 1))) >> right);
}

INLINE int clamped(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

INLINE int wrapped_sum(int a, int b) { return (int)((uint)a + (uint)b); }

INLINE int combined(int a, int b, struct IntegerSum s) {
  int v;
  a -= s.in_zero;
  b -= s.in2_zero;
  if (s.op == 2) {
    v = multiplied(a * b, s.value, s.shift, s.twice);
  } else {
    const int x = multiplied((int)((uint)a << s.left_shift), s.value, s.shift, s.twice);
    const int y = multiplied((int)((uint)b << s.left_shift), s.value2, s.shift2, s.twice);
    v = multiplied((int)(s.op == 1 ? (uint)x - (uint)y : (uint)x + (uint)y), s.value_out, s.shift_out, s.twice);
  }
  return clamped(wrapped_sum(v, s.out_zero), s.low, s.high);
}

// Quads of a view (integers_params.h).
INLINE struct ByteQuad quad_of(GLOBAL const uchar* weights, struct QuadView v, int index) {
  struct ByteQuad quad;
  if (v.table >= 0) return ((GLOBAL const struct ByteQuad*)(weights + (size_t)(uint)v.table * 16))[index];
  const int left = v.channels - 4 * index;
  quad.base = v.offset + 4u * (uint)index;
  quad.stride = v.stride;
  quad.channel = 4 * index;
  quad.count = left < 4 ? left : v.full;
  return quad;
}

// Bytes beyond the quad's count are copies of its last one.
INLINE uint load_quad(GLOBAL const uchar* arena, GLOBAL const uchar* weights, struct ByteQuad quad, int pixel) {
  const int in_weights = quad.stride < 0, last = quad.count - 1;
  GLOBAL const uchar* at =
      (in_weights ? weights : arena) + (quad.base + (uint)pixel * (uint)(in_weights ? ~quad.stride : quad.stride));
  if (quad.count == BYTE_QUAD_WORD) return *(GLOBAL const uint*)at;
  return (uint)at[0] | (uint)at[MIN(1, last)] << 8 | (uint)at[MIN(2, last)] << 16 | (uint)at[MIN(3, last)] << 24;
}

INLINE void store_quad(GLOBAL uchar* arena, struct ByteQuad quad, int pixel, uint word) {
  GLOBAL uchar* at = arena + (quad.base + (uint)pixel * (uint)quad.stride);
  if (quad.count == BYTE_QUAD_WORD) {
    *(GLOBAL uint*)at = word;
    return;
  }
  UNROLL for (int i = 0; i < 4; ++i) {
    if (i < quad.count) at[i] = (uchar)(word >> (8 * i));
  }
}

// The channels of a quad, brought to the scale of the layer that reads them: (x * multiplier + addend) >> shift, with
// three integers for each.
INLINE uint scaled_quad(uint word, GLOBAL const int* scales) {
  uint result = 0;
  UNROLL for (int i = 0; i < 4; ++i) {
    const int v = (byte_of(word, i) * scales[3 * i] + scales[3 * i + 1]) >> scales[3 * i + 2];
    result |= (uint)(clamped(v, -128, 127) & 255) << (8 * i);
  }
  return result;
}
