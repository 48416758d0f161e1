/* YAML to a positioned tree: places, anchors, merge keys; and hostile text in bounded time and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>

#include "base/mem.h"
#include "config/tree.h"

struct read {
  struct tree *tree;
  struct report *report;
  struct node *root;
};

static struct read read_n(const char *text, size_t size) {
  struct read r = {tree_new(NULL), report_new(), NULL};
  tree_parse(r.tree, text, size, "f.yaml", "/folder", r.report, &r.root);
  return r;
}

static struct read read_text(const char *text) { return read_n(text, strlen(text)); }

static void done(struct read *r) {
  tree_free(&r->tree);
  report_free(&r->report);
}

static void refused(const char *text, size_t size, const char *says, size_t line, size_t column) {
  struct read r = read_n(text, size);
  const struct problem *p = report_at(r.report, 0);
  if (!p || !strstr(p->message, says) || p->line != line || p->column != column)
    print_message("got %s:%zu:%zu, expected %s:%zu:%zu\n", p ? p->message : "nothing", p ? p->line : 0,
                  p ? p->column : 0, says, line, column);
  assert_true(p && strstr(p->message, says) && p->line == line && p->column == column);
  assert_null(r.root);
  done(&r);
}

static void nodes_know_line_column_length_and_quotes(void **state) {
  (void)state;
  struct read r = read_text("a: 1\nb:\n  - 'two'\n  - { c: \"dré\" }\n");
  assert_int_equal(report_count(r.report), 0);
  const struct node *list = node_get(r.root, "b"), *two = list->items[0], *d = node_get(list->items[1], "c");
  assert_int_equal(node_key(r.root, "b")->line, 2);
  assert_true(two->line == 3 && two->column == 5 && two->length == 5 && !two->plain);
  assert_true(d->line == 4 && d->column == 10 && d->length == 5);
  assert_string_equal(d->text, "dré");
  assert_true(node_get(r.root, "a")->plain);
  assert_null(node_get(r.root, "z"));
  assert_null(node_get(list, "a"));
  done(&r);
}

static void lines_are_counted_as_yaml_counts_them(void **state) {
  (void)state;
  struct read r = read_text("\xef\xbb\xbf"
                            "a: 1\r\nb: 2\rc: 3\nd: [\n");
  const struct problem *p = report_at(r.report, 0);
  assert_non_null(p);
  assert_int_equal(p->line, 5);
  done(&r);
  r = read_text("a: 1\r\nb: 2\rc: x\n");
  mem_auto char *line = tree_file_line(node_get(r.root, "c")->file, node_get(r.root, "c")->line);
  assert_string_equal(line, "c: x");
  done(&r);
}

static void aliases_share_and_merges_yield_to_what_is_written(void **state) {
  (void)state;
  struct read r =
      read_text("x: &a { k: 1, l: 2 }\ny: &b { l: 3, m: 4 }\nz: { <<: [*a, *b], k: 9 }\nw: *a\nv: { <<: *b }\n");
  assert_int_equal(report_count(r.report), 0);
  const struct node *z = node_get(r.root, "z");
  assert_string_equal(node_text(z, "k"), "9");
  assert_string_equal(node_text(z, "l"), "2"); /* the first merged map wins over later ones */
  assert_string_equal(node_text(z, "m"), "4");
  assert_int_equal(z->count, 3);
  assert_ptr_equal(node_get(r.root, "w"), node_get(r.root, "x"));
  assert_string_equal(node_text(node_get(r.root, "v"), "l"), "3");
  done(&r);
}

static void anchors_of_earlier_files_can_be_used(void **state) {
  (void)state;
  struct read r = read_text("x: &a { k: 1 }\n");
  struct node *root = NULL;
  const char *text = "y: *a\nz: &a 5\nw: *a\n"; /* a later file may use the name anew */
  assert_int_equal(tree_parse(r.tree, text, strlen(text), "g.yaml", NULL, r.report, &root), ERR_OK);
  assert_string_equal(node_text(node_get(root, "y"), "k"), "1");
  assert_string_equal(node_text(root, "w"), "5");
  done(&r);
}

