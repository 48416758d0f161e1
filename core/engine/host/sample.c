/* The ten-times-a-second look at an attempt: progress, signs of life, memory, scratch. The page is the attempt's to
 * write: every field is copied once and clamped. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "host/parts.h"

enum { QUOTA_ENTRIES_MAX = 50000, QUOTA_DEPTH_MAX = 32 };

/* ---- the page ---- */

static bool take_stage(struct attempt *a, uint32_t i) {
  const struct page_stage *from = &a->page->stages[i];
  __typeof__(a->progress.stages[0]) *to = &a->progress.stages[i];
  uint32_t ppm = atomic_load_explicit(&from->fraction_ppm, memory_order_relaxed);
  uint32_t item = atomic_load_explicit(&from->item, memory_order_relaxed);
  uint32_t items = atomic_load_explicit(&from->items, memory_order_relaxed);
  uint64_t frames = atomic_load_explicit(&from->frames, memory_order_relaxed);
  double fraction = ppm == UINT32_MAX ? -1 : ppm > 1000000 ? 1 : ppm / 1e6;
  if (fraction < to->fraction) fraction = to->fraction; /* a bar does not run backwards within an attempt */
  if (item > items) item = items;
  bool changed = fraction != to->fraction || item != to->item || items != to->items || frames != to->frames;
  to->fraction = fraction;
  to->item = item;
  to->items = items;
  to->frames = frames;
  return changed;
}

static bool take_page(struct attempt *a) {
  uint64_t heartbeat = atomic_load_explicit(&a->page->heartbeat, memory_order_relaxed);
  uint64_t video = atomic_load_explicit(&a->page->decoded_video_frames, memory_order_relaxed);
  uint64_t audio = atomic_load_explicit(&a->page->decoded_audio_frames, memory_order_relaxed);
  bool changed = video != a->progress.decoded_video_frames || audio != a->progress.decoded_audio_frames;
  bool alive = heartbeat != a->heartbeat;
  a->heartbeat = heartbeat;
  a->progress.decoded_video_frames = video;
  a->progress.decoded_audio_frames = audio;
  a->progress.stage_count = a->unit->stage_count;
  for (uint32_t i = 0; i < a->unit->stage_count; i++) changed |= take_stage(a, i);
  if (changed || alive) a->life_us = crew_now(a->crew);
  return changed;
}

/* ---- limits ---- */

static void check_stall(struct attempt *a, int64_t now_us) {
  if (a->opened && !a->answered) a->life_us = now_us; /* it waits for us */
  if (a->reason || now_us - a->life_us < a->stall_us) return;
  char human[32];
  attempt_stop(a, ATTEMPT_STALLED, 1, "no progress, no heartbeat and no frame for %s: the stage hangs, or needs a longer "
               "`stall`", clock_human(a->stall_us, human));
}

static int64_t resident_bytes(int pid) {
  char path[64], text[128];
  long long pages = 0;
  snprintf(path, sizeof(path), "/proc/%d/statm", pid);
  fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
  if (size <= 0) return 0;
  text[size] = '\0';
  return sscanf(text, "%*d %lld", &pages) == 1 ? (int64_t)pages * sysconf(_SC_PAGESIZE) : 0;
}

static void check_memory(struct attempt *a) {
  if (a->memory_bytes <= 0 || a->pid <= 0) return;
  int64_t resident = resident_bytes(a->pid);
  if (resident <= a->memory_bytes) return;
  attempt_stop(a, ATTEMPT_MEMORY, 3, "the attempt uses %lld MiB, its limit is %lld MiB: raise the limit, or make the work "
               "smaller", (long long)(resident >> 20), (long long)(a->memory_bytes >> 20));
}

static enum err add_size(void *context, const struct fs_entry *entry, struct error *e) {
  (void)e;
  *(int64_t *)context += (int64_t)entry->stat.st_blocks * 512;
  return ERR_OK;
}

static void check_scratch(struct attempt *a, const struct unit_stage *stage) {
  int64_t used = 0;
  if (stage->scratch_quota_bytes <= 0 || !stage->scratch_path) return;
  fd_auto int root = open(stage->scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (root < 0) return;
  enum err err = fs_walk(root, ".", QUOTA_ENTRIES_MAX, QUOTA_DEPTH_MAX, add_size, &used, NULL);
  if (err != ERR_TOO_LARGE && used <= stage->scratch_quota_bytes) return;
  if (err == ERR_TOO_LARGE)
    attempt_stop(a, ATTEMPT_QUOTA, 3, "stage `%s` keeps more than %d files in its scratch folder: make the work smaller",
                 stage->id, QUOTA_ENTRIES_MAX);
  else
    attempt_stop(a, ATTEMPT_QUOTA, 3, "stage `%s` uses %lld MiB of scratch space, its quota is %lld MiB: raise the quota, or "
                 "make the work smaller", stage->id, (long long)(used >> 20), (long long)(stage->scratch_quota_bytes >> 20));
}

static void check_quota(struct attempt *a, int64_t now_us) {
  if (now_us < a->next_quota_us) return;
  for (uint32_t i = 0; i < a->unit->stage_count; i++) check_scratch(a, &a->unit->stages[i]);
  /* A slow file system must not eat the loop: at most a twentieth of the time goes here. */
  int64_t took = crew_now(a->crew) - now_us;
  a->next_quota_us = now_us + (took * 20 > QUOTA_US ? took * 20 : QUOTA_US);
}

void attempt_sample(struct attempt *a, int64_t now_us) {
  if (a->phase != PHASE_STARTED || a->gone) return;
  bool changed = take_page(a);
  check_stall(a, now_us);
  check_memory(a);
  check_quota(a, now_us);
  if (changed && a->callbacks.progress) a->callbacks.progress(a->context, a, &a->progress);
}
