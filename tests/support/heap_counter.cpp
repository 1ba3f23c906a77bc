#include "support/heap_counter.h"

#include <cerrno>
#include <cstdlib>
#include <new>

namespace sparsenet::test::heap {

std::atomic<bool> counting{false};
std::atomic<int64_t> calls{0}, frees{0};
thread_local int64_t fail_after = -1;
thread_local bool fail_for_good = false;
thread_local bool failed = false;

}  // namespace sparsenet::test::heap

using namespace sparsenet::test::heap;

namespace {

// Whether the allocation may proceed.
bool admit() {
  if (counting.load(std::memory_order_relaxed)) calls.fetch_add(1, std::memory_order_relaxed);
  if (fail_after < 0) return true;
  if (fail_after-- > 0) return true;
  if (fail_for_good) fail_after = 0;
  failed = true;
  errno = ENOMEM;  // as POSIX requires of malloc and similar functions
  return false;
}

void count_free(const void* p) {
  if (p && counting.load(std::memory_order_relaxed)) frees.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

#if SPARSENET_OWN_MALLOC
#pragma GCC visibility push(default)  // if hidden, libraries would not find ours and call libc's
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) {
  return admit() ? __libc_malloc(size) : nullptr;
}
void* calloc(size_t count, size_t size) {
  return admit() ? __libc_calloc(count, size) : nullptr;
}
void* realloc(void* p, size_t size) {
  count_free(p);
  return admit() ? __libc_realloc(p, size) : nullptr;
}
void* memalign(size_t alignment, size_t size) {
  return admit() ? __libc_memalign(alignment, size) : nullptr;
}
void* aligned_alloc(size_t alignment, size_t size) {
  return admit() ? __libc_memalign(alignment, size) : nullptr;
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  void* p = admit() ? __libc_memalign(alignment, size) : nullptr;
  if (!p) return ENOMEM;
  *out = p;
  return 0;
}
void free(void* p) {
  count_free(p);
  __libc_free(p);
}
}
#pragma GCC visibility pop

namespace {
void* raw_allocate(size_t size) {
  return admit() ? __libc_malloc(size ? size : 1) : nullptr;
}
void* raw_allocate(size_t size, size_t alignment) {
  return admit() ? __libc_memalign(alignment, size) : nullptr;
}
void raw_free(void* p) {
  count_free(p);
  __libc_free(p);
}
}  // namespace
#else
namespace {
void* raw_allocate(size_t size) {
  return admit() ? std::malloc(size ? size : 1) : nullptr;
}
void* raw_allocate(size_t size, size_t alignment) {
  return admit() ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment) : nullptr;
}
void raw_free(void* p) {
  count_free(p);
  std::free(p);
}
}  // namespace
#endif

void* operator new(size_t size) {
  if (void* p = raw_allocate(size)) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t size) {
  return ::operator new(size);
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return raw_allocate(size);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return raw_allocate(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  if (void* p = raw_allocate(size, static_cast<size_t>(alignment))) return p;
  throw std::bad_alloc();
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return ::operator new(size, alignment);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return raw_allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return raw_allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* p) noexcept {
  raw_free(p);
}
void operator delete[](void* p) noexcept {
  raw_free(p);
}
void operator delete(void* p, size_t) noexcept {
  raw_free(p);
}
void operator delete[](void* p, size_t) noexcept {
  raw_free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  raw_free(p);
}
void operator delete[](void* p, std::align_val_t) noexcept {
  raw_free(p);
}
void operator delete(void* p, size_t, std::align_val_t) noexcept {
  raw_free(p);
}
void operator delete[](void* p, size_t, std::align_val_t) noexcept {
  raw_free(p);
}
