// The command line `sparsenet-convert` as a function.
#pragma once

namespace sparsenet::converter {

// Converts one file and returns the exit code of the process: 0 done, 1 failed, 2 wrong usage. May throw
// std::bad_alloc; program::run() (program/program.h) turns that into a message.
int command_line(int argc, char** argv);

}  // namespace sparsenet::converter
