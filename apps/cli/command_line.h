// The command line `sparsenet` as a function. Each command has a file of its own; see arguments.h.
#pragma once

namespace sparsenet::cli {

// Runs one command and returns the exit code of the process: 0 done, 1 failed, 2 wrong usage. May throw std::bad_alloc;
// program::run() (program/program.h) turns that into a message.
int command_line(int argc, char** argv);

}  // namespace sparsenet::cli
