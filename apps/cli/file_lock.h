// Lets only one process at a time write a file that is rewritten again and again.
#pragma once

#include <sparsenet/status.h>

#include <string>
#include <utility>

namespace sparsenet::cli {

// A claim on `path`: a lock (flock) on a file PATH.lock beside it, whose content says who holds it. The lock ends with
// the process, however that ends; the file is removed by its holder, or else by the next one to hold the lock.
class FileLock {
 public:
  // Errors: kInvalidArgument names the process that holds the lock; kIo: PATH.lock cannot be created, or is not a file
  // of ours. On a file system without locks every claim is granted.
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
