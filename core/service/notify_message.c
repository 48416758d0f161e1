/* notify_message.c - mails as RFC 5322 and RFC 2045-2047 have them: plain text in UTF-8, and nothing that came from
 * outside can add a header, end the message or draw on a screen. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "service/notify_parts.h"

enum { LINE_MAX_BYTES = 76, WORD_BYTES = 39 /* of text in one encoded word: 52 in base64, 64 with its frame */ };

/* ---- the header
 * ------------------------------------------------------------------------------------------------------------------ */

static bool is_plain(const char *text) {
  for (const char *c = text; *c; c++)
    if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e) return false;
  return strstr(text, "=?") == NULL && strlen(text) <= 60;
}

static void add_base64(struct buf *out, const unsigned char *bytes, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    size_t left = size - i;
    unsigned long n = (unsigned long)bytes[i] << 16 | (unsigned long)(left > 1 ? bytes[i + 1] : 0) << 8 |
                      (left > 2 ? bytes[i + 2] : 0);
    buf_char(out, digits[n >> 18 & 63]);
    buf_char(out, digits[n >> 12 & 63]);
    buf_char(out, left > 1 ? digits[n >> 6 & 63] : '=');
    buf_char(out, left > 2 ? digits[n & 63] : '=');
  }
}

/* How many bytes of the text fit into one encoded word without splitting a letter. */
static size_t word_size(const char *text) {
  size_t size = strlen(text);
  if (size <= WORD_BYTES) return size;
  size = WORD_BYTES;
  while (size > 1 && ((unsigned char)text[size] & 0xc0) == 0x80) size--;
  return size;
}

/* A subject in one line; what is not plain ASCII as encoded words (RFC 2047), folded between them. */
static void add_subject(struct buf *out, const char *subject) {
  mem_auto char *line = mem_text(subject);
  for (char *c = line; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
  buf_text(out, "Subject: ");
  if (is_plain(line)) {
    buf_format(out, "%s\r\n", line);
    return;
  }
  const char *at = line;
  do {
    size_t size = word_size(at);
    buf_format(out, "%s=?UTF-8?B?", at == line ? "" : "\r\n ");
    add_base64(out, (const unsigned char *)at, size);
    buf_text(out, "?=");
    at += size;
  } while (*at);
  buf_text(out, "\r\n");
}

static void add_date(struct buf *out, int64_t at_us) {
  static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  time_t seconds = (time_t)(at_us / 1000000);
  struct tm t;
  gmtime_r(&seconds, &t);
  buf_format(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
             t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

/* ---- the body: quoted-printable, so that no line is long and no letter is lost
 * -------------------------------------------------- */

static void add_quoted(struct buf *out, const char *text) {
  size_t column = 0;
  for (const char *c = text; *c; c++) {
    if (*c == '\n') {
      buf_text(out, "\r\n");
      column = 0;
      continue;
    }
    unsigned char byte = (unsigned char)*c;
    bool last = !c[1] || c[1] == '\n';
    bool plain = byte > 0x20 && byte < 0x7f && byte != '=' && !(byte == '.' && column == 0);
    plain |= byte == ' ' && !last;
    if (column + (plain ? 1 : 3) > LINE_MAX_BYTES - 1) {
      buf_text(out, "=\r\n");
      column = 0;
    }
    if (plain)
      buf_char(out, (char)byte);
    else
      buf_format(out, "=%02X", byte < 0x20 && byte != '\t' ? ' ' : byte);
    column += plain ? 1 : 3;
  }
}

void mail_compose(struct buf *out, const struct mail_message *m) {
  const char *at = strrchr(m->from, '@');
  buf_format(out, "From: %s\r\nTo: %s\r\n", m->from, m->to);
  add_subject(out, m->subject);
  add_date(out, m->at_us);
  buf_format(out, "Message-ID: <%s%s>\r\n", m->id, at ? at : "@localhost");
  buf_text(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n");
  add_quoted(out, m->text);
}

/* ---- what it says
 * -------------------------------------------------------------------------------------------------------------------
 */

static void add_line(struct buf *text, const char *label, const char *value) {
  if (!value || !*value) return;
  buf_format(text, "%-10s ", label);
  for (const char *c = value; *c; c++) buf_char(text, *c == '\n' || *c == '\r' ? ' ' : *c);
  buf_char(text, '\n');
}

static void add_result(struct buf *text, const struct value *result) {
  if (!result || result->type != VALUE_MAP || !result->count) return;
  buf_text(text, "\nResult\n");
  for (size_t i = 0; i < result->count; i++) {
    struct buf buf_auto json = {0};
    const struct value *v = result->items[i];
    if (v->type != VALUE_TEXT) value_json(&json, v, VALUE_JSON_COMPACT);
    add_line(text, result->keys[i], v->type == VALUE_TEXT ? v->text : buf_string(&json));
  }
}

static void add_duration(struct buf *text, const struct value *envelope) {
  int64_t ms = value_get_int(envelope, "durationMs", -1);
  char shown[40];
  if (ms < 0) return;
  if (ms < 60000)
    snprintf(shown, sizeof shown, "%.1f s", (double)ms / 1000);
  else
    snprintf(shown, sizeof shown, "%lld min %lld s", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
  add_line(text, "Took", shown);
}

/* The beginning of a text, no letter cut. */
static char *beginning(const char *text, size_t most) {
  size_t size = strlen(text);
  if (size > most)
    for (size = most; size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80;) size--;
  return mem_text_n(text, size);
}

void mail_words(const struct delivery *d, const struct value *envelope, const struct job_record *job,
                struct buf *subject, struct buf *text) {
  const struct value *error = value_get(envelope, "error");
  const char *title = job && job->title ? job->title : d->subject, *pipeline = job ? job->pipeline : NULL;
  const char *reason = error && error->type == VALUE_TEXT ? error->text : value_get_text(error, "message", NULL);
  mem_auto char *shown = beginning(title, 160);
  buf_format(subject, "[stagemill] %s: %s", shown, d->event);
  if (pipeline) buf_format(subject, " (%.80s)", pipeline);
  buf_format(text, "%s\n\n", buf_string(subject) + strlen("[stagemill] "));
  add_line(text, d->batch ? "Batch" : "Job", d->subject);
  add_line(text, "Title", title);
  add_line(text, "Pipeline", pipeline);
  add_line(text, "Asset", job ? job->asset : NULL);
  add_line(text, "Event", d->event);
  add_line(text, "At", value_get_text(envelope, "at", NULL));
  add_duration(text, envelope);
  add_line(text, "Stage", value_get_text(envelope, "stage", value_get_text(error, "stage", NULL)));
  add_line(text, "Error", reason);
  add_result(text, value_get(envelope, "result"));
}
