/* Routes, credentials, bodies, answers, origins: what well-meant requests get. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"

#define GET "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
#define END "\r\n"

static int set_up(void **state) {
  struct rig *rig = mem_alloc(sizeof(*rig));
  rig_prepare(rig);
  rig->origins[0] = "https://app.example.org";
  rig->proxies[0] = "10.0.0.0/8";
  rig_start(rig);
  *state = rig;
  return 0;
}

static int tear_down(void **state) {
  rig_end(*state);
  free(*state);
  return 0;
}

static void has(const char *answer, const char *text) {
  if (!strstr(answer, text)) fail_msg("no '%s' in:\n%s", text, answer);
}

static void routes_take_parameters_and_prefer_what_is_closer(void **state) {
  const char *a = rig_ask(*state, GET END, "/open/a%20b%2Fc?q=x+y%21");
  assert_int_equal(rig_status(a), 200);
  has(a, "\"id\":\"a b/c\"");
  has(a, "\"q\":\"x y!\"");
  has(rig_ask(*state, GET END, "/open/7/rest/one/two%20three"), "\"rest\":\"one/two three\"");
  has(rig_ask(*state, GET END, "/open/literal"), "\r\n\r\nliteral");
  has(rig_ask(*state, "DELETE /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "\"id\":\"literal\"");
  assert_int_equal(rig_status(rig_ask(*state, GET END, "/open/")), 404);
  assert_int_equal(rig_status(rig_ask(*state, GET END, "/open/7/")), 404);
  assert_int_equal(rig_status(rig_ask(*state, GET END, "/open/7/rest/")), 404);
  assert_int_equal(rig_status(rig_ask(*state, GET END, "/nothing")), 404);
}

static void other_methods_get_405_head_and_options_what_belongs_to_them(void **state) {
  const char *a = rig_ask(*state, "PUT /open/7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert_int_equal(rig_status(a), 405);
  assert_string_equal(rig_header(a, "Allow"), "GET, HEAD, POST, DELETE, OPTIONS");
  a = rig_ask(*state, "HEAD /open/literal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert_int_equal(rig_status(a), 200);
  assert_string_equal(rig_header(a, "Content-Length"), "7");
  assert_string_equal(rig_body(a), "");
  a = rig_ask(*state, "OPTIONS /open/7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  assert_int_equal(rig_status(a), 204);
  has(rig_header(a, "Allow"), "DELETE");
}

static void problems_are_json_with_a_request_id(void **state) {
  const char *a = rig_ask(*state, GET "X-Request-Id: abc-1\r\n" END, "/nothing");
  assert_string_equal(rig_header(a, "Content-Type"), "application/problem+json");
  assert_string_equal(rig_header(a, "X-Request-Id"), "abc-1");
  has(a, "\"type\":\"urn:stagemill:not-found\",\"title\":\"Not Found\",\"status\":404");
  has(a, "\"requestId\":\"abc-1\"");
  a = rig_ask(*state, GET "X-Request-Id: a b<script>\r\n" END, "/nothing");
  assert_int_equal(strlen(rig_header(a, "X-Request-Id")), 16);
  a = rig_ask(*state, GET END, "/silent");
  assert_int_equal(rig_status(a), 500);
  a = rig_ask(*state, GET END, "/twice");
  assert_string_equal(rig_body(a), "1");
  assert_null(strstr(a, "Injected"));
  assert_string_equal(rig_header(a, "X-Good"), "fine");
}

static void numbers_are_read_strictly(void **state) {
  has(rig_ask(*state, GET END, "/number?n=100"), "{\"n\":100}");
  has(rig_ask(*state, GET END, "/number"), "{\"n\":7}");
  static const char *const bad[] = {"0", "101", "", "1x", "+1", "%201", "99999999999999999999999", "0x10"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    const char *a = rig_ask(*state, "GET /number?n=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", bad[i]);
    assert_int_equal(rig_status(a), 400);
    has(a, "'n'");
  }
}

static void credentials_open_what_their_scopes_say(void **state) {
  struct rig *rig = *state;
  const char *a = rig_ask(rig, GET END, "/read");
  assert_int_equal(rig_status(a), 401);
  assert_string_equal(rig_header(a, "WWW-Authenticate"), "Bearer realm=\"stagemill\"");
  a = rig_ask(rig, GET "Authorization: Bearer %s\r\n" END, "/read", rig->reader);
  has(a, "\"subject\":\"ann\"");
  has(rig_ask(rig, GET "Authorization: bearer  %s\r\n" END, "/read", rig->admin), "\"subject\":\"root\"");
  a = rig_ask(rig, GET "Authorization: Bearer %sx\r\n" END, "/read", rig->reader);
  assert_int_equal(rig_status(a), 401);
  has(rig_header(a, "WWW-Authenticate"), "invalid_token");
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Basic YTpi\r\n" END, "/read")), 401);
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Bearer\r\n" END, "/read")), 401);
  a = rig_ask(rig, "POST /submit HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n",
              rig->reader);
  assert_int_equal(rig_status(a), 403);
  has(rig_header(a, "WWW-Authenticate"), "insufficient_scope");
  has(a, "scope submit");
  /* A wrong token is told on an open route too, rather than passed over. */
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Bearer x\r\n" END, "/open/1")), 401);
}

