#include "config/literal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/report.h"

/* ---- numbers --------------------------------------------------------------------------------------------------- */

/* Digits with an optional fraction; 0 when there are none. No sign, no exponent, no locale. */
static size_t scan_decimal(const char *s, double *x, bool *whole) {
  size_t n = strspn(s, "0123456789");
  if (!n || n > 18) return 0;
  double value = 0, scale = 1;
  for (size_t i = 0; i < n; i++) value = value * 10 + (s[i] - '0');
  *whole = true;
  size_t fraction = s[n] == '.' ? strspn(s + n + 1, "0123456789") : 0;
  if (fraction > 18) return 0;
  for (size_t i = 0; i < fraction; i++) value += (s[n + 1 + i] - '0') / (scale *= 10);
  if (fraction) *whole = false;
  *x = value;
  return fraction ? n + 1 + fraction : n;
}

/* The same, exact in the last digit: what strtod of the C locale gives, bounded in length by scan_decimal. */
static double exact(const char *s, size_t size) {
  char text[48];
  snprintf(text, sizeof text, "%.*s", (int)size, s);
  /* Point and comma: the daemon never calls setlocale, so that strtod reads a point. */
  return strtod(text, NULL);
}

static bool parse_int(const char *s, int64_t *n) {
  const char *digits = *s == '-' ? s + 1 : s;
  size_t size = strspn(digits, "0123456789");
  if (!size || digits[size] || (size > 1 && digits[0] == '0')) return false;
  errno = 0;
  long long value = strtoll(s, NULL, 10);
  *n = value;
  return errno == 0;
}

static bool parse_number(const char *s, double *x) {
  const char *digits = *s == '-' ? s + 1 : s;
  bool whole;
  size_t size = scan_decimal(digits, x, &whole);
  if (!size || digits[size]) return false;
  *x = exact(digits, size);
  if (*s == '-') *x = -*x;
  return true;
}

/* ---- units ----------------------------------------------------------------------------------------------------- */

static const struct unit_name {
  const char *name;
  double us;
} duration_units[] = {{"d", 86400e6}, {"h", 3600e6}, {"m", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}};

/* The unit's index, SIZE_MAX when s does not begin with a whole unit word. */
static size_t duration_unit(const char *s, size_t *length) {
  size_t n = 0;
  while (isalpha((unsigned char)s[n])) n++;
  for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++)
    if (n == strlen(duration_units[i].name) && strncmp(s, duration_units[i].name, n) == 0) return *length = n, i;
  return SIZE_MAX;
}

static size_t scan_duration(const char *s, int64_t *us) {
  double total = 0;
  size_t used = 0, last = 0;
  bool any = false, fraction = false;
  while (isdigit((unsigned char)s[used])) {
    double x;
    bool whole;
    size_t unit_size = 0, size = scan_decimal(s + used, &x, &whole);
    size_t unit = size ? duration_unit(s + used + size, &unit_size) : SIZE_MAX;
    if (unit == SIZE_MAX || fraction || (any && unit <= last)) return 0;
    total += exact(s + used, size) * duration_units[unit].us;
    fraction = !whole;
    any = true;
    last = unit;
    used += size + unit_size;
  }
  if (!any || total > 9e18) return 0;
  *us = (int64_t)llround(total);
  return used;
}

static size_t scale_name(const char *s, bool binary, double *scale) {
  static const char letters[] = "kMGT";
  if (binary && *s == 'K' && s[1] == 'i') return *scale = 1024, 2;
  const char *at = *s ? strchr(letters, *s) : NULL;
  if (!at) return *scale = 1, 0;
  unsigned power = (unsigned)(at - letters) + 1;
  if (binary && s[1] == 'i' && *s != 'k') return *scale = ldexp(1, 10 * (int)power), 2;
  *scale = power == 1 ? 1e3 : power == 2 ? 1e6 : power == 3 ? 1e9 : 1e12;
  return 1;
}

/* 800k, 1.5G, 64Mi: what is left is a whole number of bytes or bits. */
static bool parse_scaled(const char *s, bool binary, int64_t *n) {
  const char *digits = *s == '-' ? s + 1 : s;
  double x, scale;
  bool whole;
  size_t size = scan_decimal(digits, &x, &whole);
  if (!size) return false;
  size += scale_name(digits + size, binary, &scale);
  if (digits[size]) return false;
  x = exact(digits, size) * scale;
  if (x > 9e18 || fabs(x - round(x)) > 1e-6 * fmax(1, x)) return false;
  *n = (int64_t)llround(x);
  if (*s == '-') *n = -*n;
  return true;
}

