/* settings_table.c - every key of the configuration, once: what it takes, where it goes, what it is without being written. */
#include <stddef.h>

#include "service/settings_parts.h"

#define AT(member) offsetof(struct settings, member)
#define TEXT SM_TAKES_TEXT
enum { DAY = 86400 };
static const double PETABYTE = 1e15;

const struct settings_row settings_rows[] = {
    {"listen", FIELD_TEXT, AT(listen), TEXT, .fallback = "127.0.0.1:8060", .restart = true,
     .summary = "address and port of HTTP and WebSocket"},
    {"public-url", FIELD_TEXT, AT(public_url), TEXT, .summary = "how clients reach the daemon through a proxy"},
    {"state", FIELD_PATH, AT(state), TEXT, .restart = true, .summary = "the state folder, owned by one daemon"},
    {"outputs", FIELD_PATH, AT(outputs), TEXT, .restart = true, .summary = "folder of what jobs publish: OUTPUTS/JOB"},
    {"pipelines", FIELD_PATHS, AT(pipelines), TEXT, .restart = true, .summary = "folders of pipelines that can be submitted"},
    {"proxies", FIELD_TEXTS, AT(proxies), TEXT, .summary = "addresses or networks whose X-Forwarded-... headers are believed"},

    {"log.format", FIELD_FORMAT, AT(log.json), SM_TAKES_KEYWORD, "text|json", .fallback = "text", .summary = "log lines"},
    {"log.level", FIELD_LEVEL, AT(log.level), SM_TAKES_KEYWORD, "debug|info|warning|error", .fallback = "info",
     .summary = "the least level that is logged"},

    {"auth.keys", FIELD_PATH, AT(auth.keys), TEXT, .restart = true, .summary = "file with the keys of tokens"},
    {"auth.make-key", FIELD_PATH, AT(auth.own_key), TEXT, .restart = true, .summary = "file of a key that is made when absent"},
    {"auth.issuer", FIELD_TEXT, AT(auth.issuer), TEXT, .restart = true, .summary = "`iss` that tokens must have"},
    {"auth.audience", FIELD_TEXT, AT(auth.audience), TEXT, .restart = true, .summary = "`aud` that tokens must have"},

    {"limits.attempts", FIELD_UNSIGNED, AT(limits.attempts), SM_TAKES_INT, .max = 1024, .fallback = "0", .restart = true,
     .summary = "attempts at once; 0: as many as cores"},
    {"limits.threads", FIELD_UNSIGNED, AT(limits.threads), SM_TAKES_INT, .min = 4, .max = 1024, .fallback = "64",
     .restart = true, .summary = "threads that answer requests"},
    {"limits.connections", FIELD_UNSIGNED, AT(limits.connections), SM_TAKES_INT, .min = 16, .max = 65536, .fallback = "1024",
     .restart = true, .summary = "connections that wait for a thread"},
    {"limits.followers", FIELD_UNSIGNED, AT(limits.followers), SM_TAKES_INT, .min = 1, .max = 200000, .fallback = "12000",
     .restart = true, .summary = "WebSocket followers at once"},
    {"limits.body", FIELD_INT64, AT(limits.body_bytes), SM_TAKES_SIZE, .min = 1024, .max = 1 << 30, .fallback = "1M",
     .restart = true, .summary = "largest request body, uploads aside"},
    {"limits.drain", FIELD_INT64, AT(limits.drain_us), SM_TAKES_DURATION, .max = 7 * DAY, .fallback = "30s",
     .summary = "how long attempts may go on when the daemon is told to stop"},
    {"limits.attempt-memory", FIELD_INT64, AT(limits.attempt_memory_bytes), SM_TAKES_SIZE, .max = PETABYTE, .fallback = "0",
     .restart = true, .summary = "memory of one attempt; 0: three quarters of the machine's"},
    {"limits.queue", FIELD_INT64, AT(limits.queue), SM_TAKES_INT, .max = 1e9, .fallback = "100000",
     .summary = "jobs that may wait; further submissions are refused; 0: any number"},

    {"cors.origins", FIELD_TEXTS, AT(origins), TEXT, .summary = "web pages that may call the API: https://app.example.org, or *"},
    {"inputs.folders", FIELD_PATHS, AT(input_folders), TEXT, .summary = "folders whose files may be named as input"},
    {"inputs.networks", FIELD_TEXT, AT(input_networks), SM_TAKES_KEYWORD, .choices = "public|any", .fallback = "public",
     .summary = "where a URL that is named as input may lead: the public internet, or anywhere"},
    {"inline.stages", FIELD_TEXTS, AT(inline_stages), TEXT,
     .summary = "stages with the capability `exec` that inline pipelines may use"},

    {"uploads.folder", FIELD_PATH, AT(uploads.folder), TEXT, .restart = true, .summary = "where uploads are kept"},
    {"uploads.pipeline", FIELD_TEXT, AT(uploads.pipeline), TEXT, .summary = "started when an upload that names none is confirmed"},
    {"uploads.max", FIELD_INT64, AT(uploads.max_bytes), SM_TAKES_SIZE, .min = 1, .max = PETABYTE, .fallback = "20G",
     .summary = "largest upload"},
    {"uploads.expires", FIELD_INT64, AT(uploads.expires_us), SM_TAKES_DURATION, .min = 60, .max = 365 * DAY, .fallback = "24h",
     .summary = "how long an upload may stay unfinished or unconfirmed"},
    {"uploads.s3.bucket", FIELD_TEXT, AT(uploads.s3.bucket), TEXT, .summary = "bucket that browsers upload to directly"},
    {"uploads.s3.endpoint", FIELD_TEXT, AT(uploads.s3.endpoint), TEXT, .summary = "https://s3.example.org; AWS without it"},
    {"uploads.s3.region", FIELD_TEXT, AT(uploads.s3.region), TEXT, .fallback = "us-east-1", .summary = "region of the bucket"},
    {"uploads.s3.access-key", FIELD_TEXT, AT(uploads.s3.access_key), TEXT, .summary = "name of a secret"},
    {"uploads.s3.secret-key", FIELD_TEXT, AT(uploads.s3.secret_key), TEXT, .summary = "name of a secret"},
    {"uploads.s3.prefix", FIELD_TEXT, AT(uploads.s3.prefix), TEXT, .summary = "put before every key in the bucket"},

    {"batches.max-files", FIELD_INT64, AT(batches.max_files), SM_TAKES_INT, .min = 1, .max = 1e6, .fallback = "10000",
     .summary = "files of one batch"},
    {"batches.max-file-size", FIELD_INT64, AT(batches.max_file_bytes), SM_TAKES_SIZE, .max = PETABYTE, .fallback = "0",
     .summary = "larger files of a batch are reported and left out; 0: any size"},
    {"batches.drive-url", FIELD_TEXT, AT(batches.drive_url), TEXT, .fallback = "https://www.googleapis.com/drive/v3",
     .summary = "base of the Drive API"},

    {"webhooks.urls", FIELD_TEXTS, AT(webhooks.urls), TEXT, .summary = "told when a job ends"},
    {"webhooks.secret", FIELD_TEXT, AT(webhooks.secret), TEXT, .summary = "name of the secret that signs them"},
    {"webhooks.attempts", FIELD_UNSIGNED, AT(webhooks.attempts), SM_TAKES_INT, .min = 1, .max = 100, .fallback = "8",
     .summary = "tries of one delivery"},
    {"webhooks.timeout", FIELD_INT64, AT(webhooks.timeout_us), SM_TAKES_DURATION, .min = 0.1, .max = 300, .fallback = "10s",
     .summary = "time for one try"},
    {"webhooks.allow-private", FIELD_BOOL, AT(webhooks.allow_private), SM_TAKES_BOOL, .fallback = "false",
     .summary = "true: receivers may be on private addresses"},

    {"mail.server", FIELD_TEXT, AT(mail.server), TEXT, .summary = "smtp://host:port or smtps://host:port"},
    {"mail.from", FIELD_TEXT, AT(mail.from), TEXT, .summary = "sender"},
    {"mail.user", FIELD_TEXT, AT(mail.user), TEXT, .summary = "name for AUTH"},
    {"mail.password", FIELD_TEXT, AT(mail.password), TEXT, .summary = "name of a secret"},
    {"mail.to", FIELD_TEXTS, AT(mail.to), TEXT, .summary = "who gets a mail about every job"},
    {"mail.on", FIELD_TEXTS, AT(mail.on), SM_TAKES_KEYWORD, "completed|failed|cancelled", .fallback = "failed",
     .summary = "ends of a job that are mailed"},
    {"mail.tls", FIELD_TEXT, AT(mail.tls), SM_TAKES_KEYWORD, "required|optional|none", .fallback = "required",
     .summary = "STARTTLS"},

    {"retention.completed", FIELD_INT64, AT(retention.completed_us), SM_TAKES_DURATION, .max = 36500.0 * DAY, .fallback = "30d",
     .summary = "completed jobs are removed after this time; 0: never"},
    {"retention.failed", FIELD_INT64, AT(retention.failed_us), SM_TAKES_DURATION, .max = 36500.0 * DAY, .fallback = "90d",
     .summary = "failed and cancelled ones likewise"},
    {"retention.completed-count", FIELD_UINT64, AT(retention.completed_count), SM_TAKES_INT, .max = 1e12, .fallback = "0",
     .summary = "only so many of the newest completed jobs stay; 0: all"},
    {"retention.failed-count", FIELD_UINT64, AT(retention.failed_count), SM_TAKES_INT, .max = 1e12, .fallback = "0",
     .summary = "failed ones likewise, and cancelled ones"},
    {.path = NULL},
};
