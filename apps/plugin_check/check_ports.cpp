// Inputs and outputs: in the order of images outside, [N, C, H, W], and pixel by pixel in the arena.
#include <cstring>

#include "plugin_check/checks.h"
#include "plugin_check/failure.h"

namespace sparsenet::plugin_check {
namespace {

// Where element [image][channel][pixel] of a view lies: bytes from the start of the arena.
size_t place_of(const rt::View& v, int64_t pixel, int32_t channel) {
  const rt::Segment* s = v.segments;
  for (; channel >= s->channels; ++s) channel -= s->channels;
  return s->offset + static_cast<size_t>(pixel * s->pixel_stride + channel) * rt::size_of(v.type);
}

// Calls visit(byte outside, byte in the arena) for every element.
template <class Visit>
void for_each_element(const rt::View& v, Visit visit) {
  const int64_t area = int64_t{v.h} * v.w;
  size_t outside = 0;
  for (int64_t image = 0; image < v.n; ++image) {
    for (int32_t channel = 0; channel < v.c; ++channel) {
      for (int64_t pixel = 0; pixel < area; ++pixel, outside += rt::size_of(v.type)) {
        visit(outside, place_of(v, image * area + pixel, channel));
      }
    }
  }
}

size_t bytes_of(const rt::View& v) {
  return static_cast<size_t>(int64_t{v.n} * v.h * v.w * v.c) * rt::size_of(v.type);
}

// Whether every element has a place of its own in the arena.
bool is_in_arena(const rt::View& view) {
  for (int32_t i = 0; i < view.segment_count; ++i) {
    if (view.segments[i].constant || view.segments[i].pixel_stride == 0) return false;
  }
  return true;
}

// A view of a port; with several ranges if `parts`, none of which is constant.
rt::View port_view(Case* c, bool parts, rt::DataType type) {
  Random& r = c->random;
  for (;;) {
    const rt::View view = c->view(r.integer(1, 3), r.integer(1, 6), r.integer(1, 6), r.integer(2, 9),
                                  parts ? Layout::kAny : Layout::kArena, type);
    if (is_in_arena(view) && (view.segment_count > 1) == parts) return view;
  }
}

Wire::Port image(const rt::View& v) {
  return {v, {v.n, v.c, v.h, v.w}};
}

// What lies in the arena is read as an image.
void check_outputs(const Subject& subject, const Case& c, const std::vector<rt::View>& views) {
  Wire wire(c);
  std::vector<Wire::Port> outputs;
  for (const rt::View& view : views) outputs.push_back(image(view));
  std::deque<rt::Segment> whole;
  std::vector<Wire::Port> inputs;
  for (const Region& region : c.regions()) {
    const auto channels = static_cast<int32_t>(region.elements);
    whole.push_back({region.offset, nullptr, channels, channels});
    inputs.push_back({{1, 1, 1, channels, &whole.back(), 1, region.type}, {region.elements}});
  }
  wire.set_ports(inputs, outputs);
  Prepared prepared(subject, wire.plan(), subject.options());
  prepared.set_inputs(c, c.arena());
  prepared.run();
  for (size_t i = 0; i < views.size(); ++i) {
    const size_t bytes = bytes_of(views[i]), size = rt::size_of(views[i].type);
    const Guarded data(bytes);  // nothing behind it may be written
    subject.require_ok(
        subject.plugin().get_output(prepared.get(), static_cast<uint32_t>(i), data.get(), bytes, SNP_HOST_MEMORY),
        "get_output");
    for_each_element(views[i], [&](size_t outside, size_t inside) {
      require(std::memcmp(data.get() + outside, c.arena().data() + inside, size) == 0,
              text("output [%d,%d,%d,%d] in %d ranges: element %zu outside is not byte %zu of the arena", views[i].n,
                   views[i].c, views[i].h, views[i].w, views[i].segment_count, outside / size, inside));
    });
  }
}

// Images are written into the arena.
void check_inputs(const Subject& subject, const Case& c, const std::vector<rt::View>& views) {
  Wire wire(c);
  std::vector<Wire::Port> inputs, outputs;
  std::deque<rt::Segment> whole;
  for (const rt::View& view : views) inputs.push_back(image(view));
  for (const Region& region : c.regions()) {
    const auto channels = static_cast<int32_t>(region.elements);
    whole.push_back({region.offset, nullptr, channels, channels});
    outputs.push_back({{1, 1, 1, channels, &whole.back(), 1, region.type}, {1, 1, region.elements}});
  }
  wire.set_ports(inputs, outputs);
  Prepared prepared(subject, wire.plan(), subject.options());
  std::vector<std::vector<uint8_t>> images;
  for (size_t i = 0; i < views.size(); ++i) {
    const size_t bytes = bytes_of(views[i]), size = rt::size_of(views[i].type);
    images.emplace_back(bytes);
    for_each_element(views[i], [&](size_t outside, size_t inside) {
      std::memcpy(images.back().data() + outside, c.arena().data() + inside, size);
    });
    const Guarded data(bytes);  // nothing behind it may be read
    std::memcpy(data.get(), images.back().data(), bytes);
    subject.require_ok(
        subject.plugin().set_input(prepared.get(), static_cast<uint32_t>(i), data.get(), bytes, SNP_HOST_MEMORY),
        "set_input");
  }
  prepared.run();
  const std::vector<uint8_t> arena = prepared.outputs(c);
  for (const rt::View& view : views) {
    const size_t size = rt::size_of(view.type);
    for_each_element(view, [&](size_t outside, size_t inside) {
      require(std::memcmp(arena.data() + inside, c.arena().data() + inside, size) == 0,
              text("input [%d,%d,%d,%d] in %d ranges: element %zu outside is not at byte %zu of the arena", view.n,
                   view.c, view.h, view.w, view.segment_count, outside / size, inside));
    });
  }
}

void check_ports_of(Subject& subject, bool integers, rt::DataType type, Progress& progress) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Case c = subject.supported_case(seed, integers);
    const std::vector<rt::View> views = {port_view(&c, false, type), port_view(&c, true, type),
                                         c.view(3, 1, 1, 5, Layout::kArena, type)};
    c.finish();
    progress.at(text("outputs of type %d", static_cast<int>(type)));
    check_outputs(subject, c, views);
    progress.at(text("inputs of type %d", static_cast<int>(type)));
    check_inputs(subject, c, views);
  }
}

void check_float_ports(Subject& subject, const Settings&, Progress& progress) {
  check_ports_of(subject, false, rt::DataType::kFloat32, progress);
}

void check_integer_ports(Subject& subject, const Settings&, Progress& progress) {
  check_ports_of(subject, true, rt::DataType::kInt8, progress);
  check_ports_of(subject, true, rt::DataType::kUInt8, progress);
}

}  // namespace

void add_port_checks(std::vector<Check>* all) {
  all->push_back({"inputs and outputs", check_float_ports});
  all->push_back({"inputs and outputs of integers", check_integer_ports});
}

}  // namespace sparsenet::plugin_check
