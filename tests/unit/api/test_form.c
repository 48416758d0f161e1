/* The form that a submission may come in, cut into pieces of every size, and broken in every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/form.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"

/* ---- the server ---------------------------------------------------------------------------------------------------------- */

struct exchange {
  const char *type, *body;
  size_t size, at, piece; /* piece: bytes that one read gives at most */
};

const char *http_header(const struct exchange *x, const char *name) {
  return strcmp(name, "Content-Type") == 0 ? x->type : NULL;
}

ssize_t http_read(struct exchange *x, void *into, size_t room, struct error *e) {
  (void)e;
  size_t size = x->size - x->at;
  if (size > room) size = room;
  if (size > x->piece) size = x->piece;
  memcpy(into, x->body + x->at, size);
  x->at += size;
  return (ssize_t)size;
}

/* ---- the scene ------------------------------------------------------------------------------------------------------------- */

static char folder[64];
static const char type[] = "multipart/form-data; charset=utf-8; boundary=\"AaB03x\"";
static const char parts[] = "--AaB03x\r\ncontent-disposition: form-data; name=\"request\"\r\nContent-Type: application/json\r\n\r\n"
                            "{\"pipeline\": \"vod\"}\r\n--AaB03x  \r\nX: y\r\nContent-Disposition: form-data; "
                            "filename=\"a \\\"clip\\\".mp4\"; name=file\r\n\r\n"
                            "one\r\n--AaB03\r\n--AaB03y\r\ntwo\r\n\r\n--AaB03x--\r\nepilogue";
static const char content[] = "one\r\n--AaB03\r\n--AaB03y\r\ntwo\r\n";
static const struct form_limits limits = {1000, 1000};

static int setup(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/form-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  return fs_remove_path(folder, NULL) ? -1 : 0;
}

static enum err read_form(const char *kind, const char *body, size_t size, size_t piece, const struct form_limits *most,
                          struct form *form) {
  mem_auto char *into = mem_format("%s/in", folder);
  struct exchange x = {kind, body, size, 0, piece};
  struct error e = {0};
  enum err err = form_read(&x, into, most, form, &e);
  if (err) assert_true(e.code == err && *e.message);
  return err;
}

static bool folder_has_files(void) {
  mem_auto char *command = mem_format("test -n \"$(ls -A %s/in 2>/dev/null)\"", folder);
  return system(command) == 0;
}

static void refused(const char *kind, const char *body, enum err wanted) {
  struct form form;
  assert_int_equal(read_form(kind, body, strlen(body), 7, &limits, &form), wanted);
  assert_null(form.path);
  form_clear(&form);
  assert_false(folder_has_files());
}

/* ---- whole forms ------------------------------------------------------------------------------------------------------------- */

static void expect_parts(struct form *form) {
  char hex[65];
  struct buf file = {0};
  digest_of(content, sizeof content - 1, hex);
  assert_string_equal(buf_string(&form->request), "{\"pipeline\": \"vod\"}");
  assert_string_equal(form->name, "a \"clip\".mp4");
  assert_int_equal(form->bytes, (int64_t)sizeof content - 1);
  assert_string_equal(form->sha256, hex);
  assert_int_equal(fs_read_file(form->path, 1000, &file, NULL), ERR_OK);
  assert_int_equal(file.size, sizeof content - 1);
  assert_memory_equal(file.data, content, file.size);
  buf_free(&file);
  unlink(form->path);
}

static void pieces_of_every_size(void **state) {
  (void)state;
  for (size_t piece = 1; piece <= sizeof parts; piece++) {
    struct form form;
    assert_int_equal(read_form(type, parts, sizeof parts - 1, piece, &limits, &form), ERR_OK);
    expect_parts(&form);
    form_clear(&form);
  }
}

static void json_is_a_request_too(void **state) {
  (void)state;
  struct form form;
  assert_int_equal(read_form("application/json; charset=utf-8", "{}", 2, 1, &limits, &form), ERR_OK);
  assert_string_equal(buf_string(&form.request), "{}");
  assert_null(form.path);
  form_clear(&form);
}

/* Larger than any buffer, with what looks like a delimiter all over it. */
static void a_large_file(void **state) {
  (void)state;
  struct buf body = {0}, file = {0};
  struct form form;
  static const char head[] = "--AaB03x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n",
                    tail[] = "\r\n--AaB03x\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n{}\r\n--AaB03x--";
  while (file.size < 300000) buf_format(&file, "\r\n--AaB03%c%zu\r\n-", (char)('a' + file.size % 20), file.size);
  buf_text(&body, head);
  buf_add(&body, file.data, file.size);
  buf_text(&body, tail);
  static const size_t sizes[] = {1, 4093, 65536, 1 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct form_limits most = {1000, (int64_t)file.size};
    char hex[65];
    assert_int_equal(read_form(type, body.data, body.size, sizes[i], &most, &form), ERR_OK);
    digest_of(file.data, file.size, hex);
    assert_string_equal(form.sha256, hex);
    unlink(form.path);
    form_clear(&form);
  }
  struct form_limits less = {1000, (int64_t)file.size - 1};
  assert_int_equal(read_form(type, body.data, body.size, 5000, &less, &form), ERR_TOO_LARGE);
  assert_false(folder_has_files());
  buf_free(&body);
  buf_free(&file);
}

