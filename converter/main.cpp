// The program sparsenet-convert: converts networks trained elsewhere to .snet files.
#include "converter/command_line.h"
#include "program/program.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

int main(int argc, char** argv) {
#if defined(__GLIBC__)
  // Large tensors are returned to the system one by one when they are freed; the heap would keep the gaps between
  // others.
  (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
#endif
  sparsenet::program::set_activity("converting");
  return sparsenet::program::run(argc, argv, sparsenet::converter::command_line);
}