static bool parse_duration(const char *s, int64_t *us) {
  const char *digits = *s == '-' ? s + 1 : s;
  if (strcmp(digits, "0") == 0) return *us = 0, true;
  size_t used = scan_duration(digits, us);
  if (!used || digits[used]) return false;
  if (*s == '-') *us = -*us;
  return true;
}

static bool parse_percent(const char *s, double *x) {
  size_t size = strlen(s);
  if (size < 2 || size > 40 || s[size - 1] != '%') return false;
  char text[48];
  snprintf(text, sizeof text, "%.*s", (int)(size - 1), s);
  return parse_number(text, x);
}

size_t literal_scan(const char *text, struct value **value) {
  double x, scale;
  bool whole;
  int64_t us;
  size_t used = scan_duration(text, &us);
  if (used) return *value = value_of(VALUE_DURATION, us, 0), used;
  size_t size = scan_decimal(text, &x, &whole);
  if (!size) return 0;
  x = exact(text, size);
  if (text[size] == '%') return *value = value_of(VALUE_PERCENT, 0, x), size + 1;
  used = size + scale_name(text + size, true, &scale);
  double scaled = x * scale;
  bool integral = (whole || scale > 1) && fabs(scaled - round(scaled)) < 1e-6 && fabs(scaled) < 9e15;
  if (whole && scale == 1) {
    char digits[24];
    snprintf(digits, sizeof digits, "%.*s", (int)size, text);
    *value = value_int(strtoll(digits, NULL, 10));
  } else {
    *value = integral ? value_int(llround(scaled)) : value_number(scaled);
  }
  return used;
}

/* ---- one value ------------------------------------------------------------------------------------------------- */

static bool is_choice(const struct rule *rule, const char *text) {
  char choice[256];
  for (size_t i = 0; rule_choice(rule, i, choice, sizeof choice); i++)
    if (strcmp(choice, text) == 0) return true;
  return false;
}

static struct value *parse_units(const struct rule *rule, const char *text) {
  int64_t n;
  double x;
  if ((rule->takes & SM_TAKES_DURATION) && parse_duration(text, &n)) return value_of(VALUE_DURATION, n, 0);
  if ((rule->takes & SM_TAKES_SIZE) && parse_scaled(text, true, &n)) return value_of(VALUE_SIZE, n, 0);
  if ((rule->takes & SM_TAKES_BITRATE) && parse_scaled(text, false, &n)) return value_of(VALUE_BITRATE, n, 0);
  if ((rule->takes & SM_TAKES_PERCENT) && parse_percent(text, &x)) return value_of(VALUE_PERCENT, 0, x);
  return NULL;
}

enum { TEXTS = SM_TAKES_TEXT | SM_TAKES_FILE | SM_TAKES_TARGET | SM_TAKES_SECRET };

static struct value *parse_any(const struct rule *rule, const char *text, bool plain) {
  int64_t n;
  double x;
  bool quoted_text = !plain && (rule->takes & SM_TAKES_TEXT);
  if ((rule->takes & SM_TAKES_KEYWORD) && is_choice(rule, text)) return value_text(text);
  if (quoted_text) return value_text(text);
  if ((rule->takes & SM_TAKES_BOOL) && strcmp(text, "true") == 0) return value_bool(true);
  if ((rule->takes & SM_TAKES_BOOL) && strcmp(text, "false") == 0) return value_bool(false);
  if ((rule->takes & SM_TAKES_INT) && parse_int(text, &n)) return value_int(n);
  if ((rule->takes & SM_TAKES_NUMBER) && parse_number(text, &x)) return value_number(x);
  struct value *v = parse_units(rule, text);
  if (!v && (rule->takes & TEXTS) && (*text || !(rule->takes & SM_TAKES_FILE))) v = value_text(text);
  return v;
}

static bool number_of(const struct value *v, double *x) {
  switch (v->type) {
  case VALUE_INT:
  case VALUE_SIZE:
  case VALUE_BITRATE: *x = (double)v->integer; return true;
  case VALUE_DURATION: *x = (double)v->integer / 1e6; return true;
  case VALUE_NUMBER:
  case VALUE_PERCENT: *x = v->number; return true;
  default: return false;
  }
}

