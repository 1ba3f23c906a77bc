// What all kernels share. They are written in the common subset of OpenCL C 1.2 and CUDA C++: which of the two
// compiles them is known here, in tensor_cores.cl and in dot4() of integers_common.cl only. Files include what they use
// of the others, by name: kernel_source.cpp puts the text of each in its place, once.
//
// Every kernel has the same four parameters: arena, weights, scratch (one block of device memory each) and a structure
// of numbers by value, which begins with its own size. Sizes of groups are known when a kernel is compiled: GROUP_X,
// GROUP_Y and GROUP_Z. KERNEL_OF(threads) is KERNEL with so few registers that a multiprocessor, which has 65536 of them,
// holds this many threads: without it, compilers may spill registers where they should not.
//
// Elements of activations and of parameters are float32, or float16 if STORE_HALF is defined; arithmetic is float32.
//
// load_elem4 and store_elem4 move four neighbours, of which the first is at a multiple of four elements.
#include "params.h"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define KERNEL extern "C" __global__ void __launch_bounds__(GROUP_X* GROUP_Y* GROUP_Z)
#define KERNEL_OF(threads) \
  extern "C" __global__ void __launch_bounds__(GROUP_X* GROUP_Y* GROUP_Z, (threads) / (GROUP_X * GROUP_Y * GROUP_Z))
#define INLINE __device__ __forceinline__
#define GLOBAL
#define LOCAL __shared__
#define LOCAL_POINTER
#define BARRIER() __syncthreads()
#define GLOBAL_BARRIER() __syncthreads()
#define FENCE() __threadfence()
#define COUNT_UP(counter) atomicAdd(counter, 1)
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

#else  // OpenCL

#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, GROUP_Z))) void
#define KERNEL_OF(threads) KERNEL
#define INLINE static inline
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_POINTER __local
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define GLOBAL_BARRIER() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
// FENCE() is for all of the device. That of OpenCL C 1.2 reaches no further than the group: Traits::device_fence tells
// where this one does.
#if defined(__NV_CL_C_VERSION)
#define FENCE() __asm volatile("membar.gl;" : : : "memory")
#elif defined(__AMDGCN__)
#define FENCE() __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent")
#else
#define FENCE() mem_fence(CLK_GLOBAL_MEM_FENCE)
#endif
#define COUNT_UP(counter) atomic_inc((volatile __global int*)(counter))
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
