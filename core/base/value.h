/* value.h - the one tree of typed values: YAML literals, expression results, stage parameters and results, event
 * bodies and the specification handed to an attempt are all made of it.
 *
 * Ownership: `..._new` and `value_copy` return an owned tree; list_add and map_set MOVE the item in; value_free takes
 * the address, accepts NULL, leaves NULL. Lookups return borrowed pointers. Not thread-safe; share copies. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum value_type {
  VALUE_NULL = 1,
  VALUE_BOOL,
  VALUE_INT,
  VALUE_NUMBER,
  VALUE_TEXT,
  VALUE_DURATION, /* integer: microseconds */
  VALUE_SIZE,     /* integer: bytes */
  VALUE_BITRATE,  /* integer: bits per second */
  VALUE_PERCENT,  /* number */
  VALUE_LIST,
  VALUE_MAP, /* keys unique, order of insertion kept */
};

struct value {
  enum value_type type;
  bool secret;    /* text only: came from a secret; never written by value_json unless asked */
  int64_t integer; /* BOOL, INT, DURATION, SIZE, BITRATE */
  double number;   /* NUMBER, PERCENT */
  char *text;      /* TEXT, NUL-terminated; size_t text_size excludes the NUL; no NUL inside */
  size_t text_size;
  struct value **items; /* LIST, MAP */
  char **keys;          /* MAP */
  size_t count;
};

struct value *value_null(void);
struct value *value_bool(bool b);
struct value *value_int(int64_t n);
struct value *value_number(double x);
struct value *value_text(const char *text); /* NULL gives a null value */
struct value *value_text_n(const char *text, size_t size);
struct value *value_of(enum value_type type, int64_t integer, double number); /* DURATION, SIZE, BITRATE, PERCENT */
struct value *value_list(void);
struct value *value_map(void);
void value_free(struct value **v);
void value_free_at(struct value **v);
#define value_auto __attribute__((cleanup(value_free_at)))
struct value *value_copy(const struct value *v); /* NULL gives a null value */

void value_list_add(struct value *list, struct value *moved);
void value_map_set(struct value *map, const char *key, struct value *moved); /* replaces */
void value_set_text(struct value *map, const char *key, const char *text);   /* shorthands of map_set */
void value_set_int(struct value *map, const char *key, int64_t n);
void value_set_number(struct value *map, const char *key, double x);
void value_set_bool(struct value *map, const char *key, bool b);

const struct value *value_get(const struct value *map, const char *key); /* NULL when absent or v is no map */
const struct value *value_path(const struct value *v, const char *dotted); /* "ladder.0.width"; NULL when absent */
/* Typed lookups with a default for "absent, null or of another type". Numbers come in the unit they are stored in
 * (a duration in microseconds). */
const char *value_get_text(const struct value *map, const char *key, const char *otherwise);
int64_t value_get_int(const struct value *map, const char *key, int64_t otherwise); /* any integer type */
double value_get_number(const struct value *map, const char *key, double otherwise); /* any numeric type */
bool value_get_bool(const struct value *map, const char *key, bool otherwise);
bool value_is_null(const struct value *v); /* NULL pointer or VALUE_NULL */
bool value_equal(const struct value *a, const struct value *b);
const char *value_type_word(enum value_type type); /* "duration" */

/* Packed form: type-tagged little-endian, for sockets, memfds and the store. Unpack treats the bytes as hostile:
 * bounded depth (32), item count and text size by what is there; ERR_PROTOCOL otherwise. */
void value_pack(struct buf *out, const struct value *v);
enum err value_unpack(const void *data, size_t size, struct value **v, struct error *e);

/* JSON. Durations are seconds (number), sizes and bitrates integers, percent a number. Secrets print as "***" unless
 * `reveal`. from_json bounds depth at 64 and rejects duplicate keys, NUL, invalid UTF-8. */
enum value_json_flags { VALUE_JSON_COMPACT = 0, VALUE_JSON_PRETTY = 1, VALUE_JSON_REVEAL = 2 };
void value_json(struct buf *out, const struct value *v, unsigned flags);
enum err value_from_json(const char *text, size_t size, struct value **v, struct error *e);
