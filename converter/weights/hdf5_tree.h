// The datasets and the text attributes of an HDF5 file.
#pragma once

#include <sparsenet/graph.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "converter/io/file_bytes.h"
#include "converter/io/numeric.h"

namespace sparsenet::converter {

struct Hdf5Dataset {
  std::string path;  // "layers/conv2d/vars/0"
  ElementType type = ElementType::kFloat32;
  Shape shape;
  FileBytes data;  // little-endian, row-major; empty unless `type` is a float
};

struct Hdf5Tree {
  std::vector<Hdf5Dataset> datasets;  // in the alphabetical order of their paths' parts
  // By the group's path ("" is the root) and the attribute's name: its texts, one if it is not a list.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> attributes;
  MemoryCharge charge;  // for paths and attributes

  // Null: there is none.
  const std::vector<std::string>* attribute(const std::string& path, const std::string& name) const;
};

struct Hdf5Wanted {
  std::vector<std::string> attributes;        // of groups, where they are texts
  std::vector<std::string> attribute_series;  // NAME0, NAME1, ...: long lists are stored in parts
  std::vector<std::string> skipped_groups;    // paths
};

// Reads a whole file in memory. libhdf5 does it, in a process of its own (child_process.h), because damaged files crash
// it. Refused are links other than hard ones, objects that are reached twice, elements in other files, filters that are
// not a part of the library, and elements that are neither integers nor float16, float32 or float64. An error that says
// what to do if this program was built without libhdf5.
Result<Hdf5Tree> read_hdf5(const FileBytes& file, const Hdf5Wanted& wanted);

// Lets something else than libhdf5 read these files from now on, by the same rules. To be called before any conversion.
using Hdf5Reader = Result<Hdf5Tree> (*)(const FileBytes& file, const Hdf5Wanted& wanted);
void set_hdf5_reader(Hdf5Reader reader);

}  // namespace sparsenet::converter
