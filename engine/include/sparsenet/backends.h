// Which backends there are: those of this library, and plugins with their devices.
#pragma once

#include <sparsenet/plugin.h>
#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

struct DeviceInfo {
  std::string name, vendor, driver;
  uint32_t units = 0;                 // compute units, multiprocessors or cores; 0: unknown
  uint64_t memory_bytes = 0;          // 0: unknown
  uint64_t max_allocation_bytes = 0;  // 0: as large as its memory
};

struct BackendInfo {
  std::string name;     // what SessionOptions and `--backend` take; empty: a file that is no usable plugin
  std::string version;  // of the library or the plugin
  std::string path;     // of the plugin; empty: part of this library
  bool float16 = false;
  std::vector<DeviceInfo> devices;  // of plugins
  std::string problem;              // why there is no device or no plugin, in one line; empty: none
};

// All of them; loads every plugin that it finds. docs/backends.md says where plugins are looked for.
std::vector<BackendInfo> list_backends();

// Makes a plugin known that is linked into the program, for systems without shared libraries. `where` says in messages
// where it comes from. Errors: kUnsupported (another version of the interface, or an incomplete table). Thread-safe.
Status add_plugin(snp_entry_function entry, const std::string& where);

}  // namespace sparsenet
