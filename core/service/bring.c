#include "service/bring.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "engine/job.h"
#include "service/batch.h"

void bring_storage(struct service *service, struct value *given) {
  const struct settings *settings = settings_hold(service->settings);
  if (settings->uploads.s3.endpoint) value_set_text(given, "source_endpoint", settings->uploads.s3.endpoint);
  if (settings->uploads.s3.region) value_set_text(given, "source_region", settings->uploads.s3.region);
  settings_release(service->settings, &settings);
}

static void give_networks(struct service *service, enum bring_from from, struct value *given) {
  const struct settings *settings = settings_hold(service->settings);
  bool any = from != BRING_URL || (settings->input_networks && !strcmp(settings->input_networks, "any"));
  value_set_text(given, "source_networks", any ? "any" : "public");
  settings_release(service->settings, &settings);
}

enum err bring_input(struct service *service, const struct pipeline *pipeline, const char *input, enum bring_from from,
                     struct value *given, struct pipeline **fronted, struct error *e) {
  *fronted = NULL;
  if (!input || !strstr(input, "://") || !pipeline_reads_input(pipeline)) return ERR_OK;
  bool bucket = strncasecmp(input, "s3://", 5) == 0;
  const char *name = bucket ? "from-bucket" : from == BRING_DRIVE ? "from-drive" : "from-url";
  mem_auto char *path = mem_format("%s/pipelines/sources/%s.yaml", service->share_folder, name);
  struct report *report = report_new();
  enum err err = pipeline_fronted(pipeline, path, report, fronted, e);
  report_free(&report);
  if (bucket)
    bring_storage(service, given);
  else
    give_networks(service, from, given);
  return err;
}

char *bring_secret(struct service *service, const char *batch, const char *name) {
  if (!strcmp(name, "BATCH_TOKEN")) return batch_token(service, batch);
  const struct settings *settings = settings_hold(service->settings);
  const char *known = !strcmp(name, "UPLOADS_ACCESS_KEY")   ? settings->uploads.s3.access_key
                      : !strcmp(name, "UPLOADS_SECRET_KEY") ? settings->uploads.s3.secret_key
                                                            : NULL;
  value_auto struct value *found = known ? secret_lookup(NULL, known) : NULL;
  settings_release(service->settings, &settings);
  return found ? mem_text(found->text) : NULL;
}
