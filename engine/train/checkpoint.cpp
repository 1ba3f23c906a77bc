// Writes and reads checkpoint files. All numbers are little-endian:
//
//   8 bytes  identifier "SNETCKPT"
//   u32      version of the format, u32 zero
//   u64      size of the file
//   u64      XXH64 of everything after this field
//   settings, step, records, sums, step losses, state: in the order of serialize() below
#include <sparsenet/model.h>
#include <sparsenet/train_tools.h>

#include <cstring>
#include <limits>

#include "base/checksum.h"
#include "base/files.h"
#include "base/guarded.h"

namespace sparsenet {
namespace {

constexpr char kIdentifier[8] = {'S', 'N', 'E', 'T', 'C', 'K', 'P', 'T'};
constexpr uint32_t kVersion = 1;
constexpr size_t kSizeAt = 16, kChecksumAt = 24, kHeaderBytes = 32;

void put(std::vector<uint8_t>& out, uint64_t value, size_t bytes = 8) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}
void put(std::vector<uint8_t>& out, double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  put(out, bits);
}
void put(std::vector<uint8_t>& out, int64_t value) {
  put(out, static_cast<uint64_t>(value));
}
void put(std::vector<uint8_t>& out, const std::string& text) {
  put(out, static_cast<uint64_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
}
void put_at(uint8_t* out, size_t at, uint64_t value) {
  for (size_t i = 0; i < 8; ++i) out[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t get(const uint8_t* data, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(data[i]) << (8 * i);
  return value;
}

// Everything in front of the state's bytes.
std::vector<uint8_t> serialize(const Checkpoint& checkpoint, size_t state_bytes) {
  std::vector<uint8_t> out(kIdentifier, kIdentifier + sizeof kIdentifier);
  put(out, kVersion, 4);
  put(out, 0, 4);
  put(out, uint64_t{0});  // size and checksum are filled in at the end
  put(out, uint64_t{0});
  put(out, static_cast<uint64_t>(checkpoint.settings.size()));
  for (const auto& [name, value] : checkpoint.settings) {
    put(out, name);
    put(out, value);
  }
  put(out, checkpoint.step);
  put(out, static_cast<uint64_t>(checkpoint.epochs.size()));
  for (const EpochRecord& record : checkpoint.epochs) {
    for (const double value :
         {record.train_loss, record.train_error, record.test_error, record.learning_rate, record.seconds}) {
      put(out, value);
    }
    put(out, record.images);
  }
  put(out, checkpoint.loss_sum);
  put(out, checkpoint.seconds);
  put(out, checkpoint.correct);
  put(out, checkpoint.images);
  put(out, uint64_t{checkpoint.has_step_losses});
  put(out, static_cast<uint64_t>(checkpoint.step_losses.size()));
  for (const double loss : checkpoint.step_losses) put(out, loss);
  put(out, static_cast<uint64_t>(state_bytes));
  return out;
}

// Reads forward and remembers whether anything was missing, so that callers check once per list.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool ok() const { return ok_; }
  size_t left() const { return left_; }

  const uint8_t* take(size_t bytes) {
    if (!ok_ || bytes > left_) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* at = data_;
    data_ += bytes;
    left_ -= bytes;
    return at;
  }
  uint64_t number() {
    const uint8_t* at = take(8);
    return at == nullptr ? 0 : get(at, 8);
  }
  int64_t signed_number() { return static_cast<int64_t>(number()); }
  double real() {
    const uint64_t bits = number();
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::string text() {
    const uint64_t size = number();
    const uint8_t* at = size > left_ ? take(std::numeric_limits<size_t>::max()) : take(static_cast<size_t>(size));
    return at == nullptr ? "" : std::string(reinterpret_cast<const char*>(at), static_cast<size_t>(size));
  }
  // The length of a list whose entries take at least `entry` bytes: never more than the file can hold.
  size_t count(size_t entry) {
    const uint64_t stated = number();
    if (stated > left_ / entry) ok_ = false;
    return ok_ ? static_cast<size_t>(stated) : 0;
  }

 private:
  const uint8_t* data_;
  size_t left_;
  bool ok_ = true;
};

bool parse(Reader in, Checkpoint& checkpoint) {
  for (size_t left = in.count(16); left > 0 && in.ok(); --left) {
    std::string name = in.text();
    checkpoint.settings.emplace_back(std::move(name), in.text());
  }
  checkpoint.step = in.signed_number();
  for (size_t left = in.count(48); left > 0 && in.ok(); --left) {
    EpochRecord record;
    for (double* value :
         {&record.train_loss, &record.train_error, &record.test_error, &record.learning_rate, &record.seconds}) {
      *value = in.real();
    }
    record.images = in.signed_number();
    checkpoint.epochs.push_back(record);
  }
  checkpoint.loss_sum = in.real();
  checkpoint.seconds = in.real();
  checkpoint.correct = in.signed_number();
  checkpoint.images = in.signed_number();
  checkpoint.has_step_losses = in.number() != 0;
  for (size_t left = in.count(8); left > 0; --left) checkpoint.step_losses.push_back(in.real());
  const size_t state = in.count(1);
  const uint8_t* bytes = in.take(state);
  if (!in.ok() || in.left() != 0 || checkpoint.step < 0) return false;
  if (state > 0) checkpoint.state.assign(bytes, bytes + state);
  return true;
}

Result<Checkpoint> parse_file(const MappedFile& file, const std::string& path) {
  const auto damaged = [&](const std::string& why) { return invalid_model(path + ": damaged checkpoint: " + why); };
  if (file.size < sizeof kIdentifier || std::memcmp(file.data, kIdentifier, sizeof kIdentifier) != 0) {
    return invalid_model(path + ": not a checkpoint of a training: expected a file that begins with \"" +
                         std::string(kIdentifier, sizeof kIdentifier) + "\"");
  }
  if (file.size < kHeaderBytes) {
    return damaged("expected at least " + std::to_string(kHeaderBytes) + " bytes, found " + std::to_string(file.size));
  }
  const uint64_t version = get(file.data + sizeof kIdentifier, 4);
  if (version != kVersion) {
    return unsupported(path + ": expected a checkpoint of version " + std::to_string(kVersion) + ", found version " +
                       std::to_string(version));
  }
  if (const uint64_t size = get(file.data + kSizeAt, 8); size != file.size) {
    return damaged("expected " + std::to_string(size) + " bytes, found " + std::to_string(file.size));
  }
  if (xxh64(file.data + kHeaderBytes, file.size - kHeaderBytes) != get(file.data + kChecksumAt, 8)) {
    return damaged("the checksum does not fit the content");
  }
  Checkpoint checkpoint;
  if (!parse(Reader(file.data + kHeaderBytes, file.size - kHeaderBytes), checkpoint)) {
    return damaged("its lists do not fit its size");
  }
  return checkpoint;
}

}  // namespace

Status save_checkpoint(const std::string& path, const Checkpoint& checkpoint, size_t state_bytes,
                       const std::function<Status(void* data, size_t size)>& save_state, IdleMemory room) {
  return guarded("saving a checkpoint", path, [&]() -> Status {
    const std::vector<uint8_t> front = serialize(checkpoint, state_bytes);
    const size_t size = front.size() + state_bytes;
    std::vector<uint8_t> own(room.bytes < size ? size : 0);
    uint8_t* const bytes = own.empty() ? static_cast<uint8_t*>(room.data) : own.data();
    std::memcpy(bytes, front.data(), front.size());
    SPARSENET_RETURN_IF_ERROR(save_state(bytes + front.size(), state_bytes));
    put_at(bytes, kSizeAt, size);
    put_at(bytes, kChecksumAt, xxh64(bytes + kHeaderBytes, size - kHeaderBytes));
    return write_file_atomically(path, bytes, size);
  });
}

Result<Checkpoint> load_checkpoint(const std::string& path) {
  return guarded("loading a checkpoint", path, [&]() -> Result<Checkpoint> {
    SPARSENET_ASSIGN_OR_RETURN(auto file, map_file(path));
    return parse_file(file, path);
  });
}

Status compare_settings(const Checkpoint& checkpoint,
                        const std::vector<std::pair<std::string, std::string>>& settings) {
  return guarded("comparing a checkpoint's settings", [&]() -> Status {
    const auto differs = [](const std::string& name, const std::string& then, const std::string& now) {
      return invalid_argument(name + ": the checkpoint was made with " + then + ", now it is " + now);
    };
    for (const auto& [name, now] : settings) {
      bool found = false;
      for (const auto& [stored, then] : checkpoint.settings) {
        if (stored != name) continue;
        if (then != now) return differs(name, then, now);
        found = true;
      }
      if (!found) return differs(name, "nothing", now);
    }
    for (const auto& [stored, then] : checkpoint.settings) {
      bool found = false;
      for (const auto& [name, now] : settings) found = found || name == stored;
      if (!found) return differs(stored, then, "nothing");
    }
    return {};
  });
}

}  // namespace sparsenet
