// The elements of a constant on their way from a file to the graph: shared until somebody changes them, used directly
// from the file's bytes if those have the right form, and charged to the conversion's memory budget before any growth.
#pragma once

#include <sparsenet/graph.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "converter/io/memory_budget.h"

namespace sparsenet::converter {

// Used like a std::vector. Copies share their elements; the first change through one of them makes its own copy (so
// reading through a non-const object, by operator[], begin() or data(), may copy). Throws BudgetExceeded if it may not
// grow.
template <class T>
class Elements {
 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  Elements() = default;
  Elements(const Elements&) = default;
  Elements& operator=(const Elements&) = default;
  Elements(Elements&& other) noexcept { swap(other); }
  Elements& operator=(Elements&& other) noexcept {
    Elements taken(std::move(other));
    swap(taken);
    return *this;
  }
  Elements(std::vector<T> values) {  // NOLINT: implicit on purpose; takes the vector over
    if (values.capacity() == 0) return;
    own_ = std::make_shared<Storage>();
    charge(values.capacity());
    own_->values = std::move(values);
    refresh();
  }
  Elements(std::initializer_list<T> values) : Elements(std::vector<T>(values)) {}
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  Elements(Iterator first, Iterator last) {
    append(first, last);
  }
  // Elements stored elsewhere, which live as long as `owner`.
  static Elements view(std::shared_ptr<const void> owner, const T* data, size_t count) {
    Elements out;
    out.owner_ = std::move(owner);
    out.data_ = data;
    out.size_ = count;
    return out;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const T* data() const { return data_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  const T& operator[](size_t i) const { return data_[i]; }
  const T& front() const { return data_[0]; }
  const T& back() const { return data_[size_ - 1]; }
  operator std::vector<T>() const { return {begin(), end()}; }  // NOLINT: implicit on purpose; copies

  friend bool operator==(const Elements& a, const Elements& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

  T* data() { return edit(size_).values.data(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }

  void reserve(size_t count) { edit(count); }
  void clear() { *this = Elements(); }
  void push_back(T value) {
    edit(size_ < own_capacity() ? size_ + 1 : 2 * size_ + 16).values.push_back(value);
    refresh();
  }
  void resize(size_t count, T value = T()) {
    edit(count).values.resize(count, value);
    refresh();
  }
  void assign(size_t count, T value) {
    clear();
    resize(count, value);
  }
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  void assign(Iterator first, Iterator last) {
    *this = Elements(first, last);
  }
  // Inserts at the end, the only place where constants are joined.
  template <class Iterator>
  void insert(const T* /*end*/, Iterator first, Iterator last) {
    append(first, last);
  }
  template <class Iterator>
  void append(Iterator first, Iterator last) {
    const auto more = static_cast<size_t>(std::distance(first, last));
    Storage& storage = edit(size_ + more);
    for (; first != last; ++first) storage.values.push_back(static_cast<T>(*first));
    refresh();
  }

  // The same memory as a constant of the graph.
  Tensor tensor(Shape shape) const {
    Tensor out;
    out.shape = std::move(shape);
    out.owner = own_ ? std::shared_ptr<const void>(own_) : owner_;
    out.data = data_;
    return out;
  }

 private:
  struct Storage {
    MemoryCharge charge;
    std::vector<T> values;
  };

  size_t own_capacity() const { return own_ && own_.use_count() == 1 ? own_->values.capacity() : 0; }

  void charge(size_t count) {
    const uint64_t most = UINT64_MAX / sizeof(T);
    const Status status = own_->charge.raise_to(count > most ? UINT64_MAX : uint64_t{count} * sizeof(T));
    if (!status.ok()) throw BudgetExceeded(status.message());
  }

  // Memory owned by this object alone, with the present elements and room for `count`.
  Storage& edit(size_t count) {
    if (own_ && own_.use_count() == 1 && own_->values.capacity() >= count) return *own_;
    // Charged before it is allocated: while a vector moves to larger memory it needs both.
    Elements fresh;
    fresh.own_ = std::make_shared<Storage>();
    const size_t room = count < size_ ? size_ : count;
    fresh.charge(room);
    fresh.own_->values.reserve(room);
    fresh.own_->values.assign(data_, data_ + size_);
    fresh.refresh();
    *this = std::move(fresh);
    return *own_;
  }
  void swap(Elements& other) noexcept {
    std::swap(own_, other.own_);
    std::swap(owner_, other.owner_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  void refresh() {
    data_ = own_->values.data();
    size_ = own_->values.size();
  }

  std::shared_ptr<Storage> own_;       // elements that can be changed, or
  std::shared_ptr<const void> owner_;  // what keeps `data_` alive
  const T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sparsenet::converter
