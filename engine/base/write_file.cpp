// Writes whole files so that they are there completely or not at all. POSIX.
//
// The bytes go into a temporary file beside the target, which is renamed over it once all of them are safely stored. A
// writer holds a lock (flock) on its temporary. The lock ends with the process, whatever ends it, so a temporary that
// can be locked is one that nobody will finish, and the next writer of the same file removes it. Process ids would not
// show that, because containers use the same few again and again.
#include <dirent.h>
#include <fcntl.h>
#include <sparsenet/model.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>

#include "base/descriptor.h"
#include "base/guarded.h"

namespace sparsenet {
namespace {

constexpr size_t kDigits = 16;       // random hexadecimal digits in a temporary's name
constexpr size_t kMostStem = 200;    // so that names stay below the 255 bytes that file systems allow
constexpr int kMostAttempts = 1000;  // to create a temporary: one is enough unless another process interferes

// A file's path in parts: where its temporaries lie, and how their names begin.
struct Place {
  explicit Place(const std::string& path) {
    const size_t slash = path.rfind('/');
    folder = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
    // Two long file names may share a stem. That does no harm: writers of one clean up for the other.
    stem = path.substr(slash == std::string::npos ? 0 : slash + 1).substr(0, kMostStem) + ".tmp-";
  }
  std::string path_of(const std::string& name) const { return folder + "/" + name; }
  bool is_temporary(const std::string& name) const {
    return name.size() == stem.size() + kDigits && name.compare(0, stem.size(), stem) == 0 &&
           name.find_first_not_of("0123456789abcdef", stem.size()) == std::string::npos;
  }

  std::string folder, stem;
};

std::string random_name(const std::string& stem) {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof bits)) {
    // Just after booting there may be no random bytes yet. The file is created only if its name is free, so the name
    // need not be unpredictable.
    static std::atomic<uint64_t> counter{0};
    bits = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) ^
           static_cast<uint64_t>(::getpid()) << 40 ^ ++counter << 20;
  }
  char digits[kDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(bits));
  return stem + digits;
}

enum class Lock { kHeld, kTaken, kUnavailable };  // held by us; held by another; the file system has no locks

Lock try_lock(int fd) {
  int result = 0;
  do {
    result = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Lock::kHeld;
  return errno == EWOULDBLOCK ? Lock::kTaken : Lock::kUnavailable;
}

// Removes a temporary whose writer is gone. In doubt it stays: if we may not open it, or if the file system has no
// locks.
void remove_if_abandoned(const std::string& path) {
  constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  int opened = ::open(path.c_str(), O_RDWR | kFlags);  // some file systems need this for an exclusive lock
  if (opened < 0 && errno == EACCES) opened = ::open(path.c_str(), O_RDONLY | kFlags);
  const Descriptor fd(opened);
  struct stat info {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  // Removed while we hold the lock: a writer that has created the file but not locked it yet will notice.
  if (try_lock(fd.get()) == Lock::kHeld) ::unlink(path.c_str());
}

void remove_abandoned(const Place& place) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(place.folder.c_str()), ::closedir);
  if (folder == nullptr) return;  // creating a file there will say why
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (place.is_temporary(name)) remove_if_abandoned(place.path_of(name));
  }
}

// A new file that is removed at the end of its scope unless it has been renamed.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { discard(); }

  // 0, or the system's error number.
  int create(const Place& place, mode_t mode) {
    for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
      path_ = place.path_of(random_name(place.stem));
      fd_.emplace(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
      const int error = errno;
      if (fd_->get() < 0) {
        path_.clear();
        if (error == EEXIST) continue;
        return error;
      }
      // Before it was locked, another writer's cleanup may have taken it for abandoned: then it is gone, or soon will
      // be.
      struct stat info {};
      const Lock lock = try_lock(fd_->get());
      if (lock != Lock::kTaken && (::fstat(fd_->get(), &info) != 0 || info.st_nlink > 0)) return 0;
      discard();
    }
    return EEXIST;
  }

  int fd() const { return fd_->get(); }
  // Some file systems report only in close() that the data could not be stored. Closing our descriptor would release
  // the lock, though, which must last until the file has its final name. So a duplicate of the descriptor is closed
  // instead, if there is one to be had.
  int close_a_copy() const {
    const int copy = ::fcntl(fd(), F_DUPFD_CLOEXEC, 0);
    return copy >= 0 && ::close(copy) != 0 && errno != EINTR ? errno : 0;
  }
  int rename_to(const std::string& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) return errno;
    path_.clear();
    return 0;
  }

 private:
  void discard() {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }
  std::string path_;
  std::optional<Descriptor> fd_;
};

