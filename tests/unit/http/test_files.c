/* Files, ranges, conditions, the folder of web pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"

static char web[100];

static int set_up(void **state) {
  struct rig *rig = mem_alloc(sizeof(*rig));
  char link[200];
  rig_prepare(rig);
  snprintf(web, sizeof(web), "%s/web", rig->folder);
  assert_int_equal(mkdir(web, 0755), 0);
  snprintf(link, sizeof(link), "%s/app", web);
  assert_int_equal(mkdir(link, 0755), 0);
  rig_file(rig, "web/index.html", "<p>front</p>");
  rig_file(rig, "web/app/index.html", "<p>app</p>");
  rig_file(rig, "web/app/main.js", "run()");
  rig_file(rig, "web/.hidden", "secret");
  snprintf(link, sizeof(link), "%s/out", web);
  assert_int_equal(symlink("/etc/passwd", link), 0);
  rig->options.web_folder = web;
  rig_start(rig);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  rig_end(*state);
  free(*state);
  return 0;
}

static const char *get(void **state, const char *path, const char *headers) {
  return rig_ask(*state, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", path, headers);
}

static void ranges_give_the_part_that_was_asked_for(void **state) {
  static const struct {
    const char *range, *content_range, *body;
    int status;
  } cases[] = {
      {"bytes=0-3", "bytes 0-3/10", "0123", 206}, {"bytes=4-", "bytes 4-9/10", "456789", 206},
      {"bytes=-3", "bytes 7-9/10", "789", 206},   {"bytes=-30", "bytes 0-9/10", "0123456789", 206},
      {"bytes=9-100", "bytes 9-9/10", "9", 206},  {"bytes=10-", "bytes */10", NULL, 416},
      {"bytes=-0", "bytes */10", NULL, 416},      {"bytes=5-4", "", "0123456789", 200},
      {"bytes=0-1,4-5", "", "0123456789", 200},   {"items=0-1", "", "0123456789", 200},
      {"bytes=a-b", "", "0123456789", 200},       {"bytes=99999999999999999999-", "", "0123456789", 200},
      {"bytes=--1", "", "0123456789", 200},       {"BYTES=1-1", "bytes 1-1/10", "1", 206},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    char header[80];
    snprintf(header, sizeof(header), "Range: %s\r\n", cases[i].range);
    const char *a = get(state, "/file", header);
    if (rig_status(a) != cases[i].status) fail_msg("%s: %s", cases[i].range, a);
    assert_string_equal(rig_header(a, "Content-Range"), cases[i].content_range);
    if (cases[i].body) assert_string_equal(rig_body(a), cases[i].body);
  }
  const char *a = rig_ask(*state, "HEAD /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\nRange: bytes=0-3\r\n\r\n");
  assert_int_equal(rig_status(a), 200);
  assert_string_equal(rig_header(a, "Content-Length"), "10");
  assert_string_equal(rig_header(a, "Accept-Ranges"), "bytes");
  assert_string_equal(rig_body(a), "");
}

