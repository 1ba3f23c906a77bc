// The bytes of one element of a MATLAB file, in order: as stored in the file, or inflated.
#pragma once

#include <sparsenet/status.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/file.h"

namespace sparsenet::io {

class MatStream {
 public:
  // Bytes [at, at + size) of the file, which must lie inside it.
  MatStream(const File& file, uint64_t at, uint64_t size, bool compressed);
  ~MatStream();
  MatStream(const MatStream&) = delete;
  MatStream& operator=(const MatStream&) = delete;

  // The most bytes that can still follow. For compressed data this is a bound from deflate's largest expansion.
  uint64_t most_left() const;
  // Reads exactly `bytes`, or fails with an error that says where the file ends or is damaged.
  Status read(void* out, size_t bytes);
  Status skip(uint64_t bytes);
  // Checks that nothing but `padding` bytes follows. Compressed data must match its checksum.
  Status finish(uint64_t padding);

 private:
  Status inflate_some(void* out, size_t bytes, size_t* got);
  Status damaged(const std::string& how) const;

  const File& file_;
  uint64_t begin_, at_, left_;  // of the file's bytes
  bool compressed_;
  z_stream zlib_{};
  bool started_ = false, ended_ = false;
  std::vector<uint8_t> input_;
};

}  // namespace sparsenet::io
