// Faults: counts calls of functions by name, and says which of them are to fail. Callers hold a lock.
#pragma once

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace fake {

class Faults {
 public:
  Faults() { set(std::getenv("FAKE_CUDA_FAIL")); }

  // "name:call:code,..."; call 0 means every call.
  void set(const char* text) {
    faults_.clear();
    calls_.clear();
    std::istringstream list(text ? text : "");
    for (std::string item; std::getline(list, item, ',');) {
      std::istringstream fields(item);
      Fault fault;
      std::string call, code;
      std::getline(fields, fault.name, ':');
      std::getline(fields, call, ':');
      std::getline(fields, code, ':');
      fault.call = std::strtoul(call.c_str(), nullptr, 10);
      fault.code = std::atoi(code.c_str());
      faults_.push_back(fault);
    }
  }

  // The code with which this call fails; 0: it does not.
  int count(const char* name) {
    const unsigned long call = ++calls_[name];
    for (const Fault& fault : faults_)
      if (fault.name == name && (fault.call == 0 || fault.call == call)) return fault.code;
    return 0;
  }

  unsigned long calls(const char* name) const {
    const auto at = calls_.find(name);
    return at == calls_.end() ? 0 : at->second;
  }

 private:
  struct Fault {
    std::string name;
    unsigned long call = 0;
    int code = 0;
  };
  std::vector<Fault> faults_;
  std::map<std::string, unsigned long> calls_;
};

// A number from the environment.
inline unsigned long setting(const char* name, unsigned long fixed) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoul(text, nullptr, 10) : fixed;
}

}  // namespace fake
