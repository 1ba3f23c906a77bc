// One interface to labelled images in the common formats.
//
//   DATA      cifar10:DIR  cifar100:DIR  svhn:DIR  folder:DIR  npy:IMAGES.npy,LABELS.npy
//   splits    a suffix #train or #test (svhn: also #extra), several joined by +: svhn:DIR#train+extra
//
// Thread safety: const access from several threads is safe, including reading.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/preprocess.h"

namespace sparsenet::io {

// The contents of a folder of images that are not read, so that nobody has to guess why images are missing.
struct LeftOut {
  struct Group {
    int64_t count = 0;
    std::string first;  // path of one of them
    void add(const std::string& path);
    void add(const Group& more);
  };
  std::map<std::string, Group> other_files;  // by extension: neither .png nor .jpg nor .jpeg
  Group loose_images;                        // beside the class folders
  Group empty_folders;                       // without an image, so not a class
  Group inner_folders;                       // inside class folders

  void add(const LeftOut& more);
};
// "2 files of other kinds (.txt 1, .webp 1, as photos/cat/notes.txt), 1 folder without images (photos/old)"; empty if
// nothing is left out.
std::string to_text(const LeftOut& left_out);

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  // A class index, 0 or more. Not checked against any network.
  virtual int64_t label(int64_t index) const = 0;
  // Names of the classes in index order; empty if the format has none.
  virtual const std::vector<std::string>& class_names() const = 0;

  // False for data sets of ready-made tensors: image() is kUnsupported, and nothing is resized or normalised.
  virtual bool holds_images() const { return true; }
  // The decoded pixels.
  virtual Result<Image> image(int64_t index) const = 0;
  // The file that contains this image and no other; empty if images share files.
  virtual std::string source(int64_t) const { return ""; }
  virtual LeftOut left_out() const { return {}; }
  // The network's input for one image: preprocess.elements() values. Ready-made tensors are copied unchanged, and must
  // have the input's shape.
  virtual Status input(int64_t index, const Preprocess& preprocess, float* out) const;
};

struct DataSpec {
  std::string kind;                 // "cifar10", ...
  std::vector<std::string> paths;   // npy: images, labels; else one directory
  std::vector<std::string> splits;  // named by the suffix, or the default
  bool split_given = false;
};

// kInvalidArgument names the accepted forms. Accesses no file.
Result<DataSpec> parse_data_spec(const std::string& text, const std::string& default_split);

// Opens the files and checks their sizes. Errors name the file, what was expected and what was found.
Result<std::unique_ptr<Dataset>> open_dataset(const DataSpec& spec);

// The formats behind open_dataset(), one file each.
Result<std::unique_ptr<Dataset>> open_cifar(const DataSpec& spec);
Result<std::unique_ptr<Dataset>> open_svhn(const DataSpec& spec);
Result<std::unique_ptr<Dataset>> open_folder(const DataSpec& spec);
Result<std::unique_ptr<Dataset>> open_npy(const DataSpec& spec);

// The positions of a data set's class names among a network's labels, so that a folder may contain only some of the
// classes or have them in another order: entry i is the network's index of class i. Empty if the names do not determine
// it (a name is missing or occurs twice): then indices are used unchanged.
std::vector<int64_t> match_labels(const std::vector<std::string>& class_names, const std::vector<std::string>& labels);

}  // namespace sparsenet::io