/* ---- broken ones --------------------------------------------------------------------------------------------------------------- */

static void cut_anywhere(void **state) {
  (void)state;
  size_t whole = (size_t)(strstr(parts, "--AaB03x--") - parts) + 10; /* the end of the last delimiter: the rest is nothing */
  for (size_t size = 0; size < whole; size++) {
    struct form form;
    assert_int_not_equal(read_form(type, parts, size, 1 + size % 9, &limits, &form), ERR_OK);
    form_clear(&form);
    assert_false(folder_has_files());
  }
}

static void wrong_forms(void **state) {
  (void)state;
#define PART "--b\r\nContent-Disposition: form-data; name="
  static const char kind[] = "multipart/form-data; boundary=b";
  refused("text/plain", "{}", ERR_UNSUPPORTED);
  refused("application/jsonx", "{}", ERR_UNSUPPORTED);
  refused(NULL, "{}", ERR_UNSUPPORTED);
  refused("multipart/form-data", parts, ERR_INVALID);
  refused("multipart/form-data; boundary=", parts, ERR_INVALID);
  refused("multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789x", "", ERR_INVALID);
  refused(kind, "preamble\r\n--b--", ERR_INVALID);
  refused(kind, "--b--", ERR_INVALID);
  refused(kind, "--bb\r\n\r\n\r\n--b--", ERR_INVALID);
  refused(kind, PART "other\r\n\r\nx\r\n--b--", ERR_INVALID);
  refused(kind, "--b\r\nX: y\r\n\r\nx\r\n--b--", ERR_INVALID);
  refused(kind, PART "file\r\n\r\nx\r\n" PART "file\r\n\r\nx\r\n--b--", ERR_INVALID);
  refused(kind, PART "request\r\n\r\nx\r\n" PART "request\r\n\r\nx\r\n--b--", ERR_INVALID);
  refused(kind, PART "file\r\n\r\nx\r\n--b--", ERR_INVALID);
}

static void endless_parts_of_a_form(void **state) {
  (void)state;
  struct form form;
  struct buf body = {0};
  buf_text(&body, "--AaB03x\r\nX: ");
  for (int i = 0; i < 100000; i++) buf_char(&body, 'x');
  assert_int_equal(read_form(type, body.data, body.size, 1000, &limits, &form), ERR_INVALID);
  form_clear(&form);
  buf_reset(&body);
  buf_text(&body, "--AaB03x\r\nContent-Disposition: form-data; name=request\r\n\r\n");
  for (int i = 0; i < 100000; i++) buf_char(&body, ' ');
  assert_int_equal(read_form(type, body.data, body.size, 1000, &limits, &form), ERR_TOO_LARGE);
  form_clear(&form);
  assert_int_equal(read_form("application/json", body.data, body.size, 1000, &limits, &form), ERR_TOO_LARGE);
  form_clear(&form);
  buf_free(&body);
}

static void names_of_files(void **state) {
  (void)state;
  static const struct {
    const char *sent, *kept;
  } rows[] = {{"clip.mp4", "clip.mp4"},      {"/etc/passwd", "passwd"}, {"..\\..\\boot.ini", "boot.ini"}, {"../..", "_."},
              {"", "file"},                  {"a/", "file"},            {".hidden", "_hidden"},           {"a\nb\x7f", "a_b_"},
              {"C:\\films\\a b.mov", "a b.mov"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mem_auto char *kept = form_file_name(rows[i].sent);
    assert_string_equal(kept, rows[i].kept);
  }
  struct buf umlauts = {0};
  for (int i = 0; i < 200; i++) buf_text(&umlauts, "\xc3\xa4");
  buf_text(&umlauts, ".mp4");
  mem_auto char *kept = form_file_name(buf_string(&umlauts));
  assert_true(strlen(kept) <= 120 && (*kept & 0xc0) != 0x80 && strcmp(kept + strlen(kept) - 4, ".mp4") == 0);
  buf_free(&umlauts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pieces_of_every_size), cmocka_unit_test(json_is_a_request_too), cmocka_unit_test(a_large_file),
      cmocka_unit_test(cut_anywhere),         cmocka_unit_test(wrong_forms),           cmocka_unit_test(endless_parts_of_a_form),
      cmocka_unit_test(names_of_files),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
