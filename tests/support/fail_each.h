// Makes the allocations of an action fail: the first, the second, and so on until none fails; each both alone and
// together with all later ones, which leaves no memory even for a message. For programs with heap_counter.cpp.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/status.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "support/heap_counter.h"

namespace sparsenet::test {

// How fail_each proceeds if there are very many allocations: n is followed by n + 1 + n / kept_share.
constexpr int64_t kAll = INT64_MAX;

// During its lifetime, allocations of this thread fail from the n-th on.
class Failing {
 public:
  Failing(int64_t n, bool for_good) {
    heap::failed = false;
    heap::fail_for_good = for_good;
    heap::fail_after = n;
  }
  ~Failing() { heap::fail_after = -1; }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
};

inline StatusCode code_of(const Status& status) {
  return status.code();
}
template <class T>
StatusCode code_of(const Result<T>& result) {
  return result.status().code();
}

// `action` returns a Status or a Result: anything but kOutOfMemory or the result with enough memory is a failure, and
// so is an exception. Returns the number of allocations.
template <class Action>
int64_t fail_each(const std::string& what, Action action, int64_t kept_share = kAll) {
  const StatusCode expected = code_of(action());
  int64_t most = 0;
  for (const bool for_good : {false, true}) {
    const std::string mode = for_good ? " and all after it" : "";
    for (int64_t n = 0;; n += 1 + n / kept_share) {
      StatusCode code = StatusCode::kOk;
      bool thrown = false;
      {
        const Failing failing(n, for_good);
        try {
          code = code_of(action());
        } catch (...) {
          thrown = true;
        }
      }
      if (thrown) {
        FAIL_CHECK(what, ": an exception left the library when allocation ", n, mode, " failed");
        break;
      }
      if (code != expected && code != StatusCode::kOutOfMemory) {
        FAIL_CHECK(what, ": status ", static_cast<int>(code), " when allocation ", n, mode, " failed");
        break;
      }
      if (!heap::failed) {
        CHECK_MESSAGE(code == expected, what);
        most = std::max(most, n);
        break;
      }
    }
  }
  return most;
}

// For functions that may throw std::bad_alloc: they may throw nothing else, and `unchanged` must hold afterwards.
template <class Action, class Unchanged>
void throw_each(const std::string& what, Action action, Unchanged unchanged) {
  for (const bool for_good : {false, true}) {
    for (int64_t n = 0;; ++n) {
      bool thrown = false, other = false;
      {
        const Failing failing(n, for_good);
        try {
          action();
        } catch (const std::bad_alloc&) {
          thrown = true;
        } catch (...) {
          other = true;
        }
      }
      if (other) FAIL_CHECK(what, ": another exception than std::bad_alloc when allocation ", n, " failed");
      if (!thrown) break;
      const bool as_before = unchanged();
      CHECK_MESSAGE(as_before, what, ": something has changed when allocation ", n, " failed");
    }
  }
}

// For functions that need no heap.
template <class Action>
void no_heap(const std::string& what, Action action) {
  bool thrown = false;
  {
    const Failing failing(0, true);
    try {
      action();
    } catch (...) {
      thrown = true;
    }
  }
  CHECK_FALSE_MESSAGE(thrown, what);
  CHECK_FALSE_MESSAGE(heap::failed, what, ": calls the heap");
}

}  // namespace sparsenet::test
