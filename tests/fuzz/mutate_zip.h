// Changes the contents of a zip archive and writes a valid archive from them.
#pragma once

#include "fuzz/scratch.h"

namespace sparsenet::fuzz {

// `mutate_entry` changes an entry's content; if entries grow, the archive may become longer than `most`.
void mutate_zip(Random& random, Bytes& bytes, size_t most, void (*mutate_entry)(Random&, Bytes&, size_t));

// Changes header or data of a .npy file, and usually keeps the stated length of the header correct.
void mutate_npy(Random& random, Bytes& bytes, size_t most);

}  // namespace sparsenet::fuzz
