/* query.c - which jobs a list or a bulk action means, and the walk over those of them that the caller may touch. */
#include <stdio.h>
#include <string.h>

#include "api/parts.h"
#include "base/clock.h"
#include "base/mem.h"

/* Rows that one request reads at most while it looks for those the caller may see: the page then ends early and its cursor
 * goes on from there. */
enum { PAGE_ROWS = 1000, ROWS_MAX = 200 * 1000 };

static const char *const keys[] = {"status", "pipeline", "asset", "owner", "batch", "since", "until", NULL};

static bool status_add(struct exchange *x, const char *word, size_t size, struct job_filter *filter) {
  enum job_status status;
  mem_auto char *copy = mem_text_n(word, size);
  if (job_status_from_word(copy, &status)) {
    filter->statuses |= 1u << status;
    return true;
  }
  http_problem(x, 400, "invalid", "'%.40s' is no status: use queued, processing, retrying, held, paused, completed, failed or "
               "cancelled", copy);
  return false;
}

static bool status_parse(struct exchange *x, const struct value *v, struct job_filter *filter) {
  if (value_is_null(v)) return true;
  if (v->type == VALUE_LIST) {
    for (size_t i = 0; i < v->count; i++)
      if (v->items[i]->type != VALUE_TEXT || !status_add(x, v->items[i]->text, v->items[i]->text_size, filter)) {
        if (v->items[i]->type != VALUE_TEXT) http_problem(x, 400, "invalid", "'status' has to be a list of words");
        return false;
      }
    return true;
  }
  if (v->type != VALUE_TEXT) {
    http_problem(x, 400, "invalid", "'status' has to be a word or a list of words");
    return false;
  }
  for (const char *s = v->text; *s;) {
    size_t size = strcspn(s, ",");
    if (!status_add(x, s, size, filter)) return false;
    s += size + (s[size] == ',');
  }
  return true;
}

static bool time_parse(struct exchange *x, const struct value *map, const char *key, int64_t *us) {
  const char *text;
  if (!api_text(x, map, key, 64, &text)) return false;
  if (!text || clock_parse(text, us)) return true;
  http_problem(x, 400, "invalid", "'%s' is no time: write it as 2026-01-31T12:00:00Z", key);
  return false;
}

static bool texts_parse(struct exchange *x, struct job_query *query) {
  struct {
    const char *key, **text;
  } rows[] = {{"pipeline", &query->filter.pipeline},
              {"asset", &query->filter.asset},
              {"owner", &query->filter.owner},
              {"batch", &query->filter.batch}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!api_text(x, query->texts, rows[i].key, 255, rows[i].text)) return false;
  return true;
}

static struct value *texts_of_query(struct exchange *x) {
  struct value *map = value_map();
  for (size_t i = 0; keys[i]; i++) {
    const char *text = http_query(x, keys[i]);
    if (text && *text) value_set_text(map, keys[i], text);
  }
  return map;
}

static bool cursor_parse(struct exchange *x, struct job_query *query) {
  const char *cursor = http_query(x, "cursor");
  if (!cursor || !*cursor) return true;
  mem_auto char *mark = api_cursor_read(cursor);
  if (mark && strlen(mark) < sizeof query->before) {
    strcpy(query->before, mark);
    return true;
  }
  http_problem(x, 400, "invalid", "this 'cursor' is none of this list: take `next` of the page before, or leave it out");
  return false;
}

/* Whoever holds no grants sees own jobs alone: the store's index of owners finds them. */
static void narrow(struct exchange *x, struct job_query *query) {
  const struct principal *who = http_principal(x);
  query->principal = who;
  bool own_only = who && !(who->scopes & SCOPE_ADMIN) && !who->grant_count;
  query->picks = query->until_us || (who && !(who->scopes & SCOPE_ADMIN) && who->grant_count);
  if (!own_only) return;
  if (query->filter.owner && strcmp(query->filter.owner, api_subject(x)) != 0) query->done = true;
  query->filter.owner = api_subject(x);
}

bool job_query_parse(struct exchange *x, const struct value *body, struct job_query *query) {
  memset(query, 0, sizeof *query);
  query->texts = body ? value_copy(body) : texts_of_query(x);
  bool good = query->texts->type == VALUE_MAP;
  if (!good) http_problem(x, 400, "invalid", "'filter' has to be an object");
  good = good && api_keys(x, query->texts, keys) && status_parse(x, value_get(query->texts, "status"), &query->filter) &&
         texts_parse(x, query) && time_parse(x, query->texts, "since", &query->filter.since_us) &&
         time_parse(x, query->texts, "until", &query->until_us) && (body || cursor_parse(x, query));
  if (good)
    narrow(x, query);
  else
    job_query_clear(query);
  return good;
}

void job_query_clear(struct job_query *query) { value_free(&query->texts); }

struct walk {
  struct job_query *query;
  size_t limit, visited, rows;
  bool change, stopped;
  job_visit *visit;
  void *context;
};

static void walk_page(struct walk *walk, const struct job_list *page) {
  struct job_query *query = walk->query;
  for (size_t i = 0; i < page->count && !walk->stopped && walk->visited < walk->limit; i++) {
    const struct job_record *job = &page->items[i];
    struct matter matter = api_matter(job);
    walk->rows++;
    snprintf(query->before, sizeof query->before, "%s", job->id);
    if (query->until_us && job->created_us >= query->until_us) continue;
    if (!query->principal) continue;
    if (!(walk->change ? principal_may_change : principal_may_see)(query->principal, &matter)) continue;
    walk->visited++;
    walk->stopped = !walk->visit(walk->context, job);
  }
}

enum err job_query_run(struct store *store, struct job_query *query, size_t limit, bool change, job_visit *visit, void *context,
                       struct error *e) {
  struct walk walk = {.query = query, .limit = limit, .change = change, .visit = visit, .context = context};
  while (!query->done && !walk.stopped && walk.visited < limit && walk.rows < ROWS_MAX) {
    struct job_list page = {0};
    size_t left = limit - walk.visited; /* one more tells whether there is a next page */
    query->filter.limit = left < PAGE_ROWS && !query->picks ? left + 1 : PAGE_ROWS;
    query->filter.before_id = *query->before ? query->before : NULL;
    enum err err = store_jobs(store, &query->filter, &page, e);
    if (err) return err;
    size_t before = walk.rows;
    walk_page(&walk, &page);
    if (page.count < query->filter.limit && walk.rows - before == page.count) query->done = true;
    job_list_clear(&page);
  }
  return ERR_OK;
}
