// The table of functions, hosts of other versions, the description and the devices.
#include <cctype>
#include <cstring>

#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

void check_table(Subject& subject, const Settings&, Progress& progress) {
  const snp_plugin& p = subject.plugin();
  const struct {
    bool is_there;
    const char* name;
  } functions[] = {{p.last_error != nullptr, "last_error"},
                   {p.describe != nullptr, "describe"},
                   {p.count_devices != nullptr, "count_devices"},
                   {p.describe_device != nullptr, "describe_device"},
                   {p.supports != nullptr, "supports"},
                   {p.measure != nullptr, "measure"},
                   {p.prepare != nullptr, "prepare"},
                   {p.destroy != nullptr, "destroy"},
                   {p.set_input != nullptr, "set_input"},
                   {p.run != nullptr, "run"},
                   {p.get_output != nullptr, "get_output"}};
  for (const auto& function : functions) {
    require(function.is_there, std::string("expected a function, found none: ") + function.name);
  }
  require((p.run_async != nullptr) == (p.wait != nullptr), "expected both of run_async and wait, found one");
  constexpr uint32_t kKnown = SNP_CAN_FLOAT16 | SNP_CAN_DEVICE_POINTERS | SNP_CAN_TUNE | SNP_READS_FLOAT16;
  require(p.minor > SNP_MINOR || (p.capabilities & ~kKnown) == 0,
          text("capabilities 0x%x: bits that version %d.%d does not have", p.capabilities, SNP_MAJOR, SNP_MINOR));
  progress.note(text("version %u.%u, capabilities 0x%x", p.major, p.minor, p.capabilities));
}

void run_one(const Subject& subject, uint64_t seed) {
  const Case c = subject.supported_case(seed);
  const Wire wire(c);
  Prepared prepared(subject, wire.plan(), subject.options());
  compare(c, reference_run(c), prepared.result(c), 1e-4);
}

void check_other_major(const Settings& settings, Progress&) {
  Host other;
  other.table()->major = SNP_MAJOR + 1;
  const snp_entry_function entry = load_entry(settings.path);
  const char* why = nullptr;
  require(entry(other.table(), &why) == nullptr, text("a host of interface %d was accepted", SNP_MAJOR + 1));
  require(why == nullptr || (*why != 0 && !std::strchr(why, '\n')), "the reason against the host: expected one line");
  require(entry(other.table(), nullptr) == nullptr, "without a place for the reason, the host was accepted");
  Host host;
  run_one(Subject(settings, &host), 0);
}

// The host of a later version has more members, and capabilities that this one does not know.
void check_later_host(const Settings& settings, Progress&) {
  Host host(72);
  host.table()->minor = SNP_MINOR + 7;
  host.table()->capabilities |= 0x80000000u;
  run_one(Subject(settings, &host), 1);
}

void check_bare_host(const Settings& settings, Progress&) {
  Host host;
  host.table()->capabilities = 0;
  host.table()->reserve = nullptr;
  host.table()->release = nullptr;
  host.table()->log = nullptr;
  run_one(Subject(settings, &host), 2);
}

void check_description(Subject& subject, const Settings&, Progress& progress) {
  const Guarded guarded(sizeof(snp_description));
  auto* description = guarded.get<snp_description>();
  *description = {};
  description->struct_size = sizeof *description;
  subject.require_ok(subject.plugin().describe(description), "describe");
  require(description->name && *description->name, "describe(): the plugin has no name");
  for (const char* c = description->name; *c; ++c) {
    require(std::isalnum(static_cast<unsigned char>(*c)) || *c == '-',
            text("describe(): the name '%s': expected letters, digits and '-'", description->name));
  }
  require(description->version && *description->version, "describe(): the plugin has no version");
  Structures<snp_description> longer(1, 24);
  subject.require_ok(subject.plugin().describe(longer.data()), "describe");
  require(subject.plugin().minor > SNP_MINOR || longer.intact(), "describe() wrote beyond the members it knows");
  progress.note(text("%s %s, score %d", description->name, description->version, description->score));
}

void check_devices(Subject& subject, const Settings& settings, Progress& progress) {
  const uint32_t count = subject.devices();
  require(settings.device < count, text("expected --device below %u, found %u", count, settings.device));
  std::string names;
  for (uint32_t i = 0; i < count; ++i) {
    const Guarded guarded(sizeof(snp_device));
    auto* device = guarded.get<snp_device>();
    *device = {};
    device->struct_size = sizeof *device;
    subject.require_ok(subject.plugin().describe_device(i, device), "describe_device");
    require(device->name && *device->name, text("device %u has no name", i));
    require(device->vendor && device->driver, text("device %u: expected a vendor and a driver, if empty", i));
    names += (i == 0 ? "" : "; ") + text("%u: %s", i, device->name);
    Structures<snp_device> longer(1, 16);
    subject.require_ok(subject.plugin().describe_device(i, longer.data()), "describe_device");
    require(subject.plugin().minor > SNP_MINOR || longer.intact(),
            "describe_device() wrote beyond the members it knows");
  }
  for (const uint32_t index : {count, count + 1, UINT32_MAX}) {
    progress.at(text("describe_device(): device %u of %u", index, count));
    snp_device device{};
    device.struct_size = sizeof device;
    subject.require_refused(subject.plugin().describe_device(index, &device), {SNP_NO_DEVICE, SNP_INVALID_ARGUMENT},
                            text("describe_device(): device %u of %u", index, count));
  }
  progress.note(names);
}

// Structures that are shorter than those of version 1.0 have no room for what a plugin fills in. It may refuse them,
// and must not write behind them.
void check_short_structures(Subject& subject, const Settings&, Progress& progress) {
  static constexpr uint32_t kShort = 8;
  const auto short_structure = [](const Guarded& guarded) {
    std::memcpy(guarded.get(), &kShort, sizeof kShort);
    return guarded.get();
  };
  const Guarded a(kShort), b(kShort), c(kShort);
  progress.at("describe() with a structure of 8 bytes");
  (void)subject.plugin().describe(reinterpret_cast<snp_description*>(short_structure(a)));
  progress.at("describe_device() with a structure of 8 bytes");
  (void)subject.plugin().describe_device(0, reinterpret_cast<snp_device*>(short_structure(b)));
  progress.at("measure() with a structure of 8 bytes");
  const Case supported = subject.supported_case(3);
  const Wire wire(supported);
  const snp_options options = subject.options();
  (void)subject.plugin().measure(&wire.plan(), &options, reinterpret_cast<snp_needs*>(short_structure(c)));
}

}  // namespace

void add_table_checks(std::vector<Check>* all) {
  const auto add_alone = [all](const char* name, void (*run)(const Settings&, Progress&)) {
    all->push_back({name, nullptr, false, run});
  };
  all->push_back({"table", check_table});
  add_alone("host of another major version", check_other_major);
  all->push_back({"description", check_description});
  all->push_back({"devices", check_devices});
  add_alone("host of a later minor version", check_later_host);
  add_alone("host without capabilities", check_bare_host);
  all->push_back({"short structures", check_short_structures});
}

}  // namespace sparsenet::plugin_check
