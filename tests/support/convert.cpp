#include "support/convert.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace sparsenet::test {
namespace {

#ifdef SPARSENET_CONVERT
constexpr const char* kProgram = SPARSENET_CONVERT;
#else
constexpr const char* kProgram = "";
#endif

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

bool can_convert() {
  return access(kProgram, X_OK) == 0;
}

Result<Model> convert(const std::vector<std::string>& arguments) {
  if (!can_convert()) return unsupported("there is no sparsenet-convert here");
  static int serial = 0;
  const std::string stem = (std::filesystem::temp_directory_path() / "sparsenet-test-").string() +
                           std::to_string(getpid()) + "-" + std::to_string(serial++);
  const std::string file = stem + ".snet", log = stem + ".log";
  std::string command = quoted(kProgram);
  for (const std::string& argument : arguments) command += " " + quoted(argument);
  command += " -o " + quoted(file) + " >" + quoted(log) + " 2>&1 </dev/null";
  const int code = std::system(command.c_str());
  std::ostringstream said;
  said << std::ifstream(log).rdbuf();
  auto model =
      code == 0
          ? load_model(file)
          : Result<Model>(internal_error("exit status " + std::to_string(code) + " of " + command + "\n" + said.str()));
  std::remove(file.c_str());  // a mapping held by the model outlives the name
  std::remove(log.c_str());
  return model;
}

}  // namespace sparsenet::test
