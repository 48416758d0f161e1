/* serve_open.c - the parts of the daemon, built in the order in which they stand on each other. */
#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/serve.h"
#include "engine/job.h"
#include "service/asset.h"
#include "service/batch.h"
#include "service/bring.h"
#include "service/notify.h"
#include "service/state.h"
#include "service/upload.h"
#include "ws/ws.h"

enum { SPARE_FILES = 1024 }; /* beside followers: requests, attempts, plugins, the store */

/* ---- settings and folders ---------------------------------------------------------------------------------------- */

int serve_settings(struct serve *serve, struct settings **settings) {
  struct report *report = report_new();
  struct error e = {0};
  buf_auto struct buf text = {0};
  enum err err = settings_load(settings, serve->config_file, serve->overrides, report, &e);
  report_text(report, &text, isatty(STDERR_FILENO));
  fwrite(buf_string(&text), 1, text.size, stderr);
  report_free(&report);
  return err ? CLI_USAGE : CLI_DONE;
}

/* systemd gives folders as a list; the first is ours. */
static char *default_state(const struct paths *paths) {
  const char *given = getenv("STATE_DIRECTORY");
  if (given && given[0] == '/') return mem_text_n(given, strcspn(given, ":"));
  if (geteuid() == 0 || !paths->state_home) return mem_text(paths->system_state);
  return mem_text(paths->state_home);
}

static void find_folders(struct serve *serve, const struct settings *s) {
  serve->state_folder = s->state ? mem_text(s->state) : default_state(&serve->site.paths);
  serve->outputs_folder = s->outputs ? mem_text(s->outputs) : mem_format("%s/outputs", serve->state_folder);
  serve->key_file = s->auth.own_key ? mem_text(s->auth.own_key) : mem_format("%s/token.key", serve->state_folder);
  serve->service.state_folder = serve->state_folder;
  serve->service.outputs_folder = serve->outputs_folder;
  serve->service.share_folder = serve->site.paths.share;
}

enum err serve_address_allowed(const struct settings *s, struct error *e) {
  struct in_addr address = {0};
  mem_auto char *host = mem_text_n(s->listen, strcspn(s->listen, ":"));
  inet_pton(AF_INET, host, &address);
  if (ntohl(address.s_addr) >> 24 == 127 || s->auth.keys || s->auth.own_key) return ERR_OK;
  return error_set(
      e, ERR_USAGE,
      "%s can be reached from other machines, and no key is configured: name a key set (auth.keys), let one be made "
      "with --make-key FILE, or listen on 127.0.0.1",
      s->listen);
}

static void raise_files(const struct settings *s) {
  struct rlimit limit;
  rlim_t wanted = s->limits.followers + s->limits.connections + s->limits.threads + SPARE_FILES;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return;
  if (limit.rlim_max < wanted) { /* root may */
    struct rlimit both = {wanted, wanted};
    if (!setrlimit(RLIMIT_NOFILE, &both)) return;
  }
  limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted)
    log_warning(
        "only %llu files can be open, %llu are wanted for %u followers: raise `ulimit -n`, or LimitNOFILE of the unit",
        (unsigned long long)limit.rlim_cur, (unsigned long long)wanted, s->limits.followers);
}

/* Looked up again whenever it is used: what is missing now may be there by then. */
static void warn_of_secrets(const struct settings *s) {
  const struct {
    const char *key, *name;
  } rows[] = {{"webhooks.secret", s->webhooks.secret},
              {"mail.password", s->mail.password},
              {"uploads.s3.access-key", s->uploads.s3.access_key},
              {"uploads.s3.secret-key", s->uploads.s3.secret_key}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    value_auto struct value *found = rows[i].name ? secret_lookup(NULL, rows[i].name) : NULL;
    if (rows[i].name && !found)
      log_warning("there is no secret %s, which %s names: put it into a file of that name in $CREDENTIALS_DIRECTORY or "
                  "$STAGEMILL_SECRETS, or into the variable STAGEMILL_SECRET_%s",
                  rows[i].name, rows[i].key, rows[i].name);
  }
}

/* ---- what stands below HTTP -------------------------------------------------------------------------------------- */

