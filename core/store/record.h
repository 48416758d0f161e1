/* record.h - how records lie on disk, as tables: one walker each encodes, decodes, copies, clears and exports them all.
 *
 *   record = field...     field = tag:u8 size:u32 bytes     (little-endian; absent: zero or NULL)
 *
 * Tags are for ever: a field that goes leaves its tag unused, a new one takes the next. What that cannot express is a
 * new schema version (migrate.c). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "store/store.h"

enum field_kind { FIELD_TEXT = 1, FIELD_JSON, FIELD_BOOL, FIELD_32, FIELD_64 };

struct field {
  uint8_t tag; /* 0: kept elsewhere, not encoded */
  enum field_kind kind;
  uint16_t offset;
  const char *name; /* in exports */
};

enum { COUNTED_STATUSES = JOB_CANCELLED + 1 }; /* length of an array indexed by job_status */

struct layout {
  const struct field *fields;
  size_t count;
};

extern const struct layout job_layout, stage_layout, attempt_layout, event_layout, side_layout, totals_layout;

void record_encode(struct buf *out, const struct layout *layout, const void *record);
/* Into a zeroed record; false (and the record cleared) when the bytes are no record. */
bool record_decode(const struct layout *layout, const void *data, size_t size, void *record);
void record_clear(const struct layout *layout, void *record, size_t size);
void record_copy(const struct layout *layout, void *to, const void *from, size_t size);
/* The members of a JSON object, without braces: "name":value,... */
void record_json(struct buf *out, const struct layout *layout, const void *record);
/* Name of the first text above STORE_VALUE_MAX, NULL when all fit. */
const char *record_too_large(const struct layout *layout, const void *record);
