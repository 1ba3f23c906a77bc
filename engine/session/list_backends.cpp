#include <sparsenet/backends.h>

#include "base/guarded.h"
#include "plugin/loader.h"
#include "session/backend_table.h"

namespace sparsenet {
namespace {

std::string text_of(const char* text) {
  return text ? text : "";
}

BackendInfo describe(const Plugin& plugin) {
  BackendInfo info;
  info.name = plugin.name;
  info.version = plugin.version;
  info.path = plugin.path;
  info.float16 = plugin.can(SNP_CAN_FLOAT16);
  const Result<uint32_t> counted = count_devices(plugin);
  Status status = counted.status();
  const uint32_t count = counted.ok() ? *counted : 0;
  for (uint32_t i = 0; i < count; ++i) {
    snp_device device{};
    device.struct_size = sizeof device;
    status = plugin_status(plugin, plugin.table->describe_device(i, &device), "describing its device");
    if (!status.ok()) break;
    info.devices.push_back({text_of(device.name), text_of(device.vendor), text_of(device.driver), device.units,
                            device.memory_bytes, device.max_allocation_bytes});
  }
  info.problem = status.message();
  if (status.ok() && count == 0) info.problem = "backend '" + plugin.name + "': it has no device";
  return info;
}

}  // namespace

std::vector<BackendInfo> list_backends() {
  std::vector<BackendInfo> list;
  for (const Backend backend : {Backend::kAuto, Backend::kPortable, Backend::kOneDnn, Backend::kReference}) {
    if (!find_backend(backend)) continue;
    BackendInfo info;
    info.name = name(backend);
    info.version = version();
    list.push_back(std::move(info));
  }
  const PluginList plugins = find_plugins();
  for (const Plugin* plugin : plugins.plugins) list.push_back(describe(*plugin));
  for (const Status& problem : plugins.problems) {
    BackendInfo info;
    info.problem = problem.message();
    list.push_back(std::move(info));
  }
  return list;
}

Status add_plugin(snp_entry_function entry, const std::string& where) {
  return guarded("adding a plugin", [&]() -> Status {
    if (!entry) return invalid_argument("a plugin: expected its entry function, found none");
    return add_plugin_entry(entry, where);
  });
}

}  // namespace sparsenet
