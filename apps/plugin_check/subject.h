// Subject: the plugin that is checked, and what checks do with it.
#pragma once

#include <sparsenet/plugin.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "plugin_check/case.h"
#include "plugin_check/families.h"
#include "plugin_check/host.h"
#include "plugin_check/wire.h"

namespace sparsenet::plugin_check {

struct Settings {
  std::string path;
  uint64_t seeds = 20;  // random cases of each kind
  uint32_t device = 0;
  std::string cache;       // folder of compiled kernels; empty: none
  unsigned timeout = 120;  // seconds for one check
};

// The function that a plugin exports. Throws Failure with one line that says what is wrong with the file.
snp_entry_function load_entry(const std::string& path);

class Subject {
 public:
  // Loads the plugin and takes its table. Throws Failure.
  Subject(const Settings& settings, Host* host);

  const snp_plugin& plugin() const { return *plugin_; }
  Host& host() const { return *host_; }
  bool can(uint32_t capability) const { return (plugin_->capabilities & capability) != 0; }
  uint32_t devices() const;
  snp_options options(uint32_t precision = SNP_FLOAT32) const;  // with the device and the cache of the settings

  // The reason that the plugin gave for its last failure.
  std::string reason() const;
  void require_ok(snp_status status, const char* function) const;
  // Whether a call was refused in one of these ways, with a reason in one line.
  void require_refused(snp_status status, std::initializer_list<snp_status> expected, const std::string& what) const;
  // The same for a plan: supports(), measure() and prepare() must all say no, and leave nothing behind.
  void require_refused(const snp_plan& plan, const snp_options& options, const std::string& what) const;

  // Empty if all steps are supported, else the first reason against one.
  std::string why_not(const snp_plan& plan, const snp_options& options) const;
  // A case of the family that is supported, of this seed or of others; nothing if none was found.
  std::optional<Case> supported_case_of(const Family& family, uint64_t seed) const;
  // A case of the first family that has one, of integers or of float32. Throws Skip if there is none.
  Case supported_case(uint64_t seed, bool integers = false) const;

 private:
  const Settings& settings_;
  Host* host_;
  const snp_plugin* plugin_;
};

// A prepared plan of a case. All functions throw Failure.
class Prepared {
 public:
  Prepared(const Subject& subject, const snp_plan& plan, const snp_options& options);
  ~Prepared();
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  snp_prepared* get() const { return prepared_; }
  void set_inputs(const Case& c, const std::vector<uint8_t>& arena);
  void run();
  std::vector<uint8_t> outputs(const Case& c);
  // All three, from the case's own arena.
  std::vector<uint8_t> result(const Case& c);

 private:
  const Subject& subject_;
  snp_prepared* prepared_ = nullptr;
};

// Memory behind which the next byte must not be touched: the process ends if it is.
class Guarded {
 public:
  explicit Guarded(size_t bytes);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T = uint8_t>
  T* get() const {
    return reinterpret_cast<T*>(begin_);
  }

 private:
  uint8_t *pages_, *begin_;
  size_t all_;
};

}  // namespace sparsenet::plugin_check
