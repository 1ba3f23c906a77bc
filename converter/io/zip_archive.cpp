#include "converter/io/zip_archive.h"

#include <zip.h>

#include <algorithm>

#include "converter/report.h"

namespace sparsenet::converter {

struct ZipArchive::Handle {
  zip_t* zip = nullptr;
  ~Handle() {
    if (zip) zip_discard(zip);
  }
};

ZipArchive::ZipArchive(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive& ZipArchive::operator=(ZipArchive&&) noexcept = default;
ZipArchive::~ZipArchive() = default;

Result<ZipArchive> ZipArchive::open(const uint8_t* data, size_t size) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(data, size, 0, &error);
  zip_t* zip = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  if (!zip) {
    const std::string why = zip_error_strerror(&error);
    if (source) zip_source_free(source);
    zip_error_fini(&error);
    return invalid_model("damaged zip archive: " + why);
  }
  zip_error_fini(&error);
  auto handle = std::make_unique<Handle>();
  handle->zip = zip;
  ZipArchive archive(std::move(handle));
  const zip_int64_t count = zip_get_num_entries(zip, 0);
  constexpr zip_int64_t kMaxEntries = 1 << 20;
  if (count < 0 || count > kMaxEntries) return invalid_model("zip archive with " + std::to_string(count) + " entries");
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* entry = zip_get_name(zip, static_cast<zip_uint64_t>(i), 0);
    archive.names_.emplace_back(entry ? entry : "");
  }
  return archive;
}

bool ZipArchive::contains(const std::string& entry) const {
  return zip_name_locate(handle_->zip, entry.c_str(), 0) >= 0;
}

Result<FileBytes> ZipArchive::read(const std::string& entry) {
  const std::string what = "zip entry '" + printable(entry) + "'";
  zip_stat_t stat;
  zip_stat_init(&stat);
  if (zip_stat(handle_->zip, entry.c_str(), 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE)) {
    return not_found(what + ": missing or without a size");
  }
  inflated_ += std::min(stat.size, UINT64_MAX - inflated_);
  const Status paid = charge_.raise_to(inflated_);
  if (!paid.ok()) return paid.with_context(what);
  uint8_t* writable = nullptr;
  Result<FileBytes> memory = make_bytes(stat.size, &writable);
  if (!memory.ok()) return memory.status().with_context(what);
  zip_file_t* file = zip_fopen(handle_->zip, entry.c_str(), 0);
  if (!file) return invalid_model(what + ": " + zip_strerror(handle_->zip));
  uint64_t done = 0;
  while (done < stat.size) {
    const zip_int64_t got = zip_fread(file, writable + done, stat.size - done);
    if (got <= 0) break;
    done += static_cast<uint64_t>(got);
  }
  // The CRC is only compared when the end is reached, which takes one more read.
  uint8_t extra = 0;
  const bool ended = done == stat.size && zip_fread(file, &extra, 1) == 0;
  const std::string why = zip_file_strerror(file);
  zip_fclose(file);
  if (!ended) {
    return invalid_model(what + ": expected " + std::to_string(stat.size) + " sound bytes, read " +
                         std::to_string(done) + " (" + why + ")");
  }
  return memory;
}

}  // namespace sparsenet::converter
