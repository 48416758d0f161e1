/* shelf_read.c - folders of YAML files to a set of pipelines. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "config/tree.h"
#include "service/shelf_parts.h"

enum { FILE_BYTES_MAX = 1 << 20, FILES_MAX = 1000 };

void shelved_text_unref(struct shelved_text **at) {
  struct shelved_text *text = *at;
  if (!text) return;
  *at = NULL;
  if (__atomic_sub_fetch(&text->references, 1, __ATOMIC_ACQ_REL)) return;
  pipeline_free(&text->pipeline);
  free(text->text);
  free(text->summary);
  free(text);
}

static struct report *report_copy(const struct report *from) {
  struct report *to = report_new();
  for (size_t i = 0; i < report_count(from); i++) {
    const struct problem *p = report_at(from, i);
    report_add(to, p->level, p->file, p->line, p->column, p->length, p->source, p->hint, "%s", p->message);
  }
  return to;
}

static struct shelved_item *taken(const struct shelf_set *set, const char *name) {
  for (size_t i = 0; i < set->count; i++)
    if (!strcmp(set->items[i]->public.name, name)) return set->items[i];
  return NULL;
}

/* NAME, or NAME~2 when it is taken: what a file that is not right is called beside one that is. */
static char *free_name(const struct shelf_set *set, const char *wanted) {
  char *name = mem_text(wanted);
  for (unsigned n = 2; taken(set, name); n++) {
    free(name);
    name = mem_format("%s~%u", wanted, n);
  }
  return name;
}

void shelf_set_add(struct shelf_set *set, const char *name, const char *file, struct shelved_text *kept,
                   const struct report *problems) {
  struct shelved_item *item = mem_alloc(sizeof *item);
  __atomic_add_fetch(&kept->references, 1, __ATOMIC_RELAXED);
  item->kept = kept;
  struct shelved_item *other = taken(set, name);
  if (other && kept->pipeline && !other->public.pipeline) { /* who is right bears the name */
    char *aside = free_name(set, name);
    free(other->public.name);
    other->public.name = aside;
  }
  item->public = (struct shelved){.name = free_name(set, name),
                                  .file = mem_text(file),
                                  .text = kept->text,
                                  .summary = kept->summary,
                                  .pipeline = kept->pipeline,
                                  .problems = problems && report_count(problems) ? report_copy(problems) : NULL};
  set->items = mem_grow(set->items, set->count + 1, sizeof *set->items);
  set->items[set->count++] = item;
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

/* The pipeline itself keeps no prose. */
static char *summary_of(const char *text, size_t size, const char *file) {
  struct tree *tree = tree_new(NULL);
  struct node *root = NULL;
  char *summary = tree_peek(tree, text, size, file, NULL, &root) ? NULL : mem_text(node_text(root, "description"));
  tree_free(&tree);
  return summary;
}

static struct shelved_text *text_read(const char *file, struct stage_set *stages, struct report *report) {
  struct shelved_text *kept = mem_alloc(sizeof *kept);
  struct buf text = {0};
  struct error e = {0};
  kept->references = 1;
  if (!pipeline_load(file, stages, report, &kept->pipeline, &e) && !fs_read_file(file, FILE_BYTES_MAX, &text, &e))
    kept->summary = summary_of(buf_string(&text), text.size, file);
  if (!kept->pipeline && !report_errors(report))
    report_add(report, PROBLEM_ERROR, file, 0, 0, 0, NULL, NULL, "%s", e.message);
  kept->text = buf_take(&text);
  return kept;
}

static void file_read(struct shelf_set *set, size_t folder_begin, const char *file, struct stage_set *stages) {
  struct report *report = report_new();
  struct shelved_text *kept = text_read(file, stages, report);
  mem_auto char *base = mem_text(fs_base_name(file));
  *strrchr(base, '.') = '\0';
  const char *name = kept->pipeline ? kept->pipeline->name : base;
  const struct shelved_item *other = taken(set, name);
  bool shadowed = false;
  for (size_t i = 0; other && i < folder_begin; i++) shadowed |= set->items[i] == other;
  if (other && other->public.pipeline && !shadowed && kept->pipeline) {
    report_add(report, PROBLEM_ERROR, file, 0, 0, 0, NULL, "give each pipeline of a folder a name of its own",
               "the name `%s` is taken by %s", name, other->public.file);
    pipeline_free(&kept->pipeline);
    name = base;
  }
  if (!shadowed || !other->public.pipeline) shelf_set_add(set, name, file, kept, report);
  shelved_text_unref(&kept);
  report_free(&report);
}

/* ---- folders
 * -------------------------------------------------------------------------------------------------------------------
 */

static int is_pipeline(const struct dirent *entry) {
  const char *dot = strrchr(entry->d_name, '.');
  return entry->d_name[0] != '.' && dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static enum err folder_read(struct shelf_set *set, const char *folder, struct stage_set *stages, struct error *e) {
  struct dirent **entries = NULL;
  int count = scandir(folder, &entries, is_pipeline, alphasort);
  if (count < 0) return error_errno(e, errno, "cannot read the folder of pipelines %s", folder);
  size_t begin = set->count;
  for (int i = 0; i < count; i++) {
    mem_auto char *file = mem_format("%s/%s", folder, entries[i]->d_name);
    struct stat st;
    if (i < FILES_MAX && (stat(file, &st) || !S_ISDIR(st.st_mode))) file_read(set, begin, file, stages);
    free(entries[i]);
  }
  free(entries);
  if (count > FILES_MAX) return error_set(e, ERR_TOO_LARGE, "%s holds more than %d pipelines", folder, FILES_MAX);
  return ERR_OK;
}

enum err shelf_read(char *const *folders, struct stage_set *stages, struct shelf_set **out, struct error *e) {
  struct shelf_set *set = shelf_set_new();
  enum err err = ERR_OK;
  for (; *folders && !err; folders++) err = folder_read(set, *folders, stages, e);
  if (err) shelf_set_free(&set);
  *out = set;
  return err;
}

void shelf_signature(char *const *folders, char hex[65]) {
  struct digest *digest = digest_new();
  for (; *folders; folders++) {
    struct dirent **entries = NULL;
    int count = scandir(*folders, &entries, is_pipeline, alphasort);
    int folder = open(*folders, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < count; i++) {
      struct stat st = {0};
      if (folder >= 0) fstatat(folder, entries[i]->d_name, &st, 0);
      int64_t facts[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
      digest_add(digest, entries[i]->d_name, strlen(entries[i]->d_name) + 1);
      digest_add(digest, facts, sizeof facts);
      free(entries[i]);
    }
    free(entries);
    if (folder >= 0) close(folder);
    digest_add(digest, "/", 1);
  }
  digest_hex(&digest, hex);
}
