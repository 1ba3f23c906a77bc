// The structure of the kernels of inputs and outputs: see params.h.
#ifndef SPARSENET_GPU_PORTS_PARAMS_H
#define SPARSENET_GPU_PORTS_PARAMS_H

#include "params.h"

// One range of channels of a port.
struct PortParams {
  int size;
  int input;           // from staging to the view, else from the view to staging
  int in_weights;      // the view is in `weights`
  unsigned at;         // where the range begins: elements, or bytes of integers
  unsigned stride;     // from pixel to pixel
  int pixels;          // of an image
  int channels;        // of the range
  int first, all;      // the range's first channel among all of the port
  unsigned items;      // port_direct: elements of all images
  int tiles_channels;  // port_tiles: groups along channels, and along pixels
  int tiles_pixels;
};

#endif
