// Changes single fields of a FlatBuffer so that it stays one, whatever its schema.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <string>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

class FlatBufferMutator {
 public:
  // `schema`: path of a binary schema (flatc --binary --schema). `is_sound`: the generated verifier of the root type;
  // that of the reflection library reads beyond damaged buffers itself.
  FlatBufferMutator(const std::string& schema, bool (*is_sound)(flatbuffers::Verifier&));

  // One change: a number, a vector's or string's length or content, which table or vector a field refers to, a field
  // that is missing. False (and nothing changed): the bytes are no FlatBuffer of the schema.
  bool mutate(Random& random, Bytes& buffer, size_t most) const;

 private:
  std::string schema_;
  bool (*is_sound_)(flatbuffers::Verifier&);
};

// Changes a number of `size` bytes (1, 2, 4 or 8) in place: near it, or to one of those that bounds checks forget.
void mutate_number(Random& random, uint8_t* at, size_t size, bool real);

}  // namespace sparsenet::fuzz
