#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/print.h"

const char *health_word(enum health health) {
  switch (health) {
  case HEALTH_OK: return "ok";
  case HEALTH_WARN: return "warn";
  case HEALTH_BAD: return "bad";
  }
  return "bad";
}

void doctor_note(struct doctor *d, const char *name, enum health health, const char *cure, const char *format, ...) {
  char message[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  struct value *v = value_map();
  value_set_text(v, "name", name);
  value_set_text(v, "health", health_word(health));
  value_set_text(v, "message", message);
  value_set_text(v, "cure", cure);
  value_list_add(d->findings, v);
  d->bad += health == HEALTH_BAD;
  d->warnings += health == HEALTH_WARN;
}

static void doctor_text(const struct doctor *d, struct buf *out) {
  for (size_t i = 0; i < d->findings->count; i++) {
    const struct value *v = d->findings->items[i];
    const char *cure = value_get_text(v, "cure", NULL);
    buf_format(out, "%-5s %-16s %s\n", value_get_text(v, "health", ""), value_get_text(v, "name", ""),
               value_get_text(v, "message", ""));
    if (cure) buf_format(out, "%22s cure: %s\n", "", cure);
  }
  if (d->bad)
    buf_format(out, "\n%zu thing%s to mend.\n", d->bad, d->bad == 1 ? "" : "s");
  else
    buf_format(out, "\nWell%s.\n", d->warnings ? ", with reservations" : "");
}

static int doctor_print(const struct doctor *d, bool json) {
  int code = d->bad ? CLI_FAILED : CLI_DONE;
  buf_auto struct buf out = {0};
  if (json) {
    value_auto struct value *v = value_map();
    value_set_bool(v, "well", !d->bad);
    value_map_set(v, "findings", value_copy(d->findings));
    return print_json(v, code);
  }
  doctor_text(d, &out);
  return cli_print(&out, code);
}

static int doctor_run(const struct options *options) {
  struct doctor d = {.findings = value_list()};
  struct paths paths;
  struct site site;
  struct error e = {0};
  if (paths_find(&paths, &e)) {
    value_free(&d.findings);
    return cli_error(&e);
  }
  doctor_kernel(&d); /* forks: before anything could start a thread */
  doctor_install(&d, &paths);
  if (site_open(&site, false, &e))
    doctor_note(&d, "plugins", HEALTH_BAD, "install stagemill again", "%s", e.message);
  else
    doctor_plugins(&d, &site);
  if (site.catalogue) site_close(&site);
  int code = doctor_print(&d, options_flag(options, "json"));
  value_free(&d.findings);
  paths_clear(&paths);
  return code;
}

static const struct option_row doctor_options[] = {OPTION_JSON, OPTIONS_END};

const struct command command_doctor = {
    .name = "doctor",
    .summary = "look at the installation and the machine: parts, plugins, libav, font, state, kernel",
    .options = doctor_options,
    .details = "Every finding is ok, warn (it works, but something is missing) or bad (to be mended) with a cure. The\n"
               "exit code is 1 when one is bad, else 0.\n",
    .run = doctor_run,
};
