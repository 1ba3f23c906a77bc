// Image: what the fake NVRTC gives for machine code or PTX, and the fake driver loads: the source with its macros.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace fake {

struct Image {
  std::string target;  // "sm_80" or "compute_80"
  std::string macros;  // "-DA -DB=1"
  std::string source;

  std::string encode() const {
    const Header header{{'F', 'A', 'K', 'E', 'C', 'U', 'D', 'A'},
                        static_cast<uint32_t>(target.size()),
                        static_cast<uint32_t>(macros.size()),
                        static_cast<uint32_t>(source.size())};
    return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + target + macros + source;
  }

  // Whether there is an image: like the driver, it is not told where the bytes end.
  bool decode(const void* data) {
    Header header;
    const char* bytes = static_cast<const char*>(data);
    if (std::strncmp(bytes, "FAKECUDA", sizeof(header.magic)) != 0) return false;
    std::memcpy(&header, bytes, sizeof(header));
    bytes += sizeof(header);
    target.assign(bytes, header.target_bytes);
    macros.assign(bytes + header.target_bytes, header.macro_bytes);
    source.assign(bytes + header.target_bytes + header.macro_bytes, header.source_bytes);
    return true;
  }

 private:
  struct Header {
    char magic[8];
    uint32_t target_bytes, macro_bytes, source_bytes;
  };
};

}  // namespace fake
