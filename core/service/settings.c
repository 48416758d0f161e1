/* settings.c - loading: the file along the table of keys, over it the environment, over it flags; then one struct. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/schema.h"
#include "service/settings_parts.h"

enum { FILE_BYTES_MAX = 1 << 20, PATH_MAX_SIZE = 64 };

extern char **environ;

/* ---- rows -------------------------------------------------------------------------------------------------------- */

bool settings_row_is_list(const struct settings_row *row) {
  return row->field == FIELD_TEXTS || row->field == FIELD_PATHS;
}

struct rule settings_rule(const struct settings_row *row, const char *key) {
  return (struct rule){.key = key,
                       .takes = row->takes,
                       .choices = row->choices,
                       .min = row->min,
                       .max = row->max,
                       .unit = row->takes == SM_TAKES_DURATION ? "s"
                               : row->takes == SM_TAKES_SIZE   ? "bytes"
                                                               : NULL,
                       .flags = settings_row_is_list(row) ? SM_REPEATED : 0,
                       .summary = row->summary};
}

const struct settings_row *settings_row_find(const char *path) {
  for (const struct settings_row *row = settings_rows; row->path; row++)
    if (!strcmp(row->path, path)) return row;
  return NULL;
}

void settings_variable(const char *path, char out[64]) {
  int at = snprintf(out, 64, "STAGEMILL_");
  for (; *path && at < 63; path++) out[at++] = *path == '.' || *path == '-' ? '_' : (char)toupper((unsigned char)*path);
  out[at] = '\0';
}

const char *settings_environment(const char *path) {
  char name[64];
  settings_variable(path, name);
  const char *text = getenv(name);
  return text && *text ? text : NULL;
}

/* ---- where a value was written ----------------------------------------------------------------------------------- */

static const struct node *node_path(const struct node *node, const char *path) {
  char key[PATH_MAX_SIZE];
  while (node && *path) {
    size_t size = strcspn(path, ".");
    snprintf(key, sizeof key, "%.*s", (int)size, path);
    const struct node *below = node_get(node, key);
    if (!below) return node; /* the nearest map that is there */
    node = below;
    path += size + (path[size] == '.');
  }
  return node;
}

static bool is_given(const struct settings_source *source, const char *path, char where[80]) {
  char variable[64];
  if (value_get(source->overrides, path)) {
    snprintf(where, 80, "option %s", path);
    return true;
  }
  settings_variable(path, variable);
  snprintf(where, 80, "variable %s", variable);
  return settings_environment(path) != NULL;
}

void settings_problem(const struct settings_source *source, const char *path, const char *hint, const char *format,
                      ...) {
  char message[1024], where[80];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  const struct node *node = source->root ? node_path(source->root, path) : NULL;
  if (is_given(source, path, where) || !node)
    report_add(source->report, PROBLEM_ERROR, is_given(source, path, where) ? where : path, 0, 0, 0, NULL, hint, "%s",
               message);
  else
    node_problem(source->report, PROBLEM_ERROR, node, hint, "%s", message);
}

/* ---- the file along nested tables of rules, made from the flat one ----------------------------------------------- */

static void rules_free(struct rule *rules) {
  for (struct rule *rule = rules; rule && rule->key; rule++) {
    rules_free((struct rule *)rule->fields);
    free((char *)rule->key);
  }
  free(rules);
}

/* NULL: it is there already. */
static struct rule *rules_add(struct rule **rules, size_t *count, const char *key, size_t size) {
  for (size_t i = 0; i < *count; i++)
    if (strlen((*rules)[i].key) == size && !memcmp((*rules)[i].key, key, size)) return NULL;
  *rules = mem_grow(*rules, *count + 2, sizeof **rules);
  (*rules)[*count] = (struct rule){.key = mem_text_n(key, size)};
  (*rules)[*count + 1] = (struct rule){0};
  return &(*rules)[(*count)++];
}

