/* fixture.h - `stagemill test`: a pipeline's own fixtures, played through the planner with a clock of their own.
 *
 * A fixture file names a pipeline and cases: input, parameters, what stages answer (results, failures), and what is
 * expected: order, skips, attempts, delays, status, result. No plugin runs and nothing is waited for. The file goes
 * through the same tree and schema as pipelines; its language is in pipelines/README.md. */
#pragma once
#include "base/buf.h"
#include "base/value.h"
#include "config/report.h"
#include "pipeline/pipeline.h"

struct fixture_result {
  size_t cases, failed;
  struct value *cases_json; /* list of {name, ok, differences: [text], order, status}; owned */
};
/* Runs every case of a file. Problems of the file or its pipeline land in the report (ERR_INVALID); what the cases
 * said goes to `out` as text: a line a case, differences below those that failed. */
enum err fixture_run(const char *path, struct stage_set *stages, struct report *report, struct buf *out,
                     struct fixture_result *result, struct error *e);
