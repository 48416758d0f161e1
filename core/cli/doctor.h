/* doctor.h - what `stagemill doctor` finds: one line a finding, with a cure when something is to be mended. */
#pragma once
#include "base/value.h"
#include "cli/site.h"

enum health { HEALTH_OK = 1, HEALTH_WARN /* works, but not as well as it could */, HEALTH_BAD /* to be mended */ };
const char *health_word(enum health health);

struct doctor {
  struct value *findings; /* list of {name, health, message, cure} */
  size_t bad, warnings;
};
/* cure NULL: none needed. */
void doctor_note(struct doctor *d, const char *name, enum health health, const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void doctor_kernel(struct doctor *d); /* doctor_kernel.c: what the sandbox can use */
void doctor_install(struct doctor *d,
                    const struct paths *paths);           /* doctor_install.c: parts, font, state folder, disk */
void doctor_plugins(struct doctor *d, struct site *site); /* doctor_install.c */
