// sparsenet devices: which backends and devices this machine has.
#include <sparsenet/backends.h>

#include <cstdio>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"

namespace sparsenet::cli {
namespace {

constexpr const char* kDevicesExamples =
    R"(Plugins are files libsparsenet_NAME.so in the folders of SPARSENET_PLUGIN_PATH (which may also name files), beside the
program, in ../lib/sparsenet beside it, and where they were installed.

Examples:
  sparsenet devices
  sparsenet devices --json
  sparsenet run net.snet --backend opencl:1 --input x.npy --output y.npy)";

Json device_json(const DeviceInfo& device, size_t index) {
  return {{"index", index},
          {"name", device.name},
          {"vendor", device.vendor},
          {"driver", device.driver},
          {"units", device.units},
          {"memory_bytes", device.memory_bytes},
          {"max_allocation_bytes", device.max_allocation_bytes}};
}

Json devices_json(const std::vector<BackendInfo>& backends) {
  Json json = Json::object();
  json["version"] = version();
  json["cpus"] = usable_cpus();
  json["bf16"] = is_available(Precision::kBfloat16);
  json["backends"] = Json::array();
  json["problems"] = Json::array();
  for (const BackendInfo& backend : backends) {
    if (backend.name.empty()) {
      json["problems"].push_back(backend.problem);
      continue;
    }
    Json entry = {{"name", backend.name}, {"version", backend.version}};
    if (!backend.path.empty()) {
      entry["path"] = backend.path;
      entry["f16"] = backend.float16;
      entry["devices"] = Json::array();
      for (size_t i = 0; i < backend.devices.size(); ++i)
        entry["devices"].push_back(device_json(backend.devices[i], i));
    }
    if (!backend.problem.empty()) entry["problem"] = backend.problem;
    json["backends"].push_back(std::move(entry));
  }
  return json;
}

void print_devices(const std::vector<BackendInfo>& backends) {
  std::printf("sparsenet %s, %d CPU%s that this process may use%s\n\n", version().c_str(), usable_cpus(),
              usable_cpus() == 1 ? "" : "s", is_available(Precision::kBfloat16) ? ", with bf16" : "");
  for (const BackendInfo& backend : backends) {
    if (backend.name.empty()) {
      std::printf("not a usable plugin: %s\n", backend.problem.c_str());
    } else if (backend.path.empty()) {
      std::printf("%-10s on the CPU\n", backend.name.c_str());
    } else {
      std::printf("%-10s plugin %s, %s\n", backend.name.c_str(), backend.version.c_str(), backend.path.c_str());
      if (!backend.problem.empty()) std::printf("             %s\n", backend.problem.c_str());
    }
    for (size_t i = 0; i < backend.devices.size(); ++i) {
      const DeviceInfo& d = backend.devices[i];
      std::printf("  %s:%zu  %s (%s), driver %s", backend.name.c_str(), i, d.name.c_str(), d.vendor.c_str(),
                  d.driver.c_str());
      if (d.units > 0) std::printf(", %u units", d.units);
      if (d.memory_bytes > 0) std::printf(", %s", bytes_text(d.memory_bytes).c_str());
      std::printf("\n");
    }
  }
}

int devices(bool json) {
  const std::vector<BackendInfo> backends = list_backends();
  if (json) {
    print_json(devices_json(backends));
  } else {
    print_devices(backends);
  }
  return kDone;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("devices", "List backends, devices, their memory and versions");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print one JSON document");
  command->footer(kDevicesExamples);
  command->callback([&action, json] { action = [json] { return devices(*json); }; });
}

}  // namespace sparsenet::cli
