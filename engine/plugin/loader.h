// Finds backend plugins and loads them. A plugin that was loaded stays for as long as the process runs, because drivers
// keep threads and data of their own.
#pragma once

#include <sparsenet/plugin.h>
#include <sparsenet/status.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet {

struct Plugin {
  std::string name, version;
  std::string path;  // of its file, or what add_plugin() was told
  int32_t score = 0;
  uint32_t capabilities = 0;
  const snp_plugin* table = nullptr;
  // 1 + fork_generation() (base/forks.h) of the process that has called its driver; 0: none has.
  std::unique_ptr<std::atomic<uint32_t>> used_in = std::make_unique<std::atomic<uint32_t>>(0);

  bool can(uint32_t capability) const { return (capabilities & capability) != 0; }
};

// Whether a function of the table is there. (A macro, because the table of an older plugin ends earlier.)
#define SPARSENET_PLUGIN_HAS(plugin, function)                                                                       \
  (offsetof(snp_plugin, function) + sizeof((plugin).table->function) <= static_cast<size_t>((plugin).table->size) && \
   (plugin).table->function)

// Adds a plugin that is part of the program. `where` says in messages where it comes from. Errors: those of
// load_plugin().
Status add_plugin_entry(snp_entry_function entry, const std::string& where);

// Loads a plugin from its file, or returns the one that was loaded before. Errors: kNotFound (no such file),
// kUnsupported (not a library for this machine, no plugin, one for another interface, one that lacks what every plugin
// must have); they begin with the path and have the system's own text.
Result<const Plugin*> load_plugin(const std::string& path);

// The plugin of this name with the highest score: of those added, of files named by SPARSENET_PLUGIN_PATH, and of files
// libsparsenet_NAME.so in the folders of plugin_folders(). kUnsupported: there is none, with the folders and what was
// wrong with the files in them.
Result<const Plugin*> find_plugin(const std::string& name);

// All plugins that can be found, and the files that look like plugins but are none, each with the reason.
struct PluginList {
  std::vector<const Plugin*> plugins;
  std::vector<Status> problems;
};
PluginList find_plugins();

// Where files of plugins are looked for, in order: folders of SPARSENET_PLUGIN_PATH, the program's folder,
// ../lib/sparsenet beside it (and the same with this build's name of `lib`), and where this build installs its plugins.
std::vector<std::string> plugin_folders();

// To be called before a plugin's driver is. kUnsupported in the child of a fork() whose parent has called it: drivers
// lose their threads there, and calls of them may never return.
Status enter_driver(const Plugin& plugin);
// The number of its devices; enters the driver.
Result<uint32_t> count_devices(const Plugin& plugin);

// A plugin's failure as a Status, in one line. `doing` completes "backend 'opencl': ..." if the plugin gave no text.
Status plugin_status(const Plugin& plugin, snp_status status, const char* doing);

}  // namespace sparsenet
