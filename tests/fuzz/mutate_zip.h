// Changes what is in a zip archive and writes a sound archive of it.
#pragma once

#include "fuzz/scratch.h"

namespace sparsenet::fuzz {

// `mutate_entry` changes an entry's content; where an entry grows, the archive may come out longer than `most`.
void mutate_zip(Random& random, Bytes& bytes, size_t most, void (*mutate_entry)(Random&, Bytes&, size_t));

// Changes header or data of a .npy file, and mostly keeps the stated length of the header true.
void mutate_npy(Random& random, Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz
