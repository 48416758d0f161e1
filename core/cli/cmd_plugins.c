#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/site.h"

static const char *state_word(enum plugin_state state) {
  switch (state) {
  case PLUGIN_LOADED: return "loaded";
  case PLUGIN_REFUSED: return "refused";
  case PLUGIN_QUARANTINED: return "quarantined";
  }
  return "unknown";
}

static void set_version(struct value *v, const char *key, uint32_t version) {
  mem_auto char *text = version ? mem_format("%u.%u.%u", version >> 16, (version >> 8) & 0xff, version & 0xff) : NULL;
  value_map_set(v, key, value_text(text));
}

static struct value *plugin_value(const struct plugin_record *r) {
  struct value *v = value_map(), *stages = value_list();
  mem_auto char *abi = mem_format("%u.%u", r->abi_major, r->abi_minor);
  value_set_text(v, "file", r->path);
  value_set_text(v, "id", r->id);
  value_set_text(v, "version", r->version);
  value_set_text(v, "license", r->license);
  value_set_text(v, "abi", abi);
  value_set_int(v, "lowestHostMinor", r->lowest_host_minor);
  set_version(v, "libavutil", r->avutil_version);
  set_version(v, "libavcodec", r->avcodec_version);
  value_set_text(v, "sha256", r->sha256);
  for (size_t i = 0; i < r->stage_count; i++) value_list_add(stages, value_text(r->stages[i]));
  value_map_set(v, "stages", stages);
  value_set_text(v, "state", state_word(r->state));
  value_set_text(v, "reason", r->reason);
  value_set_int(v, "threads", r->threads);
  return v;
}

static void plugin_text(const struct plugin_record *r, struct buf *out) {
  buf_format(out, "%s\n  %s", r->path, state_word(r->state));
  if (r->id) buf_format(out, "  %s", r->id);
  if (r->version) buf_format(out, " %s", r->version);
  if (r->abi_major) buf_format(out, "  ABI %u.%u", r->abi_major, r->abi_minor);
  buf_char(out, '\n');
  if (r->stage_count) buf_text(out, "  stages:");
  for (size_t i = 0; i < r->stage_count; i++) buf_format(out, " %s", r->stages[i]);
  if (r->stage_count) buf_char(out, '\n');
  if (r->sha256) buf_format(out, "  sha256 %s\n", r->sha256);
  if (r->threads > 1) buf_format(out, "  runs %u threads after loading: each attempt is a fresh process\n", r->threads);
  if (r->reason) print_wrapped(out, 2, r->reason);
}

static void folders_text(const struct paths *paths, struct buf *out) {
  buf_text(out, "No plugin was found. Folders searched:\n");
  for (size_t i = 0; i < paths->plugin_folder_count; i++) buf_format(out, "  %s\n", paths->plugin_folders[i]);
}

static int plugins_print(const struct site *site, bool json) {
  buf_auto struct buf out = {0};
  value_auto struct value *list = value_list();
  size_t count = catalogue_count(site->catalogue);
  for (size_t i = 0; i < count; i++) {
    if (json)
      value_list_add(list, plugin_value(catalogue_at(site->catalogue, i)));
    else
      plugin_text(catalogue_at(site->catalogue, i), &out);
  }
  if (json) return print_json(list, CLI_DONE);
  if (!count) folders_text(&site->paths, &out);
  return cli_print(&out, CLI_DONE);
}

static int plugins_run(const struct options *options) {
  struct site site;
  struct error e = {0};
  if (site_open(&site, options_flag(options, "refresh"), &e)) return cli_error(&e);
  int code = plugins_print(&site, options_flag(options, "json"));
  site_close(&site);
  return code;
}

static const struct option_row plugins_options[] = {
    OPTION_JSON, OPTION_FLAG("refresh", 0, "load every plugin anew and lift quarantines"), OPTIONS_END};

const struct command command_plugins = {
    .name = "plugins",
    .summary = "list the plugins: file, id, version, ABI, digest, stages, and why one was refused",
    .options = plugins_options,
    .details = "Searched are the folders of STAGEMILL_PLUGIN_PATH (separated by colons), then those of this\n"
               "installation. Of two plugins that bring the same stage the first one found keeps it.\n",
    .run = plugins_run,
};
