#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/literal.h"
#include "config/report.h"

struct rule rule_of_param(const struct param_type *p) {
  return (struct rule){.key = p->name,
                       .takes = p->takes,
                       .flags = p->flags,
                       .min = p->min,
                       .max = p->max,
                       .unit = p->unit,
                       .summary = p->summary,
                       .param = p};
}

size_t rule_field_count(const struct rule *rule) {
  if (rule->param) return rule->param->field_count;
  size_t n = 0;
  while (rule->fields && rule->fields[n].key) n++;
  return n;
}

struct rule rule_field(const struct rule *rule, size_t index) {
  return rule->param ? rule_of_param(&rule->param->fields[index]) : rule->fields[index];
}

bool rule_field_find(const struct rule *rule, const char *key, struct rule *field) {
  for (size_t i = 0; i < rule_field_count(rule); i++) {
    *field = rule_field(rule, i);
    if (strcmp(field->key, key) == 0) return true;
  }
  return false;
}

bool rule_choice(const struct rule *rule, size_t index, char *out, size_t size) {
  if (rule->param) {
    if (index >= rule->param->choice_count) return false;
    snprintf(out, size, "%s", rule->param->choices[index]);
    return true;
  }
  const char *s = rule->choices;
  for (; s && index > 0; index--) {
    s = strchr(s, '|');
    if (s) s++;
  }
  if (!s) return false;
  snprintf(out, size, "%.*s", (int)strcspn(s, "|"), s);
  return true;
}

enum { CHOICES_MAX = 64 };

bool rule_nearest_choice(const struct rule *rule, const char *word, char out[128]) {
  char texts[CHOICES_MAX][128];
  const char *list[CHOICES_MAX];
  size_t n = 0;
  while (n < CHOICES_MAX && rule_choice(rule, n, texts[n], sizeof texts[n])) list[n] = texts[n], n++;
  const char *near = report_nearest(word, list, n);
  if (near) snprintf(out, 128, "%s", near);
  return near != NULL;
}

static const struct kind {
  uint32_t bit;
  const char *one, *many;
} kinds[] = {
    {SM_TAKES_BOOL, "true or false", "true or false"},
    {SM_TAKES_DURATION, "a duration (6s, 250ms, 1m30s)", "durations"},
    {SM_TAKES_SIZE, "a size (500k, 5M, 1.5G, 64Mi)", "sizes"},
    {SM_TAKES_BITRATE, "a bitrate (800k, 5M)", "bitrates"},
    {SM_TAKES_PERCENT, "a percentage (10%)", "percentages"},
    {SM_TAKES_FILE, "the path of a file", "paths of files"},
    {SM_TAKES_TARGET, "a URL or a folder", "URLs or folders"},
    {SM_TAKES_SECRET, "a reference ${{ secrets.NAME }}", "references ${{ secrets.NAME }}"},
    {SM_TAKES_RECORD | RULE_MAP, "a map", "maps"},
    {RULE_LIST, "a list", "lists"},
    {SM_TAKES_TEXT, "text", "texts"},
};

static void describe_choices(const struct rule *rule, struct buf *out) {
  char choice[128];
  buf_text(out, "one of ");
  for (size_t i = 0; rule_choice(rule, i, choice, sizeof choice); i++) {
    if (i == 24) {
      buf_text(out, ", ...");
      break;
    }
    buf_format(out, "%s%s", i ? ", " : "", choice);
  }
}

static void separate(struct buf *out, size_t begin) {
  if (out->size > begin) buf_text(out, " or ");
}

static void describe_range(const struct rule *rule, struct buf *out) {
  if (rule->min >= rule->max) return;
  const char *unit = rule->unit ? rule->unit : "";
  const char *gap = *unit && *unit != '%' ? " " : "";
  bool below = rule->min > -RULE_UNBOUNDED, above = rule->max < RULE_UNBOUNDED;
  if (below && above) buf_format(out, ", from %.15g to %.15g%s%s", rule->min, rule->max, gap, unit);
  if (below && !above) buf_format(out, ", at least %.15g%s%s", rule->min, gap, unit);
  if (!below && above) buf_format(out, ", at most %.15g%s%s", rule->max, gap, unit);
}

void rule_describe(const struct rule *rule, struct buf *out) {
  size_t begin = out->size;
  if (rule->takes & SM_TAKES_KEYWORD) describe_choices(rule, out);
  if (rule->takes & (SM_TAKES_INT | SM_TAKES_NUMBER)) {
    separate(out, begin);
    buf_text(out, rule->takes & SM_TAKES_NUMBER ? "a number" : "a whole number");
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (!(rule->takes & kinds[i].bit)) continue;
    separate(out, begin);
    buf_text(out, kinds[i].one);
  }
  describe_range(rule, out);
  if (rule->flags & SM_REPEATED) buf_text(out, ", or a list of such");
}

static void seconds_text(int64_t us, struct buf *out) {
  bool negative = us < 0;
  uint64_t n = negative ? 0 - (uint64_t)us : (uint64_t)us;
  buf_format(out, "%s%llu", negative ? "-" : "", (unsigned long long)(n / 1000000));
  unsigned rest = (unsigned)(n % 1000000);
  if (rest) {
    char digits[8];
    snprintf(digits, sizeof digits, "%06u", rest);
    size_t size = 6;
    while (digits[size - 1] == '0') size--;
    buf_format(out, ".%.*s", (int)size, digits);
  }
  buf_char(out, 's');
}

/* Decimal notation without exponent, as the grammar reads it back. */
static void number_text(double x, struct buf *out) {
  char text[64];
  snprintf(text, sizeof text, "%.15g", x);
  if (strpbrk(text, "e")) {
    snprintf(text, sizeof text, fabs(x) < 1 ? "%.18f" : "%.0f", fabs(x) < 1e40 ? x : copysign(1e40, x));
    size_t size = strlen(text);
    while (strchr(text, '.') && (text[size - 1] == '0' || text[size - 1] == '.')) {
      bool point = text[size - 1] == '.';
      text[--size] = 0;
      if (point) break;
    }
  }
  buf_text(out, text);
}

bool literal_text(const struct value *v, struct buf *out) {
  switch (v->type) {
  case VALUE_NULL: return true;
  case VALUE_BOOL: buf_text(out, v->integer ? "true" : "false"); return true;
  case VALUE_INT:
  case VALUE_SIZE:
  case VALUE_BITRATE: buf_format(out, "%lld", (long long)v->integer); return true;
  case VALUE_NUMBER: number_text(v->number, out); return true;
  case VALUE_PERCENT:
    number_text(v->number, out);
    buf_char(out, '%');
    return true;
  case VALUE_DURATION: seconds_text(v->integer, out); return true;
  case VALUE_TEXT: buf_add(out, v->text, v->text_size); return true;
  case VALUE_LIST:
  case VALUE_MAP: return false;
  }
  return false;
}
