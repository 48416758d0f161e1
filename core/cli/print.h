/* print.h - small shared pieces of the commands' output. */
#pragma once
#include "base/buf.h"
#include "base/value.h"

/* Prints v as indented JSON and returns code (CLI_FAILED when it could not be written). */
int print_json(const struct value *v, int code);
/* Adds text wrapped at 100 columns, every line indented by `indent` blanks. */
void print_wrapped(struct buf *out, size_t indent, const char *text);
/* Foreign text (a plugin's message, a file's name) must not steer a terminal: control characters become blanks. In place. */
void print_tame(char *text);
