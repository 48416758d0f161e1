/* Mail against a real server: STARTTLS and AUTH, refused for now and for good; and what a mail looks like. */
#include "post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "service/notify_parts.h"

#define PROVES(test) cmocka_unit_test_setup_teardown(test, post_begin, post_end)

static void start_smtp(struct post *p, const char *mode) {
  mem_auto char *cert = mem_format("%s/cert.pem", p->folder), *key = mem_format("%s/key.pem", p->folder);
  mem_auto char *make =
      mem_format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                 "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
                 key, cert);
  assert_int_equal(system(make), 0);
  setenv("SSL_CERT_FILE", cert, 1);
  receiver_start(&p->receiver, (const char *const[]){"smtp", cert, key, "mill:letter-box", mode, NULL});
}

static void mail_to(struct post *p, const char *to, const char *tls, const char *user) {
  mem_auto char *server = mem_format("smtp://127.0.0.1:%d", p->receiver.port);
  const char *pairs[] = {"mail.server",
                         server,
                         "mail.from",
                         "mill@example.org",
                         "mail.to",
                         to,
                         "mail.tls",
                         tls,
                         "mail.on",
                         "completed,failed",
                         "webhooks.attempts",
                         "4",
                         "mail.user",
                         user,
                         "mail.password",
                         "MAIL",
                         NULL};
  if (!user) pairs[12] = NULL;
  post_settings(p, pairs);
}

static void mail_goes_out_over_starttls_with_a_login(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  start_smtp(p, "starttls");
  mail_to(p, "ann@example.org", "required", "mill");
  post_open(p);
  post_job(p, job, NULL, "failed",
           "{\"error\":{\"message\":\"der Film ist zu gro\\u00df\\r\\n.\\r\\nSubject: "
           "forged\",\"stage\":\"stream\"},\"durationMs\":1500}");
  value_auto struct value *got = receiver_next(&p->receiver, 15000), *stored = post_delivery(p, job, "delivered");
  assert_non_null(got);
  assert_true(value_get_bool(got, "tls", false));
  assert_true(value_get_bool(got, "login", false));
  assert_string_equal(value_get_text(got, "sender", ""), "mill@example.org");
  const char *text = value_get_text(got, "text", "");
  assert_non_null(strstr(text, "Subject: [stagemill] film.mp4: failed (vod)\r\n"));
  assert_non_null(strstr(text, "To: ann@example.org\r\n"));
  assert_non_null(strstr(text, "gro=C3=9F"));
  assert_non_null(strstr(text, "1.5 s"));
  assert_null(strstr(text, "\nSubject: forged"));
  assert_null(strstr(text, "letter-box"));
  assert_int_equal(value_get_int(stored, "lastStatus", 0), 250);
}

static void refused_for_now_is_tried_again_refused_for_good_is_not(void **state) {
  struct post *p = *state;
  char one[STORE_ID_MAX], two[STORE_ID_MAX];
  start_smtp(p, "plain");
  mail_to(p, "later@example.org", "none", NULL);
  post_open(p);
  post_job(p, one, NULL, "completed", NULL);
  value_auto struct value *late = post_delivery(p, one, "delivered");
  assert_int_equal(value_get_int(late, "attempts", 0), 3);
  mail_to(p, "never@example.org", "none", NULL);
  post_job(p, two, NULL, "completed", NULL);
  value_auto struct value *dead = post_delivery(p, two, "dead");
  assert_int_equal(value_get_int(dead, "attempts", 0), 1);
  assert_int_equal(value_get_int(dead, "lastStatus", 0), 550);
  assert_non_null(strstr(value_get_text(dead, "error", ""), "550"));
}

static void without_starttls_nothing_is_said_where_it_is_required(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  start_smtp(p, "plain");
  mail_to(p, "ann@example.org", "optional", "mill"); /* a password makes it required */
  post_open(p);
  post_job(p, job, NULL, "failed", NULL);
  value_auto struct value *dead = post_delivery(p, job, "dead");
  assert_non_null(strstr(value_get_text(dead, "error", ""), "STARTTLS"));
  assert_null(receiver_next(&p->receiver, 100));
  mail_to(p, "ann@example.org", "optional", NULL);
  post_job(p, job, NULL, "failed", NULL);
  value_auto struct value *sent = post_delivery(p, job, "delivered");
  assert_int_equal(value_get_int(sent, "lastStatus", 0), 250);
}

