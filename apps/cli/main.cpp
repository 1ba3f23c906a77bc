// sparsenet: the command line of the engine.
#include "cli/command_line.h"
#include "program/program.h"

int main(int argc, char** argv) {
  return sparsenet::program::run(argc, argv, sparsenet::cli::command_line);
}