static void what_the_client_has_is_not_sent_again(void **state) {
  char etag[100], modified[100], header[300];
  const char *a = get(state, "/file?etag=abc", "");
  assert_string_equal(rig_header(a, "ETag"), "\"abc\"");
  a = get(state, "/file", "");
  snprintf(etag, sizeof(etag), "%s", rig_header(a, "ETag"));
  snprintf(modified, sizeof(modified), "%s", rig_header(a, "Last-Modified"));
  snprintf(header, sizeof(header), "If-None-Match: \"x\", W/%s\r\n", etag);
  a = get(state, "/file", header);
  assert_int_equal(rig_status(a), 304);
  assert_string_equal(rig_body(a), "");
  assert_string_equal(rig_header(a, "ETag"), etag);
  assert_int_equal(rig_status(get(state, "/file", "If-None-Match: *\r\n")), 304);
  assert_int_equal(rig_status(get(state, "/file", "If-None-Match: \"x\"\r\n")), 200);
  snprintf(header, sizeof(header), "If-Modified-Since: %s\r\n", modified);
  assert_int_equal(rig_status(get(state, "/file", header)), 304);
  assert_int_equal(rig_status(get(state, "/file", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n")), 200);
  assert_int_equal(rig_status(get(state, "/file", "If-Modified-Since: yesterday\r\n")), 200);
  snprintf(header, sizeof(header), "If-Modified-Since: %s\r\nIf-None-Match: \"x\"\r\n", modified);
  assert_int_equal(rig_status(get(state, "/file", header)), 200); /* the tag decides (RFC 9110 section 13.2.2) */
  assert_int_equal(rig_status(get(state, "/file", "If-Match: \"x\"\r\n")), 412);
  snprintf(header, sizeof(header), "If-Match: %s\r\n", etag);
  assert_int_equal(rig_status(get(state, "/file", header)), 200);
  snprintf(header, sizeof(header), "Range: bytes=0-1\r\nIf-Range: %s\r\n", etag);
  assert_int_equal(rig_status(get(state, "/file", header)), 206);
  assert_int_equal(rig_status(get(state, "/file", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n")), 200);
  snprintf(header, sizeof(header), "Range: bytes=0-1\r\nIf-Range: %s\r\n", modified);
  assert_int_equal(rig_status(get(state, "/file", header)), 206);
}

static void names_of_attachments_are_written_safely(void **state) {
  const char *a = get(state, "/file?as=a%22b%5C%C3%A4.txt", "");
  assert_string_equal(rig_header(a, "Content-Disposition"),
                      "attachment; filename=\"a_b___.txt\"; filename*=UTF-8''a%22b%5C%C3%A4.txt");
}

static void large_files_arrive_whole(void **state) {
  struct rig *rig = *state;
  char path[200];
  snprintf(path, sizeof(path), "%s/file", rig->folder);
  FILE *f = fopen(path, "we");
  for (int i = 0; i < 300000; i++) fprintf(f, "%07d\n", i);
  fclose(f);
  const char *a = get(state, "/file", "");
  const char *body = rig_body(a);
  assert_int_equal(strlen(body), 2400000);
  for (int i = 0; i < 300000; i += 1000) assert_int_equal(atoi(body + i * 8), i);
  a = get(state, "/file", "Range: bytes=800000-1599999\r\n");
  assert_int_equal(strlen(rig_body(a)), 800000);
  assert_int_equal(atoi(rig_body(a)), 100000);
  rig_file(rig, "file", "0123456789");
}

static void pages_come_with_their_types_and_a_policy(void **state) {
  const char *a = get(state, "/", "");
  assert_string_equal(rig_body(a), "<p>front</p>");
  assert_string_equal(rig_header(a, "Content-Type"), "text/html; charset=utf-8");
  assert_non_null(strstr(rig_header(a, "Content-Security-Policy"), "script-src 'self'"));
  assert_string_equal(rig_header(a, "X-Content-Type-Options"), "nosniff");
  assert_string_equal(rig_header(a, "X-Frame-Options"), "DENY");
  assert_string_equal(rig_body(get(state, "/app/", "")), "<p>app</p>");
  assert_string_equal(rig_header(get(state, "/app/main.js", ""), "Content-Type"), "text/javascript; charset=utf-8");
  a = get(state, "/app", "");
  assert_int_equal(rig_status(a), 308);
  assert_string_equal(rig_header(a, "Location"), "/app/");
}

static void nothing_outside_of_the_folder_and_nothing_hidden(void **state) {
  static const char *const paths[] = {
      "/.hidden",     "/out",          "/app/../.hidden", "/%2e%2e/key", "/app/%2e%2e/%2e%2e/key",
      "//etc/passwd", "/app//main.js", "/app/main.js/",   "/..%2fkey",   "/app/main.js%20",
      "/file"};
  for (size_t i = 0; i + 1 < sizeof(paths) / sizeof(*paths); i++) {
    const char *a = get(state, paths[i], "");
    if (rig_status(a) != 404 && rig_status(a) != 400) fail_msg("%s: %s", paths[i], a);
  }
  assert_int_equal(rig_status(rig_ask(*state, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), 404);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges_give_the_part_that_was_asked_for),
      cmocka_unit_test(what_the_client_has_is_not_sent_again),
      cmocka_unit_test(names_of_attachments_are_written_safely),
      cmocka_unit_test(large_files_arrive_whole),
      cmocka_unit_test(pages_come_with_their_types_and_a_policy),
      cmocka_unit_test(nothing_outside_of_the_folder_and_nothing_hidden),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
