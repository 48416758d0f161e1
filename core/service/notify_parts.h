/* notify_parts.h - what the files of webhooks and mail share. Private to core/service. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/value.h"
#include "service/notify.h"

enum delivery_kind { DELIVERY_WEBHOOK = 1, DELIVERY_MAIL };
enum delivery_state { DELIVERY_WAITING = 1, DELIVERY_DELIVERED, DELIVERY_DEAD };

/* ---- notify_delivery.c: a delivery and its side record
 * ---------------------------------------------------------------------- */

struct delivery {
  enum delivery_kind kind;
  enum delivery_state state;
  char *id, *owner, *subject; /* subject: id of the job or batch */
  bool batch;                 /* what the subject is */
  char *to, *secret;          /* URL or address; secret: a name, NULL: the daemon's */
  char *event, *source;       /* type of the event; "settings", "pipeline", "job" */
  uint64_t seq;               /* of the event */
  uint32_t attempts, max_attempts;
  int64_t due_us, last_us, created_us;
  int32_t status; /* of the last answer, HTTP or SMTP; 0: none */
  char *error;    /* what went wrong last */
  uint64_t version;
};
void delivery_clear(struct delivery *d);
bool delivery_read(const struct side_record *r, struct delivery *d); /* false: no delivery of ours */
/* The record to store; side_record_clear it. */
struct side_record delivery_record(const struct delivery *d);
struct value *delivery_value(const struct delivery *d);

/* ---- notify_target.c: who wants to know
 * ------------------------------------------------------------------------------------- */

struct target {
  enum delivery_kind kind;
  char *to, *secret;
  const char *source;
};
enum { TARGETS_MAX = 64 };
struct targets {
  struct target items[TARGETS_MAX];
  size_t count;
};
/* Whether any of the three could want an event of this type: asked before anything is read for it. */
bool targets_may_want(const char *type);
/* Each target once, though several asked for it: settings first, then the pipeline, then the job. */
void targets_find(const struct settings *settings, const struct event_record *event, const char *extra_json,
                  struct targets *targets);
void targets_clear(struct targets *t);
bool mail_address_ok(const char *text);

/* ---- notify.c
 * ---------------------------------------------------------------------------------------------------------------- */

struct notify {
  struct notify_options options;
  pthread_t threads[3]; /* joined by notify_destroy */
  size_t thread_count;
  /* Lock: guards the two below. Never held while the store or the network works. */
  pthread_mutex_t lock;
  pthread_cond_t woken;
  uint64_t wakes; /* grows with every reason to look */
  bool stopping;
  atomic_bool hurry; /* the same as stopping, for callbacks of the network */
};
/* Waits until something happened since *seen (moved), `until_us` (wall) came, or it is time to stop: false. */
bool notify_wait(struct notify *n, uint64_t *seen, int64_t until_us);
bool notify_stopping_now(struct notify *n);
char *notify_secret(struct notify *n, const char *name);

/* ---- notify_send.c: what courier and postman share
 * ----------------------------------------------------------------------------- */

enum taken_delivery { DELIVERY_TAKEN = 1 /* moved out of *d */, DELIVERY_PASSED_OVER, DELIVERY_ENOUGH };
/* [callback] One that is due. */
typedef enum taken_delivery delivery_take(void *context, struct delivery *d);
/* Shows what is due of a kind, oldest first, until `take` has enough. Answers (wall) when something else will be due.
 */
int64_t deliveries_due(struct notify *n, enum delivery_kind kind, delivery_take *take, void *context);

enum sent { SENT_WELL = 1, SENT_RETRY, SENT_NEVER, SENT_STOPPED };
struct sending {
  enum sent sent;
  int status;
  char error[300];
  int64_t wait_us; /* what the receiver asked for; 0: nothing */
};
/* Stores what became of a try. */
void delivery_settle(struct notify *n, struct delivery *d, const struct sending *s);
/* The envelope that a delivery carries: ERR_NOT_FOUND when its job is gone; the delivery is removed then. */
enum err delivery_envelope(struct notify *n, const struct delivery *d, struct buf *json);

void *courier_run(void *notify); /* notify_webhook.c */
void *postman_run(void *notify); /* notify_mail.c */

/* ---- notify_message.c: a mail as RFC 5322 has it
 * --------------------------------------------------------------------------------- */

struct mail_message {
  const char *from, *to, *id; /* id: unique, without blanks */
  int64_t at_us;
  const char *subject, *text; /* UTF-8; lines end with \n */
};
void mail_compose(struct buf *out, const struct mail_message *m);
/* What a mail about an event says. */
void mail_words(const struct delivery *d, const struct value *envelope, const struct job_record *job,
                struct buf *subject, struct buf *text);
