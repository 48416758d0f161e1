/* shelf.h - the pipelines that can be submitted by name: every *.yaml of the configured folders (not of their
 * sub-folders, where included files may lie), through the strict front door.
 *
 * At the start a broken file is kept with its problems and cannot be submitted; the others can. A reload is all or
 * nothing: one problem anywhere keeps the old set, with the problems beside the names they belong to. A name belongs to
 * the first folder that brings it. Readers hold one immutable set at a time; every function is [any-thread]. */
#pragma once
#include "base/error.h"
#include "config/report.h"
#include "pipeline/pipeline.h"

struct shelf;
struct shelf_options {
  const char *const *folders; /* NULL-terminated; copied */
  struct stage_set *stages;   /* referenced */
};
/* ERR_NOT_FOUND: a folder is not there. */
enum err shelf_open(struct shelf **shelf, const struct shelf_options *options, struct error *e);
void shelf_close(struct shelf **shelf); /* nobody holds a set any more */

struct shelved {
  char *name;                /* of the pipeline; of a file that was never right: its name without `.yaml` */
  char *file;                /* path */
  char *summary;             /* `description` of the file; NULL: none */
  char *text;                /* the file as it was read; of `pipeline` when there is one */
  struct pipeline *pipeline; /* NULL: was never right */
  struct report *problems;   /* of the last reading; NULL: none */
};
/* One generation. */
struct shelf_set;
/* The set in force. Looks at the folders at most once a second and reads them again when something in them has changed.
 */
const struct shelf_set *shelf_hold(struct shelf *shelf);
void shelf_release(struct shelf *shelf, const struct shelf_set **set);
size_t shelf_count(const struct shelf_set *set);
const struct shelved *shelf_at(const struct shelf_set *set, size_t index); /* sorted by name */
const struct shelved *shelf_find(const struct shelf_set *set, const char *name);
/* Changes whenever the set does: hex digest over names, pipelines and problems. */
const char *shelf_digest(const struct shelf_set *set);
size_t shelf_problems(const struct shelf_set *set); /* errors in all files */

/* Reads the folders again now, in two steps so that a reload of the daemon is all or nothing: what was read comes into
 * force with shelf_install, or is given back. ERR_INVALID: problems; the old set stays (the message names the first).
 */
enum err shelf_prepare(struct shelf *shelf, struct shelf_set **prepared, struct error *e);
void shelf_install(struct shelf *shelf, struct shelf_set *moved);
void shelf_discard(struct shelf_set **prepared);
/* Both. */
enum err shelf_reload(struct shelf *shelf, struct error *e);