static void narrow_tokens_get_in_only_where_it_says_so(void **state) {
  struct rig *rig = *state;
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Bearer %s\r\n" END, "/read", rig->follower)), 403);
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Bearer %s\r\n" END, "/narrow", rig->follower)), 200);
  assert_int_equal(rig_status(rig_ask(rig, GET "Authorization: Bearer %s\r\n" END, "/narrow", rig->reader)), 200);
}

static void tokens_in_the_query_and_tickets_only_where_a_route_allows(void **state) {
  struct rig *rig = *state;
  assert_int_equal(
      rig_status(rig_ask(rig, "GET /read?token=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", rig->reader)),
      401);
  assert_int_equal(
      rig_status(rig_ask(rig, "GET /download?token=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", rig->reader)),
      200);
  struct principal p = {.subject = mem_text("ann"), .scopes = SCOPE_READ, .expires_us = INT64_MAX};
  char ticket[65];
  int64_t expires_us;
  assert_int_equal(ticket_issue(rig->keyring, &p, ticket, &expires_us, NULL), ERR_OK);
  principal_clear(&p);
  has(rig_ask(rig, "GET /download?ticket=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", ticket),
      "\"subject\":\"ann\"");
  assert_int_equal(
      rig_status(rig_ask(rig, "GET /download?ticket=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", ticket)),
      401);
}

#define POST_JSON(text)                                                                                                \
  "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n" text

static void json_bodies_are_json_objects_within_the_limit(void **state) {
  has(rig_ask(*state, POST_JSON("Content-Length: 7\r\n\r\n{\"a\":1}")), "\r\n\r\n{\"a\":1}\n");
  has(rig_ask(*state, POST_JSON("Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n")),
      "\r\n\r\n{\"a\":2}\n");
  const char *a = rig_ask(*state, POST_JSON("Content-Length: 8\r\n\r\n{\"a\":\n1,"));
  assert_int_equal(rig_status(a), 400);
  has(a, "line 2");
  a = rig_ask(*state, POST_JSON("Content-Length: 2\r\n\r\n[]"));
  assert_int_equal(rig_status(a), 400);
  has(a, "object");
  a = rig_ask(
      *state,
      "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
  assert_int_equal(rig_status(a), 415);
  assert_int_equal(rig_status(rig_ask(*state, POST_JSON("Content-Length: 0\r\n\r\n"))), 400);
  a = rig_ask(*state, POST_JSON("Content-Length: 1001\r\n\r\n"));
  assert_int_equal(rig_status(a), 413);
  char big[1200];
  memset(big, 'a', sizeof(big));
  a = rig_ask(*state, POST_JSON("Transfer-Encoding: chunked\r\n\r\n4b0\r\n%.1200s\r\n0\r\n\r\n"), big);
  assert_int_equal(rig_status(a), 413);
}

static void a_client_that_asks_first_is_told_to_go_on(void **state) {
  struct rig *rig = *state;
  int fd = rig_connect(rig);
  static const char head[] =
      "PUT /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  struct buf buf_auto answer = {0};
  rig_send(fd, head, sizeof(head) - 1);
  usleep(100000);
  rig_send(fd, "12345", 5);
  rig_receive(fd, &answer);
  assert_memory_equal(buf_string(&answer), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n", 50);
  assert_int_equal(rig->received, 5);
  assert_int_equal(close(fd), 0);
  /* Refused before the body: no go-ahead is given. */
  const char *a = rig_ask(rig, POST_JSON("Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n"));
  assert_int_equal(rig_status(a), 413);
  assert_int_equal(rig_status(rig_ask(rig, POST_JSON("Expect: miracles\r\nContent-Length: 2\r\n\r\n{}"))), 417);
}

static void streamed_bodies_may_be_larger_than_the_limit(void **state) {
  struct rig *rig = *state;
  static char body[300000];
  struct buf buf_auto request = {0};
  buf_format(&request, "PUT /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
             sizeof(body));
  buf_add(&request, body, sizeof(body));
  assert_int_equal(rig_status(rig_ask_bytes(rig, request.data, request.size)), 204);
  assert_int_equal(rig->received, sizeof(body));
  /* An answer that comes before the body has been sent reaches the client all the same. */
  memcpy(request.data, "PUT /hasty ", 11);
  memmove(request.data + 10, request.data + 11, request.size - 11);
  assert_int_equal(rig_status(rig_ask_bytes(rig, request.data, request.size - 1)), 409);
}

static void listed_origins_may_read_the_answers(void **state) {
  const char *a = rig_ask(*state, GET "Origin: https://app.example.org\r\n" END, "/open/1");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Origin"), "https://app.example.org");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Credentials"), "true");
  assert_string_equal(rig_header(a, "Vary"), "Origin");
  has(rig_header(a, "Access-Control-Expose-Headers"), "Location");
  a = rig_ask(*state, GET "Origin: https://evil.example.org\r\n" END, "/open/1");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Origin"), "");
  assert_string_equal(rig_header(a, "Vary"), "Origin");
  a = rig_ask(*state, "OPTIONS /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://app.example.org\r\n"
                      "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n");
  assert_int_equal(rig_status(a), 204);
  has(rig_header(a, "Access-Control-Allow-Methods"), "GET");
  has(rig_header(a, "Access-Control-Allow-Headers"), "Authorization");
  a = rig_ask(*state, "OPTIONS /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://evil.example.org\r\n"
                      "Access-Control-Request-Method: GET\r\n\r\n");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Methods"), "");
}

static void any_origin_means_no_credentials(void **state) {
  struct rig *rig = *state;
  const char *const any[] = {"*", NULL};
  struct http_options options = rig->options;
  options.origins = any;
  assert_int_equal(http_server_reload(rig->server, &options, NULL), ERR_OK);
  const char *a = rig_ask(rig, GET "Origin: https://evil.example.org\r\n" END, "/open/1");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Origin"), "*");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Credentials"), "");
  const char *const wrong[] = {"https://app.example.org/path", NULL};
  options.origins = wrong;
  struct error e = {0};
  assert_int_equal(http_server_reload(rig->server, &options, &e), ERR_INVALID);
  has(e.message, "https://app.example.org/path");
  a = rig_ask(rig, GET "Origin: https://evil.example.org\r\n" END, "/open/1");
  assert_string_equal(rig_header(a, "Access-Control-Allow-Origin"), "*");
}

