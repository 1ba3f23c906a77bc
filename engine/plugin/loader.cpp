#include "plugin/loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>

#include "base/forks.h"

namespace sparsenet {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "libsparsenet_", kSuffix[] = ".so";
constexpr char kVariable[] = "SPARSENET_PLUGIN_PATH";

// What this process has loaded. Plugins are never removed, so pointers to them stay valid.
struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Plugin>> plugins;
};
Registry& registry() {
  static auto* all = new Registry;  // never destroyed: sessions of static storage may outlive it
  return *all;
}

const snp_host kHost = {SNP_MAJOR, SNP_MINOR, sizeof(snp_host), 0, nullptr, nullptr, nullptr, nullptr};

std::string version_text(uint32_t major, uint32_t minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

// What a plugin says, in one line.
std::string line(const char* text) {
  std::string made = text;
  std::replace_if(
      made.begin(), made.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return made;
}

// Whether a table has all functions that are not optional.
bool is_complete(const Plugin& p) {
  return SPARSENET_PLUGIN_HAS(p, last_error) && SPARSENET_PLUGIN_HAS(p, describe) &&
         SPARSENET_PLUGIN_HAS(p, count_devices) && SPARSENET_PLUGIN_HAS(p, describe_device) &&
         SPARSENET_PLUGIN_HAS(p, supports) && SPARSENET_PLUGIN_HAS(p, measure) && SPARSENET_PLUGIN_HAS(p, prepare) &&
         SPARSENET_PLUGIN_HAS(p, destroy) && SPARSENET_PLUGIN_HAS(p, set_input) && SPARSENET_PLUGIN_HAS(p, run) &&
         SPARSENET_PLUGIN_HAS(p, get_output);
}

Result<Plugin> open_plugin(snp_entry_function entry, const std::string& path) {
  const char* why = nullptr;
  const snp_plugin* table = entry(&kHost, &why);
  if (!table) return unsupported(path + ": the plugin refuses this engine: " + line(why ? why : "it does not say why"));
  if (table->major != SNP_MAJOR) {
    return unsupported(path + ": expected a plugin for version " + version_text(SNP_MAJOR, SNP_MINOR) +
                       " of the interface (sparsenet/plugin.h), found one for " +
                       version_text(table->major, table->minor) + ": it has to be built anew");
  }
  Plugin plugin;
  plugin.path = path;
  plugin.table = table;
  plugin.capabilities = table->capabilities;
  if (!is_complete(plugin)) {
    return unsupported(path + ": the plugin lacks functions that every plugin must have (sparsenet/plugin.h)");
  }
  snp_description description{};
  description.struct_size = sizeof description;
  const snp_status status = table->describe(&description);
  if (status != SNP_OK || !description.name || !*description.name) {
    return unsupported(path + ": the plugin does not say its name");
  }
  plugin.name = description.name;
  plugin.version = description.version ? description.version : "";
  plugin.score = description.score;
  return plugin;
}

// Returns what the registry holds for the path, or null. The mutex is held.
const Plugin* known(const std::string& path) {
  for (const auto& plugin : registry().plugins) {
    if (plugin->path == path) return plugin.get();
  }
  return nullptr;
}

Result<const Plugin*> keep(Result<Plugin> plugin) {
  if (!plugin.ok()) return plugin.status();
  if (!watch_forks()) return out_of_memory(plugin->path + ": no memory left while loading a plugin");
  registry().plugins.push_back(std::make_unique<Plugin>(std::move(*plugin)));
  return registry().plugins.back().get();
}

bool is_file(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// The entries of SPARSENET_PLUGIN_PATH, which are folders or files.
std::vector<std::string> entries_of_variable() {
  std::vector<std::string> entries;
  const char* text = getenv(kVariable);
  std::string rest = text ? text : "";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) entries.push_back(rest.substr(0, end));
    rest.erase(0, end + 1);
  }
  return entries;
}

std::string folder_of_program() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof path) return "";
  return fs::path(std::string(path, static_cast<size_t>(length))).parent_path().string();
}

// The folder of the shared library that this code is part of, or else of the program.
std::string folder_of_engine() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&folder_of_engine), &info) == 0 || info.dli_fname == nullptr) return "";
  std::error_code gone;
  const fs::path file = fs::canonical(info.dli_fname, gone);
  return gone ? "" : file.parent_path().string();
}