/* The keys below a prefix, owned. */
static struct rule *rules_new(const char *prefix) {
  struct rule *rules = NULL;
  size_t count = 0, skip = strlen(prefix);
  char below[PATH_MAX_SIZE];
  for (const struct settings_row *row = settings_rows; row->path; row++) {
    if (strncmp(row->path, prefix, skip)) continue;
    const char *key = row->path + skip, *dot = strchr(key, '.');
    struct rule *rule = rules_add(&rules, &count, key, dot ? (size_t)(dot - key) : strlen(key));
    if (!rule) continue;
    if (!dot) {
      *rule = settings_rule(row, rule->key);
      continue;
    }
    snprintf(below, sizeof below, "%.*s", (int)(dot - row->path) + 1, row->path);
    rule->takes = SM_TAKES_RECORD;
    rule->fields = rules_new(below);
  }
  return rules;
}

/* A section whose every key is commented out is as if it were not there. */
static struct node *without_empty_sections(struct tree *tree, const struct node *map, const struct rule *rules) {
  struct node *kept = tree_map(tree, map);
  for (size_t i = 0; i < map->count; i++) {
    struct node *key = map->entries[i].key, *value = map->entries[i].value;
    const struct rule *rule = rules;
    while (rule->key && strcmp(rule->key, key->text)) rule++;
    if (rule->fields && node_is_empty(value)) continue;
    if (rule->fields && value->kind == NODE_MAP) value = without_empty_sections(tree, value, rule->fields);
    tree_map_add(kept, key, value);
  }
  return kept;
}

static bool is_blank(const char *text) {
  while (*text) {
    text += strspn(text, " \t\r\n");
    if (*text && *text != '#') return false;
    text += strcspn(text, "\n");
  }
  return true;
}

static enum err file_read(struct settings_source *source, struct tree *tree, struct value **values, struct error *e) {
  buf_auto struct buf text = {0};
  mem_auto char *absolute = fs_absolute(NULL, source->file);
  char *slash = strrchr(absolute, '/');
  mem_auto char *folder = slash > absolute ? mem_text_n(absolute, (size_t)(slash - absolute)) : mem_text("/");
  struct error why = {0};
  struct node *root = NULL;
  if (fs_read_file(source->file, FILE_BYTES_MAX, &text, &why)) {
    report_add(source->report, PROBLEM_ERROR, source->file, 0, 0, 0, NULL, "name another one with --config", "%s",
               why.message);
    return error_set(e, why.code, "%s", why.message);
  }
  if (is_blank(buf_string(&text))) return ERR_OK; /* nothing but comments: every key has its default */
  if (tree_parse(tree, buf_string(&text), text.size, source->file, folder, source->report, &root)) return ERR_INVALID;
  source->root = root;
  if (root->kind != NODE_MAP) {
    node_problem(source->report, PROBLEM_ERROR, root, "write `key: value` lines", "the configuration is a map, not %s",
                 node_kind_word(root));
    return ERR_INVALID;
  }
  struct rule *rules = rules_new("");
  source->root = root = without_empty_sections(tree, root, rules);
  struct schema schema = {.what = "the configuration", .rules = rules};
  schema_check(&schema, root, root, source->report, values);
  rules_free(rules);
  return ERR_OK;
}

/* ---- texts of flags and variables -------------------------------------------------------------------------------- */

static struct value *given_parse(const struct settings_source *source, const struct settings_row *row,
                                 const char *text) {
  struct rule rule = settings_rule(row, row->path);
  struct value *v = NULL;
  buf_auto struct buf why = {0};
  rule.flags = 0;
  if (!literal_parse(&rule, text, true, &v, &why)) return v;
  settings_problem(source, row->path, row->summary, "%s", buf_string(&why));
  return NULL;
}

static struct value *given_value(const struct settings_source *source, const struct settings_row *row,
                                 const char *text) {
  if (!settings_row_is_list(row)) return given_parse(source, row, text);
  struct value *list = value_list();
  while (*text) {
    size_t size = strcspn(text, ","), left = strspn(text, " ");
    while (size > left && text[size - 1] == ' ') size--;
    mem_auto char *item = mem_text_n(text + (left < size ? left : size), left < size ? size - left : 0);
    struct value *v = *item ? given_parse(source, row, item) : NULL;
    if (v) value_list_add(list, v);
    text += strcspn(text, ",");
    text += *text == ',';
  }
  return list;
}

