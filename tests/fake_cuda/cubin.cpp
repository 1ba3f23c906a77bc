#include "tests/fake_cuda/cubin.h"

#include <elf.h>

#include <cstring>
#include <map>

namespace fake {
namespace {

// Of an entry in a section .nv.info: its form, and what it is about.
constexpr uint8_t kFormWithBytes = 4;
constexpr uint8_t kFrameSize = 0x11, kRegisterCount = 0x2f;

// Access to an ELF file that may have been cut off or damaged.
class Elf {
 public:
  explicit Elf(const std::vector<uint8_t>& file) : file_(file) {}

  bool open() {
    Elf64_Ehdr header;
    if (!read(0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr)) {
      return false;
    }
    sections_.resize(header.e_shnum);
    for (size_t i = 0; i < sections_.size(); ++i)
      if (!read(header.e_shoff + i * sizeof(Elf64_Shdr), &sections_[i])) return false;
    names_ = header.e_shstrndx;
    return names_ < sections_.size();
  }

  const std::vector<Elf64_Shdr>& sections() const { return sections_; }
  std::string name_of(const Elf64_Shdr& section) const { return text(sections_[names_], section.sh_name); }

  std::string text(const Elf64_Shdr& strings, uint64_t at) const {
    std::string result;
    for (char c; at < strings.sh_size && read(strings.sh_offset + at, &c) && c; ++at) result += c;
    return result;
  }

  template <class T>
  bool read(uint64_t offset, T* value) const {
    if (offset > file_.size() || sizeof(T) > file_.size() - offset) return false;
    std::memcpy(value, file_.data() + offset, sizeof(T));
    return true;
  }

 private:
  const std::vector<uint8_t>& file_;
  std::vector<Elf64_Shdr> sections_;
  size_t names_ = 0;
};

std::vector<std::string> symbols_of(const Elf& elf) {
  std::vector<std::string> names;
  for (const Elf64_Shdr& section : elf.sections()) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= elf.sections().size()) continue;
    for (uint64_t at = 0; at < section.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      if (!elf.read(section.sh_offset + at, &symbol)) break;
      names.push_back(elf.text(elf.sections()[section.sh_link], symbol.st_name));
    }
  }
  return names;
}

}  // namespace

bool read_cubin(const std::vector<uint8_t>& cubin, std::vector<KernelUse>* kernels) {
  Elf elf(cubin);
  if (!elf.open()) return false;
  std::map<std::string, KernelUse> found;
  const std::string code = ".text.", shared = ".nv.shared.";
  for (const Elf64_Shdr& section : elf.sections()) {
    const std::string name = elf.name_of(section);
    if (name.rfind(code, 0) == 0) found[name.substr(code.size())].registers = section.sh_info >> 24;
    if (name.rfind(shared, 0) == 0) found[name.substr(shared.size())].shared_bytes = section.sh_size;
  }

  const std::vector<std::string> symbols = symbols_of(elf);
  for (const Elf64_Shdr& section : elf.sections()) {
    if (elf.name_of(section) != ".nv.info") continue;
    struct Entry {
      uint8_t form, kind;
      uint16_t bytes;
    } entry;
    for (uint64_t at = 0; at + sizeof(entry) <= section.sh_size && elf.read(section.sh_offset + at, &entry);) {
      at += sizeof(entry);
      if (entry.form != kFormWithBytes) continue;
      uint32_t values[2];  // symbol and number
      if (entry.bytes == sizeof(values) && elf.read(section.sh_offset + at, &values) && values[0] < symbols.size()) {
        const auto kernel = found.find(symbols[values[0]]);
        if (kernel != found.end() && entry.kind == kFrameSize) kernel->second.local_bytes = values[1];
        if (kernel != found.end() && entry.kind == kRegisterCount) kernel->second.registers = values[1];
      }
      at += entry.bytes;
    }
  }
  kernels->clear();
  for (auto& [name, use] : found) {
    use.name = name;
    if (use.registers > 0) kernels->push_back(use);
  }
  return !kernels->empty();
}

}  // namespace fake
