// What the process that reads an HDF5 file sends to the converter: records that begin with a RecordKind. Numbers are
// uint64 of this machine, texts have their length in front.
//
//   kAttribute  path, name, count, texts
//   kDataset    path, ElementType, rank, dimensions
//   kElements   the elements of the dataset before it, if they are floats
//   kRefused    subject, reason; also in place of the elements
//   kEnd
#pragma once

#include <cstdint>

#include "converter/io/child_process.h"
#include "converter/weights/hdf5_tree.h"

namespace sparsenet::converter {

enum class RecordKind : uint64_t { kAttribute = 1, kDataset, kElements, kRefused, kEnd };

constexpr uint64_t kMaxHdf5Rank = 8;
constexpr uint64_t kMaxHdf5Texts = uint64_t{1} << 16;
constexpr uint64_t kMaxHdf5Path = 4096;
constexpr uint64_t kMaxHdf5Text = uint64_t{16} << 20;

// Runs in the child. `most_bytes`: of one dataset.
void walk_hdf5(const FileBytes& file, const Hdf5Wanted& wanted, uint64_t most_bytes, ChildOutput* output);

}  // namespace sparsenet::converter