static void peeking_is_quiet_about_unknown_aliases(void **state) {
  (void)state;
  struct tree *tree = tree_new(NULL);
  struct node *root = NULL;
  const char *text = "include: a.yaml\nx: *nowhere\ny: { <<: *nowhere }\n";
  assert_int_equal(tree_peek(tree, text, strlen(text), "f", NULL, &root), ERR_OK);
  assert_string_equal(node_text(root, "include"), "a.yaml");
  tree_free(&tree);
}

static void malformed_text_is_refused_with_its_place(void **state) {
  (void)state;
#define REFUSED(text, says, line, column) refused(text, sizeof(text) - 1, says, line, column)
  REFUSED("a: b\nc: \0d\n", "NUL byte", 2, 4);
  REFUSED("a: ü\nb: \xff\n", "not UTF-8", 2, 4);
  REFUSED("a: \xc0\xaf\n", "not UTF-8", 1, 4);
  REFUSED("a: \xed\xa0\x80\n", "not UTF-8", 1, 4);
  REFUSED("a: \xf4\x90\x80\x80\n", "not UTF-8", 1, 4);
  REFUSED("a: \xe2\x82", "not UTF-8", 1, 4);
  REFUSED("\xff\xfe"
          "a\0:\0",
          "not UTF-8", 1, 1);
  REFUSED("a: \"x\\0y\"\n", "NUL character", 1, 4);
  REFUSED("a: x\x01y\n", "control character", 1, 5);
  REFUSED("a: [1, 2\n", "not valid YAML", 2, 1);
  REFUSED("a: {b: 1\n", "not valid YAML", 2, 1);
  REFUSED("a: \"b\n", "not valid YAML", 2, 1);
  REFUSED("a: b: c\n", "not valid YAML", 1, 5);
  REFUSED("a: 1\n---\nb: 2\n", "second document", 2, 1);
  REFUSED("a: !x 1\n", "tag `!x`", 1, 4);
  REFUSED("a: !!binary AAAA\n", "tag", 1, 4);
  REFUSED("? {a: 1}\n: b\n", "single word", 1, 3);
  REFUSED("\"\": b\n", "key is missing", 1, 1);
  REFUSED("a: *b\n", "no anchor", 1, 4);
  REFUSED("a: &x [*x]\n", "inside what it repeats", 1, 8);
  REFUSED("a: { <<: 5 }\n", "only a map", 1, 6);
  REFUSED("a: { <<: {}, <<: {} }\n", "twice", 1, 14);
  REFUSED("", "empty", 0, 0);
  REFUSED("# nothing\n", "empty", 0, 0);
}

static void duplicate_keys_are_all_reported(void **state) {
  (void)state;
  struct read r = read_text("a: 1\na: 2\nb: { c: 1, c: 2 }\n");
  assert_int_equal(report_errors(r.report), 2);
  assert_int_equal(report_at(r.report, 0)->line, 2);
  assert_non_null(r.root);
  done(&r);
}

/* ---- hostile ---------------------------------------------------------------------------------------------------- */

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long peak_kib(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/* Refused within 2 s of CPU (sanitizers included) and 64 MiB more than before, the text itself apart. */
static void hostile(const char *name, struct buf *text) {
  double begin = seconds();
  long before = peak_kib();
  struct read r = read_n(text->data, text->size);
  double took = seconds() - begin;
  long grown = peak_kib() - before;
  if (r.root || !report_errors(r.report) || took > 2 || grown > 64 * 1024)
    print_message("%s: %.2f s, %ld KiB, %zu problems\n", name, took, grown, report_errors(r.report));
  assert_null(r.root);
  assert_true(report_errors(r.report) >= 1);
  assert_true(took < 2);
  assert_true(grown < 64 * 1024);
  done(&r);
  buf_free(text);
}

static void repeat(struct buf *b, const char *text, size_t times) {
  for (size_t i = 0; i < times; i++) buf_text(b, text);
}

static void deep_nesting_ends_early(void **state) {
  (void)state;
  static const char *const openers[] = {"[", "{a: ", "- ", "? ", "[{a: ", "- - ? "};
  for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
    struct buf text = {0};
    repeat(&text, openers[i], 100000);
    hostile(openers[i], &text);
  }
  struct buf steps = {0};
  for (int i = 0; i < 1000; i++) {
    for (int n = 0; n < i; n++) buf_char(&steps, ' ');
    buf_text(&steps, "a:\n");
  }
  hostile("steps", &steps);
}