static enum err open_keys(struct serve *serve, const struct settings *s, struct error *e) {
  struct keyring_options options = {
      .file = s->auth.keys, .own_file = serve->key_file, .issuer = s->auth.issuer, .audience = s->auth.audience};
  return keyring_open(&serve->service.keyring, &options, e);
}

static char *batch_secret(void *context, const char *owner, const char *batch, const char *name) {
  (void)owner;
  return bring_secret(context, batch, name);
}

static enum err open_engine(struct serve *serve, const struct settings *s, struct error *e) {
  struct engine_options options = {.state_folder = serve->state_folder,
                                   .loop = serve->service.loop,
                                   .catalogue = serve->site.catalogue,
                                   .max_attempts = s->limits.attempts,
                                   .memory_limit_bytes = s->limits.attempt_memory_bytes,
                                   .secret = batch_secret,
                                   .secret_context = &serve->service,
                                   .crew = {.runner_path = serve->site.paths.runner,
                                            .pass_module_path = serve->site.paths.pass_module,
                                            .attempt_uid = -1,
                                            .attempt_gid = -1}};
  serve->service.crew = options.crew;
  serve->service.crew.catalogue = serve->site.catalogue;
  enum err err = engine_create(&serve->service.engine, &options, e);
  if (!err) serve->service.store = engine_store(serve->service.engine);
  return err;
}

enum err serve_shelf(struct serve *serve, const struct settings *s, struct error *e) {
  const char *const shipped[] = {serve->site.paths.pipelines, NULL};
  struct shelf_options options = {.folders = *s->pipelines ? (const char *const *)s->pipelines : shipped,
                                  .stages = serve->site.stages};
  return shelf_open(&serve->service.shelf, &options, e);
}

static void heard(void *context, const struct news *news) {
  hub_publish(context, news);
  serve_metrics_hear(news);
}

/* Tokens that were revoked stay so across a restart. */
static enum err tell_revocations(struct serve *serve, struct error *e) {
  char after[256] = "";
  for (size_t count = 1000; count == 1000;) {
    struct side_filter filter = {.kind = SIDE_REVOCATION, .after_id = *after ? after : NULL, .limit = 1000};
    struct side_list list = {0};
    if (store_sides(serve->service.store, &filter, &list, e)) return e->code;
    for (size_t i = 0; i < list.count; i++) {
      keyring_revoke(serve->service.keyring, list.items[i].id, list.items[i].updated_us, list.items[i].due_us);
      snprintf(after, sizeof after, "%s", list.items[i].id);
    }
    count = list.count;
    side_list_clear(&list);
  }
  return ERR_OK;
}

static enum err open_notify(struct serve *serve, struct error *e) {
  struct notify_options options = {.store = serve->service.store, .settings = serve->service.settings};
  enum err err = notify_create(&serve->service.notify, &options, e);
  if (!err) serve->notices = engine_listen(serve->service.engine, notify_heard, serve->service.notify);
  return err;
}

static enum err open_below(struct serve *serve, const struct settings *s, struct error *e) {
  struct sweep_options sweep = {.service = &serve->service};
  if (loop_create(&serve->service.loop, &clock_system, e)) return e->code;
  service_open(&serve->service);
  if (fs_make_folders(serve->state_folder, 0700, e)) return e->code;
  if (open_engine(serve, s, e)) return e->code;
  if (fs_make_folders(serve->outputs_folder, 0700, e)) return e->code;
  if (open_keys(serve, s, e) || serve_shelf(serve, s, e)) return e->code;
  if (hub_create(&serve->service.hub, serve->service.store, e)) return e->code;
  serve->listener = engine_listen(serve->service.engine, heard, serve->service.hub);
  serve->assets = assets_listen(&serve->service);
  if (open_notify(serve, e) || tell_revocations(serve, e)) return e->code;
  if (sweep_create(&serve->sweep, &sweep, e)) return e->code;
  sweep_expire(serve->sweep, SIDE_UPLOAD, upload_expired);
  return batches_open(&serve->service.batches, &serve->service, e);
}

/* ---- HTTP and sockets -------------------------------------------------------------------------------------------- */

