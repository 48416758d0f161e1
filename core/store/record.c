#include "store/record.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/value.h"

#define F(record, number, kind, member)                                                                                \
  { number, FIELD_##kind, offsetof(struct record, member), #member }
#define COUNT(fields) (sizeof(fields) / sizeof((fields)[0]))

static const struct field job_fields[] = {F(job_record, 1, TEXT, id),
                                          F(job_record, 2, TEXT, identity),
                                          F(job_record, 3, TEXT, pipeline),
                                          F(job_record, 4, TEXT, title),
                                          F(job_record, 5, TEXT, owner),
                                          F(job_record, 6, TEXT, asset),
                                          F(job_record, 7, TEXT, batch),
                                          F(job_record, 0, JSON, spec_json),
                                          F(job_record, 8, 32, status),
                                          F(job_record, 9, 32, round),
                                          F(job_record, 10, 32, priority),
                                          F(job_record, 11, 64, created_us),
                                          F(job_record, 12, 64, started_us),
                                          F(job_record, 13, 64, ended_us),
                                          F(job_record, 14, TEXT, wait_reason),
                                          F(job_record, 15, 32, pct_ppm),
                                          F(job_record, 16, 32, attempt),
                                          F(job_record, 17, 32, max_attempts),
                                          F(job_record, 18, BOOL, cancel_requested),
                                          F(job_record, 19, JSON, result_json),
                                          F(job_record, 20, JSON, error_json),
                                          F(job_record, 21, 64, last_seq),
                                          F(job_record, 22, JSON, extra_json)};

static const struct field stage_fields[] = {
    F(stage_record, 1, TEXT, stage),        F(stage_record, 2, 32, status),
    F(stage_record, 3, 32, attempts),       F(stage_record, 4, 32, lost),
    F(stage_record, 5, 32, tries),          F(stage_record, 6, BOOL, suspect),
    F(stage_record, 7, BOOL, apart),        F(stage_record, 8, 64, not_before_us),
    F(stage_record, 9, 64, delay_us),       F(stage_record, 10, 64, fence),
    F(stage_record, 11, 64, started_us),    F(stage_record, 12, 64, ended_us),
    F(stage_record, 13, JSON, result_json), F(stage_record, 14, TEXT, manifest_sha256),
    F(stage_record, 15, JSON, error_json),  F(stage_record, 16, TEXT, reason)};

static const struct field attempt_fields[] = {
    F(attempt_record, 0, TEXT, job),         F(attempt_record, 1, 64, fence),
    F(attempt_record, 2, TEXT, stages),      F(attempt_record, 3, 32, state),
    F(attempt_record, 4, TEXT, node),        F(attempt_record, 5, TEXT, boot_id),
    F(attempt_record, 6, 64, generation),    F(attempt_record, 7, 32, pid),
    F(attempt_record, 8, 64, started_us),    F(attempt_record, 9, 64, ended_us),
    F(attempt_record, 10, TEXT, outcome),    F(attempt_record, 11, TEXT, stage_at_fault),
    F(attempt_record, 12, JSON, error_json), F(attempt_record, 13, JSON, stats_json)};

static const struct field event_fields[] = {F(event_record, 1, TEXT, job),  F(event_record, 2, 64, seq),
                                            F(event_record, 3, 64, cursor), F(event_record, 4, TEXT, type),
                                            F(event_record, 5, 64, at_us),  F(event_record, 6, JSON, body_json),
                                            F(event_record, 7, 32, side)};

static const struct field side_fields[] = {
    F(side_record, 1, 32, kind),       F(side_record, 2, TEXT, id),       F(side_record, 3, TEXT, owner),
    F(side_record, 4, TEXT, group),    F(side_record, 5, 64, due_us),     F(side_record, 6, 64, version),
    F(side_record, 7, 64, created_us), F(side_record, 8, 64, updated_us), F(side_record, 9, JSON, body_json)};

#define STATUS_COUNT(number, status)                                                                                   \
  { number, FIELD_64, offsetof(struct pipeline_totals, counts.by_status[status]), #status }
static const struct field totals_fields[] = {F(pipeline_totals, 1, TEXT, pipeline),
                                             F(pipeline_totals, 2, 64, ended_completed),
                                             F(pipeline_totals, 3, 64, ended_failed),
                                             F(pipeline_totals, 4, 64, ended_cancelled),
                                             F(pipeline_totals, 5, 64, completed_us),
                                             STATUS_COUNT(11, JOB_QUEUED),
                                             STATUS_COUNT(12, JOB_PROCESSING),
                                             STATUS_COUNT(13, JOB_RETRYING),
                                             STATUS_COUNT(14, JOB_HELD),
                                             STATUS_COUNT(15, JOB_PAUSED),
                                             STATUS_COUNT(16, JOB_COMPLETED),
                                             STATUS_COUNT(17, JOB_FAILED),
                                             STATUS_COUNT(18, JOB_CANCELLED)};

const struct layout job_layout = {job_fields, COUNT(job_fields)};
const struct layout stage_layout = {stage_fields, COUNT(stage_fields)};
const struct layout attempt_layout = {attempt_fields, COUNT(attempt_fields)};
const struct layout event_layout = {event_fields, COUNT(event_fields)};
const struct layout side_layout = {side_fields, COUNT(side_fields)};
const struct layout totals_layout = {totals_fields, COUNT(totals_fields)};

static bool is_text(const struct field *f) { return f->kind == FIELD_TEXT || f->kind == FIELD_JSON; }

static char **text_at(const struct field *f, const void *record) {
  return (char **)(void *)((char *)(uintptr_t)record + f->offset);
}

static uint64_t number_at(const struct field *f, const void *record) {
  const char *at = (const char *)record + f->offset;
  uint64_t n64;
  uint32_t n32;
  bool b;
  switch (f->kind) {
  case FIELD_BOOL: memcpy(&b, at, sizeof(b)); return b;
  case FIELD_32: memcpy(&n32, at, sizeof(n32)); return n32;
  default: memcpy(&n64, at, sizeof(n64)); return n64;
  }
}

static void add_field(struct buf *out, uint8_t tag, const void *bytes, size_t size) {
  uint32_t le = htole32((uint32_t)size);
  buf_add(out, &tag, 1);
  buf_add(out, &le, sizeof(le));
  buf_add(out, bytes, size);
}

void record_encode(struct buf *out, const struct layout *layout, const void *record) {
  for (size_t i = 0; i < layout->count; i++) {
    const struct field *f = &layout->fields[i];
    if (f->tag == 0) continue;
    if (is_text(f)) {
      const char *text = *text_at(f, record);
      if (text) add_field(out, f->tag, text, strlen(text));
      continue;
    }
    uint64_t n = number_at(f, record), le = htole64(n);
    if (n) add_field(out, f->tag, &le, f->kind == FIELD_64 ? 8 : f->kind == FIELD_32 ? 4 : 1);
  }
}

static const struct field *field_tagged(const struct layout *layout, uint8_t tag) {
  for (size_t i = 0; i < layout->count; i++)
    if (layout->fields[i].tag == tag) return &layout->fields[i];
  return NULL;
}

static bool take_field(const struct field *f, const char *bytes, size_t size, void *record) {
  char *at = (char *)record + f->offset;
  if (is_text(f)) {
    if (memchr(bytes, 0, size) || *text_at(f, record)) return false;
    *text_at(f, record) = mem_text_n(bytes, size);
    return true;
  }
  size_t wanted = f->kind == FIELD_64 ? 8 : f->kind == FIELD_32 ? 4 : 1;
  if (size != wanted) return false;
  uint64_t n = 0;
  memcpy(&n, bytes, size);
  n = le64toh(n);
  if (f->kind == FIELD_64)
    memcpy(at, &n, 8);
  else if (f->kind == FIELD_32)
    memcpy(at, &(uint32_t){(uint32_t)n}, 4);
  else
    memcpy(at, &(bool){n != 0}, sizeof(bool));
  return true;
}

static void free_texts(const struct layout *layout, void *record) {
  for (size_t i = 0; i < layout->count; i++) {
    if (!is_text(&layout->fields[i])) continue;
    char **text = text_at(&layout->fields[i], record);
    free(*text);
    *text = NULL;
  }
}

bool record_decode(const struct layout *layout, const void *data, size_t size, void *record) {
  const char *at = data;
  while (size >= 5) {
    uint32_t length;
    memcpy(&length, at + 1, sizeof(length));
    length = le32toh(length);
    if (length > size - 5) break;
    const struct field *f = (uint8_t)at[0] ? field_tagged(layout, (uint8_t)at[0]) : NULL;
    if (f && !take_field(f, at + 5, length, record)) break;
    at += 5 + length;
    size -= 5 + length;
  }
  if (size == 0) return true;
  free_texts(layout, record);
  return false;
}

void record_clear(const struct layout *layout, void *record, size_t size) {
  free_texts(layout, record);
  memset(record, 0, size);
}

void record_copy(const struct layout *layout, void *to, const void *from, size_t size) {
  memcpy(to, from, size);
  for (size_t i = 0; i < layout->count; i++) {
    if (!is_text(&layout->fields[i])) continue;
    char **text = text_at(&layout->fields[i], to);
    *text = mem_text(*text);
  }
}

/* Verbatim when it is JSON; what somebody stored that is none must not spoil the line. */
static void add_json(struct buf *out, const char *text) {
  struct value *parsed = NULL;
  if (value_from_json(text, strlen(text), &parsed, NULL) == ERR_OK && !strpbrk(text, "\n\r"))
    buf_text(out, text);
  else
    buf_json_text(out, text, strlen(text));
  value_free(&parsed);
}

void record_json(struct buf *out, const struct layout *layout, const void *record) {
  const char *separator = "";
  for (size_t i = 0; i < layout->count; i++) {
    const struct field *f = &layout->fields[i];
    const char *text = is_text(f) ? *text_at(f, record) : NULL;
    if (is_text(f) && !text) continue;
    buf_format(out, "%s\"%s\":", separator, f->name);
    separator = ",";
    if (f->kind == FIELD_JSON)
      add_json(out, text);
    else if (f->kind == FIELD_TEXT)
      buf_json_text(out, text, strlen(text));
    else if (f->kind == FIELD_BOOL)
      buf_text(out, number_at(f, record) ? "true" : "false");
    else if (f->kind == FIELD_32)
      buf_format(out, "%" PRId32, (int32_t)number_at(f, record));
    else
      buf_format(out, "%" PRId64, (int64_t)number_at(f, record));
  }
}

const char *record_too_large(const struct layout *layout, const void *record) {
  for (size_t i = 0; i < layout->count; i++) {
    const struct field *f = &layout->fields[i];
    if (is_text(f) && *text_at(f, record) && strlen(*text_at(f, record)) > STORE_VALUE_MAX) return f->name;
  }
  return NULL;
}

/* ---- what store.h promises of records and lists ---- */

void job_record_clear(struct job_record *r) { record_clear(&job_layout, r, sizeof(*r)); }
void stage_record_clear(struct stage_record *r) { record_clear(&stage_layout, r, sizeof(*r)); }
void attempt_record_clear(struct attempt_record *r) { record_clear(&attempt_layout, r, sizeof(*r)); }
void event_record_clear(struct event_record *r) { record_clear(&event_layout, r, sizeof(*r)); }
void side_record_clear(struct side_record *r) { record_clear(&side_layout, r, sizeof(*r)); }

void job_record_copy(struct job_record *to, const struct job_record *from) {
  record_copy(&job_layout, to, from, sizeof(*to));
}

void stage_record_copy(struct stage_record *to, const struct stage_record *from) {
  record_copy(&stage_layout, to, from, sizeof(*to));
}

#define DEFINE_LIST_CLEAR(noun)                                                                                        \
  void noun##_list_clear(struct noun##_list *l) {                                                                      \
    for (size_t i = 0; i < l->count; i++) noun##_record_clear(&l->items[i]);                                           \
    free(l->items);                                                                                                    \
    *l = (struct noun##_list){0};                                                                                      \
  }
DEFINE_LIST_CLEAR(job)
DEFINE_LIST_CLEAR(stage)
DEFINE_LIST_CLEAR(attempt)
DEFINE_LIST_CLEAR(event)
DEFINE_LIST_CLEAR(side)

void totals_list_clear(struct totals_list *l) {
  for (size_t i = 0; i < l->count; i++) free(l->items[i].pipeline);
  free(l->items);
  *l = (struct totals_list){0};
}