// Files of plugins, in the order in which they are looked at: of one name, or of all if it is empty.
std::vector<std::string> candidates(const std::string& name) {
  std::vector<std::string> files;
  for (const std::string& entry : entries_of_variable()) {
    if (is_file(entry)) files.push_back(entry);
  }
  for (const std::string& folder : plugin_folders()) {
    if (!name.empty()) {
      const std::string file = folder + "/" + kPrefix + name + kSuffix;
      if (is_file(file)) files.push_back(file);
      continue;
    }
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const std::string file = at->path().filename().string();
      const bool fits = file.rfind(kPrefix, 0) == 0 && at->path().extension() == kSuffix;
      if (fits && is_file(at->path().string())) found.push_back(at->path().string());
    }
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

// Loads all candidates for a name (or all), and lists what is there.
PluginList load_candidates(const std::string& name) {
  PluginList list;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    for (const auto& plugin : registry().plugins) {
      if (name.empty() || plugin->name == name) list.plugins.push_back(plugin.get());
    }
  }
  for (const std::string& file : candidates(name)) {
    auto plugin = load_plugin(file);
    if (!plugin.ok()) {
      list.problems.push_back(plugin.status());
    } else if (!name.empty() && (*plugin)->name != name) {
      if (fs::path(file).filename() != kPrefix + name + kSuffix) continue;
      list.problems.push_back(
          unsupported(file + ": expected a plugin with the name '" + name + "', found '" + (*plugin)->name + "'"));
    } else if (std::find(list.plugins.begin(), list.plugins.end(), *plugin) == list.plugins.end()) {
      list.plugins.push_back(*plugin);
    }
  }
  return list;
}

}  // namespace

std::vector<std::string> plugin_folders() {
  std::vector<std::string> folders;
  const auto add = [&](const std::string& folder) {
    if (std::find(folders.begin(), folders.end(), folder) == folders.end()) folders.push_back(folder);
  };
  for (const std::string& entry : entries_of_variable()) {
    if (!is_file(entry)) add(entry);
  }
  const std::string program = folder_of_program(), engine = folder_of_engine();
  if (!engine.empty() && engine != program) add(engine);  // of the Python package
  if (!program.empty()) {
    const std::string above = fs::path(program).parent_path().string();
    add(program);
    add(above + "/lib/sparsenet");                   // of a build
    add(above + "/" SPARSENET_LIBDIR "/sparsenet");  // of an installation, wherever it has been moved
  }
  add(SPARSENET_FULL_LIBDIR "/sparsenet");
  return folders;
}

Status add_plugin_entry(snp_entry_function entry, const std::string& where) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  auto plugin = open_plugin(entry, where);
  for (const auto& other : registry().plugins) {
    if (plugin.ok() && other->path == where && other->table == plugin->table) return {};
  }
  return keep(std::move(plugin)).status();
}

Result<const Plugin*> load_plugin(const std::string& path) {
  if (!is_file(path)) return not_found(path + ": expected the file of a plugin, found none");
  char resolved[PATH_MAX];
  const std::string file = realpath(path.c_str(), resolved) ? resolved : path;
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (const Plugin* loaded = known(file)) return loaded;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* text = dlerror();  // begins with the path in most cases
    const std::string why = text ? text : "dlopen failed";
    return unsupported(why.rfind(file, 0) == 0 ? why : file + ": " + why);
  }
  const auto entry = reinterpret_cast<snp_entry_function>(dlsym(library, SNP_ENTRY_NAME));
  if (!entry) {
    dlclose(library);
    return unsupported(file + ": expected a plugin, found a library without the function " + SNP_ENTRY_NAME);
  }
  return keep(open_plugin(entry, file));
}

Result<const Plugin*> find_plugin(const std::string& name) {
  const PluginList list = load_candidates(name);
  const Plugin* best = nullptr;
  for (const Plugin* plugin : list.plugins) {
    if (!best || plugin->score > best->score) best = plugin;
  }
  if (best) return best;
  if (!list.problems.empty()) return list.problems[0].with_context("backend '" + name + "'");
  std::string folders;
  for (const std::string& folder : plugin_folders()) folders += (folders.empty() ? "" : ", ") + folder;
  return unsupported("backend '" + name + "': no plugin " + kPrefix + name + kSuffix + " in " + folders + " (" +
                     kVariable + " names more folders or files)");
}

PluginList find_plugins() {
  return load_candidates("");
}

Status enter_driver(const Plugin& plugin) {
  const uint32_t now = fork_generation() + 1;
  uint32_t before = 0;
  if (plugin.used_in->compare_exchange_strong(before, now) || before == now) return {};
  return unsupported("backend '" + plugin.name +
                     "': this process is the child of a fork() whose parent has used the backend, and drivers of "
                     "devices do not survive that: expected sessions in one of the two only");
}

Result<uint32_t> count_devices(const Plugin& plugin) {
  SPARSENET_RETURN_IF_ERROR(enter_driver(plugin));
  uint32_t devices = 0;
  SPARSENET_RETURN_IF_ERROR(plugin_status(plugin, plugin.table->count_devices(&devices), "counting its devices"));
  return devices;
}

Status plugin_status(const Plugin& plugin, snp_status status, const char* doing) {
  if (status == SNP_OK) return {};
  const char* text = plugin.table->last_error();
  const std::string message =
      "backend '" + plugin.name + "': " + (text && *text ? line(text) : std::string(doing) + " failed");
  switch (status) {
    case SNP_INVALID_ARGUMENT:
      return invalid_argument(message);
    case SNP_NO_MEMORY:
      return out_of_memory(message);
    case SNP_UNSUPPORTED:
    case SNP_NO_DEVICE:
      return unsupported(message);
    default:
      return io_error(message);
  }
}

}  // namespace sparsenet
