// Products on tensor cores: the threads of a warp multiply pieces of matrices of float16 numbers, spread over them as
// PTX defines for mma.m16n8k16. MMA adds the products of two pieces of 16 x 16, one below the other, and of four pieces
// of 16 x 8, side by side, to d. load_matrices gives the piece of 16 x 16 numbers at `origin`, whose rows are `row`
// numbers apart; load_matrices_transposed gives two of the pieces of 16 x 8. STORE_HALF is defined.
#include "common.cl"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define UINT2(a, b) make_uint2(a, b)
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

#else  // OpenCL

#define UINT2(a, b) ((uint2)((uint)(a), (uint)(b)))
INLINE uint two_halves(float x, float y) {
  uint bits;
  vstore_half2_rte((float2)(x, y), 0, (half*)&bits);
  return bits;
}
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
