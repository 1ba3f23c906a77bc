#include "base/checksum.h"

namespace sparsenet {
namespace {

// The five primes of the XXH64 specification.
constexpr uint64_t kP1 = 0x9E3779B185EBCA87u;
constexpr uint64_t kP2 = 0xC2B2AE3D27D4EB4Fu;
constexpr uint64_t kP3 = 0x165667B19E3779F9u;
constexpr uint64_t kP4 = 0x85EBCA77C2B2AE63u;
constexpr uint64_t kP5 = 0x27D4EB2F165667C5u;

constexpr uint64_t rotate(uint64_t x, int bits) {
  return (x << bits) | (x >> (64 - bits));
}

// Assembled byte by byte, so that neither alignment nor the host's byte order matters; compilers turn this into one
// load.
uint64_t read64(const uint8_t* p) {
  return uint64_t{p[0]} | uint64_t{p[1]} << 8 | uint64_t{p[2]} << 16 | uint64_t{p[3]} << 24 | uint64_t{p[4]} << 32 |
         uint64_t{p[5]} << 40 | uint64_t{p[6]} << 48 | uint64_t{p[7]} << 56;
}
uint64_t read32(const uint8_t* p) {
  return uint64_t{p[0]} | uint64_t{p[1]} << 8 | uint64_t{p[2]} << 16 | uint64_t{p[3]} << 24;
}

#if defined(__OPTIMIZE_SIZE__)
#define SPARSENET_MIX_INLINE __attribute__((noinline))  // for code size: 64-bit products may take many instructions
#else
#define SPARSENET_MIX_INLINE inline
#endif

SPARSENET_MIX_INLINE uint64_t mix(uint64_t lane, uint64_t word) {
  return rotate(lane + word * kP2, 31) * kP1;
}
SPARSENET_MIX_INLINE uint64_t merge(uint64_t hash, uint64_t lane) {
  return (hash ^ mix(0, lane)) * kP1 + kP4;
}

}  // namespace

uint64_t xxh64(const void* data, size_t size, uint64_t seed) {
  const auto* p = static_cast<const uint8_t*>(data);
  size_t left = size;
  uint64_t hash = seed + kP5;
  if (left >= 32) {  // four independent lanes over 32-byte stripes
    uint64_t lanes[4] = {seed + kP1 + kP2, seed + kP2, seed, seed - kP1};
    for (; left >= 32; left -= 32) {
      for (uint64_t& lane : lanes) {
        lane = mix(lane, read64(p));
        p += 8;
      }
    }
    hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    for (const uint64_t lane : lanes) hash = merge(hash, lane);
  }
  hash += size;
  for (; left >= 8; p += 8, left -= 8) hash = rotate(hash ^ mix(0, read64(p)), 27) * kP1 + kP4;
  if (left >= 4) {
    hash = rotate(hash ^ read32(p) * kP1, 23) * kP2 + kP3;
    p += 4;
    left -= 4;
  }
  for (; left > 0; ++p, --left) hash = rotate(hash ^ *p * kP5, 11) * kP1;
  hash = (hash ^ (hash >> 33)) * kP2;
  hash = (hash ^ (hash >> 29)) * kP3;
  return hash ^ (hash >> 32);
}

}  // namespace sparsenet
