// Determines what a file is from its first bytes, its name and, for a zip archive, its list of entries: for messages
// that point users in the right direction. Nothing here is needed to read a file; the readers check for themselves.
#pragma once

#include <sparsenet/status.h>

#include <string>

namespace sparsenet::io {

struct FileKind {
  enum class Group {
    kUnknown,
    kSnet,      // a model file of ours
    kGraph,     // sparsenet-convert reads it without further options
    kWeights,   // sparsenet-convert reads it with --arch
    kForeign,   // nothing here reads it; `way` says how to proceed
    kNotAModel  // a web page, an archive, a picture, an empty file: `way` says what probably happened
  };
  Group group = Group::kUnknown;
  std::string what;      // including the article: "an ONNX file", "a TensorFlow SavedModel folder"
  std::string way;       // a sentence without a full stop; empty for kUnknown and kSnet
  bool by_name = false;  // only the name says so; the content does not contradict
};

// Reads at most a few hundred KiB of the file, or the names in the folder. kUnknown if it cannot be read.
FileKind file_kind(const std::string& path);

// For programs that run .snet files: returns `failure` unchanged if the file at `path` may be one (or is missing, or
// cannot be read), else an error that says what it is and how to get a .snet file from it.
Status explain_not_snet(const std::string& path, const Status& failure);

}  // namespace sparsenet::io
