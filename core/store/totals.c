/* Counts and totals: kept by the transactions that change jobs, so that reading them costs nothing. */
#include <string.h>

#include "base/mem.h"
#include "store/inner.h"

enum err store_counts(struct store *s, struct store_counts *counts, struct error *e) {
  struct tx tx;
  struct counters c;
  *counts = (struct store_counts){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  counters_load(&tx, &c);
  status = read_end(&tx, e);
  if (!status) memcpy(counts->by_status, c.by_status, sizeof(counts->by_status));
  return status;
}

static enum err list_totals(struct store *s, const struct key *prefix, struct totals_list *totals, struct error *e) {
  struct tx tx;
  struct scan scan;
  struct counters c = {0};
  *totals = (struct totals_list){0};
  enum err status = read_begin(&s->db, &tx, e);
  if (status) return status;
  counters_load(&tx, &c);
  totals->cursor = c.cursor;
  for (bool more = scan_first(&scan, &tx, DB_TOTALS, prefix); more; more = scan_next(&scan)) {
    if ((totals->count & (totals->count - 1)) == 0)
      totals->items = mem_grow(totals->items, totals->count ? totals->count * 2 : 1, sizeof(*totals->items));
    struct pipeline_totals *t = &totals->items[totals->count++];
    *t = (struct pipeline_totals){0};
    if (!record_decode(&totals_layout, scan.data.mv_data, scan.data.mv_size, t)) tx.fault = MDB_CORRUPTED;
  }
  scan_end(&scan);
  status = read_end(&tx, e);
  if (status) totals_list_clear(totals);
  return status;
}

enum err store_totals(struct store *s, struct totals_list *totals, struct error *e) {
  const struct key all = key_totals(NULL, NULL);
  return list_totals(s, &all, totals, e);
}

enum err store_totals_of(struct store *s, const char *owner, struct totals_list *totals, struct error *e) {
  const struct key all = key_totals(owner, NULL);
  return list_totals(s, &all, totals, e);
}
