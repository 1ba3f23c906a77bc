// What killed writers leave beside a file is removed by the next one; the files of a living writer are not.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sparsenet/model.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "support/scratch_folder.h"

using namespace sparsenet;
namespace fs = std::filesystem;

namespace {

std::string content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void put(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Status write(const std::string& path, const std::string& text) {
  return write_file_atomically(path, text.data(), text.size());
}

// Runs `work` in a separate process. Its return value becomes the exit code, returned here as by a shell.
template <class Work>
int in_child(const Work& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(work());
  int state = 0;
  REQUIRE(::waitpid(child, &state, 0) == child);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

using Names = std::vector<std::string>;

TEST_CASE("writers that were killed: their temporaries go with the next write of the same file, and nothing else") {
  const test::ScratchFolder scratch;
  const std::string path = scratch.file("file");
  const std::string left = path + ".tmp-00000000000000", other = scratch.file("file2.tmp-0000000000000001");
  for (const char* end : {"01", "02", "ff"}) put(left + end, "half");
  fs::permissions(left + "02", fs::perms::owner_read);
  put(other, "of another file");
  // Names that only look similar.
  put(path + ".tmp-0000000000000G01", "");
  put(path + ".tmp-12-0", "");
  put(path + ".tmp-", "");
  fs::create_directory(left + "dd");
  fs::create_symlink("file2.tmp-0000000000000001", left + "ee");
  REQUIRE(write(path, "new").ok());
  CHECK(content(path) == "new");
  CHECK(content(other) == "of another file");
  CHECK(scratch.names() == Names{"file", "file.tmp-", "file.tmp-00000000000000dd", "file.tmp-00000000000000ee",
                                 "file.tmp-0000000000000G01", "file.tmp-12-0", "file2.tmp-0000000000000001"});
}

TEST_CASE("a temporary whose writer lives stays, and goes once the writer was killed") {
  const test::ScratchFolder scratch;
  const std::string path = scratch.file("file"), temporary = path + ".tmp-0123456789abcdef";
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t writer = ::fork();
  REQUIRE(writer >= 0);
  if (writer == 0) {
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
    const bool locked = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)!::write(ready[1], locked ? "y" : "n", 1);
    for (;;) ::pause();
  }
  char answer = 0;
  REQUIRE(::read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  CHECK(write(path, "one").ok());
  CHECK(scratch.names() == Names{"file", "file.tmp-0123456789abcdef"});
  ::kill(writer, SIGKILL);
  REQUIRE(::waitpid(writer, nullptr, 0) == writer);
  CHECK(write(path, "two").ok());
  CHECK(scratch.names() == Names{"file"});
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a writer holds a lock on its temporary from its first byte to its name") {
  // Uses a real writer in a loop, so that write_file_atomically is tested and not the code above. The file is large, so
  // that writing takes long enough to be observed (a pipe that nobody empties would not do). Every file found must be
  // locked until it is gone.
  const test::ScratchFolder scratch;
  const std::string path = scratch.file("file"), bytes(size_t{32} << 20, 'x');
  const pid_t writer = ::fork();
  REQUIRE(writer >= 0);
  if (writer == 0) {
    for (;;) {
      if (!write(path, bytes).ok()) ::_exit(1);
    }
  }
  int seen = 0;
  for (int i = 0; i < 20000 && seen < 20; ++i) {
    for (const std::string& name : scratch.names()) {
      if (name == "file") continue;
      const int fd = ::open(scratch.file(name).c_str(), O_RDONLY);
      struct stat info {};
      if (fd < 0 || ::fstat(fd, &info) != 0 || info.st_size == 0) {
        if (fd >= 0) ::close(fd);
        continue;
      }
      ++seen;
      const bool ours = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
      // If it can be locked, it must have been renamed already.
      if (ours) CHECK_FALSE(fs::exists(scratch.file(name)));
      ::close(fd);
    }
    ::usleep(500);
  }
  CHECK(seen > 0);
  ::kill(writer, SIGKILL);
  REQUIRE(::waitpid(writer, nullptr, 0) == writer);
  REQUIRE(write(path, "end").ok());
  CHECK(scratch.names() == Names{"file"});
}

TEST_CASE("many writers of one file at once: each of them succeeds, one of them wins, nothing is left") {
  const test::ScratchFolder scratch;
  const std::string path = scratch.file("file");
  const auto work = [&](char letter) {
    const std::string text(50000, letter);
    for (int i = 0; i < 50; ++i) {
      if (!write(path, text).ok()) return 1;
    }
    return 0;
  };
  std::vector<pid_t> children;
  for (const char letter : {'a', 'b', 'c'}) {
    children.push_back(::fork());
    REQUIRE(children.back() >= 0);
    if (children.back() == 0) ::_exit(work(letter));
  }
  int here[2] = {1, 1};
  std::thread beside([&] { here[0] = work('d'); });
  here[1] = work('e');
  beside.join();
  CHECK(here[0] + here[1] == 0);
  for (const pid_t child : children) {
    int state = 0;
    REQUIRE(::waitpid(child, &state, 0) == child);
    CHECK((WIFEXITED(state) && WEXITSTATUS(state) == 0));
  }
  const std::string end = content(path);
  CHECK(end.size() == 50000);
  CHECK(end.find_first_not_of(end[0]) == std::string::npos);
  CHECK(scratch.names() == Names{"file"});
}

TEST_CASE("a limit on the size of files is an error, not the end of the program that uses the library") {
  const test::ScratchFolder scratch;
  const std::string path = scratch.file("file");
  REQUIRE(write(path, "old").ok());
  const int code = in_child([&] {
    std::signal(SIGXFSZ, SIG_DFL);
    const rlimit small{1000, 1000};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) return 3;
    const Status status = write(path, std::string(5000, 'x'));
    if (status.code() != StatusCode::kIo || status.message() != path + ": cannot write: File too large") return 4;
    sigset_t now;
    if (::pthread_sigmask(SIG_SETMASK, nullptr, &now) != 0 || ::sigismember(&now, SIGXFSZ) != 0) return 5;
    return ::sigpending(&now) == 0 && ::sigismember(&now, SIGXFSZ) == 0 ? 0 : 6;
  });
  CHECK(code == 0);
  CHECK(content(path) == "old");
  CHECK(scratch.names() == Names{"file"});
}

TEST_CASE("a name as long as the file system allows has room for its temporary") {
  const test::ScratchFolder scratch;
  const std::string name(255, 'n');
  REQUIRE(write(scratch.file(name), "a").ok());
  REQUIRE(write(scratch.file(name), "b").ok());
  CHECK(content(scratch.file(name)) == "b");
  CHECK(scratch.names() == Names{name});
}

}  // namespace