static void pipelines_and_jobs_have_mail_sent(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  start_smtp(p, "plain");
  mail_to(p, "ann@example.org", "none", NULL);
  post_open(p);
  post_job(p, job,
           "{\"notify\":{\"mail\":[{\"to\":\"ann@example.org\"},{\"to\":\"bob@example.org\",\"on\":[\"completed\"]},"
           "{\"to\":\"x@y.z\\r\\nRCPT TO:<evil@example.org>\"}]},"
           "\"pipelineNotify\":{\"mail\":[{\"to\":[\"cleo@example.org\"]},{\"to\":[\"dan@example.org\"],\"on\":["
           "\"failed\"]}]}}",
           "completed", "{\"result\":{\"playlist\":\"s/master.m3u8\",\"n\":3}}");
  char got[300] = "";
  for (int i = 0; i < 3; i++) {
    value_auto struct value *v = receiver_next(&p->receiver, 10000);
    assert_non_null(v);
    assert_non_null(strstr(value_get_text(v, "text", ""), "s/master.m3u8"));
    strncat(got, value_get_text(value_path(v, "to.0"), "", ""), 1);
    strncat(got, value_path(v, "to.0")->text, 60);
    strncat(got, " ", 2);
  }
  assert_null(receiver_next(&p->receiver, 300));
  assert_non_null(strstr(got, "ann@example.org"));
  assert_non_null(strstr(got, "bob@example.org"));
  assert_non_null(strstr(got, "cleo@example.org"));
  assert_int_equal(post_count(p, job), 4); /* the forged one is dead */
}

static void no_server_is_a_reason_to_be_read(void **state) {
  struct post *p = *state;
  char job[STORE_ID_MAX];
  post_open(p);
  post_job(p, job, "{\"notify\":{\"mail\":[{\"to\":\"ann@example.org\"}]}}", "completed", NULL);
  value_auto struct value *dead = post_delivery(p, job, "dead");
  assert_non_null(strstr(value_get_text(dead, "error", ""), "mail.server"));
}

/* ---- what it looks like
 * ----------------------------------------------------------------------------------------------------------------- */

static char *composed(const char *subject, const char *text) {
  struct buf out = {0};
  struct mail_message m = {
      .from = "a@b.c", .to = "d@e.f", .id = "1", .at_us = 1769860800000000, .subject = subject, .text = text};
  mail_compose(&out, &m);
  return buf_take(&out);
}

static void a_mail_is_made_of_short_plain_lines(void **state) {
  (void)state;
  mem_auto char *giant = mem_alloc(5000);
  for (int i = 0; i < 4998; i += 2) memcpy(giant + i, "ü", 2);
  mem_auto char *subject = mem_format("%.300s\r\nBcc: x@y.z", giant);
  mem_auto char *text = mem_format("%s\n.\n..x\n=3D tab\tend \nlast", giant), *mail = composed(subject, text);
  size_t lines = 0;
  assert_non_null(strstr(mail, "Date: Sat, 31 Jan 2026 12:00:00 +0000\r\n"));
  assert_null(strstr(mail, "\nBcc:"));
  assert_null(strstr(mail, "\r\n.\r\n"));
  assert_non_null(strstr(mail, "\r\n=2E\r\n=2E.x\r\n=3D3D tab=09end=20\r\nlast"));
  for (char *at = mail, *end; (end = strstr(at, "\r\n")); at = end + 2, lines++) {
    assert_true(end - at <= 76 || strncmp(at, "Content", 7) == 0);
    for (char *c = at; c < end; c++) assert_true((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f);
  }
  assert_true(lines > 100);
}

static void an_address_is_one_address(void **state) {
  (void)state;
  static const char *const bad[] = {"",      "a",       "@b",    "a@",   "a@b@c", "a b@c", "a@b\r\nRCPT",
                                    "<a@b>", "a@b,c@d", "a\"@b", "ä@b.c"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(mail_address_ok(bad[i]));
  assert_true(mail_address_ok("ann+jobs@mail.example.org"));
}

int main(void) {
  if (system("/usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null") != 0) {
    print_message("skipped: python3-aiosmtpd is not installed\n");
    return 0;
  }
  const struct CMUnitTest tests[] = {
      PROVES(mail_goes_out_over_starttls_with_a_login),
      PROVES(refused_for_now_is_tried_again_refused_for_good_is_not),
      PROVES(without_starttls_nothing_is_said_where_it_is_required),
      PROVES(pipelines_and_jobs_have_mail_sent),
      PROVES(no_server_is_a_reason_to_be_read),
      cmocka_unit_test(a_mail_is_made_of_short_plain_lines),
      cmocka_unit_test(an_address_is_one_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
