// Changes single fields of a FlatBuffer so that it remains a valid one, whatever its schema.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <string>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

class FlatBufferMutator {
 public:
  // `schema`: path of a binary schema (flatc --binary --schema). `is_sound`: the generated verifier of the root type;
  // the verifier of the reflection library itself reads beyond the end of damaged buffers.
  FlatBufferMutator(const std::string& schema, bool (*is_sound)(flatbuffers::Verifier&));

  // Makes one change: to a number, to a vector's or string's length or content, to which table or vector a field refers
  // to, or to a missing field. Returns false, without a change, if the bytes are not a FlatBuffer of the schema.
  bool mutate(Random& random, Bytes& buffer, size_t most) const;

 private:
  std::string schema_;
  bool (*is_sound_)(flatbuffers::Verifier&);
};

// Changes a number of `size` bytes (1, 2, 4 or 8) in place: to a nearby value, or to one that bounds checks often miss.
void mutate_number(Random& random, uint8_t* at, size_t size, bool real);

}  // namespace sparsenet::fuzz