/* A percentage beside other kinds has its own range: the written one is in their unit. */
static bool in_range(const struct rule *rule, const struct value *v) {
  double x, min = rule->min, max = rule->max;
  if (!number_of(v, &x)) return true;
  const uint32_t numeric = SM_TAKES_INT | SM_TAKES_NUMBER | SM_TAKES_DURATION | SM_TAKES_SIZE | SM_TAKES_BITRATE;
  bool alone = !(rule->takes & numeric);
  if (v->type == VALUE_PERCENT && (min >= max || !alone)) min = rule->min < 0 && min < max ? -100 : 0, max = 100;
  if (min < max) return x >= min && x <= max;
  bool may_be_negative = v->type == VALUE_INT || v->type == VALUE_NUMBER || (rule->flags & RULE_SIGNED);
  return may_be_negative || x >= 0;
}

static void say_invalid(const struct rule *rule, const char *text, struct buf *why) {
  char near[128];
  buf_format(why, "`%.100s` is not ", text);
  rule_describe(rule, why);
  int64_t n;
  if ((rule->takes & SM_TAKES_KEYWORD) && rule_nearest_choice(rule, text, near))
    buf_format(why, "; did you mean `%s`?", near);
  else if ((rule->takes & SM_TAKES_DURATION) && parse_int(text, &n))
    buf_format(why, "; a duration needs a unit: %s%s", text, "s");
}

static void say_out_of_range(const struct rule *rule, const char *text, const struct value *v, struct buf *why) {
  if (rule->min < rule->max && !(v->type == VALUE_PERCENT && (rule->takes & ~(uint32_t)SM_TAKES_PERCENT))) {
    const char *unit = rule->unit ? rule->unit : "";
    buf_format(why, "`%.100s` is out of range: it has to be from %.15g to %.15g%s%s", text, rule->min, rule->max,
               *unit && *unit != '%' ? " " : "", unit);
  } else if (v->type == VALUE_PERCENT) {
    buf_format(why, "`%.100s` is out of range: it has to be from %s to 100%%", text,
               rule->min < 0 && rule->min < rule->max ? "-100%" : "0%");
  } else {
    buf_format(why, "`%.100s` is negative: it has to be 0 or more", text);
  }
}

enum err literal_parse(const struct rule *rule, const char *text, bool plain, struct value **value, struct buf *why) {
  *value = parse_any(rule, text, plain);
  if (!*value) {
    say_invalid(rule, text, why);
    return ERR_INVALID;
  }
  if (in_range(rule, *value)) return ERR_OK;
  say_out_of_range(rule, text, *value, why);
  value_free(value);
  return ERR_INVALID;
}

/* ---- typed values to what a rule takes ------------------------------------------------------------------------- */

static struct value *fit_number(const struct rule *rule, const struct value *in) {
  bool whole = in->type == VALUE_INT || (in->number == floor(in->number) && fabs(in->number) < 9e15);
  int64_t n = in->type == VALUE_INT ? in->integer : whole ? (int64_t)in->number : 0;
  if ((rule->takes & SM_TAKES_INT) && whole) return value_int(n);
  if (rule->takes & SM_TAKES_NUMBER) return value_number(in->type == VALUE_INT ? (double)n : in->number);
  if ((rule->takes & SM_TAKES_SIZE) && whole) return value_of(VALUE_SIZE, n, 0);
  if ((rule->takes & SM_TAKES_BITRATE) && whole) return value_of(VALUE_BITRATE, n, 0);
  if ((rule->takes & SM_TAKES_DURATION) && whole && n == 0) return value_of(VALUE_DURATION, 0, 0);
  return NULL;
}

static struct value *fit_typed(const struct rule *rule, const struct value *in) {
  static const struct {
    enum value_type type;
    uint32_t bit;
  } same[] = {{VALUE_BOOL, SM_TAKES_BOOL},
              {VALUE_DURATION, SM_TAKES_DURATION},
              {VALUE_SIZE, SM_TAKES_SIZE},
              {VALUE_BITRATE, SM_TAKES_BITRATE},
              {VALUE_PERCENT, SM_TAKES_PERCENT}};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    if (in->type == same[i].type && (rule->takes & same[i].bit)) return value_copy(in);
  struct value *v = in->type == VALUE_INT || in->type == VALUE_NUMBER ? fit_number(rule, in) : NULL;
  if (v || !(rule->takes & (SM_TAKES_TEXT | SM_TAKES_KEYWORD))) return v;
  buf_auto struct buf text = {0};
  if (!literal_text(in, &text)) return NULL;
  return parse_any(rule, buf_string(&text), false);
}

