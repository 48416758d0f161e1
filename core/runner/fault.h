/* fault.h - tells the engine, as a process dies of a signal, which stage's thread it was and where.
 *
 * Best effort: the wait status alone must suffice. Everything in the handler is async-signal-safe: the message lies
 * ready before anything can crash. */
#pragma once
#include <stdint.h>

#include "base/error.h"

/* Once, on the main thread, before foreign code runs. socket: where FAULT goes. */
void fault_init(int socket);
/* [any thread] This thread works for `stage` (-1: the host) from now on: names it, gives it an alternate stack. */
void fault_thread(int32_t stage, const char *id);
