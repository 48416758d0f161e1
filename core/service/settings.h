/* settings.h - the daemon's configuration: one YAML file (the strict front door), over it the environment
 * (STAGEMILL_SECTION_KEY: `uploads: {max: 20G}` is STAGEMILL_UPLOADS_MAX, dashes become underscores), over it flags. Every
 * problem at once, each with its place; a variable's problem names the variable. Secrets are given as references to files or
 * names of secrets (see secret.c), never as text in the file. packaging/stagemill.yaml describes every key. */
#pragma once
#include "base/error.h"
#include "base/value.h"
#include "config/report.h"

struct settings {
  char *listen;             /* listen: 127.0.0.1:8060 */
  char *public_url;         /* public-url */
  char *state;              /* state: folder; NULL: the caller's choice */
  char **pipelines;         /* pipelines: folders, NULL-terminated, the first to bring a name keeps it; none: those that ship */
  struct { bool json; int level; } log;                      /* log: {format: text|json, level: debug|info|warning|error} */
  struct { char *keys, *own_key, *issuer, *audience; } auth; /* auth: {keys, make-key, issuer, audience} */
  struct {
    unsigned attempts, threads, connections, followers; /* limits: {attempts, threads, connections, followers, ...} */
    int64_t body_bytes, drain_us, attempt_memory_bytes, queue; /* body, drain, attempt-memory, queue (jobs waiting at most) */
  } limits;
  char **origins;           /* cors: {origins: []} */
  char **proxies;           /* proxies: [] trusted addresses or CIDR */
  char **input_folders;     /* inputs: {folders: []}: files on this machine that may be named as input */
  char *input_networks;     /* inputs: {networks: public | any}: where a URL that is named as input may lead */
  char **inline_stages;     /* inline: {stages: []}: stages with the capability `exec` that inline pipelines may use */
  char *outputs;            /* outputs: folder; NULL: STATE/outputs */
  struct {
    char *folder, *pipeline; /* uploads: {folder, pipeline (started at confirm unless the upload names one), max, expires};
                                folder NULL: STATE/uploads */
    int64_t max_bytes, expires_us;
    struct { char *bucket, *endpoint, *region, *access_key, *secret_key, *prefix; } s3; /* s3: {...}; keys: names of secrets */
  } uploads;
  struct {
    int64_t max_files, max_file_bytes; /* batches: {max-files, max-file-size, drive-url} */
    char *drive_url;
  } batches;
  struct {
    char **urls, *secret; /* webhooks: {urls, secret (name), attempts, timeout, allow-private} */
    unsigned attempts;
    int64_t timeout_us;
    bool allow_private;
  } webhooks;
  struct {
    char *server, *from, *user, *password, **to, **on; /* mail: {server: smtp://host:port, from, user, password (name), to, on, tls} */
    char *tls;                                         /* required | optional | none */
  } mail;
  struct {
    int64_t completed_us, failed_us; /* retention: {completed: 30d, failed: 90d, completed-count, failed-count} */
    uint64_t completed_count, failed_count;
  } retention;
};

/* file NULL: none. overrides: map of dotted keys to text ("uploads.max": "5G"), from flags; NULL: none. Lists in flags and
 * variables are separated by commas. An empty variable is as if it were not set; one that begins like a section but names no
 * key of it is a problem. ERR_INVALID: the report has the problems. */
enum err settings_load(struct settings **settings, const char *file, const struct value *overrides, struct report *report,
                       struct error *e);
void settings_free(struct settings **settings);
/* Names of the keys whose values differ, comma-separated; those that only a restart brings into force are in `restart` too. */
void settings_changes(const struct settings *before, const struct settings *after, struct buf *changed, struct buf *restart);

/* The settings in force, shared between threads: readers hold a reference while they look. */
struct settings_holder;
struct settings_holder *settings_holder_new(struct settings *moved);
const struct settings *settings_hold(struct settings_holder *holder);
void settings_release(struct settings_holder *holder, const struct settings **held);
void settings_replace(struct settings_holder *holder, struct settings *moved);
void settings_holder_free(struct settings_holder **holder);