static enum err convert_scalar(const struct rule *rule, const struct value *in, struct value **out, struct buf *why) {
  if (in->type == VALUE_TEXT) {
    enum err err = literal_parse(rule, in->text, false, out, why);
    if (!err && (*out)->type == VALUE_TEXT) (*out)->secret = in->secret;
    if (err && in->secret) {
      buf_reset(why);
      buf_text(why, "the secret's value is not ");
      rule_describe(rule, why);
    }
    return err;
  }
  *out = fit_typed(rule, in);
  buf_auto struct buf text = {0};
  if (!literal_text(in, &text)) buf_text(&text, in->type == VALUE_LIST ? "a list" : "a map");
  if (*out && in_range(rule, *out)) return ERR_OK;
  if (*out)
    say_out_of_range(rule, buf_string(&text), *out, why);
  else
    say_invalid(rule, buf_string(&text), why);
  value_free(out);
  return ERR_INVALID;
}

static void step(struct buf *where, const char *name) { buf_format(where, "%s%s", where->size ? "." : "", name); }

static enum err convert_field(const struct rule *field, const struct value *in, struct value *record, struct buf *where,
                              struct buf *why) {
  size_t begin = where->size;
  const struct value *given = value_get(in, field->key);
  struct value *v = NULL;
  enum err err = ERR_OK;
  step(where, field->key);
  if (!value_is_null(given))
    err = literal_convert(field, given, &v, where, why);
  else if (field->param)
    err = literal_default(field->param, &v, why);
  if (!err && value_is_null(v) && (field->flags & SM_REQUIRED)) {
    buf_format(why, "`%s` is required and has no value", field->key);
    err = ERR_INVALID;
  }
  if (err || value_is_null(v)) {
    value_free(&v);
    if (!err) where->data[where->size = begin] = 0;
    return err;
  }
  value_map_set(record, field->key, v);
  where->data[where->size = begin] = 0;
  return ERR_OK;
}

static enum err convert_record(const struct rule *rule, const struct value *in, struct value **out, struct buf *where,
                               struct buf *why) {
  struct rule field;
  for (size_t i = 0; i < in->count; i++) {
    if (rule_field_find(rule, in->keys[i], &field)) continue;
    buf_format(why, "unknown key `%.100s`", in->keys[i]);
    return ERR_INVALID;
  }
  *out = value_map();
  for (size_t i = 0; i < rule_field_count(rule); i++) {
    field = rule_field(rule, i);
    enum err err = convert_field(&field, in, *out, where, why);
    if (err) return value_free(out), err;
  }
  return ERR_OK;
}

static enum err convert_list(const struct rule *item, const struct value *in, struct value **out, struct buf *where,
                             struct buf *why) {
  *out = value_list();
  for (size_t i = 0; i < in->count; i++) {
    size_t begin = where->size;
    char index[24];
    struct value *v = NULL;
    snprintf(index, sizeof index, "%zu", i);
    step(where, index);
    enum err err = literal_convert(item, in->items[i], &v, where, why);
    if (err) return value_free(out), err;
    value_list_add(*out, v);
    where->data[where->size = begin] = 0;
  }
  return ERR_OK;
}

enum err literal_convert(const struct rule *rule, const struct value *in, struct value **out, struct buf *where,
                         struct buf *why) {
  *out = NULL;
  buf_text(where, ""); /* gives it memory: the steps above cut it back */
  if (rule->flags & SM_REPEATED) {
    struct rule item = *rule;
    item.flags &= ~(uint32_t)SM_REPEATED;
    if (in->type == VALUE_LIST) return convert_list(&item, in, out, where, why);
    struct value *one = NULL;
    enum err err = literal_convert(&item, in, &one, where, why);
    if (err) return err;
    *out = value_list();
    value_list_add(*out, one);
    return ERR_OK;
  }
  if (in->type == VALUE_MAP && (rule->takes & SM_TAKES_RECORD)) return convert_record(rule, in, out, where, why);
  if (in->type == VALUE_NULL) {
    buf_text(why, "null is not ");
    rule_describe(rule, why);
    return ERR_INVALID;
  }
  return convert_scalar(rule, in, out, why);
}

enum err literal_default(const struct param_type *param, struct value **value, struct buf *why) {
  *value = NULL;
  if (!param->fallback) return *value = value_null(), ERR_OK;
  struct rule rule = rule_of_param(param);
  rule.flags &= ~(uint32_t)SM_REPEATED;
  struct value *one = NULL;
  /* An empty default of a list is an empty list. */
  if ((param->flags & SM_REPEATED) && !*param->fallback) return *value = value_list(), ERR_OK;
  enum err err = literal_parse(&rule, param->fallback, true, &one, why);
  if (err) return err;
  if (!(param->flags & SM_REPEATED)) return *value = one, ERR_OK;
  *value = value_list();
  value_list_add(*value, one);
  return ERR_OK;
}
