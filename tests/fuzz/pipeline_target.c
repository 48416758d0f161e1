/* Fuzz target: any bytes as a pipeline file. What loads has to survive its own pinning. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/pipeline.h"
#include "stages.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  static struct stage_set *set;
  if (!set) set = test_stages();
  struct report *report = report_new();
  struct pipeline *p = NULL, *again = NULL;
  struct error e;
  buf_auto struct buf out = {0};
  enum err err = pipeline_parse((const char *)data, size, "fuzz.yaml", NULL, set, report, &p, &e);
  if ((err == ERR_OK) != (report_errors(report) == 0) || (err == ERR_OK) != (p != NULL)) abort();
  report_text(report, &out, true);
  if (p && pipeline_parse(p->pinned, strlen(p->pinned), "pinned", NULL, set, report, &again, &e)) abort();
  if (p && strcmp(p->digest, again->digest) != 0) abort();
  pipeline_free(&p);
  pipeline_free(&again);
  report_free(&report);
  return 0;
}
