/* report_parts.h - what the files of the report share. */
#pragma once
#include "config/report.h"

struct report {
  struct problem *items; /* sorted */
  size_t count, errors, dropped;
};

/* Bytes of the well-formed UTF-8 character at a NUL-terminated text, 0 when malformed. */
size_t utf8_length(const char *text);
