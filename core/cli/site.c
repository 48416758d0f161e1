#include "cli/site.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"

enum err site_open(struct site *site, bool refresh, struct error *e) {
  memset(site, 0, sizeof *site);
  enum err err = paths_find(&site->paths, e);
  if (err) return err;
  bool cached = paths_make_cache(&site->paths);
  struct catalogue_options options = {
      .runner_path = site->paths.runner,
      .folders = (const char *const *)site->paths.plugin_folders,
      .folder_count = site->paths.plugin_folder_count,
      .cache_path = cached ? site->paths.catalogue_cache : NULL,
      .refresh = refresh,
  };
  err = catalogue_open(&site->catalogue, &options, e);
  if (err)
    site_close(site);
  else
    site->stages = catalogue_stages(site->catalogue);
  return err;
}

void site_close(struct site *site) {
  catalogue_close(&site->catalogue);
  paths_clear(&site->paths);
  memset(site, 0, sizeof *site);
}

enum err site_load(struct site *site, const char *word, struct report *report, struct pipeline **pipeline,
                   struct error *e) {
  mem_auto char *path = paths_pipeline(&site->paths, word);
  if (access(path, F_OK) && errno == ENOENT) {
    buf_auto struct buf hint = {0};
    paths_shipped(&site->paths, ", ", &hint);
    mem_auto char *shipped = hint.size ? mem_format("name a file, or one that ships: %s", buf_string(&hint)) : NULL;
    report_add(report, PROBLEM_ERROR, word, 0, 0, 0, NULL, shipped, "there is no such pipeline file");
    return error_set(e, ERR_NOT_FOUND, "there is no pipeline file %s", word);
  }
  return pipeline_load(path, site->stages, report, pipeline, e);
}

struct pipeline *site_pipeline(struct site *site, const char *word, int *code) {
  struct report *report = report_new();
  struct pipeline *pipeline = NULL;
  struct error e = {0};
  enum err err = site_load(site, word, report, &pipeline, &e);
  if (report_count(report)) {
    buf_auto struct buf text = {0};
    report_text(report, &text, isatty(STDERR_FILENO));
    fwrite(text.data, 1, text.size, stderr);
  }
  if (err && !report_errors(report)) *code = cli_error(&e);
  if (err && report_errors(report)) *code = CLI_USAGE;
  report_free(&report);
  return pipeline;
}

enum err site_texts(const char *const *words, size_t count, struct value **texts, struct error *e) {
  value_auto struct value *map = value_map();
  for (size_t i = 0; i < count; i++) {
    const char *equals = strchr(words[i], '=');
    if (!equals || equals == words[i])
      return error_set(e, ERR_USAGE, "-p %s is no NAME=VALUE: write for example -p publish_to=/srv/out", words[i]);
    mem_auto char *name = mem_text_n(words[i], (size_t)(equals - words[i]));
    if (value_get(map, name))
      return error_set(e, ERR_USAGE, "-p %s is given twice: write it once", name);
    value_set_text(map, name, equals + 1);
  }
  *texts = map;
  map = NULL;
  return ERR_OK;
}

enum err site_params(const struct pipeline *p, const char *const *words, size_t count, struct value **params,
                     struct error *e) {
  value_auto struct value *texts = NULL;
  enum err err = site_texts(words, count, &texts, e);
  mem_auto char *here = getcwd(NULL, 0);
  if (!err) err = pipeline_params(p, texts, here ? here : ".", params, e);
  return err ? err : pipeline_settings_fit(p, *params, e);
}
