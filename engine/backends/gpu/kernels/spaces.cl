// Index spaces with a distance between elements for each dimension.
#include "common.cl"

INLINE GLOBAL const ELEM* operand_start(GLOBAL const uchar* arena, GLOBAL const uchar* weights,
                                        struct Operand operand) {
  return (GLOBAL const ELEM*)(operand.in_weights ? weights : arena) + operand.at;
}

// Where index i of an index space lies in each operand.
struct Place {
  uint out, in, in2;
};
INLINE struct Place place_in_space(struct Space s, uint i) {
  struct Place place = {0, 0, 0};
  UNROLL
  for (int d = 0; d < 8; ++d) {
    if (d < s.rank) {
      const uint next = d + 1 < s.rank ? i / s.dims[d] : 0;
      const uint at = i - next * s.dims[d];
      place.out += at * s.out[d];
      place.in += at * s.in[d];
      place.in2 += at * s.in2[d];
      i = next;
    }
  }
  return place;
}
