// One process at a time for a file that is written again and again.
#pragma once

#include <sparsenet/status.h>

#include <string>
#include <utility>

namespace sparsenet::cli {

// A claim on `path`, held through the lock (flock) of a file PATH.lock beside it that says who has it. The lock ends
// with the process, however that ends; the file is removed by whoever held it, or else by the next one to hold it.
class FileLock {
 public:
  // Errors: kInvalidArgument names the process that has the file; kIo: PATH.lock cannot be made, or is no file of ours.
  // A file system without locks grants every claim.
  static Result<FileLock> take(const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  FileLock(std::string file, int descriptor) : file_(std::move(file)), descriptor_(descriptor) {}

  std::string file_;
  int descriptor_;
};

}  // namespace sparsenet::cli
