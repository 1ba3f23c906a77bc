// Sessions do not hold parameters twice: pages of a mapped file that kernels have packed go back to the system.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <fstream>
#include <sstream>

#include "base/files.h"
#include "support/graph_maker.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// Bytes of the mappings of a file that are in memory for this process; -1 if the system does not tell.
int64_t resident_bytes(const std::string& file) {
  std::ifstream maps("/proc/self/smaps");
  if (!maps) return -1;
  int64_t bytes = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string first;
    fields >> first;
    if (first.find('-') != std::string::npos && first.back() != ':') {
      ours = line.find(file) != std::string::npos;
    } else if (ours && first == "Rss:") {
      int64_t kilobytes = 0;
      fields >> kilobytes;
      bytes += kilobytes * 1024;
    }
  }
  return bytes;
}

Graph wide_network(Random& random) {
  GraphMaker g(random);
  ValueId x = g.conv(g.input({1, 3, 8, 8}), 256, 3, 2);
  for (int i = 0; i < 4; ++i) x = g.relu(g.conv(x, 512, 1));
  return g.finish({g.head(x, 1000)});
}

}  // namespace

TEST_CASE("pages of packed parameters are given back, and read again by the next session") {
  const ScratchFolder folder;
  const std::string file = folder.file("wide.snet");
  Random random(5);
  Model made;
  made.graph = wide_network(random);
  REQUIRE(save_model(made, file).ok());
  const auto model = load_model(file);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const int64_t loaded = resident_bytes(file);
  if (loaded < 0) return skip("pages of packed parameters", "/proc/self/smaps");
  REQUIRE(loaded > 4'000'000);  // loading has read the file for its checksum
  const std::vector<float> image(3 * 64, 0.5f);
  std::vector<float> first(1000), second(1000);
  for (std::vector<float>* result : {&first, &second}) {
    SessionOptions options;
    options.backend = Backend::kPortable;
    options.threads = 1;
    auto session = Session::create(*model, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    CHECK(resident_bytes(file) < loaded / 8);
    REQUIRE(session->set_input(0, image.data(), image.size()).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, result->data(), result->size()).ok());
  }
  CHECK(first == second);
}

TEST_CASE("the owner of a mapping tells where it is, and no other owner does") {
  const ScratchFolder folder;
  const std::string file = folder.file("bytes");
  const std::string bytes(20000, 'x');
  std::ofstream(file) << bytes;
  const auto mapped = map_file(file), copied = copy_file(file);
  REQUIRE(mapped.ok());
  REQUIRE(copied.ok());
  const std::shared_ptr<const void> also = mapped->owner;
  CHECK(mapped_range(also).data == mapped->data);
  CHECK(mapped_range(also).bytes == bytes.size());
  CHECK(mapped_range(copied->owner).data == nullptr);
  CHECK(mapped_range(nullptr).data == nullptr);
  give_back_pages(mapped->data + 1, bytes.size() - 1);
  give_back_pages(mapped->data + 1, 100);  // no whole page
  CHECK(std::string(reinterpret_cast<const char*>(mapped->data), mapped->size) == bytes);
}