/* A variable that begins like a section but names no key of it is mistyped: what was meant would silently not hold. */
static void environment_check(const struct settings_source *source) {
  char known[80][64], section[64];
  const char *names[80];
  size_t count = 0;
  for (const struct settings_row *row = settings_rows; row->path && count < 80; row++, count++) {
    settings_variable(row->path, known[count]);
    names[count] = known[count];
  }
  for (char **entry = environ; entry && *entry; entry++) {
    mem_auto char *name = mem_text_n(*entry, strcspn(*entry, "="));
    bool is_known = false, is_section = false;
    for (size_t i = 0; i < count; i++) {
      const char *dot = strchr(settings_rows[i].path, '.');
      is_known |= !strcmp(name, known[i]);
      if (!dot) continue;
      snprintf(section, sizeof section, "STAGEMILL_%.*s_", (int)(dot - settings_rows[i].path), settings_rows[i].path);
      for (char *c = section; *c; c++) *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
      is_section |= !strncmp(name, section, strlen(section));
    }
    if (is_known || !is_section) continue;
    const char *near = report_nearest(name, names, count);
    mem_auto char *hint = near ? mem_format("did you mean %s?", near) : NULL;
    report_add(source->report, PROBLEM_ERROR, "environment", 0, 0, 0, NULL, hint, "the variable %s names no setting",
               name);
  }
}

static void overrides_check(const struct settings_source *source) {
  const char *names[80];
  size_t count = 0;
  for (const struct settings_row *row = settings_rows; row->path && count < 80; row++) names[count++] = row->path;
  for (size_t i = 0; source->overrides && i < source->overrides->count; i++) {
    const char *key = source->overrides->keys[i];
    if (settings_row_find(key)) continue;
    const char *near = report_nearest(key, names, count);
    mem_auto char *hint = near ? mem_format("did you mean `%s`?", near) : NULL;
    report_add(source->report, PROBLEM_ERROR, "option --set", 0, 0, 0, NULL, hint, "`%s` is no setting", key);
  }
}

/* ---- values into the struct -------------------------------------------------------------------------------------- */

/* Relative paths are relative to who writes them: the file's folder, or the working directory. */
static char *path_of(const struct settings_source *source, bool from_file, const char *text) {
  if (!from_file) return fs_absolute(NULL, text);
  mem_auto char *file = fs_absolute(NULL, source->file);
  char *slash = strrchr(file, '/');
  slash[slash == file ? 1 : 0] = '\0';
  return fs_absolute(file, text);
}

static char **texts_of(const struct settings_source *source, const struct settings_row *row, bool from_file,
                       const struct value *v) {
  size_t count = value_is_null(v) ? 0 : v->type == VALUE_LIST ? v->count : 1, kept = 0;
  char **texts = mem_array(count + 1, sizeof *texts);
  for (size_t i = 0; i < count; i++) {
    const struct value *item = v->type == VALUE_LIST ? v->items[i] : v;
    if (item->type != VALUE_TEXT || !*item->text) continue;
    texts[kept++] = row->field == FIELD_PATHS ? path_of(source, from_file, item->text) : mem_text(item->text);
  }
  return texts;
}

static int level_of(const char *word) {
  static const char *const words[] = {"debug", "info", "warning", "error"};
  for (int i = 0; i < 4; i++)
    if (!strcmp(words[i], word)) return LOG_LEVEL_DEBUG + i;
  return LOG_LEVEL_INFO;
}

