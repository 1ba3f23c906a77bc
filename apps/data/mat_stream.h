// The bytes of one element of a MATLAB file, in order: as they stand in the file, or inflated.
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

  // The most bytes that can still come. For compressed ones a bound by what deflate can make of them.
  uint64_t most_left() const;
  // Exactly `bytes`, or an error that says where the file ends or is damaged.
  Status read(void* out, size_t bytes);
  Status skip(uint64_t bytes);
  // Nothing more may come but `padding` bytes. Compressed data must fit its checksum.
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
