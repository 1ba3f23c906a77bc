#include "cli/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sparsenet::cli {
namespace {

constexpr char kHeading[] = "locked by sparsenet, ";
constexpr int kMostAttempts = 1000;

// Process ids alone would not be unique if containers share a folder.
std::string who_we_are() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return "process " + std::to_string(::getpid()) + (host[0] == '\0' ? "" : " on " + std::string(host));
}

bool read_first_bytes(int descriptor, std::string* out) {
  char text[512];
  ssize_t got = 0;
  do {
    got = ::pread(descriptor, text, sizeof text, 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return false;
  out->assign(text, static_cast<size_t>(got));
  return true;
}

bool write_all(int descriptor, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = ::pwrite(descriptor, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) at += static_cast<size_t>(written);
  }
  return true;
}

// "process 12 on host" from the content of a lock file; empty if the file is not one of ours or not written yet.
std::string owner_in(const std::string& content) {
  if (content.rfind(kHeading, 0) != 0) return {};
  std::string owner;
  for (const char c : content.substr(std::strlen(kHeading))) {
    if (c == '\n') break;
    if (c >= 32 && c < 127) owner += c;
  }
  return owner;
}

enum class Here { kYes, kNo, kUnknown };

// Whether the open file is still the one with this name.
Here is_the_file_at(int descriptor, const std::string& path) {
  struct stat ours {
  }, theirs{};
  if (::fstat(descriptor, &ours) != 0) return Here::kUnknown;
  if (::stat(path.c_str(), &theirs) != 0) return errno == ENOENT ? Here::kNo : Here::kUnknown;
  return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino ? Here::kYes : Here::kNo;
}

}  // namespace

Result<FileLock> FileLock::take(const std::string& path) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
  const std::string file = path + ".lock";
  const auto failed = [&](const char* action) {
    return io_error(file + ": cannot " + action + ": " + std::strerror(errno));
  };
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    std::string name = file, text = kHeading + who_we_are() + "\n";  // made now: later there may be no memory for them
    int opened = ::open(file.c_str(), kFlags | O_CREAT | O_EXCL, 0666);
    const bool created = opened >= 0;
    if (!created && errno == EEXIST) opened = ::open(file.c_str(), kFlags);
    if (opened < 0 && !created && errno == ENOENT && attempt + 1 < kMostAttempts) continue;  // removed in between
    if (opened < 0) return failed("create");
    FileLock lock("", opened);  // no name yet: nothing to remove
    if (::flock(opened, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) {  // locks do not work here
        if (created) ::unlink(file.c_str());
        return lock;
      }
      std::string content;
      (void)read_first_bytes(opened, &content);  // if this fails, the message names nobody
      const std::string owner = owner_in(content);
      return invalid_argument(path + ": " + (owner.empty() ? "another process" : owner) +
                              " is training into this file: wait for its end, stop it, or choose another file");
    }
    // The previous owner may have removed the file between our opening and our locking it.
    const Here here = is_the_file_at(opened, file);
    if (here == Here::kNo) continue;
    if (created) lock.file_.swap(name);  // ours, and so ours to remove, whatever happens from here on
    if (here == Here::kUnknown) return failed("look at");
    std::string content;
    if (!read_first_bytes(opened, &content)) return failed("read");
    if (!content.empty() && owner_in(content).empty()) {
      return io_error(file + ": expected no file, or the lock of an earlier training, found another file");
    }
    if (!created) lock.file_.swap(name);
    if (::ftruncate(opened, 0) != 0 || !write_all(opened, text)) return failed("write");
    return lock;
  }
  return io_error(file + ": cannot lock: other processes come and go");
}

FileLock::FileLock(FileLock&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {
  other.file_.clear();
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  // In this order: once the lock is released, the file with this name may belong to another process.
  if (!file_.empty()) ::unlink(file_.c_str());
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace sparsenet::cli