static void forwarded_headers_count_only_from_proxies(void **state) {
  struct rig *rig = *state;
  static const char ask[] =
      "GET /open/1 HTTP/1.1\r\nHost: inner:80\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n"
      "X-Forwarded-Host: media.example.org\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.2.3\r\n\r\n";
  const char *a = rig_ask(rig, "%s", ask);
  has(a, "\"peer\":\"127.0.0.1\"");
  has(a, "\"origin\":\"http://inner:80\"");
  const char *const proxies[] = {"127.0.0.0/8", "10.0.0.0/8", NULL};
  struct http_options options = rig->options;
  options.proxies = proxies;
  assert_int_equal(http_server_reload(rig->server, &options, NULL), ERR_OK);
  a = rig_ask(rig, "%s", ask);
  has(a, "\"peer\":\"192.0.2.7\""); /* what stands left of it is that client's own claim */
  has(a, "\"origin\":\"https://media.example.org\"");
  options.public_url = "https://public.example.org/";
  assert_int_equal(http_server_reload(rig->server, &options, NULL), ERR_OK);
  has(rig_ask(rig, "%s", ask), "\"origin\":\"https://public.example.org\"");
  static const char *const bad[] = {"10.0.0.0/33", "nginx", "::1/129", "/8", "10.0.0.1/"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    const char *const one[] = {bad[i], NULL};
    options.proxies = one;
    assert_int_equal(http_server_reload(rig->server, &options, NULL), ERR_INVALID);
  }
}

static void handlers_have_room(void **state) { assert_string_equal(rig_body(rig_ask(*state, GET END, "/deep")), "ok"); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(routes_take_parameters_and_prefer_what_is_closer),
      cmocka_unit_test(other_methods_get_405_head_and_options_what_belongs_to_them),
      cmocka_unit_test(problems_are_json_with_a_request_id),
      cmocka_unit_test(numbers_are_read_strictly),
      cmocka_unit_test(credentials_open_what_their_scopes_say),
      cmocka_unit_test(narrow_tokens_get_in_only_where_it_says_so),
      cmocka_unit_test(tokens_in_the_query_and_tickets_only_where_a_route_allows),
      cmocka_unit_test(json_bodies_are_json_objects_within_the_limit),
      cmocka_unit_test(a_client_that_asks_first_is_told_to_go_on),
      cmocka_unit_test(streamed_bodies_may_be_larger_than_the_limit),
      cmocka_unit_test(listed_origins_may_read_the_answers),
      cmocka_unit_test(any_origin_means_no_credentials),
      cmocka_unit_test(forwarded_headers_count_only_from_proxies),
      cmocka_unit_test(handlers_have_room),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