// During its lifetime, writing beyond the limit on file sizes (ulimit -f) makes write() fail with EFBIG in this thread
// instead of raising a signal that ends the process.
class SizeLimitIsAnError {
 public:
  SizeLimitIsAnError() {
    sigset_t pending;
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    was_pending_ = ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGXFSZ) == 1;
    blocked_ = ::pthread_sigmask(SIG_BLOCK, &signal_, &before_) == 0;
  }
  SizeLimitIsAnError(const SizeLimitIsAnError&) = delete;
  SizeLimitIsAnError& operator=(const SizeLimitIsAnError&) = delete;
  ~SizeLimitIsAnError() {
    if (!blocked_) return;
    const timespec at_once{};
    if (!was_pending_) (void)::sigtimedwait(&signal_, nullptr, &at_once);
    (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t signal_, before_;
  bool was_pending_ = false, blocked_ = false;
};

// 0, or the system's error number.
int write_all(int fd, const uint8_t* data, size_t size) {
  constexpr size_t kChunk = size_t{1} << 30;  // some systems refuse single writes of 2 GiB and more
  const SizeLimitIsAnError guard;
  while (size > 0) {
    const ssize_t written = ::write(fd, data, std::min(size, kChunk));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
  return 0;
}

// The new name must survive a power cut too, so its directory is synced. It is no error if the file system cannot do
// that, because the file is whole in any case.
void sync_folder(const std::string& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) (void)::fsync(fd.get());
}

Status write_file(const std::string& path, const void* data, size_t size) {
  // If the path is a symbolic link, the file that it points to is replaced, not the link.
  std::string target = path;
  if (const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free); resolved) {
    target = resolved.get();
  } else if (errno == ENOMEM) {
    return no_memory("writing a file", path);
  } else if (errno != ENOENT) {  // a link whose target is unknown must not be replaced itself
    return system_failure(path, "resolve", errno);
  }
  mode_t mode = 0666;
  struct stat info {};
  const bool exists = ::stat(target.c_str(), &info) == 0;
  if (exists) {
    // Renaming over a device such as /dev/null would destroy it.
    if (!S_ISREG(info.st_mode)) {
      return io_error(path + ": expected a regular file or none, found " +
                      (S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe"));
    }
    mode = info.st_mode & 0777;
  }
  const Place place(target);
  remove_abandoned(place);
  TemporaryFile file;
  if (const int error = file.create(place, mode); error != 0) {
    return system_failure(path, "create a file beside it", error);
  }
  if (exists) (void)::fchmod(file.fd(), mode);  // the mode of the file that is replaced, regardless of the umask
  if (const int error = write_all(file.fd(), static_cast<const uint8_t*>(data), size); error != 0) {
    return system_failure(path, "write", error);
  }
  if (::fsync(file.fd()) != 0 && errno != EINVAL && errno != ENOTSUP) return system_failure(path, "sync", errno);
  if (const int error = file.close_a_copy(); error != 0) return system_failure(path, "close", error);
  if (const int error = file.rename_to(target); error != 0) return system_failure(path, "rename to", error);
  sync_folder(place.folder);
  return {};
}

}  // namespace

Status write_file_atomically(const std::string& path, const void* data, size_t size) {
  return guarded("writing a file", path, [&] { return write_file(path, data, size); });
}

}  // namespace sparsenet