static void alias_bombs_do_not_go_off(void **state) {
  (void)state;
  struct buf lists = {0}, merges = {0}, texts = {0};
  buf_text(&lists, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
  for (int i = 1; i < 30; i++) {
    buf_format(&lists, "a%d: &a%d [", i, i);
    for (int n = 0; n < 9; n++) buf_format(&lists, "%s*a%d", n ? ", " : "", i - 1);
    buf_text(&lists, "]\n");
  }
  hostile("lists", &lists);
  buf_text(&merges, "b: &b { ");
  for (int i = 0; i < 500; i++) buf_format(&merges, "k%d: 1, ", i);
  buf_text(&merges, "}\nlist:\n");
  for (int i = 0; i < 9000; i++) buf_text(&merges, " - { <<: *b }\n");
  hostile("merges", &merges);
  buf_text(&texts, "b: &b '");
  repeat(&texts, "xxxxxxxxxxxxxxxx", 2000);
  buf_text(&texts, "'\nlist: [");
  repeat(&texts, "*b, ", 9000);
  buf_text(&texts, "]\n");
  hostile("texts", &texts);
}

static void huge_things_are_refused(void **state) {
  (void)state;
  struct buf scalar = {0}, text = {0}, keys = {0}, items = {0}, anchors = {0}, key = {0}, spaces = {0}, quotes = {0};
  buf_text(&scalar, "a: ");
  repeat(&scalar, "xxxxxxxxxxxxxxxx", 655360); /* 10 MiB */
  hostile("10 MiB scalar", &scalar);
  buf_text(&text, "a: ");
  repeat(&text, "xxxxxxxxxxxxxxxx", 60000); /* within the file's limit, beyond a scalar's */
  hostile("scalar", &text);
  for (int i = 0; i < 9000; i++) buf_format(&keys, "k%d: 1\n", i);
  hostile("keys", &keys);
  repeat(&items, "- 1\n", 100000);
  hostile("items", &items);
  for (int i = 0; i < 5000; i++) buf_format(&anchors, "- &a%d 1\n", i);
  hostile("anchors", &anchors);
  repeat(&key, "kkkkkkkkkk", 60);
  buf_text(&key, ": 1\n");
  hostile("key", &key);
  buf_text(&spaces, "a:\n");
  repeat(&spaces, "                ", 60000);
  buf_text(&spaces, "[");
  hostile("spaces", &spaces);
  repeat(&quotes, "'' '' ", 100000);
  hostile("quotes", &quotes);
}

static void truncated_anywhere_it_neither_crashes_nor_hangs(void **state) {
  (void)state;
  static const char text[] = "x: &a { k: \"\\u00e9\", l: [1, 2] }\ny:\n  - { <<: *a, m: 'it''s' }\n  - |\n    block\n  "
                             "- >-\n    folded\n? key\n: value\n";
  for (size_t size = 0; size < sizeof text; size++) {
    struct read r = read_n(text, size);
    assert_true(r.root || report_errors(r.report));
    done(&r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nodes_know_line_column_length_and_quotes),
      cmocka_unit_test(lines_are_counted_as_yaml_counts_them),
      cmocka_unit_test(aliases_share_and_merges_yield_to_what_is_written),
      cmocka_unit_test(anchors_of_earlier_files_can_be_used),
      cmocka_unit_test(peeking_is_quiet_about_unknown_aliases),
      cmocka_unit_test(malformed_text_is_refused_with_its_place),
      cmocka_unit_test(duplicate_keys_are_all_reported),
      cmocka_unit_test(deep_nesting_ends_early),
      cmocka_unit_test(alias_bombs_do_not_go_off),
      cmocka_unit_test(huge_things_are_refused),
      cmocka_unit_test(truncated_anywhere_it_neither_crashes_nor_hangs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
