/* bench.h - what the engine's unit tests stand on: a folder that goes away, files in it, an engine with its store. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/value.h"
#include "engine/job.h"

struct bench {
  char folder[64];
  struct loop *loop;
  struct engine *engine;
};

void bench_open(struct bench *b); /* a folder, a loop, an engine that keeps books only, its state in FOLDER/state */
void bench_close(struct bench *b);
const char *bench_path(const struct bench *b, const char *below); /* good until the fourth call after it */
void bench_write(const struct bench *b, const char *below, const char *text); /* folders are made */
bool bench_holds(const struct bench *b, const char *below, const char *text);
bool bench_exists(const struct bench *b, const char *below);
/* Turns the loop until *flag is set or two seconds are over. */
void bench_turn(struct bench *b, const bool *flag);
struct value *bench_json(const char *text);
