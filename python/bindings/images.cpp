// Images: decoding, and from pixels to a network's input.
#include <nanobind/stl/string.h>

#include <cstring>

#include "bindings/arrays.h"
#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "bindings/status.h"
#include "data/image.h"
#include "data/preprocess.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

// uint8 [H, W, 3] (RGB) or [H, W, 1] (grey).
nb::object to_array(const io::Image& image) {
  const WriteArray out(nb::handle(), DataType::kUInt8, {image.height, image.width, image.channels}, "image");
  std::memcpy(out.data<uint8_t>(), image.pixels.data(), image.bytes());
  return out.object();
}

nb::object load_image(const nb::bytes& where) {
  const std::string path = bytes_of(where);
  Result<io::Image> image = [&] {
    const WithoutGil released;
    return io::load_image(path);
  }();
  return to_array(take(std::move(image)));
}

nb::object decode_image(const nb::bytes& file) {
  return to_array(take(io::decode_image(static_cast<const uint8_t*>(file.data()), file.size(), "image")));
}

// uint8 [N, H, W, C] -> float32 [N, C, H, W] as the model's input takes it.
nb::object preprocess(const PyModel& held, nb::handle images) {
  const Graph& graph = held.model.graph;
  if (graph.inputs.size() != 1) check(unsupported("images: expected a network with one input"));
  const auto made = io::Preprocess::create(graph.shape(graph.inputs[0]), held.model.metadata);
  check(made.ok() || held.path.empty() ? made.status() : made.status().with_context(held.path));
  const io::Preprocess& rule = *made;
  const ReadArray in(images, DataType::kUInt8, {}, "images");
  const Shape shape = in.shape();
  if (shape.size() != 4 || (shape[3] != 1 && shape[3] != 3) || shape[1] < 1 || shape[2] < 1 ||
      shape[1] > io::kMaxImageSide || shape[2] > io::kMaxImageSide) {
    check(invalid_argument("images: expected uint8 [N, H, W, 3] (RGB) or [N, H, W, 1] (grey), found " +
                           to_string(shape)));
  }
  const WriteArray out(nb::handle(), DataType::kFloat32, {shape[0], rule.channels(), rule.height(), rule.width()},
                       "images");
  {
    const WithoutGil released;
    io::Image image;
    image.height = static_cast<int>(shape[1]);
    image.width = static_cast<int>(shape[2]);
    image.channels = static_cast<int>(shape[3]);
    image.pixels.resize(image.bytes());
    for (int64_t i = 0; i < shape[0]; ++i) {
      std::memcpy(image.pixels.data(), in.data<uint8_t>() + static_cast<size_t>(i) * image.bytes(), image.bytes());
      rule.apply(image, out.data<float>() + static_cast<size_t>(i) * rule.elements());
    }
  }
  return out.object();
}

}  // namespace

void bind_images(nb::module_& module) {
  module.def("load_image", &load_image, nb::arg("path"));
  module.def("decode_image", &decode_image, nb::arg("file"));
  module.def("preprocess", &preprocess, nb::arg("model"), nb::arg("images"));
}

}  // namespace sparsenet::python
