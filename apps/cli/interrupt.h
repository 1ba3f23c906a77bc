// Requests to stop: Ctrl-C (SIGINT), SIGTERM, SIGHUP (the terminal or connection is gone), or the reader of standard
// output has closed it.
#pragma once

#include <string>

namespace sparsenet::cli {

// From now on the first request is noted, and the running work decides when to end. A second signal of the same kind
// ends the program at once. A signal that was ignored when the program started stays ignored (nohup).
void watch_for_interrupts();

// Whether to stop. Cheap enough to be called after every step.
bool interrupted();

// The cause, as part of a message: "SIGTERM". Only after interrupted() returned true.
std::string interrupt_name();

// By shell convention, 128 plus the signal's number: 130 after Ctrl-C. A closed standard output counts as SIGPIPE.
int interrupt_exit_code();

}  // namespace sparsenet::cli
