// XXH64, the 64-bit hash of the xxHash family: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
// It detects accidental damage almost certainly. It is not a signature: anyone can make a file whose checksum fits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparsenet {

// The hash of `size` bytes at `data` (any alignment; may be null when size is 0). It is the same on every host.
uint64_t xxh64(const void* data, size_t size, uint64_t seed = 0);

}  // namespace sparsenet