static void fill(const struct settings_source *source, struct settings *s, const struct settings_row *row,
                 bool from_file, const struct value *v) {
  void *at = (char *)s + row->offset;
  const char *text = v && v->type == VALUE_TEXT && *v->text ? v->text : NULL;
  switch (row->field) {
  case FIELD_TEXT: *(char **)at = mem_text(text); break;
  case FIELD_PATH: *(char **)at = text ? path_of(source, from_file, text) : NULL; break;
  case FIELD_TEXTS:
  case FIELD_PATHS: *(char ***)at = texts_of(source, row, from_file, v); break;
  case FIELD_BOOL: *(bool *)at = v && v->integer; break;
  case FIELD_UNSIGNED: *(unsigned *)at = v ? (unsigned)v->integer : 0; break;
  case FIELD_INT64: *(int64_t *)at = v ? v->integer : 0; break;
  case FIELD_UINT64: *(uint64_t *)at = v ? (uint64_t)v->integer : 0; break;
  case FIELD_FORMAT: *(bool *)at = text && !strcmp(text, "json"); break;
  case FIELD_LEVEL: *(int *)at = level_of(text ? text : "info"); break;
  }
}

static void fill_row(const struct settings_source *source, struct settings *s, const struct settings_row *row,
                     const struct value *file_values) {
  const char *text = value_get_text(source->overrides, row->path, NULL);
  if (!text) text = settings_environment(row->path);
  const struct value *written = text ? NULL : value_path(file_values, row->path);
  if (!text && !written) text = row->fallback;
  value_auto struct value *parsed = text ? given_value(source, row, text) : NULL;
  fill(source, s, row, written != NULL, written ? written : parsed);
}

enum err settings_load(struct settings **out, const char *file, const struct value *overrides, struct report *report,
                       struct error *e) {
  struct settings_source source = {.file = file, .overrides = overrides, .report = report};
  struct tree *tree = tree_new(NULL);
  value_auto struct value *values = NULL;
  struct settings *s = mem_alloc(sizeof *s);
  *out = NULL;
  if (file) file_read(&source, tree, &values, e);
  overrides_check(&source);
  environment_check(&source);
  for (const struct settings_row *row = settings_rows; row->path; row++) fill_row(&source, s, row, values);
  if (!report_errors(report)) settings_check(&source, s);
  tree_free(&tree);
  if (!report_errors(report)) return *out = s, ERR_OK;
  settings_free(&s);
  return error_set(e, ERR_INVALID, "the configuration has %zu problem%s", report_errors(report),
                   report_errors(report) == 1 ? "" : "s");
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

static void texts_free(char **texts) {
  for (size_t i = 0; texts && texts[i]; i++) free(texts[i]);
  free(texts);
}

void settings_free(struct settings **at) {
  struct settings *s = *at;
  if (!s) return;
  *at = NULL;
  for (const struct settings_row *row = settings_rows; row->path; row++) {
    void *field = (char *)s + row->offset;
    if (row->field == FIELD_TEXT || row->field == FIELD_PATH) free(*(char **)field);
    if (settings_row_is_list(row)) texts_free(*(char ***)field);
  }
  free(s);
}

static bool texts_equal(char *const *a, char *const *b) {
  for (; *a && *b; a++, b++)
    if (strcmp(*a, *b)) return false;
  return !*a && !*b;
}

static bool row_equal(const struct settings_row *row, const void *a, const void *b) {
  switch (row->field) {
  case FIELD_TEXT:
  case FIELD_PATH: {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    return x && y ? !strcmp(x, y) : x == y;
  }
  case FIELD_TEXTS:
  case FIELD_PATHS: return texts_equal(*(char **const *)a, *(char **const *)b);
  case FIELD_BOOL:
  case FIELD_FORMAT: return *(const bool *)a == *(const bool *)b;
  case FIELD_UNSIGNED:
  case FIELD_LEVEL: return *(const unsigned *)a == *(const unsigned *)b;
  case FIELD_INT64:
  case FIELD_UINT64: return *(const int64_t *)a == *(const int64_t *)b;
  }
  return true;
}

void settings_changes(const struct settings *before, const struct settings *after, struct buf *changed,
                      struct buf *restart) {
  for (const struct settings_row *row = settings_rows; row->path; row++) {
    if (row_equal(row, (const char *)before + row->offset, (const char *)after + row->offset)) continue;
    buf_format(changed, "%s%s", changed->size ? ", " : "", row->path);
    if (row->restart) buf_format(restart, "%s%s", restart->size ? ", " : "", row->path);
  }
}