static void attach_sockets(void *sockets, struct mg_context *civetweb) { ws_server_attach(sockets, civetweb); }
static void tell_sockets(void *sockets) { ws_server_revoked(sockets); }

static enum err open_sockets(struct serve *serve, const struct settings *s, struct error *e) {
  struct ws_options options = {.hub = serve->service.hub,
                               .store = serve->service.store,
                               .keyring = serve->service.keyring,
                               .followers_max = s->limits.followers,
                               .state = service_state,
                               .context = &serve->service};
  if (ws_server_create(&serve->sockets, &options, e)) return e->code;
  serve->service.revoked_context = serve->sockets;
  serve->service.revoked = tell_sockets;
  return ERR_OK;
}

struct http_options serve_http_options(struct serve *serve, const struct settings *s) {
  struct http_options options = {.listen = s->listen,
                                 .threads = s->limits.threads,
                                 .connections = s->limits.connections,
                                 .body_bytes_max = (size_t)s->limits.body_bytes,
                                 .origins = (const char *const *)s->origins,
                                 .proxies = (const char *const *)s->proxies,
                                 .public_url = s->public_url,
                                 .keyring = serve->service.keyring,
                                 .context = &serve->service};
  options.attach = attach_sockets;
  options.sockets = serve->sockets;
  return options;
}

static enum err open_http(struct serve *serve, const struct settings *s, struct error *e) {
  struct http_options options = serve_http_options(serve, s);
  mem_auto char *web = mem_format("%s/web", serve->site.paths.share);
  options.web_folder = access(web, R_OK | X_OK) ? NULL : web;
  if (http_server_create(&serve->http, &options, e)) return e->code;
  serve_health_routes(serve->http);
  serve_metrics_routes(serve->http);
  api_routes(serve->http);
  return http_server_start(serve->http, e);
}

static enum err open_above(struct serve *serve, const struct settings *s, struct error *e) {
  if (open_sockets(serve, s, e)) return e->code;
  if (open_http(serve, s, e)) return e->code;
  if (door_open(&serve->door, serve->service.engine, serve->service.loop, serve->state_folder, e)) return e->code;
  return engine_serve(serve->service.engine, e);
}

int serve_open(struct serve *serve, struct settings *settings) {
  struct error e = {0};
  serve->service.settings = settings_holder_new(settings);
  serve->service.started_us = clock_wall(&clock_system);
  serve->service.catalogue = serve->site.catalogue;
  serve->service.stages = serve->site.stages;
  find_folders(serve, settings);
  if (serve_address_allowed(settings, &e)) return cli_error(&e);
  raise_files(settings);
  warn_of_secrets(settings);
  enum err err = open_below(serve, settings, &e);
  if (err == ERR_BUSY) return cli_complain(CLI_USAGE, "%s", e.message); /* another owns the state: the words are off */
  if (!err) err = open_above(serve, settings, &e);
  return err ? cli_error(&e) : CLI_DONE;
}

/* Requests first, for they use everything below; the engine while followers still hear of it; the store goes with it.
 */
void serve_close(struct serve *serve) {
  struct service *service = &serve->service;
  http_server_destroy(&serve->http);
  ws_server_destroy(&serve->sockets);
  sweep_stop(serve->sweep);
  door_close(&serve->door);
  batches_close(&service->batches);
  if (service->engine) engine_unlisten(service->engine, &serve->listener);
  if (service->engine) engine_unlisten(service->engine, &serve->assets);
  if (service->engine) engine_unlisten(service->engine, &serve->notices);
  notify_destroy(&service->notify);
  hub_destroy(&service->hub);
  engine_destroy(&service->engine);
  sweep_destroy(&serve->sweep);
  service_close(service);
  shelf_close(&service->shelf);
  keyring_close(&service->keyring);
  if (service->loop) loop_unwatch(service->loop, &serve->signals);
  loop_destroy(&service->loop);
  settings_holder_free(&service->settings);
  notifier_free(&serve->notifier);
  if (serve->signal_fd >= 0) close(serve->signal_fd);
  site_close(&serve->site);
  free(serve->state_folder);
  free(serve->outputs_folder);
  free(serve->key_file);
  free(serve->config_file);
  value_free(&serve->overrides);
}
