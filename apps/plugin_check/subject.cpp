#include "plugin_check/subject.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {

snp_entry_function load_entry(const std::string& path) {
  // A name without a slash would be searched for where the system has its libraries.
  const std::string place = path.find('/') == std::string::npos ? "./" + path : path;
  void* library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = ::dlerror();
    throw Failure(std::string("expected a shared library: ") + (why ? why : "it cannot be loaded"));
  }
  void* entry = ::dlsym(library, SNP_ENTRY_NAME);
  require(entry != nullptr,
          "expected a plugin, found a library that exports no function " SNP_ENTRY_NAME " (C linkage, SNP_EXPORT)");
  return reinterpret_cast<snp_entry_function>(entry);
}

Subject::Subject(const Settings& settings, Host* host) : settings_(settings), host_(host) {
  const char* why = nullptr;
  plugin_ = load_entry(settings.path)(host->table(), &why);
  require(plugin_ != nullptr, std::string("the plugin refuses this host: ") + (why ? why : "it does not say why"));
  require(plugin_->major == SNP_MAJOR, text("expected a plugin of interface %d, found one of %u: it must be built "
                                            "with the plugin.h of this version",
                                            SNP_MAJOR, plugin_->major));
  require(plugin_->size >= sizeof(snp_plugin), text("expected a table of at least %u bytes, found %u",
                                                    static_cast<unsigned>(sizeof(snp_plugin)), plugin_->size));
}

uint32_t Subject::devices() const {
  uint32_t count = 0;
  const snp_status status = plugin_->count_devices(&count);
  if (status == SNP_NO_DEVICE) throw Failure("there is no device here: " + reason());
  require_ok(status, "count_devices");
  require(count > 0, "count_devices() found 0 devices: expected SNP_NO_DEVICE then");
  return count;
}

snp_options Subject::options(uint32_t precision) const {
  snp_options options{};
  options.struct_size = sizeof options;
  options.device = settings_.device;
  options.precision = precision;
  options.cache_folder = settings_.cache.empty() ? nullptr : settings_.cache.c_str();
  return options;
}

std::string Subject::reason() const {
  const char* why = plugin_->last_error();
  return why && *why ? why : "last_error() gives no reason";
}

void Subject::require_ok(snp_status status, const char* function) const {
  require(status == SNP_OK, text("%s() failed with status %d: %s", function, status, reason().c_str()));
}

void Subject::require_refused(snp_status status, std::initializer_list<snp_status> expected,
                              const std::string& what) const {
  require(status != SNP_OK, what + " was accepted");
  if (std::find(expected.begin(), expected.end(), status) == expected.end()) {
    throw Failure(text("%s: expected status %d, found %d", what.c_str(), *expected.begin(), status));
  }
  const char* why = plugin_->last_error();
  require(why && *why, what + ": refused, but last_error() gives no reason");
  require(!std::strchr(why, '\n'), what + ": the reason in last_error() has a line break");
}

void Subject::require_refused(const snp_plan& plan, const snp_options& options, const std::string& what) const {
  require(!why_not(plan, options).empty(), "supports(): " + what + " was accepted");
  const std::initializer_list<snp_status> expected = {SNP_UNSUPPORTED, SNP_INVALID_ARGUMENT, SNP_NO_DEVICE};
  snp_needs needs{};
  needs.struct_size = sizeof needs;
  require_refused(plugin_->measure(&plan, &options, &needs), expected, "measure(): " + what);
  snp_prepared* prepared = nullptr;
  require_refused(plugin_->prepare(&plan, &options, &prepared), expected, "prepare(): " + what);
  const std::string left = host_->left();
  require(left.empty(), "after prepare() refused " + what + ", it keeps " + left);
}

std::string Subject::why_not(const snp_plan& plan, const snp_options& options) const {
  const size_t count = plan.step_count;
  const Guarded supported(count), reasons(count * sizeof(const char*));
  std::memset(supported.get(), kGarbage, count);
  std::memset(reasons.get(), 0, count * sizeof(const char*));
  if (plugin_->supports(&plan, &options, supported.get(), reasons.get<const char*>()) != SNP_OK) return reason();
  for (size_t i = 0; i < count; ++i) {
    const uint8_t answer = supported.get()[i];
    if (answer == 1) continue;
    require(answer == 0, text("supports(): expected 0 or 1 for each step, found %u", answer));
    const char* why = reasons.get<const char*>()[i];
    require(why && *why, "supports() gives no reason why a step is not supported");
    return why;
  }
  return {};
}

std::optional<Case> Subject::supported_case_of(const Family& family, uint64_t seed) const {
  // Families vary activations and types, of which a plugin may have few.
  constexpr uint64_t kTries = 40, kNextSeed = 1000;
  for (uint64_t i = 0; i < kTries; ++i) {
    Case c = family.make(family.name, seed + i * kNextSeed, false);
    const Wire wire(c);
    if (why_not(wire.plan(), options()).empty()) return c;
  }
  return {};
}

Case Subject::supported_case(uint64_t seed, bool integers) const {
  for (const Family& family : families()) {
    if (family.integers != integers) continue;
    if (std::optional<Case> c = supported_case_of(family, seed)) return std::move(*c);
  }
  throw Skip("no step that it would need is supported");
}

Prepared::Prepared(const Subject& subject, const snp_plan& plan, const snp_options& options) : subject_(subject) {
  subject.require_ok(subject.plugin().prepare(&plan, &options, &prepared_), "prepare");
  require(prepared_ != nullptr, "prepare() returned SNP_OK without a plan");
}

Prepared::~Prepared() {
  subject_.plugin().destroy(prepared_);
}

void Prepared::set_inputs(const Case& c, const std::vector<uint8_t>& arena) {
  for (size_t i = 0; i < c.regions().size(); ++i) {
    const Region& region = c.regions()[i];
    const auto bytes = static_cast<size_t>(region.elements) * rt::size_of(region.type);
    std::vector<uint8_t> data(arena.data() + region.offset, arena.data() + region.offset + bytes);
    subject_.require_ok(
        subject_.plugin().set_input(prepared_, static_cast<uint32_t>(i), data.data(), bytes, SNP_HOST_MEMORY),
        "set_input");
    std::memset(data.data(), kGarbage, bytes);  // the caller may
  }
}

void Prepared::run() {
  subject_.require_ok(subject_.plugin().run(prepared_), "run");
}

std::vector<uint8_t> Prepared::outputs(const Case& c) {
  std::vector<uint8_t> arena = c.arena();
  for (size_t i = 0; i < c.regions().size(); ++i) {
    const Region& region = c.regions()[i];
    const auto bytes = static_cast<size_t>(region.elements) * rt::size_of(region.type);
    std::memset(arena.data() + region.offset, kGarbage, bytes);
    subject_.require_ok(subject_.plugin().get_output(prepared_, static_cast<uint32_t>(i), arena.data() + region.offset,
                                                     bytes, SNP_HOST_MEMORY),
                        "get_output");
  }
  return arena;
}

std::vector<uint8_t> Prepared::result(const Case& c) {
  set_inputs(c, c.arena());
  run();
  return outputs(c);
}

Guarded::Guarded(size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t used = (bytes + page - 1) / page * page;
  all_ = used + page;
  void* pages = ::mmap(nullptr, all_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<uint8_t*>(pages);
  if (::mprotect(pages_ + used, page, PROT_NONE) != 0) throw std::bad_alloc();
  begin_ = pages_ + used - bytes;
}

Guarded::~Guarded() {
  ::munmap(pages_, all_);
}

}  // namespace sparsenet::plugin_check
