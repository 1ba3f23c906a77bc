// Test vectors that hold integers for a float32 input: those that the Quantize behind it makes of their numbers, in a
// quarter of the bytes.
#include "device/device_session.h"
#include "runtime/port_copy.h"

namespace sparsenet::device {

bool set_input_from_integers(sn_session* session, const schema::TestVector& vector, Port* port) {
  if (!rt::may_hold_integers(port->view)) return false;
  port->view.type = rt::DataType::kInt8;
  const void* values = values_of(*session, vector, *port);
  if (!values) return false;
  // At the beginning of the numbers' place first. The last one becomes a number first, so that none is written over
  // before its turn.
  rt::copy_elements_to_view(port->view, session->steps.arena(), values);
  uint8_t* integers = session->steps.arena() + port->view.segments[0].offset;
  auto* numbers = reinterpret_cast<float*>(integers);
  for (size_t i = port->elements; i-- > 0;) numbers[i] = port->affine.real(static_cast<int8_t>(integers[i]));
  return true;
}

}  // namespace sparsenet::device
