// What a file is, told by its first bytes, its name and, of a zip archive, its list of entries: for messages that send
// people the right way. Nothing here is needed to read a file; the readers check for themselves.
#pragma once

#include <sparsenet/status.h>

#include <string>

namespace sparsenet::io {

struct FileKind {
  enum class Group {
    kUnknown,
    kSnet,      // a model file of ours
    kGraph,     // sparsenet-convert reads it as it is
    kWeights,   // sparsenet-convert reads it with --arch
    kForeign,   // nothing here reads it; `way` leads on
    kNotAModel  // a web page, an archive, a picture, an empty file: `way` says what probably happened
  };
  Group group = Group::kUnknown;
  std::string what;      // with its article: "an ONNX file", "a TensorFlow SavedModel folder"
  std::string way;       // a sentence without a full stop; empty for kUnknown and kSnet
  bool by_name = false;  // the name alone says so, the content does not contradict
};

// Reads at most a few hundred KiB of the file, or the names in the folder. kUnknown where it cannot be read.
FileKind file_kind(const std::string& path);

// For programs that run .snet files: `failure` as it is where the file at `path` may be one (or is missing, or cannot
// be read), else an error that says what it is and how to come to a .snet file.
Status explain_not_snet(const std::string& path, const Status& failure);

}  // namespace sparsenet::io
